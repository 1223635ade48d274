//! A store of format 1, laid out here by the words of its specification, opens and is upgraded; one
//! that is damaged still gives what opens.

use crate::client_vaults::{derived, hmac};
use crate::common::{copy_folder, fresh_rng, master};
use std::os::unix::fs::FileExt;
use std::path::Path;
use store::{ClientStore, StoreError, VaultId, Write, quarantined};
use wire::aead::SealKey;
use wire::time::UnixTime;
use zeroize::Zeroizing;

const ROWS: u8 = 40;

fn vault_of(table: u8, key: &[u8]) -> Option<VaultId> {
    (table == 2).then(|| VaultId([key[0]; 16]))
}

fn open(folder: &Path) -> Result<ClientStore, StoreError> {
    ClientStore::open(folder, master(), fresh_rng(), vault_of)
}

/// Format 1, by `docs/spec/store.md` §2.2.
fn write_v1(folder: &Path) {
    let mut rng = fresh_rng();
    let (names, values) = (
        derived("mizzle-client-names-v1"),
        derived("mizzle-client-values-v1"),
    );
    let mut clear = b"MZCLIENT".to_vec();
    clear.extend([0, 1]);
    let sealed = derived("mizzle-client-check-v1").seal(&clear, &[], &mut rng);
    let mut header = [&clear[..], &sealed].concat();
    header.resize(4096, 0);
    let commits = 7u64;
    let entry = [&commits.to_be_bytes()[..], &[0; 8]].concat();
    let turn = commits % 2;
    let place = [&b"mizzle-store-ledger-v1"[..], &turn.to_be_bytes()].concat();
    let entry = derived("mizzle-client-ledger-v1").seal(&place, &entry, &mut rng);
    let at = 512 * (1 + turn as usize);
    header[at..at + entry.len()].copy_from_slice(&entry);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("store"), header).unwrap();
    let db = sled::open(folder.join("sled")).unwrap();
    let tree = db.open_tree("records").unwrap();
    for n in 0..ROWS {
        let (table, key, value) = (1 + n % 2, [n, 7], [n; 300]);
        let name = hmac(names.expose(), &[&[table], &key]);
        let plain = [&[table, 0, 2][..], &key, &value].concat();
        let place = [&b"mizzle-client-record-v1"[..], &name].concat();
        tree.insert(name, values.seal(&place, &plain, &mut rng))
            .unwrap();
    }
    tree.insert("commits", &commits.to_be_bytes()).unwrap();
    db.flush().unwrap();
}

fn assert_rows(store: &ClientStore) {
    for table in [1, 2] {
        let rows = store.scan(table).unwrap();
        assert_eq!(rows.len(), usize::from(ROWS / 2));
        for (key, value) in rows {
            assert_eq!((key[1], 1 + key[0] % 2), (7, table));
            assert_eq!(value[..], [key[0]; 300]);
        }
    }
}

fn version(folder: &Path) -> u8 {
    std::fs::read(folder.join("store")).unwrap()[9]
}

#[test]
fn format_1_is_upgraded_and_its_rows_can_be_wiped() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    write_v1(&folder);
    assert_eq!(version(&folder), 1);
    let mut store = open(&folder).unwrap();
    assert_rows(&store);
    assert_eq!(version(&folder), 2);
    store.wipe(VaultId([5; 16])).unwrap();
    assert!(store.get(2, &[5, 7]).unwrap().is_none());
    assert_eq!(store.scan(2).unwrap().len(), usize::from(ROWS / 2) - 1);
    drop(store);
    assert_eq!(
        open(&folder).unwrap().scan(1).unwrap().len(),
        usize::from(ROWS / 2)
    );
    // Nothing of the old layout is left beside it.
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn an_upgrade_that_a_crash_interrupts_is_done_again_or_finished() {
    let parent = tempfile::tempdir().unwrap();
    let [folder, new, old] =
        ["store", "store.new", "store.old"].map(|name| parent.path().join(name));
    // Half a copy: it is thrown away.
    write_v1(&folder);
    drop(ClientStore::open(&new, master(), fresh_rng(), vault_of).unwrap());
    assert_rows(&open(&folder).unwrap());
    assert!(!new.exists());
    // Between the two renames: both are there under other names.
    write_v1(&old);
    std::fs::rename(&folder, &new).unwrap();
    assert_rows(&open(&folder).unwrap());
    // Before the old one was removed.
    write_v1(&old);
    assert_rows(&open(&folder).unwrap());
    assert!(!new.exists() && !old.exists());
}

