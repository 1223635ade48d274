//! The client's table of everything it must not forget: sealed records in sled, changed in atomic,
//! durable batches. `docs/spec/store.md` §2.
//!
//! What the records mean is `clientd`'s affair. On the disk a record's key is an HMAC and the clear
//! key stands inside the sealed value, so that a stolen disk shows how many records there are and
//! how long, and nothing else.
//!
//! A deleted or replaced record is out of reach at once, but sled keeps its sealed bytes until it
//! reuses the space. What must really go when a person says so lies in a *vault*: a set of records
//! with a key of its own in a small file that is overwritten in place (`client/vaults.rs`). A wiped
//! vault's records open with nothing that is left on the disk, the store's key included.
//!
//! Reading order: this file · `client/rows.rs` (how a record is sealed) · `client/pieces.rs` · `client/vaults.rs` ·
//! `client/rebuild.rs` (upgrade, and what a damaged store still gives) · `client/spare.rs` (the few rows that
//! are kept twice) · `client/header.rs`.

mod header;
mod pieces;
mod rebuild;
mod rows;
mod spare;
mod vaults;

pub use rebuild::Salvaged;

use crate::database::{Batch, Database, Pair};
use crate::derive::derive;
use crate::error::StoreError;
use crate::files::LockedFolder;
use crate::ledger::{Entry, Ledger};
use header::LOG_FOLDER;
use pieces::Joiner;
use rows::{RowKeys, Unsealed};
use spare::Spare;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use vaults::Vaults;
use wire::aead::SealKey;
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// Longest key in bytes.
pub const KEY_MAX: usize = 1024;
/// Longest value in bytes.
pub const VALUE_MAX: usize = 96 * 1024;

/// Room that is wanted before the store grows: a batch of the longest messages.
const GROWTH: u64 = 1 << 20;

const TREE_RECORDS: usize = 0;
const TREES: [&str; 1] = ["records"];
const COMMITS: &[u8] = b"commits";

/// Names a vault: what is wiped together, as a conversation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VaultId(pub [u8; 16]);

/// One change: the record under (table, key) becomes `value`, or is deleted.
pub struct Write {
    /// Which table.
    pub table: u8,
    /// Which record.
    pub key: Vec<u8>,
    /// What it becomes; `None` deletes it.
    pub value: Option<Zeroizing<Vec<u8>>>,
    /// Whose wipe destroys it; made when it is first named. `None`: only a wipe of everything.
    pub vault: Option<VaultId>,
}

/// A record's key and value.
pub type Record = (Vec<u8>, Zeroizing<Vec<u8>>);

/// Says which vault a record of format 1 belongs in.
pub type VaultOf = fn(table: u8, key: &[u8]) -> Option<VaultId>;

/// A client's durable records.
///
/// After any error of [`ClientStore::commit`] that comes from the disk the store has stopped and
/// answers [`StoreError::Stopped`] to everything.
pub struct ClientStore {
    db: Database,
    header: File,
    ledger: Ledger,
    keys: RowKeys,
    vaults: Vaults,
    spare_key: SealKey,
    spare: Option<Spare>,
    rng: KeyRng,
    /// Bytes of all sealed rows.
    live: u64,
    stopped: bool,
    folder: LockedFolder,
}

impl ClientStore {
    /// Opens the store in `folder`, or makes it. A store of an older format is upgraded, into a
    /// folder beside it that takes its place; the caller keeps other processes away.
    pub fn open(
        folder: &Path,
        key: SealKey,
        mut rng: KeyRng,
        vault_of: VaultOf,
    ) -> Result<Self, StoreError> {
        rebuild::finish_swap(folder)?;
        let locked = LockedFolder::open(folder)?;
        if !header::exists(&locked) {
            if locked.join(LOG_FOLDER).exists() {
                return Err(StoreError::damaged("the header file is missing"));
            }
            Vaults::create(&locked)?;
            header::create(&locked, &key, &mut rng)?;
        }
        let (header, found) = header::open(&locked, &key)?;
        if found < header::VERSION {
            rebuild::upgrade(
                locked,
                header,
                &key,
                KeyRng::from_seed(rng.bytes()),
                vault_of,
            )?;
            let locked = LockedFolder::open(folder)?;
            let (header, _) = header::open(&locked, &key)?;
            return Self::open_current(locked, header, &key, rng);
        }
        Self::open_current(locked, header, &key, rng)
    }

