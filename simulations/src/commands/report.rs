//! `simulations report`: one HTML file of all results in a folder, or their numbers in a document.

use super::Failure;
use simulations::attacks::{Record, SCHEMA};
use simulations::report;
use simulations::whole_file;
use std::fs;
use std::path::{Path, PathBuf};

/// Make one self-contained HTML file, with plots, of the results in a folder.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where `attack run --out` wrote.
    folder: PathBuf,
    /// The page; beside the results without it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// What stands above it.
    #[arg(long, default_value = "What an adversary learns")]
    title: String,
    /// Put the numbers into this document instead, where its comments say.
    #[arg(long, conflicts_with_all = ["out", "title"])]
    fill: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut records = read(&arguments.folder)?;
    records.sort_by_key(|r| {
        r.attack
            .trim_start_matches(['A', 'a'])
            .parse::<u32>()
            .unwrap_or(0)
    });
    if let Some(path) = &arguments.fill {
        let bad = |what: String| Failure(format!("{}: {what}", path.display()));
        let document = fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
        let (document, places) =
            report::fill(&document, &records).map_err(|e| bad(e.to_string()))?;
        whole_file::put(path, document.as_bytes()).map_err(|e| bad(e.to_string()))?;
        println!("{} with {places} tables and values", path.display());
        return Ok(());
    }
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| arguments.folder.join("report.html"));
    let page = report::page(&arguments.title, &records, &[]);
    whole_file::put(&out, page.as_bytes())
        .map_err(|e| Failure(format!("cannot write {}: {e}", out.display())))?;
    println!("{} with {} results", out.display(), records.len());
    Ok(())
}

fn read(folder: &Path) -> Result<Vec<Record>, Failure> {
    let cannot = |e| Failure(format!("cannot read {}: {e}", folder.display()));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let is_attack = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with('A'));
        if is_attack && path.extension().is_some_and(|e| e == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        let what = format!(
            "no result in {}: run `simulations attack run … --out` first",
            folder.display()
        );
        return Err(Failure(what));
    }
    let mut records = Vec::new();
    for path in paths {
        let bad = |what: String| Failure(format!("{}: {what}", path.display()));
        let text = fs::read_to_string(&path).map_err(|e| bad(e.to_string()))?;
        let record: Record = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if record.schema != SCHEMA {
            return Err(bad(format!(
                "schema {}; this program reads {SCHEMA}",
                record.schema
            )));
        }
        records.push(record);
    }
    Ok(records)
}
