//! A disk that takes no more: what is new is refused, what is there is read and removed, a restart
//! works, and with room again everything does. A limit on the size of files, or a small file system,
//! plays the full disk. And a disk that fails: an error, then nothing but errors.

use crate::common::*;
use crate::small_disk::SmallDisk;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use store::{ClientStore, Done, InboxStore, InboxThread, Job, StoreError, VaultId, Write};
use zeroize::Zeroizing;

const FOLDER: &str = "MIZZLE_TEST_FULL_FOLDER";

/// Deposits until one is refused; returns how many were durable.
fn deposit_until_refused(store: &mut InboxStore, from: u64, to: u64) -> u64 {
    for s in from..to {
        match store.apply(&put_cell(1, s, FAR)) {
            Ok(()) if s % 16 == 0 => store.commit().unwrap(),
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, StoreError::NoSpace), "{error}");
                store.commit().unwrap();
                return s;
            }
        }
    }
    panic!("the disk never filled");
}

fn assert_reads(store: &mut InboxStore, sequences: impl IntoIterator<Item = u64>) {
    for s in sequences {
        let cell = store.read_cell(inbox(1), s).unwrap();
        assert_eq!(cell.unwrap(), content(1, s), "{s}");
    }
}

fn folder_of_child() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER).map(Into::into)
}

