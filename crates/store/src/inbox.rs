//! What a gateway keeps for its inboxes. `docs/spec/store.md`.
//!
//! Inbox records and cells lie in sled; the key of each cell lies in the slot file, wrapped by the
//! key of the bucket in which the cell expires. Erasing a slot, or a bucket's key, makes what sled
//! still holds of the cell unreadable at once. Inbox ids never come here: [`InboxKey`] is a keyed
//! hash.
//!
//! A full disk costs nothing that is there: no write is begun that might not find room
//! (`crate::database`). New cells are refused, while cells are read and removed; what cannot be taken
//! out of the log then is taken out later, its key is gone at once.
//!
//! [`InboxStore`] is synchronous and belongs to one thread; [`crate::InboxThread`] is that thread.

mod buckets;
mod recover;
mod slots;
#[cfg(test)]
mod tests;

use crate::database::Database;
use crate::error::StoreError;
use crate::files::LockedFolder;
use crate::ledger::{Entry, Ledger};
use buckets::Buckets;
use mizzle_core::stored::{InboxKey, InboxRecord, StoreOp, StoredCell, StoredInbox};
use slots::{Slot, SlotIndex, Slots};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use wire::aead::SealKey;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::WriteTokenHash;
use wire::keys::IdentityPublic;
use wire::request::Cell;
use wire::rng::KeyRng;
use wire::time::UnixTime;

/// Room that one new cell or inbox may take, the growth of all files included.
const GROWTH: u64 = 128 << 10;
/// What a cell takes in the log.
const CELL_BYTES: u64 = 2200;

/// Cells and inboxes that one [`InboxStore::expire`] removes, so that it stays short.
pub const EXPIRE_BATCH: usize = 256;

const TREE_INBOXES: usize = 0;
const TREE_CELLS: usize = 1;
const TREE_META: usize = 2;
const TREES: [&str; 3] = ["inboxes", "cells", "meta"];
const COMMITS: &[u8] = b"commits";

/// How large a store may grow, and how finely it forgets.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// Most cells; one more is [`StoreError::Full`]. Each takes 128 bytes in the slot file, about
    /// 2.1 KB in sled and about 200 bytes of memory.
    pub cells_max: u32,
    /// An expiry is rounded up to a multiple of this to find the bucket whose key is destroyed then.
    /// Of an existing store the width it was made with holds.
    pub bucket_width: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            cells_max: 65_536,
            bucket_width: Duration::from_secs(3600),
        }
    }
}

/// What [`InboxStore::expire`] did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Expired {
    /// Buckets whose key was destroyed.
    pub buckets: usize,
    /// Cells removed.
    pub cells: usize,
    /// Inboxes removed.
    pub inboxes: usize,
    /// Whether more is left to remove; call again after a commit.
    pub more: bool,
}

/// What [`InboxStore::open`] found and removed. A crash leaves at most what one uncommitted batch
/// held; more than that means damage that went unnoticed below.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Swept {
    /// Slots whose cell is not in the log.
    pub slots_without_cell: usize,
    /// Cells in the log that no slot opens.
    pub cells_without_slot: usize,
    /// Cells whose inbox is not open.
    pub cells_without_inbox: usize,
    /// Slots that no living bucket's key opens: expired, torn or damaged.
    pub unreadable_slots: usize,
    /// Cells and inboxes that expired while the store was closed.
    pub expired: usize,
}

struct Kept {
    slot: SlotIndex,
    expires: UnixTime,
}

