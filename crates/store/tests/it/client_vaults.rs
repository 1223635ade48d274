//! Wiping: what a vault held cannot be opened any more with everything that is on the disk and the
//! store's key in hand.

use crate::common::{fresh_rng, master};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use store::{ClientStore, StoreError, VaultId, Write, destroy};
use wire::aead::SealKey;
use zeroize::Zeroizing;

const ALICE: VaultId = VaultId([0xa1; 16]);
const BOB: VaultId = VaultId([0xb0; 16]);

fn open(folder: &Path) -> Result<ClientStore, StoreError> {
    ClientStore::open(folder, master(), fresh_rng(), |_, _| None)
}

fn put(key: &[u8], value: &[u8], vault: Option<VaultId>) -> Write {
    Write {
        table: 1,
        key: key.to_vec(),
        value: Some(Zeroizing::new(value.to_vec())),
        vault,
    }
}

pub(crate) fn derived(label: &str) -> SealKey {
    SealKey::from_bytes(hmac(master().expose(), &[label.as_bytes()]))
}

pub(crate) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            // Reserved and never written.
            false if path.ends_with("ballast") => {}
            false => found.push(path),
        }
    }
    found
}

/// Tries a thief's way to one record, from every byte of every file: every vault key that the
/// store's key opens, every copy of the sealed record, each with each.
fn thief_reads(folder: &Path, key: &[u8], value: &[u8]) -> bool {
    let disk: Vec<Vec<u8>> = files(folder)
        .iter()
        .map(|f| std::fs::read(f).unwrap())
        .collect();
    let (slots, values) = (
        derived("mizzle-client-vaults-v1"),
        derived("mizzle-client-values-v1"),
    );
    let names = derived("mizzle-client-names-v1");
    let name = hmac(names.expose(), &[&[1], key]);
    let inner_len = 3 + key.len() + value.len() + 28;
    let outer_len = 8 + inner_len + 28;
    let (outer_place, inner_place) = (
        [&b"mizzle-client-record-v2"[..], &name].concat(),
        [&b"mizzle-client-vault-row-v1"[..], &name].concat(),
    );
    let (mut keys, mut inners) = (Vec::new(), Vec::new());
    for bytes in &disk {
        for window in bytes.windows(84) {
            for slot in 0..4u32 {
                let place = [&b"mizzle-client-vault-v1"[..], &slot.to_be_bytes()].concat();
                if window[0] | window[1] | window[2] | window[3] != 0
                    && let Ok(content) = slots.open(&place, window)
                {
                    keys.push(SealKey::from_bytes(content[24..56].try_into().unwrap()));
                }
            }
        }
        for window in bytes.windows(outer_len) {
            if window[..4] != [0; 4]
                && let Ok(plain) = values.open(&outer_place, window)
            {
                inners.push(plain[8..].to_vec());
            }
        }
    }
    assert!(!inners.is_empty(), "not even the sealed record was found");
    let opens = |inner: &Vec<u8>| {
        let mut opened = keys.iter().filter_map(|k| k.open(&inner_place, inner).ok());
        opened.any(|plain| plain.ends_with(value))
    };
    inners.iter().any(opens)
}

#[test]
fn a_wiped_vault_cannot_be_opened_with_all_that_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    store
        .commit(&[put(b"a", b"what alice said", Some(ALICE))])
        .unwrap();
    store
        .commit(&[put(b"b", b"what bob said", Some(BOB))])
        .unwrap();
    store.commit(&[put(b"o", b"nobody's", None)]).unwrap();
    // The thief is good enough to count.
    assert!(thief_reads(folder.path(), b"a", b"what alice said"));
    assert!(thief_reads(folder.path(), b"b", b"what bob said"));
    store.wipe(ALICE).unwrap();
    let check = |store: &ClientStore| {
        assert!(store.get(1, b"a").unwrap().is_none());
        let left: Vec<Vec<u8>> = store.scan(1).unwrap().into_iter().map(|r| r.0).collect();
        assert_eq!(left, [b"b", b"o"]);
        assert!(!thief_reads(folder.path(), b"a", b"what alice said"));
        assert!(thief_reads(folder.path(), b"b", b"what bob said"));
    };
    check(&store);
    drop(store);
    let mut store = open(folder.path()).unwrap();
    check(&store);
    // The name may be used again; the old key does not come back.
    store
        .commit(&[put(b"n", b"said anew", Some(ALICE))])
        .unwrap();
    assert_eq!(&**store.get(1, b"n").unwrap().unwrap(), b"said anew");
    assert!(!thief_reads(folder.path(), b"a", b"what alice said"));
    // A wipe of nothing is one.
    store.wipe(VaultId([9; 16])).unwrap();
}

