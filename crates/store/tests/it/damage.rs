//! Damaged files: a typed error or a smaller truth, never a panic and never a wrong cell.

use crate::common::*;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use store::{InboxStore, StoreError};
use wire::aead::SealKey;
use wire::rng::Rng;
use wire::time::UnixTime;

const CELLS: u64 = 40;

/// A store with one inbox and some cells, closed.
fn sample() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    store.apply(&put_inbox(1, FAR)).unwrap();
    for s in 0..CELLS {
        store.apply(&put_cell(1, s, FAR)).unwrap();
        store.commit().unwrap();
    }
    drop(store);
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("ballast") {
            // Nobody reads it.
            found.push(path);
        }
    }
    found.sort();
    found
}

fn with_damage(name: &str, damage: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> StoreError {
    let folder = sample();
    let path = folder.path().join(name);
    match damage(std::fs::read(&path).unwrap()) {
        Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        None => std::fs::remove_file(&path).unwrap(),
    }
    open(folder.path())
        .map(drop)
        .expect_err("damage went unnoticed")
}

fn is_damaged(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { .. })
}

#[test]
fn a_lost_or_cut_file_is_noticed() {
    for name in ["slots", "buckets", "sled/db"] {
        assert!(is_damaged(&with_damage(name, |_| None)), "{name} removed");
        let empty = with_damage(name, |_| Some(Vec::new()));
        assert!(is_damaged(&empty), "{name} emptied");
        let short = with_damage(name, |mut bytes| {
            bytes.truncate(if name == "sled/db" { 20_000 } else { 600 });
            Some(bytes)
        });
        assert!(is_damaged(&short), "{name} cut");
    }
    // Exactly the head of the slot file left: must not look like a store that was never finished.
    let head = with_damage("slots", |mut bytes| {
        bytes.truncate(4096);
        Some(bytes)
    });
    assert!(is_damaged(&head));
}

#[test]
fn an_older_copy_of_the_log_is_noticed() {
    let folder = sample();
    let old = tempfile::tempdir().unwrap();
    copy_folder(&folder.path().join("sled"), &old.path().join("sled"));
    let (mut store, _) = open(folder.path()).unwrap();
    for s in CELLS..CELLS + 3 {
        store.apply(&put_cell(1, s, FAR)).unwrap();
        store.commit().unwrap();
    }
    drop(store);
    std::fs::remove_dir_all(folder.path().join("sled")).unwrap();
    copy_folder(&old.path().join("sled"), &folder.path().join("sled"));
    assert!(open(folder.path()).is_err_and(|e| is_damaged(&e)));
}

#[test]
fn an_older_copy_of_the_slots_is_noticed() {
    let folder = sample();
    let slots = folder.path().join("slots");
    let old = std::fs::read(&slots).unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    for s in CELLS..CELLS + 3 {
        store.apply(&put_cell(1, s, FAR)).unwrap();
        store.commit().unwrap();
    }
    drop(store);
    std::fs::write(&slots, old).unwrap();
    assert!(open(folder.path()).is_err_and(|e| is_damaged(&e)));
}

#[test]
fn a_damaged_bucket_is_noticed() {
    let error = with_damage("buckets", |mut bytes| {
        bytes[512 + 30] ^= 1;
        Some(bytes)
    });
    assert!(is_damaged(&error));
}

#[test]
fn a_damaged_header_is_no_other_key() {
    // In the check of the master key; a bucket tells that the key is right.
    let error = with_damage("buckets", |mut bytes| {
        bytes[18 + 5] ^= 1;
        Some(bytes)
    });
    assert!(is_damaged(&error));
}

#[test]
fn another_key_or_version_is_told() {
    let folder = sample();
    let other = SealKey::from_bytes([9; 32]);
    let opened = InboxStore::open_with(folder.path(), other, UnixTime(0), fresh_rng(), config());
    assert!(matches!(opened.map(drop), Err(StoreError::WrongKey)));
    for name in ["slots", "buckets"] {
        let error = with_damage(name, |mut bytes| {
            bytes[9] = 7;
            Some(bytes)
        });
        assert!(matches!(error, StoreError::Version { found: 7, known: 1 }));
        let error = with_damage(name, |mut bytes| {
            bytes[0] ^= 1;
            Some(bytes)
        });
        assert!(is_damaged(&error));
    }
}

/// Flips bits all over each file and opens the store: it opens or says what is wrong, and what it
/// then reads is what was written.
fn flips(rounds: u64) {
    let clean = sample();
    let mut rng = rng(77);
    for round in 0..rounds {
        let count = files(clean.path()).len();
        for which in 0..count {
            let folder = tempfile::tempdir().unwrap();
            copy_folder(clean.path(), folder.path());
            let path = &files(folder.path())[which];
            let mut bytes = std::fs::read(path).unwrap();
            if bytes.is_empty() {
                continue;
            }
            // The log is preallocated; its first part is what is used.
            let used = bytes.len().min(150_000);
            for _ in 0..=round % 3 {
                let at = rng.next_u64() as usize % used;
                bytes[at] ^= 1 << (rng.next_u32() % 8);
            }
            std::fs::write(path, bytes).unwrap();
            let Ok((mut store, index)) = open(folder.path()) else {
                continue;
            };
            for cell in index.iter().flat_map(|i| &i.cells) {
                if let Ok(Some(read)) = store.read_cell(inbox(1), cell.sequence) {
                    assert!(read == content(1, cell.sequence));
                }
            }
        }
    }
}

#[test]
fn flipped_bits_never_give_a_wrong_cell() {
    flips(8);
}

#[test]
#[ignore = "slow: some minutes"]
fn many_flipped_bits() {
    flips(400);
}

#[test]
fn a_damaged_slot_costs_one_cell_and_is_counted() {
    let folder = sample();
    let path = folder.path().join("slots");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 3 * 128 + 50] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (mut store, index) = open(folder.path()).unwrap();
    assert_eq!(sequences(&index)[&1].len() as u64, CELLS - 1);
    assert_contents(&mut store, &index);
    let swept = store.swept();
    assert_eq!((swept.unreadable_slots, swept.cells_without_slot), (1, 1));
}

#[test]
fn only_the_owner_may_read() {
    let folder = sample();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (_store, _) = open(folder.path()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    for file in files(folder.path()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}
