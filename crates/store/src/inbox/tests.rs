//! What is left on the disk after a removal, asked with everything at hand: all files and the
//! master key. Here and not in `tests/`, because it needs the formats' insides.

use super::buckets::Buckets;
use super::slots::{SLOT_LEN, Slots};
use super::*;
use wire::geometry::CELL_LEN;
use wire::ids::{CellId, InboxId};
use wire::keys::IdentitySecret;

const INBOX: InboxKey = InboxKey([0x77; 32]);

fn master() -> SealKey {
    SealKey::from_bytes([0x11; 32])
}

fn open(folder: &Path, seed: u8, now: UnixTime) -> (InboxStore, Vec<StoredInbox>) {
    let config = StoreConfig {
        cells_max: 1000,
        bucket_width: Duration::from_secs(10),
    };
    let rng = KeyRng::from_seed([seed; 32]);
    InboxStore::open_with(folder, master(), now, rng, config).unwrap()
}

fn record() -> InboxRecord {
    InboxRecord {
        reader: IdentitySecret::from_seed(&[4; 32]).public(),
        token_hash: WriteTokenHash([5; 32]),
        expires: UnixTime(100_000),
    }
}

fn put(sequence: u64, expires: u64) -> StoreOp {
    StoreOp::PutCell {
        key: INBOX,
        cell: StoredCell {
            sequence,
            id: CellId([sequence as u8; 16]),
            expires: UnixTime(expires),
        },
        content: content(sequence),
    }
}

fn content(sequence: u64) -> Cell {
    Box::new([sequence as u8 ^ 0xc3; CELL_LEN])
}

/// All that sled still holds of a cell's sealed bytes.
struct Sealed {
    sequence: u64,
    bytes: Vec<u8>,
}

fn sealed(store: &InboxStore, sequence: u64) -> Sealed {
    let key = cell_key(&INBOX, sequence);
    let bytes = store.db.get(TREE_CELLS, &key).unwrap().unwrap();
    Sealed { sequence, bytes }
}

fn read_all(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(read_all(&path));
        } else if !path.ends_with("ballast") {
            // The ballast is reserved and never written.
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read(&path).unwrap()));
        }
    }
    found
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// Tries every slot-sized window of every file under every bucket key that any window of the bucket
/// file gives, and every cell key so found on the sealed bytes.
fn can_be_opened(folder: &Path, cell: &Sealed) -> bool {
    let buckets = std::fs::File::open(folder.join("buckets")).unwrap();
    let buckets = Buckets::open(buckets, &master()).unwrap();
    let slots = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(folder.join("slots"))
        .unwrap();
    let mut slots = Slots::open(slots, 1000).unwrap();
    let mut keys = Vec::new();
    slots
        .scan(&buckets, |_, found| {
            if let slots::Found::Slot(slot) = found {
                keys.push(slot.key);
            }
        })
        .unwrap();
    // The reader above only believes what lies in place; this one takes any bytes for a slot's
    // sealed part, under any living bucket's key and any index.
    for (_, bytes) in read_all(folder) {
        for at in 0..bytes.len().saturating_sub(SLOT_LEN) {
            if bytes[at..at + 3] != [0, 0, 0] {
                continue;
            }
            for index in 0..8 {
                if let Some(slot) = slots_find(index, &bytes[at..at + SLOT_LEN], &buckets) {
                    keys.push(slot.key);
                }
            }
        }
    }
    let place = cell_place(&INBOX, cell.sequence);
    keys.iter().any(|key| key.open(&place, &cell.bytes).is_ok())
}

fn slots_find(index: u32, bytes: &[u8], buckets: &Buckets) -> Option<Slot> {
    match slots::find(index, bytes, buckets) {
        slots::Found::Slot(slot) => Some(slot),
        slots::Found::Unreadable(_) => None,
    }
}

#[test]
fn an_acknowledged_cell_cannot_be_opened_with_all_that_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path(), 1, UnixTime(0));
    store
        .apply(&StoreOp::PutInbox {
            key: INBOX,
            record: record(),
        })
        .unwrap();
    store.apply(&put(1, 5_000)).unwrap();
    store.apply(&put(2, 5_000)).unwrap();
    store.commit().unwrap();
    let (gone, kept) = (sealed(&store, 1), sealed(&store, 2));
    // The search finds what can be found.
    assert!(can_be_opened(folder.path(), &gone));
    let key = INBOX;
    store
        .apply(&StoreOp::RemoveCell { key, sequence: 1 })
        .unwrap();
    store.commit().unwrap();
    assert!(!can_be_opened(folder.path(), &gone));
    assert!(can_be_opened(folder.path(), &kept));
    // sled does still hold the sealed bytes: that they are useless is the slot file's doing.
    let files = read_all(folder.path());
    assert!(files.iter().any(|(_, f)| contains(f, &gone.bytes)));
    assert!(files.iter().all(|(_, f)| !contains(f, &content(1)[..64])));
    drop(store);
    assert!(!can_be_opened(folder.path(), &gone));
    // The same for the whole inbox.
    let (mut store, _) = open(folder.path(), 2, UnixTime(0));
    store.apply(&StoreOp::RemoveInbox { key: INBOX }).unwrap();
    store.commit().unwrap();
    assert!(!can_be_opened(folder.path(), &kept));
}

