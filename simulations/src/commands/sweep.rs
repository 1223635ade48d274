//! `simulations sweep`: all points of a scenario that varies something.

use super::Failure;
use super::progress::Progress;
use simulations::scenario_file::Study;
use simulations::study::{self, Folder, Shard};
use std::fs;
use std::path::{Path, PathBuf};

/// Run every point of a scenario's [sweep], into a folder; resumable, and in shards for many machines.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A scenario file with a [sweep].
    scenario: PathBuf,
    /// A new folder for the results.
    #[arg(long)]
    out: PathBuf,
    /// Goes on with a sweep that was interrupted.
    #[arg(long)]
    resume: bool,
    /// Threads; as many as there are cores without it.
    #[arg(long)]
    threads: Option<usize>,
    /// Runs part i of n (from 0); `merge` puts the parts together.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let study = parse(&arguments.scenario)?;
    let beside = arguments.scenario.parent().unwrap_or(Path::new("."));
    let whole = Shard { index: 0, of: 1 };
    let (out, shard) = (&arguments.out, arguments.shard.unwrap_or(whole));
    let threads = threads(arguments.threads);
    match into_folder(&study, beside, out, arguments.resume, threads, shard)? {
        Some(text) => print!("{text}"),
        None => println!(
            "shard {}/{} is done: `simulations merge` puts all of them together",
            shard.index, shard.of
        ),
    }
    Ok(())
}

/// Reads a scenario.
pub(super) fn parse(path: &Path) -> Result<Study, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|e| Failure(format!("cannot read {}: {e}", path.display())))?;
    Study::parse(&text).map_err(|e| Failure(format!("{}, {e}", path.display())))
}

pub(super) fn threads(asked: Option<usize>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or_else(cores).max(1)
}

/// Runs what is missing of a shard; gives the tables' text if that is all of it.
pub(super) fn into_folder(
    study: &Study,
    beside: &Path,
    out: &Path,
    resume: bool,
    threads: usize,
    shard: Shard,
) -> Result<Option<String>, Failure> {
    let folder = if resume {
        Folder::resume(out, study)?
    } else {
        Folder::create(out, study)?
    };
    let wanted = folder.missing(study, shard);
    let progress = Progress::new("runs", study::cells(study));
    let mut left = wanted.iter().peekable();
    for cell in 0..study::cells(study) {
        if left.next_if_eq(&&cell).is_none() {
            progress.skip(cell);
        }
    }
    let store = |result| folder.store(&result);
    let tell = |cell, share| progress.tell(cell, share);
    let done = study::run(study, beside, &wanted, threads, &store, &tell);
    progress.end();
    done?;
    if shard.of > 1 {
        return Ok(None);
    }
    Ok(Some(folder.assemble(study)?.text))
}
