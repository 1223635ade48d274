//! The flat file that holds the key of each cell, overwritten in place when the cell is gone.
//!
//! After a head of [`HEAD_LEN`] bytes (magic, version, ledger) stand slots of [`SLOT_LEN`] bytes: the
//! bucket's number in clear, and sealed under the bucket's key the cell's key and its place. A free
//! slot is all zero. Four slots fill a sector of 512 bytes and none crosses its border.

use super::buckets::{BucketNumber, Buckets};
use crate::error::{StoreError, While};
use crate::ledger::HEAD_LEN;
use mizzle_core::stored::{InboxKey, StoredCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::{Reader, Writer};
use wire::ids::CellId;
use wire::rng::KeyRng;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// One slot in bytes.
pub(super) const SLOT_LEN: usize = 128;
/// Slots by which the file grows: 64 KiB.
pub(super) const CHUNK_SLOTS: u32 = 512;

const CONTENT_LEN: usize = 32 + 32 + 8 + 16 + 8;
const SEALED_LEN: usize = CONTENT_LEN + SEAL_OVERHEAD;
const MAGIC: &[u8; 8] = b"MZSLOTS\0";
const VERSION: u16 = 1;

const _: () = assert!(4 + SEALED_LEN == SLOT_LEN);

/// Index of a slot in the file.
pub(super) type SlotIndex = u32;

/// What a slot holds.
#[derive(Clone)]
pub(super) struct Slot {
    /// Of which inbox the cell is.
    pub(super) inbox: InboxKey,
    /// Which cell.
    pub(super) cell: StoredCell,
    /// What opens it.
    pub(super) key: SealKey,
}

/// The file and its free slots.
pub(super) struct Slots {
    file: File,
    /// Smallest first, so that the file stays dense.
    free: BTreeSet<SlotIndex>,
    len: u32,
    max: u32,
}

/// One slot as it was found at start.
pub(super) enum Found {
    /// A cell's key.
    Slot(Slot),
    /// Neither zero nor opened by any living bucket's key: expired, torn or damaged.
    Unreadable(BucketNumber),
}

impl Slots {
    /// The head of a new file.
    pub(super) fn head() -> Vec<u8> {
        let mut w = Writer::with_capacity(HEAD_LEN as usize);
        w.put(MAGIC).u16(VERSION);
        w.into_padded(HEAD_LEN as usize)
    }

    /// Checks the head; no slot is read yet and none is free.
    pub(super) fn open(file: File, max: u32) -> Result<Self, StoreError> {
        let mut head = [0; 10];
        file.read_exact_at(&mut head, 0)
            .map_err(|_| StoreError::damaged("the slot file is too short"))?;
        let (magic, version) = head.split_at(8);
        if magic != MAGIC {
            return Err(StoreError::damaged("the slot file is no slot file"));
        }
        let version = u16::from_be_bytes([version[0], version[1]]);
        if version != VERSION {
            return Err(StoreError::Version {
                found: version,
                known: VERSION,
            });
        }
        let bytes = file.metadata().while_doing("reading the slot file")?.len();
        let slots = bytes
            .checked_sub(HEAD_LEN)
            .ok_or_else(|| StoreError::damaged("the slot file is too short"))?
            / SLOT_LEN as u64;
        let len =
            u32::try_from(slots).map_err(|_| StoreError::damaged("the slot file is too long"))?;
        Ok(Self {
            file,
            free: BTreeSet::new(),
            len,
            max: max.max(1),
        })
    }

    /// Reads all slots once, notes the free ones and calls `visit` for the others.
    pub(super) fn scan(
        &mut self,
        buckets: &Buckets,
        mut visit: impl FnMut(SlotIndex, Found),
    ) -> Result<(), StoreError> {
        let mut chunk = vec![0; CHUNK_SLOTS as usize * SLOT_LEN];
        let mut next = 0;
        while next < self.len {
            let count = CHUNK_SLOTS.min(self.len - next);
            let bytes = &mut chunk[..count as usize * SLOT_LEN];
            self.file
                .read_exact_at(bytes, offset(next))
                .while_doing("reading the slot file")?;
            for (index, slot) in (next..).zip(bytes.chunks_exact(SLOT_LEN)) {
                if slot.iter().all(|b| *b == 0) {
                    self.free.insert(index);
                } else {
                    visit(index, find(index, slot, buckets));
                }
            }
            next += count;
        }
        Ok(())
    }

    /// Whether `used` slots are as many as there may be.
    pub(super) fn is_full(&self, used: usize) -> bool {
        used >= self.max as usize
    }

    /// A free slot, or a grown file, or [`StoreError::Full`].
    pub(super) fn take(&mut self) -> Result<SlotIndex, StoreError> {
        if self.free.is_empty() {
            self.grow()?;
        }
        self.free.pop_first().ok_or(StoreError::Full)
    }

    /// Adds a chunk of zeros, so that a full disk is noticed here and not by an overwrite.
    pub(super) fn grow(&mut self) -> Result<(), StoreError> {
        let count = CHUNK_SLOTS.min(self.max.saturating_sub(self.len));
        if count == 0 {
            return Ok(());
        }
        let zeros = vec![0; count as usize * SLOT_LEN];
        self.file
            .write_all_at(&zeros, offset(self.len))
            .while_doing("growing the slot file")?;
        self.file.sync_all().while_doing("syncing the slot file")?;
        self.free.extend(self.len..self.len + count);
        self.len += count;
        Ok(())
    }

    /// Writes a slot. The bucket lives.
    pub(super) fn write(
        &self,
        index: SlotIndex,
        slot: &Slot,
        buckets: &Buckets,
        rng: &mut KeyRng,
    ) -> Result<(), StoreError> {
        let bucket = buckets.number(slot.cell.expires);
        let key = buckets.key(bucket).ok_or(StoreError::Stopped)?;
        let mut w = Writer::with_capacity(CONTENT_LEN);
        w.put(slot.key.expose())
            .put(&slot.inbox.0)
            .u64(slot.cell.sequence)
            .put(&slot.cell.id.0)
            .u64(slot.cell.expires.0);
        let content = Zeroizing::new(w.into_vec());
        let mut w = Writer::with_capacity(SLOT_LEN);
        w.u32(bucket)
            .put(&key.seal(&place(index, bucket), &content, rng));
        self.put(index, &w.into_vec())
    }

    /// Reads one slot; `None` when it does not open.
    pub(super) fn read(
        &self,
        index: SlotIndex,
        buckets: &Buckets,
    ) -> Result<Option<Slot>, StoreError> {
        let mut bytes = [0; SLOT_LEN];
        self.file
            .read_exact_at(&mut bytes, offset(index))
            .while_doing("reading the slot file")?;
        match find(index, &bytes, buckets) {
            Found::Slot(slot) => Ok(Some(slot)),
            Found::Unreadable(_) => Ok(None),
        }
    }

    /// Overwrites a slot in place; what it opened cannot be opened again.
    pub(super) fn erase(&mut self, index: SlotIndex) -> Result<(), StoreError> {
        self.put(index, &[0; SLOT_LEN])?;
        self.free.insert(index);
        Ok(())
    }

    /// How many slots the file has.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The file, for the ledger in its head.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Everything written so far is on the disk when this returns.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().while_doing("syncing the slot file")
    }

    fn put(&self, index: SlotIndex, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all_at(bytes, offset(index))
            .while_doing("writing the slot file")
    }
}

pub(super) fn find(index: SlotIndex, bytes: &[u8], buckets: &Buckets) -> Found {
    let (head, sealed) = bytes.split_at(4);
    let bucket = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let opened = buckets
        .key(bucket)
        .and_then(|key| key.open(&place(index, bucket), sealed).ok());
    match opened.and_then(|content| decode(&content)) {
        Some(slot) => Found::Slot(slot),
        None => Found::Unreadable(bucket),
    }
}

fn decode(content: &[u8]) -> Option<Slot> {
    let mut r = Reader::new(content);
    let key = SealKey::from_bytes(r.array().ok()?);
    let inbox = InboxKey(r.array().ok()?);
    let cell = StoredCell {
        sequence: r.u64().ok()?,
        id: CellId(r.array().ok()?),
        expires: UnixTime(r.u64().ok()?),
    };
    r.finish().ok()?;
    Some(Slot { inbox, cell, key })
}

fn place(index: SlotIndex, bucket: BucketNumber) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-store-slot-v1").u32(index).u32(bucket);
    w.into_vec()
}

fn offset(index: SlotIndex) -> u64 {
    HEAD_LEN + u64::from(index) * SLOT_LEN as u64
}