    fn open_current(
        folder: LockedFolder,
        header: File,
        key: &SealKey,
        rng: KeyRng,
    ) -> Result<Self, StoreError> {
        let (db, ledger) = open_log(&folder, &header, key)?;
        let vaults = Vaults::open(&folder, derive(key, "mizzle-client-vaults-v1"))?;
        // A wipe marks its vault and is not undone by a crash, so none is ever less than counted.
        if vaults.len_with_wiped() < ledger.last().slots as usize && !vaults.has_unreadable() {
            return Err(StoreError::damaged("the file of the vaults is an old copy"));
        }
        let mut store = Self {
            db,
            header,
            ledger,
            keys: RowKeys::new(key),
            vaults,
            spare_key: spare::key(key),
            spare: None,
            rng,
            live: 0,
            stopped: false,
            folder,
        };
        // An interrupted wipe left records, an interrupted write a slot that no record names; where
        // one does, this says so.
        let orphans = match store.vaults.has_unreadable() || store.vaults.has_wiped() {
            true => store.orphans()?,
            false => Vec::new(),
        };
        store.write(&[], &orphans)?;
        store.vaults.release()?;
        store.live = store.count_live()?;
        Ok(store)
    }

    /// From now on the rows of these tables are kept a second time, in a small file of their own, for a
    /// [`ClientStore::salvage`] of a log that gives nothing any more. For few rows that seldom change and
    /// belong to no vault (no wipe reaches the copy): 8 MiB at most, beyond which there is no copy.
    pub fn keep_spare(&mut self, tables: &'static [u8]) -> Result<(), StoreError> {
        self.running()?;
        let mut rows = spare::Rows::new();
        self.each(|_, row| {
            if let Unsealed::Row(row) = row
                && tables.contains(&row.table)
                && row.vault.is_none()
            {
                rows.insert((row.table, row.record.0), row.record.1);
            }
        })?;
        let mut spare = Spare::new(&self.folder, self.spare_key.clone(), tables, rows);
        spare.settle(&self.folder, &mut self.rng);
        self.spare = Some(spare);
        Ok(())
    }

    /// Whether the store may grow. Where it says no, what is there can still be read, replaced and
    /// deleted for a while; more is to be refused to whoever brings it.
    pub fn has_room(&self) -> bool {
        let room = self.db.has_room_to_grow(GROWTH, self.live);
        room.unwrap_or(false)
    }

    /// Takes and gives back the room that is kept for a full disk, and brings the second copy of rows up to
    /// date. To be called about once a second.
    pub fn tend(&mut self) -> Result<(), StoreError> {
        self.running()?;
        if let Some(spare) = &mut self.spare {
            spare.settle(&self.folder, &mut self.rng);
        }
        let done = self.db.tend();
        self.stopped |= done.is_err();
        done
    }

    fn count_live(&self) -> Result<u64, StoreError> {
        let mut live = 0;
        self.db.each(TREE_RECORDS, |name, piece| {
            live += (name.len() + piece.len()) as u64;
            Ok(())
        })?;
        Ok(live)
    }

