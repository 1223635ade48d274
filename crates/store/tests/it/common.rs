//! What the tests share: a small world of inboxes and cells whose content follows from their place.

use mizzle_core::stored::{InboxKey, InboxRecord, StoreOp, StoredCell, StoredInbox};
use std::collections::BTreeMap;
use std::path::Path;
use store::{InboxStore, StoreConfig, StoreError};
use wire::aead::SealKey;
use wire::geometry::CELL_LEN;
use wire::ids::{CellId, WriteTokenHash};
use wire::keys::IdentitySecret;
use wire::request::Cell;
use wire::rng::{KeyRng, Rng};
use wire::time::UnixTime;

pub(crate) const FAR: UnixTime = UnixTime(7_200_000);

pub(crate) fn master() -> SealKey {
    SealKey::from_bytes([0x11; 32])
}

pub(crate) fn rng(seed: u64) -> KeyRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    KeyRng::from_seed(bytes)
}

/// A seed that is another one each time the process runs: nonces must not repeat.
pub(crate) fn fresh_rng() -> KeyRng {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    rng(nanos as u64 ^ (u64::from(std::process::id()) << 40))
}

pub(crate) fn config() -> StoreConfig {
    StoreConfig {
        cells_max: 100_000,
        bucket_width: std::time::Duration::from_secs(10),
    }
}

pub(crate) fn open(folder: &Path) -> Result<(InboxStore, Vec<StoredInbox>), StoreError> {
    InboxStore::open_with(folder, master(), UnixTime(0), fresh_rng(), config())
}

pub(crate) fn inbox(n: u8) -> InboxKey {
    InboxKey([n; 32])
}

pub(crate) fn put_inbox(n: u8, expires: UnixTime) -> StoreOp {
    StoreOp::PutInbox {
        key: inbox(n),
        record: InboxRecord {
            reader: IdentitySecret::from_seed(&[n; 32]).public(),
            token_hash: WriteTokenHash([n; 32]),
            expires,
        },
    }
}

pub(crate) fn put_cell(n: u8, sequence: u64, expires: UnixTime) -> StoreOp {
    StoreOp::PutCell {
        key: inbox(n),
        cell: StoredCell {
            sequence,
            id: cell_id(n, sequence),
            expires,
        },
        content: content(n, sequence),
    }
}

pub(crate) fn remove_cell(n: u8, sequence: u64) -> StoreOp {
    StoreOp::RemoveCell {
        key: inbox(n),
        sequence,
    }
}

pub(crate) fn cell_id(n: u8, sequence: u64) -> CellId {
    let mut id = [n; 16];
    id[8..].copy_from_slice(&sequence.to_be_bytes());
    CellId(id)
}

pub(crate) fn content(n: u8, sequence: u64) -> Cell {
    let mut cell = Box::new([0; CELL_LEN]);
    rng(sequence ^ (u64::from(n) << 56)).fill_bytes(&mut cell[..]);
    cell
}

/// Sequences by inbox, as an index says them.
pub(crate) fn sequences(index: &[StoredInbox]) -> BTreeMap<u8, Vec<u64>> {
    index
        .iter()
        .map(|i| (i.key.0[0], i.cells.iter().map(|c| c.sequence).collect()))
        .collect()
}

/// Every cell of the index is read and has its content.
pub(crate) fn assert_contents(store: &mut InboxStore, index: &[StoredInbox]) {
    for i in index {
        for cell in &i.cells {
            let n = i.key.0[0];
            assert!(cell.id == cell_id(n, cell.sequence));
            let read = store.read_cell(i.key, cell.sequence).unwrap();
            assert!(read == Some(content(n, cell.sequence)));
        }
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else if entry.file_name() != "ballast" {
            // Reserved and never written.
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
