//! The second copy of a few rows: what a log that gives nothing any more does not take along.

use crate::common::{fresh_rng, master};
use std::path::Path;
use store::{ClientStore, Salvaged, StoreError, Write};
use wire::aead::SealKey;
use wire::time::UnixTime;
use zeroize::Zeroizing;

const TABLES: &[u8] = &[1, 2];
const OTHER: u8 = 9;

fn open(folder: &Path) -> ClientStore {
    let mut store = ClientStore::open(folder, master(), fresh_rng(), |_, _| None).unwrap();
    store.keep_spare(TABLES).unwrap();
    store
}

fn row(table: u8, key: u8, value: Option<u8>) -> Write {
    Write {
        table,
        key: vec![key],
        value: value.map(|v| Zeroizing::new(vec![v; 40])),
        vault: None,
    }
}

fn salvage(folder: &Path) -> Salvaged {
    let (now, key) = (UnixTime(1_000_000), master());
    ClientStore::salvage(folder, &key, fresh_rng(), now, |_, _| None).unwrap()
}

/// All rows as (table, key, value).
fn rows(folder: &Path) -> Vec<(u8, u8, u8)> {
    let store = ClientStore::open(folder, master(), fresh_rng(), |_, _| None).unwrap();
    let mut all = Vec::new();
    for table in [1, 2, OTHER] {
        let found = store.scan(table).unwrap();
        all.extend(found.iter().map(|(k, v)| (table, k[0], v[0])));
    }
    all
}

/// A store with six rows in the copy and three beside it.
fn sample(folder: &Path) {
    let mut store = open(folder);
    for n in 0..3 {
        let writes = [row(1, n, Some(10 + n)), row(2, n, Some(20 + n))];
        store.commit(&writes).unwrap();
        store.commit(&[row(OTHER, n, Some(n))]).unwrap();
    }
    store.tend().unwrap();
}

const KEPT: [(u8, u8, u8); 6] = [
    (1, 0, 10),
    (1, 1, 11),
    (1, 2, 12),
    (2, 0, 20),
    (2, 1, 21),
    (2, 2, 22),
];

#[test]
fn a_log_that_is_gone_costs_only_what_is_not_kept_twice() {
    let parent = tempfile::tempdir().unwrap();
    for (name, damage) in [
        ("removed", None),
        ("empty", Some(vec![])),
        ("noise", Some(vec![0x5a; 20_000])),
    ] {
        let folder = parent.path().join(name);
        sample(&folder);
        let log = folder.join("sled/db");
        match damage {
            Some(bytes) => std::fs::write(log, bytes).unwrap(),
            None => std::fs::remove_file(log).unwrap(),
        }
        let opened = ClientStore::open(&folder, master(), fresh_rng(), |_, _| None);
        assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{name}");
        assert_eq!(salvage(&folder).spare, 6, "{name}");
        assert_eq!(rows(&folder), KEPT, "{name}");
    }
}

#[test]
fn it_follows_the_log_within_a_tending_and_at_the_next_start() {
    let parent = tempfile::tempdir().unwrap();
    for tended in [true, false] {
        let folder = parent.path().join(format!("store-{tended}"));
        sample(&folder);
        let mut store = open(&folder);
        store
            .commit(&[row(1, 0, None), row(1, 1, Some(77)), row(2, 9, Some(78))])
            .unwrap();
        match tended {
            true => store.tend().unwrap(),
            // Killed before it; the next start sees the difference.
            false => {
                drop(store);
                store = open(&folder);
            }
        }
        drop(store);
        std::fs::remove_file(folder.join("sled/db")).unwrap();
        salvage(&folder);
        let expected = [
            (1, 1, 77),
            (1, 2, 12),
            (2, 0, 20),
            (2, 1, 21),
            (2, 2, 22),
            (2, 9, 78),
        ];
        assert_eq!(rows(&folder), expected);
    }
}

#[test]
fn a_whole_log_takes_nothing_from_it_and_a_damaged_copy_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    sample(&folder);
    let spare = folder.join("spare");
    let good = std::fs::read(&spare).unwrap();
    for at in [0, 9, 15, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        std::fs::write(&spare, &bytes).unwrap();
        let store = open(&folder);
        assert_eq!(store.scan(1).unwrap().len(), 3);
        drop(store);
        assert_ne!(std::fs::read(&spare).unwrap(), bytes, "made again");
        // Another nonce, the same length.
        assert_eq!(std::fs::read(&spare).unwrap().len(), good.len());
    }
    let untouched = std::fs::read(&spare).unwrap();
    drop(open(&folder));
    assert_eq!(std::fs::read(&spare).unwrap(), untouched, "it was right");
    // Both damaged: what the log has, and no wrong row.
    std::fs::write(&spare, b"MZSPARE\0\0\x01 and noise").unwrap();
    std::fs::write(folder.join("store"), b"").unwrap();
    assert_eq!(salvage(&folder).spare, 0);
    assert_eq!(rows(&folder).len(), 9);
}

#[test]
fn a_huge_or_foreign_copy_is_none() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    sample(&folder);
    let spare = folder.join("spare");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&spare)
        .unwrap();
    // Longer than it may be: not read.
    file.set_len(1 << 40).unwrap();
    std::fs::remove_file(folder.join("sled/db")).unwrap();
    assert_eq!(salvage(&folder), Salvaged::default());
    assert!(rows(&folder).is_empty());

    // Another client's.
    let (ours, theirs) = (parent.path().join("ours"), parent.path().join("theirs"));
    sample(&ours);
    let other = SealKey::from_bytes([3; 32]);
    let mut store = ClientStore::open(&theirs, other, fresh_rng(), |_, _| None).unwrap();
    store.commit(&[row(1, 5, Some(5))]).unwrap();
    store.keep_spare(TABLES).unwrap();
    drop(store);
    std::fs::copy(theirs.join("spare"), ours.join("spare")).unwrap();
    std::fs::remove_file(ours.join("sled/db")).unwrap();
    assert_eq!(salvage(&ours).spare, 0);
}
