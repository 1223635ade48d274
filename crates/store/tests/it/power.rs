//! A simulated power cut: of everything written since the last sync, any part may be missing.
//!
//! Before a commit, at it and after it the folder is copied. The files that a power cut would leave
//! are then mixed from the copies: sled's log by pages of 4 KiB, the slot file by sectors of 512
//! bytes. (The bucket file is synced at each change.)

use crate::common::*;
use mizzle_core::stored::StoreOp;
use std::collections::BTreeSet;
use std::path::Path;
use wire::rng::{KeyRng, Rng};

struct Cut {
    /// As of the last commit.
    before: tempfile::TempDir,
    /// Changes applied, none of them synced.
    applied: tempfile::TempDir,
    /// Committed.
    after: tempfile::TempDir,
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder, copy.path());
    copy
}

/// Takes each block from `old` or from `new`; where `old` has none, zeros or the file's end.
fn mix(old: &Path, new: &Path, to: &Path, block: usize, rng: &mut KeyRng) {
    let old = std::fs::read(old).unwrap();
    let new = std::fs::read(new).unwrap();
    let keep_new = rng.next_u32() % 4;
    let mut out = Vec::new();
    let longer = rng.next_u32().is_multiple_of(2);
    let len = if longer {
        new.len()
    } else {
        old.len().min(new.len())
    };
    for at in (0..len).step_by(block) {
        let end = (at + block).min(len);
        let take_new = match keep_new {
            0 => false,
            1 => true,
            _ => rng.next_u32().is_multiple_of(2),
        };
        if take_new {
            out.extend_from_slice(&new[at..end]);
        } else {
            let have = old.get(at..end.min(old.len())).unwrap_or(&[]);
            out.extend_from_slice(have);
            out.resize(end, 0);
        }
    }
    std::fs::write(to, out).unwrap();
}

/// Builds what a power cut may leave: (a) while the log is written, (b) when the log is synced and
/// the slot file, with its commit count, is written.
fn cut_at(cut: &Cut, log_is_synced: bool, rng: &mut KeyRng) -> tempfile::TempDir {
    let left = copy_of(cut.after.path());
    let (before, applied, after) = (cut.before.path(), cut.applied.path(), cut.after.path());
    let slots = left.path().join("slots");
    let log = left.path().join("sled/db");
    if log_is_synced {
        mix(
            &before.join("slots"),
            &after.join("slots"),
            &slots,
            512,
            rng,
        );
    } else {
        mix(
            &before.join("slots"),
            &applied.join("slots"),
            &slots,
            512,
            rng,
        );
        mix(
            &before.join("sled/db"),
            &after.join("sled/db"),
            &log,
            4096,
            rng,
        );
    }
    left
}

fn run(batches: u64, cuts_each: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rng(seed);
    let (mut store, _) = open(folder.path()).unwrap();
    store.apply(&put_inbox(1, FAR)).unwrap();
    store.commit().unwrap();
    let mut committed: BTreeSet<u64> = BTreeSet::new();
    let mut next = 0;
    for batch in 0..batches {
        let before = copy_of(folder.path());
        let mut added = BTreeSet::new();
        let mut removed = BTreeSet::new();
        for _ in 0..1 + rng.next_u32() % 64 {
            let old = committed.iter().find(|s| !removed.contains(*s)).copied();
            match old {
                Some(old) if rng.next_u32() % 5 < 2 && committed.len() > 20 => {
                    store.apply(&remove_cell(1, old)).unwrap();
                    removed.insert(old);
                }
                _ => {
                    store.apply(&put_cell(1, next, FAR)).unwrap();
                    added.insert(next);
                    next += 1;
                }
            }
        }
        let applied = copy_of(folder.path());
        store.commit().unwrap();
        let after = copy_of(folder.path());
        let cut = Cut {
            before,
            applied,
            after,
        };
        for number in 0..cuts_each {
            let left = cut_at(&cut, number % 2 == 1, &mut rng);
            check(left.path(), &committed, &added, &removed, (batch, number));
        }
        committed.extend(&added);
        committed.retain(|s| !removed.contains(s));
    }
}

fn check(
    left: &Path,
    committed: &BTreeSet<u64>,
    added: &BTreeSet<u64>,
    removed: &BTreeSet<u64>,
    which: (u64, u64),
) {
    let (mut store, index) = open(left).unwrap_or_else(|e| panic!("{which:?}: {e}"));
    let found: BTreeSet<u64> = sequences(&index)[&1].iter().copied().collect();
    for s in committed.difference(removed) {
        assert!(found.contains(s), "{which:?}: lost {s}");
    }
    for s in &found {
        assert!(committed.contains(s) || added.contains(s));
    }
    assert_contents(&mut store, &index);
    // And it goes on working, also past a second start.
    store.apply(&put_cell(1, 1 << 40, FAR)).unwrap();
    store
        .apply(&StoreOp::RemoveInbox { key: inbox(2) })
        .unwrap();
    store.commit().unwrap();
    drop(store);
    let (store, index) = open(left).unwrap_or_else(|e| panic!("{which:?}, again: {e}"));
    assert!(sequences(&index)[&1].contains(&(1 << 40)));
    assert_eq!(store.swept(), store::Swept::default());
}

#[test]
fn a_power_cut_loses_nothing_committed() {
    run(12, 4, 1);
}

#[test]
#[ignore = "slow: some minutes"]
fn many_power_cuts() {
    (0..2).for_each(|seed| run(40, 6, 100 + seed));
}
