//! The client's table of everything it must not forget: sealed records in sled, changed in atomic,
//! durable batches. `docs/spec/store.md` §3.
//!
//! What the records mean is `clientd`'s affair. On the disk a record's key is an HMAC and the clear
//! key stands inside the sealed value, so that a stolen disk shows how many records there are and
//! how long, and nothing else.
//!
//! A deleted or replaced record is out of reach at once, but sled keeps its sealed bytes until it
//! reuses the space; whoever has disk *and* key may still find them.

use crate::database::{Batch, Database};
use crate::derive::{derive, mac};
use crate::error::StoreError;
use crate::files::LockedFolder;
use crate::ledger::{Entry, HEAD_LEN, Ledger};
use std::fs::File;
use std::path::Path;
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::{Reader, Writer};
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// The format that this program writes.
const VERSION: u16 = 1;
/// Longest key in bytes.
pub const KEY_MAX: usize = 1024;
/// Longest value in bytes; longer ones would leave sled's log for files of their own.
pub const VALUE_MAX: usize = 96 * 1024;

const TREE_RECORDS: usize = 0;
const TREES: [&str; 1] = ["records"];
const COMMITS: &[u8] = b"commits";
const HEADER_FILE: &str = "store";
const LOG_FOLDER: &str = "sled";
const MAGIC: &[u8; 8] = b"MZCLIENT";
const CLEAR_LEN: usize = 10;

/// One change: the record under (table, key) becomes `value`, or is deleted.
pub struct Write {
    /// Which table.
    pub table: u8,
    /// Which record.
    pub key: Vec<u8>,
    /// What it becomes; `None` deletes it.
    pub value: Option<Zeroizing<Vec<u8>>>,
}

/// A record's key and value.
pub type Record = (Vec<u8>, Zeroizing<Vec<u8>>);

/// A client's durable records.
///
/// After any error of [`ClientStore::commit`] that comes from the disk the store has stopped and
/// answers [`StoreError::Stopped`] to everything.
pub struct ClientStore {
    db: Database,
    header: File,
    ledger: Ledger,
    name_key: SealKey,
    value_key: SealKey,
    rng: KeyRng,
    stopped: bool,
    _folder: LockedFolder,
}