#[test]
#[ignore = "the child of the test below"]
fn child_on_a_failing_disk() {
    let Some(folder) = folder_of_child() else {
        return;
    };
    let (mut store, _) = open(&folder.join("store")).unwrap();
    store.apply(&put_inbox(1, FAR)).unwrap();
    for s in 0..200 {
        store.apply(&put_cell(1, s, FAR)).unwrap();
        store.commit().unwrap();
    }
    // From here on every write behind 64 KiB fails, whatever was reserved before.
    let pid = std::process::id().to_string();
    let limited = Command::new("prlimit")
        .args(["--fsize=65536", "--pid", &pid])
        .status();
    assert!(limited.unwrap().success());
    let mut kept = 200;
    let error = loop {
        let stored = store
            .apply(&put_cell(1, kept, FAR))
            .and_then(|()| store.commit());
        match stored {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    let again = store.apply(&put_cell(1, kept, FAR));
    assert!(matches!(again, Err(StoreError::Stopped)));
    assert!(matches!(store.commit(), Err(StoreError::Stopped)));
    let read = store.read_cell(inbox(1), 0);
    assert!(matches!(read, Err(StoreError::Stopped)));
    std::fs::write(folder.join("kept"), format!("0 {kept}")).unwrap();
}

#[test]
fn a_failing_disk_stops_the_store_and_loses_nothing() {
    let child = "disk_full::child_on_a_failing_disk";
    let folder = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    // With SIGXFSZ ignored a write past the limit fails with EFBIG, as one on a full disk fails.
    let script = "trap '' XFSZ; ulimit -f 12000; exec \"$0\" --exact \"$1\" --ignored";
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(exe)
        .arg(child)
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{child}");
    let kept = std::fs::read_to_string(folder.path().join("kept")).unwrap();
    let (from, to) = kept.split_once(' ').unwrap();
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    let (mut store, index) = open(&folder.path().join("store")).unwrap();
    let found = &sequences(&index)[&1];
    assert!((from..to).all(|s| found.contains(&s)));
    assert_contents(&mut store, &index);
}

/// Tends until it works, as the store's thread does; the five seconds are the limit.
fn within_five_seconds(mut attempt: impl FnMut() -> Result<(), StoreError>) {
    let began = Instant::now();
    while let Err(error) = attempt() {
        assert!(matches!(error, StoreError::NoSpace), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "half a minute; .ci/slow runs it"]
fn inboxes_on_a_small_disk_filled_by_themselves_and_then_by_a_stranger() {
    let Some(disk) = SmallDisk::mount(40) else {
        return;
    };
    let folder = disk.path().join("store");
    let (mut store, _) = open(&folder).unwrap();
    store.apply(&put_inbox(1, FAR)).unwrap();
    store.commit().unwrap();
    let kept = deposit_until_refused(&mut store, 0, 50_000);
    assert!(kept > 2_000, "{kept}");
    assert!(!store.has_room());
    assert!(matches!(
        store.apply(&put_inbox(2, FAR)),
        Err(StoreError::NoSpace)
    ));
    let foreign = disk.fill();
    // Nothing is left to be had, and yet: reading, removing, and a restart.
    assert_reads(&mut store, 0..kept);
    let mut first = 0;
    for _ in 0..3 {
        for s in first..first + kept / 4 {
            store.apply(&remove_cell(1, s)).unwrap();
            if s % 50 == 0 {
                store.commit().unwrap();
            }
        }
        store.commit().unwrap();
        first += kept / 4;
        store.tend().unwrap();
        drop(store);
        let (again, index) = open(&folder).unwrap();
        store = again;
        assert_eq!(sequences(&index)[&1], (first..kept).collect::<Vec<_>>());
        assert_reads(&mut store, first..kept);
    }
    std::fs::remove_file(foreign).unwrap();
    within_five_seconds(|| {
        store.tend()?;
        store.apply(&put_cell(1, kept, FAR))
    });
    store.commit().unwrap();
    let refilled = deposit_until_refused(&mut store, kept + 1, kept + 50_000);
    assert_reads(&mut store, first..refilled);
}

#[test]
#[ignore = "half a minute; .ci/slow runs it"]
fn records_on_a_small_disk_filled_by_themselves_and_then_by_a_stranger() {
    let Some(disk) = SmallDisk::mount(40) else {
        return;
    };
    let folder = disk.path().join("store");
    let open = || ClientStore::open(&folder, master(), fresh_rng(), |_, _| None);
    let value = |n: u32| Zeroizing::new(vec![n as u8; 20_000]);
    let write = |n: u32, value: Option<Zeroizing<Vec<u8>>>| Write {
        table: 1,
        key: n.to_be_bytes().to_vec(),
        value,
        vault: Some(VaultId([(n % 3) as u8; 16])),
    };
    let mut store = open().unwrap();
    let mut kept = 0;
    while store.has_room() {
        store.commit(&[write(kept, Some(value(kept)))]).unwrap();
        kept += 1;
        assert!(kept < 10_000, "the disk never filled");
    }
    assert!(kept > 200, "{kept}");
    let foreign = disk.fill();
    let reads = |store: &ClientStore, n: u32| store.get(1, &n.to_be_bytes()).unwrap();
    for n in 0..kept {
        assert_eq!(reads(&store, n), Some(value(n)));
    }
    for n in 0..kept / 2 {
        store.commit(&[write(n, None)]).unwrap();
    }
    store.wipe(VaultId([2; 16])).unwrap();
    drop(store);
    let mut store = open().unwrap();
    for n in 0..kept {
        let there = n >= kept / 2 && n % 3 != 2;
        assert_eq!(reads(&store, n).is_some(), there, "{n}");
    }
    std::fs::remove_file(foreign).unwrap();
    within_five_seconds(|| {
        store.tend()?;
        store.has_room().then_some(()).ok_or(StoreError::NoSpace)
    });
    store.commit(&[write(kept, Some(value(kept)))]).unwrap();
}

#[test]
fn the_thread_refuses_what_is_new_and_goes_on() {
    let Some(disk) = SmallDisk::mount(12) else {
        return;
    };
    let (store, _) = open(&disk.path().join("store")).unwrap();
    let (send, done) = channel();
    let on_done = Box::new(move |answers: Vec<Done>| {
        answers.into_iter().for_each(|a| send.send(a).unwrap());
    });
    let thread = InboxThread::spawn(store, on_done).unwrap();
    let op = put_inbox(1, FAR);
    let ticket = u64::MAX;
    thread.submit(Job::Apply { ticket, op }).unwrap();
    assert!(matches!(done.recv().unwrap(), Done::Applied { .. }));
    let (mut kept, mut refused) = (Vec::new(), 0);
    for first in (0..5_000).step_by(50) {
        for ticket in first..first + 50 {
            let op = put_cell(1, ticket, FAR);
            thread.submit(Job::Apply { ticket, op }).unwrap();
        }
        for _ in 0..50 {
            match done.recv().unwrap() {
                Done::Applied { ticket } => kept.push(ticket),
                Done::Failed { .. } => refused += 1,
                Done::Read { .. } => panic!("nothing was read"),
            }
        }
    }
    assert!(refused > 0);
    let (key, sequence) = (inbox(1), *kept.last().unwrap());
    let ticket = 0;
    let read = Job::Read {
        ticket,
        key,
        sequence,
    };
    thread.submit(read).unwrap();
    assert!(matches!(
        done.recv().unwrap(),
        Done::Read { cell: Some(_), .. }
    ));
    assert_eq!(thread.failure(), None);
    within_five_seconds(|| match thread.has_room() {
        true => Err(StoreError::NoSpace),
        false => Ok(()),
    });
    thread.close().unwrap();
    let (mut store, index) = open(&disk.path().join("store")).unwrap();
    assert_eq!(sequences(&index)[&1], kept);
    assert_contents(&mut store, &index);
}
