//! A study runs the points of a scenario, each so many times, and gathers what was measured. One run of one point is a
//! cell; a cell depends on nothing but the scenario and its own number, so cells may be run in any order, by any
//! number of threads and machines, today or after a kill, and the result is the same to the byte.
//!
//! Replication `r` has the same seed at every point (common random numbers): what differs between two
//! points is what was varied.

mod cell;
mod folder;
mod measures;
#[cfg(feature = "parquet")]
mod parquet;
mod table;

pub use cell::{Cell, CellResult, run_cell};
pub use folder::{Folder, Shard, StudyError};
pub use measures::{MEASURES, Measured, Named};
pub use table::Assembled;

use crate::scenario_file::Study;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Version of all result files.
pub const SCHEMA: u32 = 1;

/// Who is told how far a study is: cell, and the share of it that is done.
pub type Tell<'a> = &'a (dyn Fn(usize, f64) + Sync);

/// How many cells there are.
pub fn cells(study: &Study) -> usize {
    study.points.len() * study.file.replications as usize
}

/// Runs cells on threads (docs/decisions/0009); hands each result on as it comes. Stops early at the first error, which it gives.
pub fn run(
    study: &Study,
    beside: &Path,
    wanted: &[usize],
    threads: usize,
    store: &(dyn Fn(CellResult) -> Result<(), StudyError> + Sync),
    tell: Tell<'_>,
) -> Result<(), StudyError> {
    let traces = cell::Traces::read(study, beside)?;
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failure = Mutex::new(None);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(cell) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let done = run_cell(study, &traces, *cell, tell).and_then(store);
            if let Err(error) = done {
                stop.store(true, Ordering::Relaxed);
                let mut first = failure.lock().unwrap_or_else(|poison| poison.into_inner());
                first.get_or_insert(error);
                return;
            }
            tell(*cell, 1.0);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, 1_024).min(wanted.len()) {
            scope.spawn(work);
        }
    });
    match failure
        .into_inner()
        .unwrap_or_else(|poison| poison.into_inner())
    {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
