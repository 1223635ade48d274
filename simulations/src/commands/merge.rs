//! `simulations merge`: the shards of a sweep, put together.

use super::Failure;
use simulations::study::{Folder, Shard};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Put the folders of all shards of one sweep together: the same bytes as without shards.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folders that `sweep --shard` wrote.
    #[arg(required = true)]
    shards: Vec<PathBuf>,
    /// A new folder.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut parts = Vec::new();
    for path in &arguments.shards {
        parts.push(Folder::open(path)?);
    }
    let study = parts[0].1.clone();
    for ((_, other), path) in parts.iter().zip(&arguments.shards) {
        if other.text != study.text {
            let path = path.display();
            return Err(Failure(format!("{path} is of another scenario")));
        }
    }
    let whole = Shard { index: 0, of: 1 };
    let lists: Vec<BTreeSet<usize>> = parts
        .iter()
        .map(|(part, _)| part.missing(&study, whole).into_iter().collect())
        .collect();
    let missing = lists[0]
        .iter()
        .filter(|n| lists.iter().all(|list| list.contains(n)))
        .count();
    if missing > 0 {
        let what = format!("{missing} runs are missing: name all shards, each finished (--resume)");
        return Err(Failure(what));
    }
    let folder = Folder::create(&arguments.out, &study)?;
    for (part, _) in &parts {
        folder.take(part, &study)?;
    }
    print!("{}", folder.assemble(&study)?.text);
    Ok(())
}
