//! A disk that takes no more: an error, then nothing but errors; after it has room again, every
//! acknowledged cell. A limit on the size of files plays the full disk.

use crate::common::*;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use store::{Done, InboxThread, Job, StoreError};

const FOLDER: &str = "MIZZLE_TEST_FULL_FOLDER";

#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let (mut store, _) = open(&folder.join("store")).unwrap();
    store.apply(&put_inbox(1, FAR)).unwrap();
    store.commit().unwrap();
    for s in 0..5_000 {
        let stored = store
            .apply(&put_cell(1, s, FAR))
            .and_then(|()| store.commit());
        match stored {
            Ok(()) => std::fs::write(folder.join("acked"), s.to_string()).unwrap(),
            Err(error) => {
                assert!(matches!(error, StoreError::Io { .. }), "{error}");
                let again = store.apply(&put_cell(1, s, FAR));
                assert!(matches!(again, Err(StoreError::Stopped)));
                assert!(matches!(store.commit(), Err(StoreError::Stopped)));
                assert!(matches!(
                    store.read_cell(inbox(1), 0),
                    Err(StoreError::Stopped)
                ));
                std::fs::write(folder.join("refused"), "").unwrap();
                return;
            }
        }
    }
}

#[test]
#[ignore = "the child of the test below"]
fn child_with_thread() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let (store, _) = open(&folder.join("store")).unwrap();
    let (send, done) = channel();
    let on_done = Box::new(move |answers: Vec<Done>| {
        answers.into_iter().for_each(|a| send.send(a).unwrap());
    });
    let thread = InboxThread::spawn(store, on_done).unwrap();
    let op = put_inbox(1, FAR);
    let ticket = u64::MAX;
    thread.submit(Job::Apply { ticket, op }).unwrap();
    assert!(matches!(done.recv().unwrap(), Done::Applied { .. }));
    let mut failed = false;
    for first in (0..5_000).step_by(50) {
        for ticket in first..first + 50 {
            let op = put_cell(1, ticket, FAR);
            thread.submit(Job::Apply { ticket, op }).unwrap();
        }
        // Every order is answered once, and after the first failure none is acknowledged.
        for _ in 0..50 {
            match done.recv().unwrap() {
                Done::Applied { ticket } => {
                    assert!(!failed);
                    std::fs::write(folder.join("acked"), ticket.to_string()).unwrap();
                }
                Done::Failed { .. } => failed = true,
                Done::Read { .. } => panic!("nothing was read"),
            }
        }
    }
    if failed {
        let (ticket, key, sequence) = (0, inbox(1), 0);
        let read = Job::Read {
            ticket,
            key,
            sequence,
        };
        thread.submit(read).unwrap();
        assert!(matches!(done.recv().unwrap(), Done::Failed { ticket: 0 }));
        assert!(thread.failure().unwrap().contains("free space"));
        assert!(matches!(thread.close(), Err(StoreError::Stopped)));
        std::fs::write(folder.join("refused"), "").unwrap();
    }
}

#[test]
fn a_full_disk_stops_the_store_and_loses_nothing() {
    fill("disk_full::child");
    fill("disk_full::child_with_thread");
}

fn fill(child: &str) {
    let folder = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    // With SIGXFSZ ignored a write past the limit fails with EFBIG, as one on a full disk fails.
    let script = "trap '' XFSZ; ulimit -f 6000; exec \"$0\" --exact \"$1\" --ignored";
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(exe)
        .arg(child)
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{child}");
    let refused = folder.path().join("refused");
    assert!(refused.exists(), "the limit was never met");
    let acked = std::fs::read_to_string(folder.path().join("acked")).unwrap();
    let acked: u64 = acked.parse().unwrap();
    let (mut store, index) = open(&folder.path().join("store")).unwrap();
    let found = &sequences(&index)[&1];
    assert!((0..=acked).all(|s| found.contains(&s)));
    assert_contents(&mut store, &index);
}
