//! The client's own folder on the disk: its store with its key, and the Messenger in it.
//!
//! A daemon never ends over a damaged store, for whoever starts it again would start it for ever: what
//! still opens is taken over into a new store, the damaged one is set aside, and the daemon says so
//! ([`Opened::degraded`]) until a person has removed that.

use crate::history::{TABLE_EVENTS, TABLE_SPAN};
use messaging::{Event, Messenger, MessengerConfig, Record, RestoreError, Table};
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use runtime::keyfile;
use runtime::node::NodeError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use store::{ClientStore, Salvaged, StoreError, VaultId, Write, quarantine, quarantined};
use wire::aead::SealKey;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Seals the store. Without it nothing in the folder can be read.
const KEY_FILE: &str = "store.key";
const STORE_FOLDER: &str = "store";
/// What to do with a damaged store. No wipe of a conversation reaches into it.
const REMEDY: &str = "restore a backup, or delete that folder: what you wipe stays readable in it";

const _: () = assert!((Table::Partial as u8) < TABLE_EVENTS && TABLE_EVENTS < TABLE_SPAN);

/// A store that works, and the Messenger that it holds.
pub(crate) struct Opened {
    pub(crate) store: ClientStore,
    pub(crate) messenger: Messenger,
    /// That a damaged store lies beside this one, and what is left of it.
    pub(crate) degraded: Option<String>,
}

/// Why a store cannot be worked with as it is.
enum Trouble {
    /// What is in it is not what was written; others may still open.
    Damaged(String),
    /// A person must do something first.
    Other(NodeError),
}

/// Opens the store and the Messenger in it, whatever has become of the files.
pub(crate) fn open(
    dir: &DataDir,
    config: &MessengerConfig,
    now: UnixTime,
) -> Result<Opened, NodeError> {
    let damage = match try_open(dir, config) {
        Ok((store, messenger)) => {
            let earlier = |name| format!("a damaged store was set aside as `{name}`; {REMEDY}");
            return Ok(Opened {
                store,
                messenger,
                degraded: set_aside(dir).map(earlier),
            });
        }
        Err(Trouble::Other(error)) => return Err(error),
        Err(Trouble::Damaged(what)) => what,
    };
    tracing::error!("the store is damaged ({damage}); what still opens is taken over");
    let mut left = match salvage(dir, now) {
        Ok(Salvaged { rows, unreadable }) => {
            format!("{rows} records were saved, {unreadable} could not be read")
        }
        // A full disk, say: nothing was replaced, and the next start may do better.
        Err(Trouble::Other(error)) => return Err(error),
        Err(Trouble::Damaged(what)) => what,
    };
    let (store, messenger) = match try_open(dir, config) {
        Ok(opened) => opened,
        Err(Trouble::Other(error)) => return Err(error),
        // Too little is left to be anybody.
        Err(Trouble::Damaged(_)) => {
            quarantine(&dir.file(STORE_FOLDER), now).map_err(|error| ended(dir, &error))?;
            "nothing in it could be used, and this is a new identity without contacts"
                .clone_into(&mut left);
            try_open(dir, config).map_err(|trouble| match trouble {
                Trouble::Damaged(what) => NodeError::Ended(what),
                Trouble::Other(error) => error,
            })?
        }
    };
    let name = set_aside(dir).unwrap_or_default();
    let degraded =
        format!("the store was damaged ({damage}): {left}. It is set aside as `{name}`; {REMEDY}");
    tracing::error!("{degraded}");
    Ok(Opened {
        store,
        messenger,
        degraded: Some(degraded),
    })
}

/// The newest damaged store that nobody has removed yet.
fn set_aside(dir: &DataDir) -> Option<String> {
    let all = quarantined(&dir.file(STORE_FOLDER)).unwrap_or_default();
    let newest = all.last()?.file_name()?;
    Some(newest.to_string_lossy().into_owned())
}

fn ended(dir: &DataDir, error: &StoreError) -> NodeError {
    NodeError::Ended(format!("{}: {error}", dir.path().display()))
}

fn salvage(dir: &DataDir, now: UnixTime) -> Result<Salvaged, Trouble> {
    let mut entropy = Entropy::os();
    let key = store_key(dir, &mut entropy).map_err(Trouble::Other)?;
    let rng = entropy.key_rng();
    let rng = rng.map_err(|error| Trouble::Other(error.into()))?;
    let folder = dir.file(STORE_FOLDER);
    let salvaged = caught(|| ClientStore::salvage(&folder, &key, rng, now, vault_of))?;
    salvaged.map_err(|error| {
        if let StoreError::Damaged { what } = error {
            Trouble::Damaged(what)
        } else {
            Trouble::Other(ended(dir, &error))
        }
    })
}

fn try_open(dir: &DataDir, config: &MessengerConfig) -> Result<(ClientStore, Messenger), Trouble> {
    let opened = caught(|| {
        let mut store = open_store(dir)?;
        let messenger = open_messenger(&mut store, config.clone())?;
        Ok((store, messenger))
    });
    opened?.map_err(|error| match error {
        OpenError::Store(StoreError::Damaged { what }) => Trouble::Damaged(what),
        OpenError::Messenger(error @ (RestoreError::NoIdentity | RestoreError::Row { .. })) => {
            Trouble::Damaged(error.to_string())
        }
        other @ (OpenError::Store(_) | OpenError::Messenger(_) | OpenError::Other(_)) => {
            Trouble::Other(other.into_node(dir))
        }
    })
}

