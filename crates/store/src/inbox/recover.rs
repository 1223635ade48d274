//! Opening an [`InboxStore`]: makes a new one, or checks an old one, sweeps what a crash left half
//! done, and builds the index.
//!
//! What a crash can leave is small: between two commits each write may or may not have reached the
//! disk, so a cell may lack its slot and a slot its cell. Neither was acknowledged. Everything else
//! that does not fit together is damage, and is said.

use super::buckets::Buckets;
use super::slots::{Found, Slot, SlotIndex, Slots};
use super::{
    COMMITS, InboxStore, StoreConfig, Swept, TREE_CELLS, TREE_INBOXES, TREE_META, TREES, cell_key,
    cell_place, decode_record, record_place,
};
use crate::database::Database;
use crate::derive::derive;
use crate::error::StoreError;
use crate::files::LockedFolder;
use crate::ledger::{HEAD_LEN, Ledger};
use mizzle_core::stored::{InboxKey, InboxRecord, StoredInbox};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use wire::aead::SealKey;
use wire::request::Cell;
use wire::rng::KeyRng;
use wire::time::UnixTime;

const SLOTS_FILE: &str = "slots";
const BUCKETS_FILE: &str = "buckets";
const LOG_FOLDER: &str = "sled";
const LEDGER_LABEL: &str = "mizzle-store-ledger-v1";
const RECORD_LABEL: &str = "mizzle-store-records-v1";

/// All slots that name the same place; more than one only after a crash.
type Candidates = BTreeMap<(InboxKey, u64), Vec<(SlotIndex, Slot)>>;

/// See [`InboxStore::open`].
pub(super) fn open(
    folder: &Path,
    master: &SealKey,
    now: UnixTime,
    mut rng: KeyRng,
    config: StoreConfig,
) -> Result<(InboxStore, Vec<StoredInbox>), StoreError> {
    let folder = LockedFolder::open(folder)?;
    let (slots, buckets) = open_files(&folder, master, config, &mut rng)?;
    let buckets = Buckets::open(buckets, master)?;
    let slots = Slots::open(slots, config.cells_max)?;
    let ledger_key = derive(master, LEDGER_LABEL);
    let ledger = Ledger::read(slots.file(), ledger_key.clone())?;
    // The last step of making a store is to grow the slot file: see `finish_making`.
    let made = slots.len() > 0 || ledger.as_ref().is_some_and(|l| l.last().slots > 0);
    if made && !folder.join(LOG_FOLDER).join("db").exists() {
        return Err(StoreError::damaged("the log is missing"));
    }
    let db = Database::open(&folder.join(LOG_FOLDER), &TREES)?;
    let ledger = if made {
        check(ledger, &db, &slots, &buckets)?
    } else {
        Ledger::new(ledger_key)
    };
    let mut store = InboxStore {
        db,
        slots,
        buckets,
        ledger,
        record_key: derive(master, RECORD_LABEL),
        rng,
        cells: BTreeMap::new(),
        inboxes: BTreeMap::new(),
        cells_by_expiry: BTreeSet::new(),
        inboxes_by_expiry: BTreeSet::new(),
        expired_until: now,
        swept: Swept::default(),
        log_dirty: true,
        slots_dirty: true,
        unremoved: BTreeSet::new(),
        stopped: false,
        _folder: folder,
    };
    if !made {
        finish_making(&mut store)?;
    }
    let index = sweep(&mut store, now)?;
    store.log_dirty = true;
    store.sync()?;
    Ok((store, index))
}

