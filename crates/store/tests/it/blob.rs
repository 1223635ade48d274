//! Blobs against plain vectors, with damage, foreign files, limits and a full disk.

use crate::common::{fresh_rng, rng};
use crate::small_disk::SmallDisk;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use store::{BlobId, BlobKey, BlobStore, RECORD_MAX, StoreError};
use wire::rng::Rng;

const LIMIT: u64 = 64 << 20;
const ID: BlobId = BlobId([0xab; 16]);

fn open(folder: &Path) -> BlobStore {
    BlobStore::open(folder, LIMIT, fresh_rng()).unwrap()
}

fn key() -> BlobKey {
    BlobKey::from_bytes([5; 32])
}

fn content(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng(len as u64).fill_bytes(&mut bytes);
    bytes
}

fn file_of(folder: &Path, id: BlobId) -> PathBuf {
    let hex: String = id.0.iter().map(|b| format!("{b:02x}")).collect();
    folder.join(format!("{hex}.blob"))
}

/// A finished blob of `len` bytes in records of 100.
fn sample(folder: &Path, len: usize) -> BlobStore {
    let store = open(folder);
    let mut writer = store.create_stream(ID, &key(), 100).unwrap();
    writer.push(&content(len)).unwrap();
    writer.finish().unwrap();
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..Default::default() })]
    #[test]
    fn holds_what_was_written_in_any_order(
        len in 0..5_000usize,
        record_len in 1..700usize,
        seed in any::<u64>(),
        streamed in any::<bool>(),
        ranges in proptest::collection::vec((0..6_000u64, 0..6_000usize), 6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let bytes = content(len);
        let mut order = rng(seed);
        if streamed {
            let mut writer = store.create_stream(ID, &key(), record_len).unwrap();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let now = (1 + order.next_u32() as usize % 900).min(rest.len());
                writer.push(&rest[..now]).unwrap();
                rest = &rest[now..];
            }
            prop_assert_eq!(writer.len(), len as u64);
            writer.finish().unwrap();
        } else {
            let mut blob = store.create(ID, &key(), record_len, len as u64).unwrap();
            let mut left: Vec<u32> = (0..blob.records()).collect();
            while !left.is_empty() {
                prop_assert_eq!(blob.missing().unwrap().iter().map(|r| r.len()).sum::<usize>(), left.len());
                for _ in 0..(1 + left.len() / 3) {
                    let index = left.swap_remove(order.next_u32() as usize % left.len());
                    let from = index as usize * record_len;
                    let record = &bytes[from..len.min(from + record_len)];
                    blob.write_record(index, record).unwrap();
                }
            }
            blob.sync().unwrap();
        }
        let used = store.used_bytes();
        prop_assert_eq!(used, std::fs::metadata(file_of(folder.path(), ID)).unwrap().len());
        drop(store);
        let store = open(folder.path());
        prop_assert_eq!(store.used_bytes(), used);
        let blob = store.open_blob(ID, &key()).unwrap();
        prop_assert_eq!((blob.len(), blob.record_len()), (len as u64, record_len));
        prop_assert!(blob.missing().unwrap().is_empty());
        prop_assert_eq!(&**blob.read_range(0, len).unwrap(), &bytes[..]);
        for (offset, want) in ranges {
            let from = (offset as usize).min(len);
            let until = from.saturating_add(want).min(len);
            prop_assert_eq!(&**blob.read_range(offset, want).unwrap(), &bytes[from..until]);
        }
        store.remove(ID).unwrap();
        prop_assert_eq!(store.used_bytes(), 0);
        prop_assert!(matches!(store.open_blob(ID, &key()).map(drop), Err(StoreError::Missing)));
    }
}

#[test]
fn what_does_not_exist_or_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for record_len in [0, RECORD_MAX + 1] {
        let made = store.create(ID, &key(), record_len, 1).map(drop);
        assert!(matches!(made, Err(StoreError::TooLong)));
    }
    let made = store.create(ID, &key(), 1, 1 << 33).map(drop);
    assert!(matches!(made, Err(StoreError::TooLong)));
    assert_eq!(store.used_bytes(), 0);
    let mut blob = store.create(ID, &key(), 100, 250).unwrap();
    assert_eq!(blob.records(), 3);
    assert!(matches!(
        blob.write_record(3, &[]),
        Err(StoreError::Missing)
    ));
    assert!(matches!(
        blob.write_record(u32::MAX, &[]),
        Err(StoreError::Missing)
    ));
    for (index, len) in [(0, 99), (0, 101), (2, 100), (2, 49)] {
        let written = blob.write_record(index, &vec![0; len]);
        assert!(matches!(written, Err(StoreError::TooLong)), "{index} {len}");
    }
    assert!(matches!(blob.read_record(0), Err(StoreError::Missing)));
    assert!(matches!(blob.read_record(3), Err(StoreError::Missing)));
    assert!(matches!(blob.read_range(0, 1), Err(StoreError::Missing)));
    assert!(blob.missing().unwrap() == std::slice::from_ref(&(0..3)));
    // The name is taken.
    assert!(store.create(ID, &key(), 100, 250).is_err());
    let locked = BlobStore::open(folder.path(), LIMIT, fresh_rng()).map(drop);
    assert!(matches!(locked, Err(StoreError::Locked)));
}

#[test]
fn another_key_opens_nothing_and_nothing_stands_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let store = sample(folder.path(), 1000);
    let other = BlobKey::from_bytes([6; 32]);
    let opened = store.open_blob(ID, &other).map(drop);
    assert!(matches!(opened, Err(StoreError::Damaged { .. })));
    let file = std::fs::read(file_of(folder.path(), ID)).unwrap();
    let bytes = content(1000);
    assert!(!file.windows(8).any(|w| w == &bytes[..8]));
}

