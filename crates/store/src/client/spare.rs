//! A second copy of the few rows without which a client is nobody: one small sealed file beside the log,
//! replaced as a whole. `docs/spec/store.md` §2.5, `docs/decisions/0011`.
//!
//! One flipped bit can cost sled everything that it holds; this file then still says who we are. It is
//! never read while the log is whole: [`super::rebuild`] takes from it what the log no longer gives.
//!
//! It follows the log with a delay of a second at most ([`crate::ClientStore::tend`]), so that no commit waits for it.

use crate::derive::derive;
use crate::files::LockedFolder;
use std::collections::BTreeMap;
use std::path::Path;
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::{DecodeError, Reader, Writer};
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// Bytes of all rows in it; with more there is no copy.
pub(super) const SPARE_MAX: usize = 8 << 20;

const FILE: &str = "spare";
const MAGIC: &[u8; 8] = b"MZSPARE\0";
const VERSION: u16 = 1;
const HEAD_LEN: usize = 10;

/// Rows by table and key.
pub(super) type Rows = BTreeMap<(u8, Vec<u8>), Zeroizing<Vec<u8>>>;

/// What the file should hold, and whether it does.
pub(super) struct Spare {
    key: SealKey,
    tables: &'static [u8],
    rows: Rows,
    written: bool,
}

impl Spare {
    /// The copy of `tables`, whose rows are these.
    pub(super) fn new(
        folder: &LockedFolder,
        key: SealKey,
        tables: &'static [u8],
        rows: Rows,
    ) -> Self {
        let written = read(folder.path(), &key).is_some_and(|found| found == rows);
        Self {
            key,
            tables,
            rows,
            written,
        }
    }

    /// A row was committed, or deleted.
    pub(super) fn note(&mut self, table: u8, key: &[u8], value: Option<&Zeroizing<Vec<u8>>>) {
        if !self.tables.contains(&table) {
            return;
        }
        let at = (table, key.to_vec());
        let changed = match value {
            Some(value) => self.rows.insert(at, value.clone()).as_ref() != Some(value),
            None => self.rows.remove(&at).is_some(),
        };
        self.written &= !changed;
    }

    /// Makes the file what it should be. One that finds no room is tried again later; the old one stays.
    pub(super) fn settle(&mut self, folder: &LockedFolder, rng: &mut KeyRng) {
        if !self.written {
            self.written = folder.create(FILE, &self.encode(rng)).is_ok();
        }
    }

    fn encode(&self, rng: &mut KeyRng) -> Vec<u8> {
        let bytes = self.rows.iter();
        let bytes: usize = bytes
            .map(|((_, key), value)| 7 + key.len() + value.len())
            .sum();
        let mut w = Writer::with_capacity(bytes);
        // Too much is no copy rather than half a one.
        for ((table, key), value) in self.rows.iter().filter(|_| bytes <= SPARE_MAX) {
            w.u8(*table).u16(key.len() as u16).put(key);
            w.u32(value.len() as u32).put(value);
        }
        let plain = Zeroizing::new(w.into_vec());
        let mut file = head();
        let sealed = self.key.seal(&head(), &plain, rng);
        file.extend_from_slice(&sealed);
        file
    }
}

/// The key that seals the file.
pub(super) fn key(master: &SealKey) -> SealKey {
    derive(master, "mizzle-client-spare-v1")
}

/// What the file holds; `None` when there is none, or it does not open.
pub(super) fn read(folder: &Path, key: &SealKey) -> Option<Rows> {
    let path = folder.join(FILE);
    let longest = (HEAD_LEN + SEAL_OVERHEAD + SPARE_MAX) as u64;
    if std::fs::metadata(&path).ok()?.len() > longest {
        return None;
    }
    let bytes = std::fs::read(&path).ok()?;
    let sealed = bytes.strip_prefix(&head()[..])?;
    decode(&key.open(&head(), sealed).ok()?).ok()
}

fn head() -> Vec<u8> {
    let mut w = Writer::with_capacity(HEAD_LEN);
    w.put(MAGIC).u16(VERSION);
    w.into_vec()
}

fn decode(plain: &[u8]) -> Result<Rows, DecodeError> {
    let mut r = Reader::new(plain);
    let mut rows = Rows::new();
    while r.remaining() > 0 {
        let table = r.u8()?;
        let len = usize::from(r.u16()?);
        let key = r.slice(len)?.to_vec();
        let len = r.u32()? as usize;
        rows.insert((table, key), Zeroizing::new(r.slice(len)?.to_vec()));
    }
    Ok(rows)
}