/// Opens slot and bucket file. Both are made before anything else, the slot file first.
fn open_files(
    folder: &LockedFolder,
    master: &SealKey,
    config: StoreConfig,
    rng: &mut KeyRng,
) -> Result<(File, File), StoreError> {
    let lost = |what: &str| StoreError::damaged(format!("the {what} file is missing"));
    let had_buckets = folder.open_file(BUCKETS_FILE)?;
    if folder.open_file(SLOTS_FILE)?.is_none() {
        if had_buckets.is_some() || folder.join(LOG_FOLDER).exists() {
            return Err(lost("slot"));
        }
        folder.create(SLOTS_FILE, &Slots::head())?;
    }
    let slots = folder.open_file(SLOTS_FILE)?.ok_or_else(|| lost("slot"))?;
    if had_buckets.is_none() {
        let is_new = slots.metadata().is_ok_and(|m| m.len() == HEAD_LEN);
        if !is_new || folder.join(LOG_FOLDER).exists() {
            return Err(lost("bucket"));
        }
        let head = Buckets::head(master, config.bucket_width, rng);
        folder.create(BUCKETS_FILE, &head)?;
    }
    let buckets = folder
        .open_file(BUCKETS_FILE)?
        .ok_or_else(|| lost("bucket"))?;
    Ok((slots, buckets))
}

/// The first commit, and only then the first slots: a file with slots says that log and ledger had
/// a commit before, so that their absence is damage and not a beginning.
fn finish_making(store: &mut InboxStore) -> Result<(), StoreError> {
    store.sync()?;
    store.slots.grow()
}

fn check(
    ledger: Option<Ledger>,
    db: &Database,
    slots: &Slots,
    buckets: &Buckets,
) -> Result<Ledger, StoreError> {
    let ledger = ledger.ok_or_else(|| StoreError::damaged("the slot file has no commit count"))?;
    let commits = db
        .get(TREE_META, COMMITS)?
        .and_then(|bytes| <[u8; 8]>::try_from(&bytes[..]).ok())
        .map(u64::from_be_bytes)
        .ok_or_else(|| StoreError::damaged("the log lost its commit count"))?;
    ledger.check(commits)?;
    if slots.len() < ledger.last().slots {
        return Err(StoreError::damaged("the slot file lost its end"));
    }
    if buckets.places() < ledger.last().buckets {
        return Err(StoreError::damaged("the bucket file lost its end"));
    }
    Ok(ledger)
}

fn sweep(store: &mut InboxStore, now: UnixTime) -> Result<Vec<StoredInbox>, StoreError> {
    let mut candidates = sweep_slots(store, now)?;
    let mut inboxes = Inboxes::default();
    sweep_inboxes(store, &mut inboxes, now)?;
    let dead = match_cells(store, &mut inboxes, &mut candidates, now)?;
    for key in dead.cells {
        store.db.remove(TREE_CELLS, &key)?;
    }
    for index in dead.slots {
        store.slots.erase(index)?;
    }
    for (index, _) in candidates.into_values().flatten() {
        store.swept.slots_without_cell += 1;
        store.slots.erase(index)?;
    }
    Ok(inboxes.open.into_values().collect())
}

#[derive(Default)]
struct Inboxes {
    open: BTreeMap<InboxKey, StoredInbox>,
    expired: BTreeSet<InboxKey>,
}

/// What is to be removed: keys in the log, and slots.
#[derive(Default)]
struct Dead {
    cells: Vec<Vec<u8>>,
    slots: Vec<SlotIndex>,
}

fn sweep_inboxes(
    store: &mut InboxStore,
    inboxes: &mut Inboxes,
    now: UnixTime,
) -> Result<(), StoreError> {
    let bad = || StoreError::damaged("an inbox record does not open");
    let mut records: Vec<(InboxKey, InboxRecord)> = Vec::new();
    store.db.each(TREE_INBOXES, |key, sealed| {
        let key = InboxKey(key.try_into().map_err(|_| bad())?);
        let plain = store
            .record_key
            .open(&record_place(&key), sealed)
            .map_err(|_| bad())?;
        records.push((key, decode_record(&plain).map_err(|_| bad())?));
        Ok(())
    })?;
    for (key, record) in records {
        if record.expires <= now {
            store.swept.expired += 1;
            store.db.remove(TREE_INBOXES, &key.0)?;
            inboxes.expired.insert(key);
            continue;
        }
        store.inboxes.insert(key, record.expires);
        store.inboxes_by_expiry.insert((record.expires, key));
        let cells = Vec::new();
        inboxes.open.insert(key, StoredInbox { key, record, cells });
    }
    Ok(())
}