/// The inboxes of one gateway on disk.
///
/// Changes are made by [`InboxStore::apply`] and are durable after [`InboxStore::commit`]. After any
/// error that is no refusal ([`StoreError::is_refusal`]) the store has stopped: it answers
/// [`StoreError::Stopped`] to everything, because after a failed sync nobody knows what is on the
/// disk.
pub struct InboxStore {
    db: Database,
    slots: Slots,
    buckets: Buckets,
    ledger: Ledger,
    record_key: SealKey,
    rng: KeyRng,
    cells: BTreeMap<(InboxKey, u64), Kept>,
    inboxes: BTreeMap<InboxKey, UnixTime>,
    cells_by_expiry: BTreeSet<(UnixTime, InboxKey, u64)>,
    inboxes_by_expiry: BTreeSet<(UnixTime, InboxKey)>,
    expired_until: UnixTime,
    swept: Swept,
    /// Something in the log is not durable yet.
    log_dirty: bool,
    /// A slot is not durable yet.
    slots_dirty: bool,
    /// Cells whose key is gone and which the log still holds, because it had no room to say so. At
    /// most as many as there may be cells; after a crash the sweep finds them.
    unremoved: BTreeSet<[u8; 40]>,
    stopped: bool,
    _folder: LockedFolder,
}

impl InboxStore {
    /// Opens the store in `folder`, or makes it, and returns the index of all that it holds, by
    /// ascending inbox key. What expired by `now` is gone, and so is what a crash left half done.
    pub fn open(
        folder: &Path,
        master: SealKey,
        now: UnixTime,
        rng: KeyRng,
    ) -> Result<(Self, Vec<StoredInbox>), StoreError> {
        Self::open_with(folder, master, now, rng, StoreConfig::default())
    }

    /// [`InboxStore::open`] with other limits.
    pub fn open_with(
        folder: &Path,
        master: SealKey,
        now: UnixTime,
        rng: KeyRng,
        config: StoreConfig,
    ) -> Result<(Self, Vec<StoredInbox>), StoreError> {
        recover::open(folder, &master, now, rng, config)
    }

    /// What opening removed.
    pub fn swept(&self) -> Swept {
        self.swept
    }

    /// How many cells are kept.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Makes one change. It is durable after the next [`InboxStore::commit`].
    ///
    /// Each order may be given again: what is there already stays, what is gone stays gone.
    pub fn apply(&mut self, op: &StoreOp) -> Result<(), StoreError> {
        self.running()?;
        let done = match op {
            StoreOp::PutInbox { key, record } => self.put_inbox(key, record),
            StoreOp::RemoveInbox { key } => self.remove_inbox(key),
            StoreOp::PutCell { key, cell, content } => self.put_cell(key, *cell, content),
            StoreOp::RemoveCell { key, sequence } => self.remove_cell(key, *sequence),
        };
        self.note(done)
    }