#[test]
fn an_expired_cell_cannot_be_opened_though_its_slot_is_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path(), 1, UnixTime(0));
    store
        .apply(&StoreOp::PutInbox {
            key: INBOX,
            record: record(),
        })
        .unwrap();
    store.apply(&put(1, 5_000)).unwrap();
    store.apply(&put(2, 15_000)).unwrap();
    store.commit().unwrap();
    let (gone, kept) = (sealed(&store, 1), sealed(&store, 2));
    let slots = std::fs::read(folder.path().join("slots")).unwrap();
    store.expire(UnixTime(10_000)).unwrap();
    store.commit().unwrap();
    // As if the slot had been copied away before: the bucket's key is gone, and that is enough.
    std::fs::write(folder.path().join("slots"), slots).unwrap();
    assert!(!can_be_opened(folder.path(), &gone));
    assert!(can_be_opened(folder.path(), &kept));
}

#[test]
fn expired_while_closed_is_gone_after_opening() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path(), 1, UnixTime(0));
    store
        .apply(&StoreOp::PutInbox {
            key: INBOX,
            record: record(),
        })
        .unwrap();
    store.apply(&put(1, 5_000)).unwrap();
    store.commit().unwrap();
    let gone = sealed(&store, 1);
    drop(store);
    // Before the bucket's end, after the cell's: its slot is erased.
    let (store, index) = open(folder.path(), 2, UnixTime(6_000));
    assert!(index[0].cells.is_empty());
    assert!(!can_be_opened(folder.path(), &gone));
    drop(store);
}

#[test]
fn neither_inbox_record_nor_cell_nor_key_stands_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let id = InboxId([0x5a; 32]);
    let key = InboxKey(crate::derive::mac(&master(), &[&id.0]));
    let (mut store, _) = open(folder.path(), 1, UnixTime(0));
    let record = record();
    let reader = record.reader.to_bytes();
    store.apply(&StoreOp::PutInbox { key, record }).unwrap();
    let StoreOp::PutCell { cell, content, .. } = put(1, 5_000) else {
        unreachable!()
    };
    let canary = content[..32].to_vec();
    store
        .apply(&StoreOp::PutCell { key, cell, content })
        .unwrap();
    store.commit().unwrap();
    drop(store);
    let hex = |b: &[u8]| -> Vec<u8> {
        let text: String = b.iter().map(|b| format!("{b:02x}")).collect();
        text.into_bytes()
    };
    // 24 bytes of 0x5a in base64, whatever the phase of the three is.
    let base64 = b"WlpaWlpaWlpaWlpaWlpa".to_vec();
    for (name, bytes) in read_all(folder.path()) {
        for clear in [&id.0[..], &hex(&id.0), &base64, &reader, &[5; 32], &canary] {
            assert!(!contains(&bytes, clear), "{name}");
        }
        assert!(!contains(&bytes, master().expose()), "{name}");
    }
}

/// `docs/spec/store.md` §5. With this seed the bytes must be the same next year, or stores made
/// today do not open then.
#[test]
fn frozen_files() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path(), 9, UnixTime(0));
    store
        .apply(&StoreOp::PutInbox {
            key: INBOX,
            record: record(),
        })
        .unwrap();
    store.apply(&put(1, 5_000)).unwrap();
    store.commit().unwrap();
    let hex = |b: &[u8]| -> String { b.iter().map(|b| format!("{b:02x}")).collect() };
    let slots = std::fs::read(folder.path().join("slots")).unwrap();
    let buckets = std::fs::read(folder.path().join("buckets")).unwrap();
    let cell = sealed(&store, 1);
    assert_eq!(hex(&buckets[..46]), FROZEN_BUCKETS_HEAD);
    assert_eq!(hex(&buckets[512..576]), FROZEN_BUCKET);
    assert_eq!(hex(&slots[4096..4096 + SLOT_LEN]), FROZEN_SLOT);
    assert_eq!(hex(&cell.bytes[..44]), FROZEN_CELL_START);
}

const FROZEN_BUCKETS_HEAD: &str = "4d5a4255434b455400010000000000002710f2a76980dfc7a4924b326a129f5fd02effd42e666848446da6d8\
    5e2d";
const FROZEN_BUCKET: &str = "00000001f6ef6368c00f7d37e1097677f28ac295c7feb24723a04eccfb1a808fb2cd1d50d0b3ff262d805b77\
    ab4384eee87ec52d9aa3d6adc32e00b8d3df67b0";
const FROZEN_SLOT: &str = "000000010ee121ce904651c2d2f3a2656de10792e69fd4173e521bc0f305bbadc9947ce54549bf96b2c5a93f\
    c3511c11993fa120b9a571470bd730deb55be594b6ac7a22a53ae3395ea43b05374c2d3743684ba3940a698f\
    5261e2c5bc5b456ffc604441af7c05bbebcc503b0f72ca46350049a6c80da65a2e74af3bed4f1a70";
const FROZEN_CELL_START: &str =
    "20986a5d951da12601cc55d958f3b6da0437254baff35dd17680773bef6b0991538e48d15d591b7bc03d743f";
