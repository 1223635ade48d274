//! `simulations run`: one scenario.

use super::Failure;
use super::progress::Progress;
use super::sweep::{parse, threads};
use simulations::study::{self, Assembled, Shard};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Run a scenario, and say what was measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A scenario file (TOML); `simulations/scenarios` has examples.
    scenario: PathBuf,
    /// A new folder for tables of it all.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Goes on with a run that was interrupted.
    #[arg(long, requires = "out")]
    resume: bool,
    /// Threads for its replications; as many as there are cores without it.
    #[arg(long)]
    threads: Option<usize>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let study = parse(&arguments.scenario)?;
    if study.points.len() > 1 {
        let what = "this scenario varies something: `simulations sweep` runs it";
        return Err(Failure(what.into()));
    }
    let beside = arguments.scenario.parent().unwrap_or(Path::new("."));
    let threads = threads(arguments.threads);
    if let Some(out) = &arguments.out {
        let whole = Shard { index: 0, of: 1 };
        let text =
            super::sweep::into_folder(&study, beside, out, arguments.resume, threads, whole)?;
        print!("{}", text.unwrap_or_default());
        return Ok(());
    }
    let wanted: Vec<_> = (0..study::cells(&study)).collect();
    let progress = Progress::new("runs", wanted.len());
    let results = Mutex::new(Vec::new());
    let store = |result| {
        results
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .push(result);
        Ok(())
    };
    let tell = |cell, share| progress.tell(cell, share);
    let done = study::run(&study, beside, &wanted, threads, &store, &tell);
    progress.end();
    done?;
    let mut results = results
        .into_inner()
        .unwrap_or_else(|poison| poison.into_inner());
    results.sort_by_key(|r: &study::CellResult| r.cell.number);
    print!("{}", Assembled::of(&study, &results)?.text);
    Ok(())
}
