//! A count of commits that stands both in sled and in a file beside it, so that a sled log that lost
//! its end, or a file put back from an older copy, is noticed and not mistaken for an empty store.
//!
//! Two sealed entries, a sector apart, are written in turn; a power cut tears at most one. The file
//! is written *after* sled's commit is durable. So at any moment, crash or not:
//! `file ≤ sled ≤ file + 1`.

use crate::error::{StoreError, While};
use std::fs::File;
use std::os::unix::fs::FileExt;
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::{Reader, Writer};
use wire::rng::KeyRng;

/// Bytes at the head of a file that belong to its header and the ledger.
pub(crate) const HEAD_LEN: u64 = 4096;

const SECTOR: u64 = 512;
const ENTRY_LEN: usize = 16;
const SEALED_LEN: usize = ENTRY_LEN + SEAL_OVERHEAD;

/// What the last commit left.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// How many commits there were.
    pub(crate) commits: u64,
    /// How many slots the slot file had.
    pub(crate) slots: u32,
    /// How many places the bucket file had.
    pub(crate) buckets: u32,
}

/// Writes and reads the entries in sectors 1 and 2 of a file.
pub(crate) struct Ledger {
    key: SealKey,
    last: Entry,
}

impl Ledger {
    /// Reads the newest entry; `None` when the file has no readable one.
    pub(crate) fn read(file: &File, key: SealKey) -> Result<Option<Self>, StoreError> {
        let mut newest: Option<Entry> = None;
        for turn in 0..2 {
            let mut sealed = [0; SEALED_LEN];
            match file.read_exact_at(&mut sealed, position(turn)) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error).while_doing("reading the commit count"),
            }
            let Some(entry) = open(&key, turn, &sealed) else {
                continue;
            };
            if newest.is_none_or(|n| n.commits < entry.commits) {
                newest = Some(entry);
            }
        }
        Ok(newest.map(|last| Self { key, last }))
    }

    /// A ledger without a commit.
    pub(crate) fn new(key: SealKey) -> Self {
        Self {
            key,
            last: Entry::default(),
        }
    }

    /// The newest entry.
    pub(crate) fn last(&self) -> Entry {
        self.last
    }

    /// Checks sled's count against the file's.
    pub(crate) fn check(&self, in_sled: u64) -> Result<(), StoreError> {
        let in_file = self.last.commits;
        if in_sled < in_file {
            Err(StoreError::damaged(
                "the log lost its end, or is an old copy",
            ))
        } else if in_sled - in_file > 1 {
            Err(StoreError::damaged("a file beside the log is an old copy"))
        } else {
            Ok(())
        }
    }

    /// Writes the next entry; the caller syncs the file.
    pub(crate) fn write(
        &mut self,
        file: &File,
        entry: Entry,
        rng: &mut KeyRng,
    ) -> Result<(), StoreError> {
        let turn = entry.commits % 2;
        let mut w = Writer::with_capacity(ENTRY_LEN);
        w.u64(entry.commits).u32(entry.slots).u32(entry.buckets);
        let sealed = self.key.seal(&place(turn), &w.into_vec(), rng);
        file.write_all_at(&sealed, position(turn))
            .while_doing("writing the commit count")?;
        self.last = entry;
        Ok(())
    }
}

fn open(key: &SealKey, turn: u64, sealed: &[u8]) -> Option<Entry> {
    let plain = key.open(&place(turn), sealed).ok()?;
    let mut r = Reader::new(&plain);
    Some(Entry {
        commits: r.u64().ok()?,
        slots: r.u32().ok()?,
        buckets: r.u32().ok()?,
    })
}

fn position(turn: u64) -> u64 {
    SECTOR * (1 + turn)
}

fn place(turn: u64) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-store-ledger-v1").u64(turn);
    w.into_vec()
}