#[test]
fn every_changed_bit_and_every_cut_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = sample(folder.path(), 250);
    let (path, bytes) = (file_of(folder.path(), ID), content(250));
    let clean = std::fs::read(&path).unwrap();
    assert_eq!(clean.len(), 512 + 3 * 128);
    let reads = || {
        store
            .open_blob(ID, &key())
            .and_then(|b| b.read_range(0, 250))
    };
    for at in (0..50).chain(512..clean.len()) {
        let mut bad = clean.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        match reads() {
            Err(StoreError::Damaged { .. }) => {}
            // The two bytes of the version.
            Err(StoreError::Version { .. }) => assert!((8..10).contains(&at)),
            other => panic!("{at}: {:?}", other.map(|r| r.len())),
        }
    }
    for len in 0..clean.len() {
        std::fs::write(&path, &clean[..len]).unwrap();
        assert!(matches!(reads(), Err(StoreError::Damaged { .. })), "{len}");
    }
    // Two records changed places.
    let mut bad = clean.clone();
    bad[512..768].rotate_left(128);
    std::fs::write(&path, bad).unwrap();
    assert!(matches!(reads(), Err(StoreError::Damaged { .. })));
    // A damaged record costs itself alone, and is named.
    let mut bad = clean.clone();
    bad[512 + 128 + 40] ^= 1;
    std::fs::write(&path, bad).unwrap();
    let blob = store.open_blob(ID, &key()).unwrap();
    assert!(blob.missing().unwrap() == std::slice::from_ref(&(1..2)));
    assert_eq!(&**blob.read_record(2).unwrap(), &bytes[200..]);
    std::fs::write(&path, clean).unwrap();
    assert_eq!(&**reads().unwrap(), &bytes[..]);
}

#[test]
fn foreign_files_are_no_blobs_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    drop(sample(folder.path(), 250));
    let foreign = ["README", "AB.blob", "+b".repeat(16).as_str()].map(|n| folder.path().join(n));
    for path in &foreign {
        std::fs::write(path, "somebody's").unwrap();
    }
    let other = BlobId([1; 16]);
    std::fs::write(file_of(folder.path(), other), vec![9; 5000]).unwrap();
    let store = open(folder.path());
    let opened = store.open_blob(other, &key()).map(drop);
    assert!(matches!(opened, Err(StoreError::Damaged { .. })));
    assert_eq!(store.retain(&BTreeSet::from([ID])).unwrap(), 1);
    assert!(foreign.iter().all(|path| path.exists()));
    assert_eq!(store.used_bytes(), 512 + 3 * 128);
    assert!(store.open_blob(ID, &key()).is_ok());
    assert_eq!(store.retain(&BTreeSet::new()).unwrap(), 1);
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn an_upload_that_ends_early_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut writer = store.create_stream(ID, &key(), 100).unwrap();
    writer.push(&content(1000)).unwrap();
    assert!(matches!(
        store.open_blob(ID, &key()).map(drop),
        Err(StoreError::Damaged { .. })
    ));
    drop(writer);
    assert_eq!(store.used_bytes(), 0);
    assert!(!file_of(folder.path(), ID).exists());
}

#[test]
fn the_limit_is_kept_and_its_room_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path(), 100_000, fresh_rng()).unwrap();
    let made = store.create(ID, &key(), 1000, 200_000).map(drop);
    assert!(matches!(made, Err(StoreError::Full)));
    let mut writer = store.create_stream(ID, &key(), 1000).unwrap();
    let mut taken = 0;
    let refused = loop {
        match writer.push(&content(1000)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full));
    assert_eq!(taken, (100_000 - 512) / 1028);
    drop(writer);
    assert_eq!(store.used_bytes(), 0);
    store.create(ID, &key(), 1000, 96_000).unwrap();
}

#[test]
fn a_full_disk_refuses_and_room_heals() {
    let Some(disk) = SmallDisk::mount(40) else {
        return;
    };
    let folder = disk.path().join("blobs");
    let store = open(&folder);
    // By ourselves: the reserve of a tenth stays free.
    let mut writer = store.create_stream(ID, &key(), 1920).unwrap();
    let chunk = content(100_000);
    let refused = loop {
        if let Err(error) = writer.push(&chunk) {
            break error;
        }
    };
    assert!(matches!(refused, StoreError::NoSpace));
    assert!(writer.len() > 30_000_000, "{}", writer.len());
    drop(writer);
    let kept = BlobId([2; 16]);
    let mut blob = store.create(kept, &key(), 1920, 5_000_000).unwrap();
    // By a foreign file: what was promised its room is still written, nothing new is begun.
    let foreign = disk.fill();
    let bytes = content(5_000_000);
    for index in 0..blob.records() {
        let from = index as usize * 1920;
        blob.write_record(index, &bytes[from..(from + 1920).min(5_000_000)])
            .unwrap();
        if index == 20 {
            break;
        }
    }
    blob.sync().unwrap();
    let made = store.create(ID, &key(), 1920, 10_000).map(drop);
    assert!(matches!(made, Err(StoreError::NoSpace)));
    let made = store.create_stream(ID, &key(), 1920).map(drop);
    assert!(matches!(made, Err(StoreError::NoSpace)));
    assert!(!file_of(&folder, ID).exists());
    drop((store, blob));
    let store = open(&folder);
    let blob = store.open_blob(kept, &key()).unwrap();
    assert_eq!(
        &**blob.read_record(20).unwrap(),
        &bytes[20 * 1920..21 * 1920]
    );
    std::fs::remove_file(foreign).unwrap();
    store.create(ID, &key(), 1920, 10_000).unwrap();
    store.remove(kept).unwrap();
}