#[test]
fn a_wipe_that_a_crash_interrupts_is_finished_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    store.commit(&[put(b"a", b"text", Some(ALICE))]).unwrap();
    store.commit(&[put(b"b", b"text", Some(BOB))]).unwrap();
    drop(store);
    // What stands there when the key was just overwritten: the mark and the tag.
    let path = folder.path().join("vaults");
    let mut bytes = std::fs::read(&path).unwrap();
    let slots = derived("mizzle-client-vaults-v1");
    let place = [&b"mizzle-client-vault-v1"[..], &[0; 4]].concat();
    let tag = slots.open(&place, &bytes[512..512 + 84]).unwrap()[..8].to_vec();
    bytes[512..640].fill(0);
    bytes[512..520].copy_from_slice(b"MZWIPED\0");
    bytes[520..528].copy_from_slice(&tag);
    std::fs::write(&path, bytes).unwrap();
    let store = open(folder.path()).unwrap();
    assert!(store.get(1, b"a").unwrap().is_none());
    assert!(store.get(1, b"b").unwrap().is_some());
    drop(store);
    assert!(
        std::fs::read(&path).unwrap()[512..640]
            .iter()
            .all(|b| *b == 0)
    );
    assert_eq!(open(folder.path()).unwrap().scan(1).unwrap().len(), 1);
}

#[test]
fn a_damaged_lost_or_old_file_of_vaults_is_noticed() {
    let sample = || {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path()).unwrap();
        store.commit(&[put(b"a", b"text", Some(ALICE))]).unwrap();
        folder
    };
    let refused = |change: &dyn Fn(&Path)| {
        let folder = sample();
        change(&folder.path().join("vaults"));
        let opened = open(folder.path()).map(drop);
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "{opened:?}"
        );
    };
    refused(&|path| std::fs::remove_file(path).unwrap());
    refused(&|path| std::fs::write(path, b"").unwrap());
    refused(&|path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(600).unwrap();
    });
    for at in [0, 512, 530, 590] {
        refused(&|path| {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        });
    }
    // A copy from before the vault was made.
    refused(&|path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[512..640].fill(0);
        std::fs::write(path, bytes).unwrap();
    });
}

#[test]
fn many_vaults_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    for round in 0..3u8 {
        let writes: Vec<Write> = (0..150u8)
            .map(|n| put(&[n], &[round, n], Some(VaultId([n; 16]))))
            .collect();
        store.commit(&writes).unwrap();
        for n in (0..150u8).filter(|n| n % 3 == round) {
            store.wipe(VaultId([n; 16])).unwrap();
        }
        let left = store.scan(1).unwrap();
        assert!(left.iter().all(|(key, value)| value[..] == [round, key[0]]));
        assert_eq!(left.len(), 100);
    }
    drop(store);
    assert_eq!(open(folder.path()).unwrap().scan(1).unwrap().len(), 100);
    let len = std::fs::metadata(folder.path().join("vaults"))
        .unwrap()
        .len();
    assert_eq!(len, 512 + 192 * 128);
}

#[test]
fn destroying_leaves_no_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    let mut store = open(&folder).unwrap();
    store.commit(&[put(b"a", b"text", Some(ALICE))]).unwrap();
    // A second name keeps the file, to see that it was overwritten and not only unlinked.
    let kept = parent.path().join("kept");
    std::fs::hard_link(folder.join("vaults"), &kept).unwrap();
    drop(store);
    destroy(&folder).unwrap();
    assert!(!folder.exists());
    assert!(std::fs::read(kept).unwrap().iter().all(|b| *b == 0));
    destroy(&folder).unwrap();
}
