//! The client's store against a map, with other keys, other versions and damage.

use crate::common::{copy_folder, fresh_rng, master};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use store::{ClientStore, KEY_MAX, StoreError, VALUE_MAX, Write};
use wire::aead::SealKey;
use zeroize::Zeroizing;

fn open(folder: &Path) -> Result<ClientStore, StoreError> {
    ClientStore::open(folder, master(), fresh_rng(), |_, _| None)
}

fn put(table: u8, key: &[u8], value: &[u8]) -> Write {
    Write {
        table,
        key: key.to_vec(),
        value: Some(Zeroizing::new(value.to_vec())),
        vault: None,
    }
}

fn delete(table: u8, key: &[u8]) -> Write {
    Write {
        table,
        key: key.to_vec(),
        value: None,
        vault: None,
    }
}

fn scan(store: &ClientStore, table: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let records = store.scan(table).unwrap();
    records.into_iter().map(|(k, v)| (k, v.to_vec())).collect()
}

type Change = (u8, Vec<u8>, Option<Vec<u8>>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = proptest::collection::vec(0..3u8, 0..3);
    let value = proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 0..300));
    proptest::collection::vec((0..3u8, key, value), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() })]
    #[test]
    fn does_what_a_map_would_do(
        batches in proptest::collection::vec((changes(), any::<bool>()), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path()).unwrap();
        let mut model: BTreeMap<(u8, Vec<u8>), Vec<u8>> = BTreeMap::new();
        for (batch, reopen) in batches {
            let writes: Vec<Write> = batch
                .iter()
                .map(|(table, key, value)| Write {
                    table: *table,
                    key: key.clone(),
                    value: value.clone().map(Zeroizing::new),
                    vault: None,
                })
                .collect();
            store.commit(&writes).unwrap();
            for (table, key, value) in batch {
                match value {
                    Some(value) => model.insert((table, key), value),
                    None => model.remove(&(table, key)),
                };
            }
            if reopen {
                drop(store);
                store = open(folder.path()).unwrap();
            }
            for table in 0..3 {
                let ours: Vec<_> = model
                    .iter()
                    .filter(|((t, _), _)| *t == table)
                    .map(|((_, k), v)| (k.clone(), v.clone()))
                    .collect();
                prop_assert_eq!(scan(&store, table), ours);
            }
            for ((table, key), value) in &model {
                prop_assert_eq!(&**store.get(*table, key).unwrap().unwrap(), &**value);
            }
        }
    }
}

#[test]
fn lengths_are_bounded_and_refusal_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    store
        .commit(&[put(1, &[1; KEY_MAX], &vec![2; VALUE_MAX])])
        .unwrap();
    let too_long = [put(1, b"a", b"b"), put(1, b"c", &vec![0; VALUE_MAX + 1])];
    assert!(matches!(store.commit(&too_long), Err(StoreError::TooLong)));
    assert!(matches!(
        store.commit(&[put(1, &[0; KEY_MAX + 1], b"")]),
        Err(StoreError::TooLong)
    ));
    assert!(store.get(1, b"a").unwrap().is_none());
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(scan(&store, 1).len(), 1);
}

#[test]
fn neither_key_nor_value_stands_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    store
        .commit(&[put(1, b"canary-key-0123", b"canary-value-4567")])
        .unwrap();
    store.commit(&[delete(1, b"canary-key-0123")]).unwrap();
    drop(store);
    let log = std::fs::read(folder.path().join("sled/db")).unwrap();
    for canary in [&b"canary-key"[..], b"canary-value"] {
        assert!(!log.windows(canary.len()).any(|w| w == canary));
    }
}

#[test]
fn another_key_version_or_process_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(
        open(folder.path()).map(drop),
        Err(StoreError::Locked)
    ));
    drop(store);
    let other = ClientStore::open(
        folder.path(),
        SealKey::from_bytes([3; 32]),
        fresh_rng(),
        |_, _| None,
    );
    assert!(matches!(other.map(drop), Err(StoreError::WrongKey)));
    let path = folder.path().join("store");
    let mut header = std::fs::read(&path).unwrap();
    header[9] = 3;
    std::fs::write(&path, header).unwrap();
    let newer = open(folder.path()).map(drop);
    assert!(matches!(
        newer,
        Err(StoreError::Version { found: 3, known: 2 })
    ));
}

#[test]
fn lost_cut_or_old_files_are_noticed() {
    let sample = || {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path()).unwrap();
        for n in 0..30u8 {
            store.commit(&[put(1, &[n], &[n; 1500])]).unwrap();
        }
        folder
    };
    for (name, len) in [
        ("store", None),
        ("store", Some(0)),
        ("store", Some(500)),
        ("sled/db", None),
        ("sled/db", Some(0)),
        ("sled/db", Some(20_000)),
    ] {
        let folder = sample();
        let path = folder.path().join(name);
        match len {
            Some(len) => {
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(len).unwrap();
            }
            None => std::fs::remove_file(&path).unwrap(),
        }
        let opened = open(folder.path()).map(drop);
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "{name} {len:?}: {opened:?}"
        );
    }
    let folder = sample();
    let old = tempfile::tempdir().unwrap();
    copy_folder(&folder.path().join("sled"), old.path());
    let mut store = open(folder.path()).unwrap();
    store.commit(&[put(1, b"new", b"value")]).unwrap();
    store.commit(&[put(1, b"newer", b"value")]).unwrap();
    drop(store);
    copy_folder(old.path(), &folder.path().join("sled"));
    assert!(matches!(
        open(folder.path()).map(drop),
        Err(StoreError::Damaged { .. })
    ));
}
