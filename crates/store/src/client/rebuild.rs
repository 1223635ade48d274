//! A store anew out of an old one: the upgrade of format 1, and the salvage of what still opens.
//!
//! The new one grows in `<folder>.new`. When it is whole and durable, the old one steps aside and
//! the new one takes its name; [`finish_swap`] ends what a crash interrupted. An upgraded store is
//! removed; a damaged one is kept as `<folder>.corrupt-<seconds>`.

use super::header::{self, LOG_FOLDER};
use super::pieces::Joiner;
use super::rows::{Row, RowKeys, Unsealed};
use super::spare;
use super::vaults::{self, Vaults};
use super::{COMMITS, ClientStore, TREE_RECORDS, TREES, VaultOf, Write, open_log};
use crate::database::{Database, Pair};
use crate::derive::derive;
use crate::error::{StoreError, While};
use crate::files::{LockedFolder, make_folder, sync_parent};
use crate::quarantine::{beside, quarantine};
use std::fs::File;
use std::path::Path;
use wire::aead::SealKey;
use wire::rng::KeyRng;
use wire::time::UnixTime;

/// Rows in one commit of the new store.
const BATCH: usize = 128;

/// What a damaged store still gave.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Salvaged {
    /// Rows that opened and are in the new store.
    pub rows: usize,
    /// Rows that were found and did not open.
    pub unreadable: usize,
    /// Rows that only the second copy of the most important ones had so ([`ClientStore::keep_spare`]); they are
    /// in the new store too.
    pub spare: usize,
}

/// Ends a swap that a crash interrupted.
pub(super) fn finish_swap(folder: &Path) -> Result<(), StoreError> {
    let (new, old) = (beside(folder, ".new"), beside(folder, ".old"));
    if folder.exists() {
        // Either half a copy, or the rest of what was replaced.
        for rest in [new, old].iter().filter(|path| path.exists()) {
            std::fs::remove_dir_all(rest).while_doing("removing half a store")?;
        }
    } else if new.exists() {
        // A store steps aside only for one that is whole.
        std::fs::rename(&new, folder).while_doing("renaming the store")?;
        sync_parent(folder)?;
        if old.exists() {
            std::fs::remove_dir_all(&old).while_doing("removing the replaced store")?;
        }
    }
    Ok(())
}

/// Rewrites a store of format 1. Consumes the lock, which the new folder has its own of.
pub(super) fn upgrade(
    locked: LockedFolder,
    header: File,
    key: &SealKey,
    rng: KeyRng,
    vault_of: VaultOf,
) -> Result<(), StoreError> {
    let folder = locked.path().to_owned();
    let new = beside(&folder, ".new");
    make_folder(&new)?;
    let (db, _) = open_log(&locked, &header, key)?;
    let keys = RowKeys::new(key);
    let mut copy = Copy::begin(&new, key, rng)?;
    db.each(TREE_RECORDS, |name, sealed| {
        if name == COMMITS {
            return Ok(());
        }
        let mut row = keys.unseal_v1(name, sealed)?;
        row.vault = vault_of(row.table, &row.record.0);
        copy.add(row)
    })?;
    copy.flush()?;
    drop((copy, db, locked));
    let old = beside(&folder, ".old");
    std::fs::rename(&folder, &old).while_doing("setting the old store aside")?;
    std::fs::rename(&new, &folder).while_doing("renaming the store")?;
    sync_parent(&folder)?;
    std::fs::remove_dir_all(&old).while_doing("removing the replaced store")
}