impl ClientStore {
    /// Opens the store in `folder`, or makes it.
    pub fn open(folder: &Path, key: SealKey, mut rng: KeyRng) -> Result<Self, StoreError> {
        let folder = LockedFolder::open(folder)?;
        let ledger_key = derive(&key, "mizzle-client-ledger-v1");
        let header = open_header(&folder, &key, &mut rng)?;
        let ledger = Ledger::read(&header, ledger_key.clone())?;
        let log = folder.join(LOG_FOLDER);
        if ledger.is_some() && !log.join("db").exists() {
            return Err(StoreError::damaged("the log is missing"));
        }
        let db = Database::open(&log, &TREES)?;
        let in_sled = commits_in(&db)?;
        let ledger = match (ledger, in_sled) {
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
        let mut store = Self {
            db,
            header,
            ledger,
            name_key: derive(&key, "mizzle-client-names-v1"),
            value_key: derive(&key, "mizzle-client-values-v1"),
            rng,
            stopped: false,
            _folder: folder,
        };
        store.commit(&[])?;
        Ok(store)
    }

    /// All records of a table by ascending key. Reads the whole store: meant for the start.
    pub fn scan(&self, table: u8) -> Result<Vec<Record>, StoreError> {
        self.running()?;
        let mut found = Vec::new();
        self.db.each(TREE_RECORDS, |name, sealed| {
            if name == COMMITS {
                return Ok(());
            }
            let (of, key, value) = self.unseal(name, sealed)?;
            if of == table {
                found.push((key, value));
            }
            Ok(())
        })?;
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// One record.
    pub fn get(&self, table: u8, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.running()?;
        let name = self.name(table, key);
        match self.db.get(TREE_RECORDS, &name)? {
            Some(sealed) => self.unseal(&name, &sealed).map(|(_, _, value)| Some(value)),
            None => Ok(None),
        }
    }

    /// Makes all changes, or none of them; they are durable when this returns. Of several writes to
    /// one record the last one holds.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.running()?;
        let too_long = |w: &Write| {
            w.key.len() > KEY_MAX || w.value.as_ref().is_some_and(|v| v.len() > VALUE_MAX)
        };
        if writes.iter().any(too_long) {
            return Err(StoreError::TooLong);
        }
        let done = self.write(writes);
        self.stopped |= done.is_err();
        done
    }

    fn running(&self) -> Result<(), StoreError> {
        if self.stopped {
            Err(StoreError::Stopped)
        } else {
            Ok(())
        }
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let entry = Entry {
            commits: self.ledger.last().commits + 1,
            ..Entry::default()
        };
        let mut batch = Batch::default();
        for write in writes {
            let name = self.name(write.table, &write.key);
            match &write.value {
                Some(value) => {
                    let sealed = self.seal(&name, write.table, &write.key, value);
                    batch.insert(&name, sealed);
                }
                None => batch.remove(&name),
            }
        }
        // In the same batch, so that the count never says more or less than the records.
        batch.insert(COMMITS, entry.commits.to_be_bytes().to_vec());
        self.db.apply(TREE_RECORDS, batch)?;
        self.db.sync()?;
        self.ledger.write(&self.header, entry, &mut self.rng)?;
        self.header.sync_data().map_err(|source| StoreError::Io {
            what: "syncing the store's header",
            source,
        })
    }

    fn name(&self, table: u8, key: &[u8]) -> [u8; 32] {
        mac(&self.name_key, &[&[table], key])
    }

    fn seal(&mut self, name: &[u8], table: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut w = Writer::with_capacity(3 + key.len() + value.len());
        w.u8(table).u16(key.len() as u16).put(key).put(value);
        let plain = Zeroizing::new(w.into_vec());
        self.value_key.seal(&place(name), &plain, &mut self.rng)
    }

    fn unseal(&self, name: &[u8], sealed: &[u8]) -> Result<(u8, Vec<u8>, Value), StoreError> {
        let bad = || StoreError::damaged("a record does not open");
        let plain = self
            .value_key
            .open(&place(name), sealed)
            .map_err(|_| bad())?;
        let mut r = Reader::new(&plain);
        let mut parse = || {
            let table = r.u8()?;
            let len = usize::from(r.u16()?);
            let key = r.slice(len)?.to_vec();
            Ok::<_, wire::codec::DecodeError>((table, key, Zeroizing::new(r.rest().to_vec())))
        };
        parse().map_err(|_| bad())
    }
}

type Value = Zeroizing<Vec<u8>>;

fn commits_in(db: &Database) -> Result<Option<u64>, StoreError> {
    db.get(TREE_RECORDS, COMMITS)?
        .map(|bytes| {
            <[u8; 8]>::try_from(&bytes[..])
                .map(u64::from_be_bytes)
                .map_err(|_| StoreError::damaged("the log has an impossible commit count"))
        })
        .transpose()
}

/// Opens the header file, or makes it before anything else; checks version and key.
fn open_header(folder: &LockedFolder, key: &SealKey, rng: &mut KeyRng) -> Result<File, StoreError> {
    let missing = || StoreError::damaged("the header file is missing");
    let check = derive(key, "mizzle-client-check-v1");
    if folder.open_file(HEADER_FILE)?.is_none() {
        if folder.join(LOG_FOLDER).exists() {
            return Err(missing());
        }
        let mut w = Writer::with_capacity(HEAD_LEN as usize);
        w.put(MAGIC).u16(VERSION);
        let clear = w.into_vec();
        let mut w = Writer::with_capacity(HEAD_LEN as usize);
        w.put(&clear).put(&check.seal(&clear, &[], rng));
        folder.create(HEADER_FILE, &w.into_padded(HEAD_LEN as usize))?;
    }
    let file = folder.open_file(HEADER_FILE)?.ok_or_else(missing)?;
    let mut head = [0; CLEAR_LEN + SEAL_OVERHEAD];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut head, 0)
        .map_err(|_| StoreError::damaged("the header file is too short"))?;
    let (clear, sealed) = head.split_at(CLEAR_LEN);
    if clear[..8] != MAGIC[..] {
        return Err(StoreError::damaged("the header file is no header"));
    }
    let found = u16::from_be_bytes([clear[8], clear[9]]);
    if found != VERSION {
        return Err(StoreError::Version {
            found,
            known: VERSION,
        });
    }
    check
        .open(clear, sealed)
        .map_err(|_| StoreError::WrongKey)?;
    Ok(file)
}

fn place(name: &[u8]) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-client-record-v1").put(name);
    w.into_vec()
}
