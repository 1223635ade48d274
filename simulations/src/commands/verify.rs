//! `simulations verify`: known numbers beside measured ones.

use super::Failure;
use serde_json::{Value, json};
use simulations::verify::{self, Entry, Verdict};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Measure known numbers anew, and say which hold. Exit code 1 unless all do.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Acceptance numbers; without it, the project's own.
    file: Option<PathBuf>,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many entries at a time; by default as many as there are cores. The result does not depend on it.
    #[arg(long)]
    threads: Option<usize>,
    /// Only entries whose id begins so.
    #[arg(long, default_value = "")]
    only: String,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let named = match &arguments.file {
        Some(path) => path.display().to_string(),
        None => "the project's own numbers".into(),
    };
    let text = match &arguments.file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| Failure(format!("cannot read {named}: {e}")))?,
        None => verify::OWN.to_owned(),
    };
    let entries = verify::parse(&text).map_err(|e| Failure(format!("{named}: {e}")))?;
    let entries: Vec<Entry> = entries
        .into_iter()
        .filter(|e| e.id.starts_with(&arguments.only))
        .collect();
    if entries.is_empty() {
        let why = format!("{named}: no entry begins with {:?}", arguments.only);
        return Err(Failure(why));
    }
    if !arguments.json {
        println!(
            "{:<26} {:>11} {:>11} {:>23} {:>11}  verdict",
            "id", "expected", "simulated", "95 % interval", "closed form"
        );
    }
    let (mut passed, mut rows) = (0, Vec::new());
    check_all(arguments, &entries, |verdict| {
        passed += usize::from(verdict.pass);
        if arguments.json {
            rows.push(row(verdict));
        } else {
            println!("{}", line(verdict));
            // Somebody may be waiting at the other end of a pipe.
            let _ = std::io::stdout().flush();
        }
    });
    if arguments.json {
        let all = json!({
            "schema": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "seed": arguments.seed,
            "passed": passed,
            "of": entries.len(),
            "entries": rows,
        });
        println!("{all:#}");
    }
    let last = format!("verified {passed} of {}", entries.len());
    if arguments.json {
        eprintln!("{last}");
    } else {
        println!("{last}");
    }
    let all = passed == entries.len();
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Checks all entries on several threads; `tell` is called in the order of the file. Each entry is measured by one
/// thread with random numbers of its own.
fn check_all(arguments: &Arguments, entries: &[Entry], mut tell: impl FnMut(&Verdict)) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores).clamp(1, 256);
    let next = AtomicUsize::new(0);
    let (done, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(entries.len()) {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(entry) = entries.get(place) else {
                        return;
                    };
                    if done
                        .send((place, verify::check(entry, arguments.seed)))
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut waiting: Vec<Option<Verdict>> = vec![None; entries.len()];
        let mut told = 0;
        for (place, verdict) in results {
            waiting[place] = Some(verdict);
            while let Some(verdict) = waiting.get_mut(told).and_then(Option::take) {
                tell(&verdict);
                told += 1;
            }
        }
    });
}

fn line(verdict: &Verdict) -> String {
    let id: String = verdict.entry.id.chars().take(26).collect();
    let expected = number(verdict.expected);
    let word = if verdict.pass { "PASS" } else { "FAIL" };
    let why = verdict
        .reason()
        .map(|r| format!(": {r}"))
        .unwrap_or_default();
    let which = verdict
        .decides
        .as_ref()
        .map(|d| format!(" (against {d:?})"))
        .unwrap_or_default();
    match &verdict.answer {
        Err(_) => format!(
            "{id:<26} {expected:>11} {:>11} {:>23} {:>11}  {word}{why}",
            "-", "-", "-"
        ),
        Ok(answer) => {
            let s = &answer.simulated;
            let interval = format!("[{}, {}]", number(s.low), number(s.high));
            let closed = answer.closed.map_or("-".into(), |c| {
                let doubt = if c.validity.holds() { "" } else { "?" };
                format!("{}{doubt}", number(c.value))
            });
            let value = number(s.value);
            format!(
                "{id:<26} {expected:>11} {value:>11} {interval:>23} {closed:>11}  {word}{which}{why}"
            )
        }
    }
}

/// Five digits that say something.
fn number(x: f64) -> String {
    match x.abs() {
        a if a != 0.0 && a < 1e-3 => format!("{x:.3e}"),
        a if a < 10.0 => format!("{x:.5}"),
        a if a < 1e4 => format!("{x:.3}"),
        _ => format!("{x:.1}"),
    }
}

fn row(verdict: &Verdict) -> Value {
    let entry = &verdict.entry;
    let mut row = json!({
        "id": entry.id,
        "what": entry.what,
        "metric": entry.metric,
        "params": entry.params,
        "expected": verdict.expected,
        "against": verdict.decides,
        "tolerance": entry.tolerance(verdict.expected),
        "pass": verdict.pass,
        "reason": verdict.reason(),
    });
    if let (Ok(answer), Value::Object(row)) = (&verdict.answer, &mut row) {
        let s = &answer.simulated;
        let closed = answer.closed.map(|c| {
            json!({ "value": c.value, "validity": c.validity.as_str(), "reason": c.validity.reason() })
        });
        row.insert(
            "simulated".into(),
            json!({ "value": s.value, "low": s.low, "high": s.high, "count": s.count }),
        );
        row.insert("closed".into(), json!(closed));
        row.insert("how".into(), json!(answer.note));
    }
    row
}