fn sweep_slots(store: &mut InboxStore, now: UnixTime) -> Result<Candidates, StoreError> {
    let mut candidates = Candidates::new();
    let mut unreadable = Vec::new();
    store
        .slots
        .scan(&store.buckets, |index, found| match found {
            Found::Slot(slot) => candidates
                .entry((slot.inbox, slot.cell.sequence))
                .or_default()
                .push((index, slot)),
            Found::Unreadable(bucket) => unreadable.push((index, bucket)),
        })?;
    // After the slots were read, so that what has expired is not taken for damage; before anything
    // can fail, so that it is gone in any case.
    store.buckets.destroy_through(now)?;
    // A bucket is durable before a slot names it. So where slots name a bucket that should live and
    // some place in the bucket file is garbage, that garbage was its key.
    let orphaned = unreadable.iter().any(|(_, bucket)| {
        store.buckets.key(*bucket).is_none() && store.buckets.end(*bucket) > now
    });
    if store.buckets.has_unreadable() && orphaned {
        return Err(StoreError::damaged("a bucket key does not open"));
    }
    store.buckets.clear_unreadable()?;
    store.swept.unreadable_slots = unreadable.len();
    for (index, _) in unreadable {
        store.slots.erase(index)?;
    }
    Ok(candidates)
}

/// Takes the slot of each cell in the log out of `candidates` and into the index. Returns the cells
/// that have expired, or belong to no slot or no inbox, with the slots that open them.
fn match_cells(
    store: &mut InboxStore,
    inboxes: &mut Inboxes,
    candidates: &mut Candidates,
    now: UnixTime,
) -> Result<Dead, StoreError> {
    let mut dead = Dead::default();
    let mut matched = Vec::new();
    let mut swept = store.swept;
    store.db.each(TREE_CELLS, |key, sealed| {
        let Some((inbox, sequence)) = split(key) else {
            return Err(StoreError::damaged("a cell has an impossible place"));
        };
        let slot = take_slot(candidates, inbox, sequence, sealed);
        match (inboxes.open.get_mut(&inbox), slot) {
            (Some(open), Some((index, slot))) if slot.cell.expires > now => {
                open.cells.push(slot.cell);
                matched.push((inbox, slot.cell, index));
                return Ok(());
            }
            (open, Some((index, _))) => {
                dead.slots.push(index);
                if open.is_some() || inboxes.expired.contains(&inbox) {
                    swept.expired += 1;
                } else {
                    swept.cells_without_inbox += 1;
                }
            }
            (_, None) => swept.cells_without_slot += 1,
        }
        dead.cells.push(key.to_vec());
        Ok(())
    })?;
    store.swept = swept;
    for (inbox, cell, index) in matched {
        store.index(&inbox, cell, index);
    }
    Ok(dead)
}

/// The slot that opens this very cell. Others for the same place stay, to be erased.
fn take_slot(
    candidates: &mut Candidates,
    inbox: InboxKey,
    sequence: u64,
    sealed: &[u8],
) -> Option<(SlotIndex, Slot)> {
    let slots = candidates.get_mut(&(inbox, sequence))?;
    let place = cell_place(&inbox, sequence);
    let opens = |slot: &Slot| {
        slot.key
            .open(&place, sealed)
            .is_ok_and(|cell| Cell::try_from(cell.to_vec()).is_ok())
    };
    let at = slots.iter().position(|(_, slot)| opens(slot))?;
    Some(slots.swap_remove(at))
}

fn split(key: &[u8]) -> Option<(InboxKey, u64)> {
    let (inbox, sequence) = key.split_first_chunk::<32>()?;
    let sequence = u64::from_be_bytes(sequence.try_into().ok()?);
    debug_assert!(cell_key(&InboxKey(*inbox), sequence)[..] == *key);
    Some((InboxKey(*inbox), sequence))
}
