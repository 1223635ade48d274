//! kill -9 at random moments: what was acknowledged is there, what was removed is gone.
//!
//! The child is this test binary running itself; it writes each answered ticket to a file, which
//! the kernel keeps when the child dies.

use crate::common::*;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{Done, InboxThread, Job, Refused};

const FOLDER: &str = "MIZZLE_TEST_CRASH_FOLDER";
const FIRST: &str = "MIZZLE_TEST_CRASH_FIRST";

/// Tickets: 2·s deposits cell s, 2·s + 1 removes it.
#[test]
#[ignore = "the child of the tests below"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let (store, _) = open(&folder.join("store")).unwrap();
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("answers"))
        .unwrap();
    let log = Arc::new(Mutex::new(log));
    let on_done = Box::new(move |answers: Vec<Done>| {
        let mut lines = String::new();
        for answer in answers {
            match answer {
                Done::Applied { ticket } => lines.push_str(&format!("{ticket}\n")),
                Done::Read { .. } | Done::Failed { .. } => panic!("the store failed"),
            }
        }
        log.lock().unwrap().write_all(lines.as_bytes()).unwrap();
    });
    let thread = InboxThread::spawn(store, on_done).unwrap();
    let submit = |ticket, op| {
        let mut job = Job::Apply { ticket, op };
        while let Err(refused) = thread.submit(job) {
            assert_eq!(refused, Refused::Full);
            std::thread::sleep(Duration::from_millis(1));
            job = match ticket % 2 {
                0 => Job::Apply {
                    ticket,
                    op: put_cell(1, ticket / 2, FAR),
                },
                _ => Job::Apply {
                    ticket,
                    op: remove_cell(1, ticket / 2),
                },
            };
        }
    };
    submit(u64::MAX - 1, put_inbox(1, FAR));
    for s in first.. {
        submit(2 * s, put_cell(1, s, FAR));
        if s % 3 == 0 && s >= first + 99 {
            submit(2 * (s - 99) + 1, remove_cell(1, s - 99));
        }
        // Bursts and single deposits, so that both limits of the group commit are met.
        if s % 97 == 0 {
            std::thread::sleep(Duration::from_millis(s % 11));
        }
    }
}

fn rounds(count: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = BTreeSet::new();
    let mut removed = BTreeSet::new();
    let mut first = 0;
    let mut acknowledged = 0;
    for round in 0..count {
        let answers = one_round(folder.path(), first, 5 + round * 37 % 120);
        for ticket in answers {
            acknowledged += 1;
            match ticket % 2 {
                _ if ticket == u64::MAX - 1 => {}
                0 => {
                    kept.insert(ticket / 2);
                }
                _ => {
                    removed.insert(ticket / 2);
                }
            }
        }
        let (mut store, index) = open(&folder.path().join("store")).unwrap();
        let found: BTreeSet<u64> = sequences(&index)
            .get(&1)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let unremoved: BTreeSet<u64> = kept.difference(&removed).copied().collect();
        // A removal that was not yet answered may or may not have happened.
        let lost: Vec<_> = unremoved
            .difference(&found)
            .filter(|s| *s % 3 != 0)
            .collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        assert!(found.intersection(&removed).next().is_none());
        assert_contents(&mut store, &index);
        for s in &found {
            store.apply(&remove_cell(1, *s)).unwrap();
        }
        store.commit().unwrap();
        first = found.last().map_or(first, |s| first.max(s + 1)) + 2000;
        kept.clear();
        removed.clear();
    }
    assert!(acknowledged > count, "the child hardly ran");
}

/// Runs the child, kills it, and returns the tickets it saw answered.
fn one_round(folder: &Path, first: u64, after_ms: u64) -> Vec<u64> {
    let answers = folder.join("answers");
    File::create(&answers).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while std::fs::metadata(&answers).unwrap().len() == 0 {
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(child.try_wait().unwrap().is_none(), "the child ended");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(after_ms));
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&answers).unwrap();
    // The last line may be cut.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn killed_at_any_moment_keeps_what_it_acknowledged() {
    rounds(20);
}

#[test]
#[ignore = "slow: a minute"]
fn killed_two_hundred_times() {
    rounds(200);
}

#[test]
fn a_second_process_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, _) = open(folder.path()).unwrap();
    // A lock belongs to an open file, so that a second opening here is as good as another process.
    assert!(matches!(
        open(folder.path()),
        Err(store::StoreError::Locked)
    ));
}