    /// All records of a table by ascending key. Reads the whole store: meant for the start.
    pub fn scan(&self, table: u8) -> Result<Vec<Record>, StoreError> {
        self.running()?;
        let mut found = Vec::new();
        self.each(|_, row| {
            if let Unsealed::Row(row) = row
                && row.table == table
            {
                found.push(row.record);
            }
        })?;
        found.sort_by(|a: &Record, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// One record.
    pub fn get(&self, table: u8, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.running()?;
        let name = self.keys.name(table, key);
        let Some(sealed) = pieces::get(&self.db, TREE_RECORDS, &name)? else {
            return Ok(None);
        };
        match self.keys.unseal(&name, &sealed, &self.vaults)? {
            Unsealed::Row(row) => Ok(Some(row.record.1)),
            Unsealed::Wiped => Ok(None),
        }
    }

    /// Makes all changes, or none of them; they are durable when this returns. Of several writes to
    /// one record the last one holds. [`StoreError::Full`]: too many vaults. [`StoreError::NoSpace`]:
    /// the disk is full to the last; the same may be tried again.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.running()?;
        let too_long = |w: &Write| {
            w.key.len() > KEY_MAX || w.value.as_ref().is_some_and(|v| v.len() > VALUE_MAX)
        };
        if writes.iter().any(too_long) {
            return Err(StoreError::TooLong);
        }
        let done = self.write(writes, &[]);
        self.stopped |= done.as_ref().is_err_and(|error| !error.is_refusal());
        done
    }

    /// Destroys a vault: when this returns, no record that was ever written into it can be opened
    /// with what is on the disk. Its name may be used again, for a new vault. Reads the whole store.
    pub fn wipe(&mut self, vault: VaultId) -> Result<(), StoreError> {
        self.running()?;
        let done = self.wipe_now(vault);
        self.stopped |= done.is_err();
        done
    }

    fn wipe_now(&mut self, vault: VaultId) -> Result<(), StoreError> {
        if self.vaults.get(&vault).is_none() {
            return Ok(());
        }
        self.vaults.wipe(vault)?;
        // From here on nothing opens its records. What removes them may wait for room: a start does
        // it.
        let orphans = self.orphans()?;
        match self.write(&[], &orphans) {
            Ok(()) => self.vaults.release(),
            Err(StoreError::NoSpace) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn running(&self) -> Result<(), StoreError> {
        if self.stopped {
            Err(StoreError::Stopped)
        } else {
            Ok(())
        }
    }

    fn each(&self, mut visit: impl FnMut(&[u8], Unsealed)) -> Result<(), StoreError> {
        let mut joiner = Joiner::default();
        let mut take = |row: Option<Pair>| -> Result<(), StoreError> {
            if let Some((name, sealed)) = row {
                visit(&name, self.keys.unseal(&name, &sealed, &self.vaults)?);
            }
            Ok(())
        };
        self.db
            .each(TREE_RECORDS, |key, piece| take(joiner.push(key, piece)))?;
        take(joiner.end())
    }

    /// Names of records whose vault is gone.
    fn orphans(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut names = Vec::new();
        self.each(|name, row| {
            if matches!(row, Unsealed::Wiped) {
                names.push(name.to_vec());
            }
        })?;
        Ok(names)
    }

    fn write(&mut self, writes: &[Write], remove: &[Vec<u8>]) -> Result<(), StoreError> {
        let values = writes.iter().filter_map(|w| w.value.as_ref());
        let bytes: usize = values.map(|v| v.len()).sum();
        // sled may write a page anew for each.
        self.db.reserve(2 * bytes as u64)?;
        let with_value = writes.iter().filter(|w| w.value.is_some());
        for vault in with_value.filter_map(|w| w.vault) {
            self.vaults.ensure(vault, &mut self.rng)?;
        }
        let entry = Entry {
            commits: self.ledger.last().commits + 1,
            slots: self.vaults.len() as u32,
            buckets: 0,
        };
        let mut batch = Batch::default();
        let (mut fresh, mut gone) = (0, 0);
        // Of several writes to one row the last holds.
        let named = writes.iter().map(|w| (self.keys.name(w.table, &w.key), w));
        let last: BTreeMap<[u8; 32], &Write> = named.collect();
        for (name, write) in last {
            match &write.value {
                Some(value) => {
                    let row = (write.table, &write.key[..], &value[..]);
                    let (vaults, rng) = (&self.vaults, &mut self.rng);
                    let sealed = self.keys.seal(row, write.vault, vaults, rng)?;
                    fresh += sealed.len() as u64;
                    gone += pieces::put(&self.db, TREE_RECORDS, &mut batch, &name, &sealed)?;
                }
                None => gone += pieces::remove(&self.db, TREE_RECORDS, &mut batch, &name)?,
            }
        }
        for name in remove {
            gone += pieces::remove(&self.db, TREE_RECORDS, &mut batch, name)?;
        }
        // In the same batch, so that the count never says more or less than the records.
        batch.insert(COMMITS, entry.commits.to_be_bytes().to_vec());
        self.db.apply(TREE_RECORDS, batch)?;
        self.live = (self.live + fresh).saturating_sub(gone);
        self.db.sync()?;
        self.ledger.write(&self.header, entry, &mut self.rng)?;
        self.header.sync_data().map_err(|source| StoreError::Io {
            what: "syncing the store's header",
            source,
        })?;
        if let Some(spare) = &mut self.spare {
            let open = writes.iter().filter(|w| w.vault.is_none());
            open.for_each(|w| spare.note(w.table, &w.key, w.value.as_ref()));
        }
        Ok(())
    }
}

/// Opens log and ledger, and checks that they belong together.
fn open_log(
    folder: &LockedFolder,
    header: &File,
    key: &SealKey,
) -> Result<(Database, Ledger), StoreError> {
    let ledger_key = derive(key, "mizzle-client-ledger-v1");
    let ledger = Ledger::read(header, ledger_key.clone())?;
    let log = folder.join(LOG_FOLDER);
    if ledger.is_some() && !log.join("db").exists() {
        return Err(StoreError::damaged("the log is missing"));
    }
    let db = Database::open(&log, &TREES)?;
    let ledger = match (ledger, commits_in(&db)?) {
        (Some(ledger), Some(commits)) => {
            ledger.check(commits)?;
            ledger
        }
        (Some(_), None) => return Err(StoreError::damaged("the log lost its commit count")),
        // The first commit reached the log and not the header.
        (None, None | Some(0 | 1)) => Ledger::new(ledger_key),
        (None, Some(_)) => {
            return Err(StoreError::damaged("the header has no commit count"));
        }
    };
    Ok((db, ledger))
}

fn commits_in(db: &Database) -> Result<Option<u64>, StoreError> {
    db.get(TREE_RECORDS, COMMITS)?
        .map(|bytes| {
            <[u8; 8]>::try_from(&bytes[..])
                .map(u64::from_be_bytes)
                .map_err(|_| StoreError::damaged("the log has an impossible commit count"))
        })
        .transpose()
}