    /// Everything applied before is on the disk when this returns: first the log, then the slots.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        self.running()?;
        let done = if self.log_dirty {
            self.sync()
        } else if self.slots_dirty {
            self.sync_slots()
        } else {
            Ok(())
        };
        self.note(done)
    }

    /// Whether new cells and inboxes find room on the disk.
    pub fn has_room(&self) -> bool {
        self.room_to_grow().is_ok()
    }

    /// Takes and gives back the room that is kept for a full disk, and does what had to wait for
    /// room. To be called about once a second.
    pub fn tend(&mut self) -> Result<(), StoreError> {
        self.running()?;
        let done = self.db.tend().and_then(|()| self.remove_late());
        self.note(done)
    }

    /// A cell's content; `None` when it is not here, or no longer.
    pub fn read_cell(&mut self, key: InboxKey, sequence: u64) -> Result<Option<Cell>, StoreError> {
        self.running()?;
        let done = self.load(key, sequence);
        self.note(done)
    }

    /// Destroys the keys of all buckets that end by `now`, at once and durably, and removes up to
    /// [`EXPIRE_BATCH`] expired cells and inboxes; those become durable by a commit.
    pub fn expire(&mut self, now: UnixTime) -> Result<Expired, StoreError> {
        self.running()?;
        let done = self.forget(now);
        self.note(done)
    }

    fn running(&self) -> Result<(), StoreError> {
        if self.stopped {
            Err(StoreError::Stopped)
        } else {
            Ok(())
        }
    }

    fn note<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &done {
            self.stopped |= !error.is_refusal();
        }
        done
    }

    fn room_to_grow(&self) -> Result<(), StoreError> {
        let live = CELL_BYTES * (self.cells.len() + self.unremoved.len()) as u64;
        match self.db.has_room_to_grow(GROWTH, live)? {
            true => Ok(()),
            false => Err(StoreError::NoSpace),
        }
    }

    /// Whether the log takes another change; failures that are no want of room are failures.
    fn log_has_room(&self) -> Result<bool, StoreError> {
        match self.db.reserve(0) {
            Ok(()) => Ok(true),
            Err(StoreError::NoSpace) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remove_late(&mut self) -> Result<(), StoreError> {
        while !self.unremoved.is_empty() && self.log_has_room()? {
            for _ in 0..EXPIRE_BATCH {
                let Some(key) = self.unremoved.pop_first() else {
                    break;
                };
                self.log_dirty = true;
                self.db.remove(TREE_CELLS, &key)?;
            }
        }
        Ok(())
    }

    fn put_inbox(&mut self, key: &InboxKey, record: &InboxRecord) -> Result<(), StoreError> {
        if !self.inboxes.contains_key(key) {
            self.room_to_grow()?;
        }
        self.db.reserve(0)?;
        let mut w = Writer::with_capacity(72);
        w.put(&record.reader.to_bytes())
            .put(&record.token_hash.0)
            .u64(record.expires.0);
        let sealed = self
            .record_key
            .seal(&record_place(key), &w.into_vec(), &mut self.rng);
        self.log_dirty = true;
        self.db.insert(TREE_INBOXES, &key.0, sealed)?;
        if let Some(old) = self.inboxes.insert(*key, record.expires) {
            self.inboxes_by_expiry.remove(&(old, *key));
        }
        self.inboxes_by_expiry.insert((record.expires, *key));
        Ok(())
    }

    fn remove_inbox(&mut self, key: &InboxKey) -> Result<(), StoreError> {
        self.db.reserve(0)?;
        let sequences: Vec<u64> = self
            .cells
            .range((*key, 0)..=(*key, u64::MAX))
            .map(|((_, sequence), _)| *sequence)
            .collect();
        for sequence in sequences {
            self.remove_cell(key, sequence)?;
        }
        if let Some(expires) = self.inboxes.remove(key) {
            self.inboxes_by_expiry.remove(&(expires, *key));
            self.log_dirty = true;
            self.db.remove(TREE_INBOXES, &key.0)?;
        }
        Ok(())
    }

    fn put_cell(
        &mut self,
        inbox: &InboxKey,
        cell: StoredCell,
        content: &Cell,
    ) -> Result<(), StoreError> {
        if !self.inboxes.contains_key(inbox) {
            return Err(StoreError::NoInbox);
        }
        if self.slots.is_full(self.cells.len()) {
            return Err(StoreError::Full);
        }
        self.room_to_grow()?;
        self.db.reserve(0)?;
        self.remove_cell(inbox, cell.sequence)?;
        self.unremoved.remove(&cell_key(inbox, cell.sequence));
        let bucket = self.buckets.number(cell.expires);
        self.buckets.ensure(bucket, &mut self.rng)?;
        let slot = self.slots.take()?;
        (self.log_dirty, self.slots_dirty) = (true, true);
        let key = SealKey::from_bytes(self.rng.bytes());
        let place = cell_place(inbox, cell.sequence);
        let sealed = key.seal(&place, &content[..], &mut self.rng);
        let slot_content = Slot {
            inbox: *inbox,
            cell,
            key,
        };
        self.slots
            .write(slot, &slot_content, &self.buckets, &mut self.rng)?;
        self.db
            .insert(TREE_CELLS, &cell_key(inbox, cell.sequence), sealed)?;
        self.index(inbox, cell, slot);
        Ok(())
    }

    fn remove_cell(&mut self, inbox: &InboxKey, sequence: u64) -> Result<(), StoreError> {
        let Some(kept) = self.cells.remove(&(*inbox, sequence)) else {
            return Ok(());
        };
        self.cells_by_expiry
            .remove(&(kept.expires, *inbox, sequence));
        self.slots_dirty = true;
        self.slots.erase(kept.slot)?;
        if !self.log_has_room()? {
            self.unremoved.insert(cell_key(inbox, sequence));
            return Ok(());
        }
        self.log_dirty = true;
        self.db.remove(TREE_CELLS, &cell_key(inbox, sequence))
    }

    fn index(&mut self, inbox: &InboxKey, cell: StoredCell, slot: SlotIndex) {
        let expires = cell.expires;
        self.cells
            .insert((*inbox, cell.sequence), Kept { slot, expires });
        self.cells_by_expiry
            .insert((expires, *inbox, cell.sequence));
    }

    fn load(&self, inbox: InboxKey, sequence: u64) -> Result<Option<Cell>, StoreError> {
        let Some(kept) = self.cells.get(&(inbox, sequence)) else {
            return Ok(None);
        };
        if kept.expires <= self.expired_until {
            return Ok(None);
        }
        let lost = || StoreError::damaged("a stored cell does not open");
        let slot = self
            .slots
            .read(kept.slot, &self.buckets)?
            .ok_or_else(lost)?;
        let sealed = self
            .db
            .get(TREE_CELLS, &cell_key(&inbox, sequence))?
            .ok_or_else(lost)?;
        let content = slot
            .key
            .open(&cell_place(&inbox, sequence), &sealed)
            .map_err(|_| lost())?;
        Reader::new(&content)
            .array()
            .map(|cell| Some(Box::new(cell)))
            .map_err(|_| lost())
    }

    fn forget(&mut self, now: UnixTime) -> Result<Expired, StoreError> {
        self.expired_until = self.expired_until.max(now);
        let mut expired = Expired {
            buckets: self.buckets.destroy_through(now)?,
            ..Expired::default()
        };
        while expired.cells < EXPIRE_BATCH {
            let Some((_, inbox, sequence)) = first_by(&self.cells_by_expiry, now, |c| c.0) else {
                break;
            };
            self.remove_cell(&inbox, sequence)?;
            expired.cells += 1;
        }
        // Expired inboxes answer nobody; the log may say so later.
        let room = self.log_has_room()?;
        while room && expired.cells + expired.inboxes < EXPIRE_BATCH {
            let Some((_, inbox)) = first_by(&self.inboxes_by_expiry, now, |i| i.0) else {
                break;
            };
            self.remove_inbox(&inbox)?;
            expired.inboxes += 1;
        }
        expired.more = first_by(&self.cells_by_expiry, now, |c| c.0).is_some()
            || room && first_by(&self.inboxes_by_expiry, now, |i| i.0).is_some();
        Ok(expired)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let entry = Entry {
            commits: self.ledger.last().commits + 1,
            slots: self.slots.len(),
            buckets: self.buckets.places(),
        };
        self.db
            .insert(TREE_META, COMMITS, entry.commits.to_be_bytes().to_vec())?;
        self.db.sync()?;
        self.ledger.write(self.slots.file(), entry, &mut self.rng)?;
        self.log_dirty = false;
        self.sync_slots()
    }

    fn sync_slots(&mut self) -> Result<(), StoreError> {
        self.slots.sync()?;
        self.slots_dirty = false;
        Ok(())
    }
}

/// The first element, if its time has come.
fn first_by<T: Copy + Ord>(
    set: &BTreeSet<T>,
    now: UnixTime,
    time: impl Fn(&T) -> UnixTime,
) -> Option<T> {
    set.first().filter(|first| time(first) <= now).copied()
}

fn cell_key(inbox: &InboxKey, sequence: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&inbox.0);
    key[32..].copy_from_slice(&sequence.to_be_bytes());
    key
}

fn cell_place(inbox: &InboxKey, sequence: u64) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-store-cell-v1")
        .put(&cell_key(inbox, sequence));
    w.into_vec()
}

fn record_place(inbox: &InboxKey) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-store-inbox-v1").put(&inbox.0);
    w.into_vec()
}

fn decode_record(plain: &[u8]) -> Result<InboxRecord, DecodeError> {
    let mut r = Reader::new(plain);
    let record = InboxRecord {
        reader: IdentityPublic::decode(&mut r)?,
        token_hash: WriteTokenHash(r.array()?),
        expires: UnixTime(r.u64()?),
    };
    r.finish()?;
    Ok(record)
}