impl ClientStore {
    /// Copies what still opens in a damaged store, and what only its second copy of some rows has, into a
    /// new one that takes its place. The damaged one, changed by the reading, is kept beside it: see [`crate::quarantine`].
    pub fn salvage(
        folder: &Path,
        key: &SealKey,
        rng: KeyRng,
        now: UnixTime,
        vault_of: VaultOf,
    ) -> Result<Salvaged, StoreError> {
        finish_swap(folder)?;
        let new = beside(folder, ".new");
        let mut found = Salvaged::default();
        let mut copy = Copy::begin(&new, key, rng)?;
        read_what_opens(folder, key, vault_of, &mut found, &mut copy)?;
        copy.flush()?;
        // Of a damaged log sled may give an older state; the copy lags by a second at most.
        for ((table, key), value) in spare::read(folder, &spare::key(key)).unwrap_or_default() {
            if copy.store.get(table, &key)?.as_ref() != Some(&value) {
                found.spare += 1;
                let record = (key, value);
                copy.add(Row {
                    table,
                    record,
                    vault: None,
                })?;
            }
        }
        copy.flush()?;
        drop(copy);
        quarantine(folder, now)?;
        std::fs::rename(&new, folder).while_doing("renaming the store")?;
        sync_parent(folder)?;
        Ok(found)
    }
}

fn read_what_opens(
    damaged: &Path,
    key: &SealKey,
    vault_of: VaultOf,
    found: &mut Salvaged,
    copy: &mut Copy,
) -> Result<(), StoreError> {
    let locked = LockedFolder::open(damaged)?;
    let keys = RowKeys::new(key);
    let vaults = vaults_of_damaged(&locked, key)?;
    let log = locked.join(LOG_FOLDER);
    if !log.join("db").exists() {
        return Ok(());
    }
    // What cannot be opened at all has nothing to give.
    let Ok(db) = Database::open(&log, &TREES) else {
        return Ok(());
    };
    let mut joiner = Joiner::default();
    let mut take = |row: Option<Pair>| {
        let Some((name, sealed)) = row else {
            return Ok(());
        };
        let row = match keys.unseal(&name, &sealed, &vaults) {
            Ok(Unsealed::Row(row)) => Some(row),
            Ok(Unsealed::Wiped) => None,
            Err(_) => keys.unseal_v1(&name, &sealed).ok().map(|mut row| {
                row.vault = vault_of(row.table, &row.record.0);
                row
            }),
        };
        match row {
            Some(row) => {
                found.rows += 1;
                copy.add(row)
            }
            None => {
                found.unreadable += 1;
                Ok(())
            }
        }
    };
    db.each_readable(TREE_RECORDS, |key, piece| take(joiner.push(key, piece)))?;
    take(joiner.end())
}

/// The vaults that can be read; where their file as a whole cannot, none.
fn vaults_of_damaged(locked: &LockedFolder, key: &SealKey) -> Result<Vaults, StoreError> {
    let seal = derive(key, "mizzle-client-vaults-v1");
    if let Ok(vaults) = Vaults::open(locked, seal.clone()) {
        return Ok(vaults);
    }
    let path = locked.join(vaults::FILE);
    if path.exists() {
        std::fs::rename(&path, beside(&path, ".damaged")).while_doing("setting vaults aside")?;
    }
    Vaults::create(locked)?;
    Vaults::open(locked, seal)
}

/// A store that is being filled.
struct Copy {
    store: ClientStore,
    batch: Vec<Write>,
}

impl Copy {
    fn begin(folder: &Path, key: &SealKey, mut rng: KeyRng) -> Result<Self, StoreError> {
        let locked = LockedFolder::open(folder)?;
        Vaults::create(&locked)?;
        header::create(&locked, key, &mut rng)?;
        let (file, _) = header::open(&locked, key)?;
        Ok(Self {
            store: ClientStore::open_current(locked, file, key, rng)?,
            batch: Vec::new(),
        })
    }

    fn add(&mut self, row: Row) -> Result<(), StoreError> {
        let (key, value) = row.record;
        self.batch.push(Write {
            table: row.table,
            key,
            value: Some(value),
            vault: row.vault,
        });
        if self.batch.len() < BATCH {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.store.commit(&std::mem::take(&mut self.batch))
    }
}