#[test]
fn a_damaged_store_of_format_1_is_not_upgraded_and_not_lost() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    write_v1(&folder);
    let db = folder.join("sled/db");
    let bytes = std::fs::read(&db).unwrap();
    std::fs::write(&db, &bytes[..bytes.len().min(3000)]).unwrap();
    let opened = open(&folder).map(drop);
    assert!(
        matches!(opened, Err(StoreError::Damaged { .. })),
        "{opened:?}"
    );
    assert_eq!(version(&folder), 1);
    let other = SealKey::from_bytes([3; 32]);
    let opened = ClientStore::open(&folder, other, fresh_rng(), vault_of).map(drop);
    assert!(matches!(opened, Err(StoreError::WrongKey)));
}

fn write_current(folder: &Path) {
    let mut store = open(folder).unwrap();
    for n in 0..ROWS {
        let (table, key) = (1 + n % 2, vec![n, 7]);
        let write = Write {
            table,
            vault: vault_of(table, &key),
            key,
            value: Some(Zeroizing::new(vec![n; 300])),
        };
        store.commit(&[write]).unwrap();
    }
}

/// Salvages and says how many rows are there afterwards.
fn salvage(folder: &Path) -> usize {
    let now = UnixTime(1_000_000);
    let found = ClientStore::salvage(folder, &master(), fresh_rng(), now, vault_of).unwrap();
    assert!(!quarantined(folder).unwrap().is_empty());
    let store = open(folder).unwrap();
    let mut count = 0;
    for table in [1, 2] {
        for (key, value) in store.scan(table).unwrap() {
            assert_eq!((key[1], 1 + key[0] % 2), (7, table));
            assert_eq!(value[..], [key[0]; 300]);
            count += 1;
        }
    }
    assert_eq!(count, found.rows);
    count
}

#[test]
fn what_opens_is_salvaged_and_the_damaged_folder_is_kept() {
    let parent = tempfile::tempdir().unwrap();
    let clean = parent.path().join("clean");
    write_current(&clean);
    let all = usize::from(ROWS);
    let folder = parent.path().join("store");
    let damage = |name: &str, change: &dyn Fn(&Path)| {
        let _ = std::fs::remove_dir_all(&folder);
        copy_folder(&clean, &folder);
        change(&folder.join(name));
        assert!(open(&folder).is_err(), "{name}");
        salvage(&folder)
    };
    let flip = |at: u64| {
        move |path: &Path| {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 16], at).unwrap();
        }
    };
    let cut = |path: &Path| std::fs::write(path, b"").unwrap();
    assert_eq!(damage("store", &flip(20)), all);
    assert_eq!(damage("store", &flip(3)), all);
    assert_eq!(damage("store", &cut), all);
    // One vault does not open: its one row is lost.
    assert_eq!(damage("vaults", &flip(540)), all - 1);
    assert_eq!(damage("vaults", &cut), all / 2);
    assert_eq!(quarantined(&folder).unwrap().len(), store::QUARANTINED_MAX);
}

#[test]
fn damage_in_the_log_costs_some_rows_and_never_gives_wrong_ones() {
    let parent = tempfile::tempdir().unwrap();
    let clean = parent.path().join("clean");
    write_current(&clean);
    let len = std::fs::metadata(clean.join("sled/db")).unwrap().len();
    let used = len.min(400_000);
    let mut kept = Vec::new();
    for at in (100..used).step_by((used / 24) as usize) {
        let folder = parent.path().join(format!("store-{at}"));
        copy_folder(&clean, &folder);
        let db = folder.join("sled/db");
        let file = std::fs::OpenOptions::new().write(true).open(db).unwrap();
        file.write_all_at(&[0x5a; 64], at).unwrap();
        kept.push(match open(&folder) {
            Ok(store) => match (store.scan(1), store.scan(2)) {
                (Ok(one), Ok(two)) => one.len() + two.len(),
                _ => {
                    drop(store);
                    salvage(&folder)
                }
            },
            Err(StoreError::Damaged { .. }) => salvage(&folder),
            Err(other) => panic!("{other}"),
        });
    }
    println!("rows of {ROWS} after damage in the log: {kept:?}");
    assert!(kept.iter().any(|n| *n > 0));
}