/// A database that panics over what it reads is one that is damaged.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Trouble> {
    let panicked = |_| Trouble::Damaged("reading it panicked".to_owned());
    catch_unwind(AssertUnwindSafe(work)).map_err(panicked)
}

/// Why it does not open.
#[derive(Debug)]
pub(crate) enum OpenError {
    Store(StoreError),
    Messenger(RestoreError),
    Other(NodeError),
}

impl OpenError {
    pub(crate) fn into_node(self, dir: &DataDir) -> NodeError {
        match self {
            Self::Store(error) => ended(dir, &error),
            Self::Messenger(error) => {
                NodeError::Ended(format!("the store cannot be used: {error}"))
            }
            Self::Other(error) => error,
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn store_key(dir: &DataDir, entropy: &mut Entropy) -> Result<SealKey, NodeError> {
    let seed = match keyfile::load(dir, KEY_FILE)? {
        Some(seed) => seed,
        None => {
            let seed = entropy.seed()?;
            keyfile::create(dir, KEY_FILE, &seed)?;
            seed
        }
    };
    Ok(SealKey::from_bytes(*seed))
}

/// Opens the store, or makes it.
pub(crate) fn open_store(dir: &DataDir) -> Result<ClientStore, OpenError> {
    let mut entropy = Entropy::os();
    let key = store_key(dir, &mut entropy).map_err(OpenError::Other)?;
    let rng = entropy.key_rng();
    let rng = rng.map_err(|error| OpenError::Other(error.into()))?;
    let opened = ClientStore::open(&dir.file(STORE_FOLDER), key, rng, vault_of);
    opened.map_err(OpenError::Store)
}

/// The Messenger that the store holds; a new one where it holds none.
pub(crate) fn open_messenger(
    store: &mut ClientStore,
    config: MessengerConfig,
) -> Result<Messenger, OpenError> {
    let mut records = Vec::new();
    for table in Table::ALL {
        for (key, value) in store.scan(table as u8)? {
            records.push(Record {
                table,
                vault: table.vault_of(&key),
                key,
                value: Some(value),
            });
        }
    }
    let keys = Entropy::os().key_rng();
    let keys = keys.map_err(|error| OpenError::Other(error.into()))?;
    if !records.is_empty() {
        return Messenger::restore(config, keys, records).map_err(OpenError::Messenger);
    }
    let mut messenger = Messenger::new(config, keys);
    let mut writes = Vec::new();
    while let Some(event) = messenger.poll_event() {
        if let Event::Write(record) = event {
            writes.push(Write {
                table: record.table as u8,
                key: record.key,
                value: record.value,
                vault: record.vault.map(|contact| VaultId(contact.0)),
            });
        }
    }
    store.commit(&writes)?;
    Ok(messenger)
}

/// Rows of a Messenger's tables.
pub(crate) fn provision(
    dir: &DataDir,
    rows: impl IntoIterator<Item = ((Table, Vec<u8>), Zeroizing<Vec<u8>>)>,
) -> Result<(), NodeError> {
    let mut store = open_store(dir).map_err(|error| error.into_node(dir))?;
    let failed = |error: StoreError| NodeError::Ended(error.to_string());
    for table in Table::ALL {
        if !store.scan(table as u8).map_err(failed)?.is_empty() {
            let text = "the folder holds a client already; choose another one";
            return Err(NodeError::Ended(text.into()));
        }
    }
    let write = |((table, key), value): ((Table, Vec<u8>), Zeroizing<Vec<u8>>)| Write {
        table: table as u8,
        vault: vault_of(table as u8, &key),
        key,
        value: Some(value),
    };
    let writes: Vec<Write> = rows.into_iter().map(write).collect();
    store.commit(&writes).map_err(failed)
}

/// Destroys the folder: first the key without which nothing in it can be read, overwritten where it
/// stands, then all the rest. What flash memory keeps of an overwritten block, no program reaches.
pub(crate) fn destroy(dir: DataDir) -> Result<(), NodeError> {
    let path = dir.path().to_owned();
    overwrite(&path.join(KEY_FILE))?;
    for entry in std::fs::read_dir(&path)? {
        let entry = entry?.path();
        if entry.is_dir() {
            std::fs::remove_dir_all(&entry)?;
        } else {
            std::fs::remove_file(&entry)?;
        }
    }
    drop(dir);
    // Whoever made the folder for us may want to keep it.
    let _ = std::fs::remove_dir(&path);
    Ok(())
}

fn overwrite(file: &std::path::Path) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut opened = match std::fs::OpenOptions::new().write(true).open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let len = opened.metadata()?.len();
    std::io::copy(&mut std::io::repeat(0).take(len), &mut opened)?;
    opened.flush()?;
    opened.sync_all()
}

/// Rows of a store that was made before there were vaults.
fn vault_of(table: u8, key: &[u8]) -> Option<VaultId> {
    let contact = Table::from_u8(table)?.vault_of(key)?;
    Some(VaultId(contact.0))
}

#[cfg(test)]
mod tests;
