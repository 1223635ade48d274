//! The client's own folder on the disk: its store with its key, and the Messenger in it.
//!
//! A daemon never ends over a damaged store, for whoever starts it again would start it for ever: what
//! still opens is taken over into a new store, the damaged one is set aside, and the daemon says so
//! ([`Opened::degraded`]) until a person has removed that. What is lost first is what was under way; who we
//! are and whom we know is kept twice ([`SPARE_TABLES`], `docs/decisions/0011`).

pub(crate) mod key;

use crate::history::{TABLE_EVENTS, TABLE_SPAN};
use key::{KEY_FILE, Unlock};
use messaging::{Event, Messenger, MessengerConfig, Record, RestoreError, Table};
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use runtime::node::NodeError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use store::{ClientStore, Salvaged, StoreError, VaultId, Write, quarantine, quarantined};
use wire::aead::SealKey;
use wire::time::UnixTime;
use zeroize::Zeroizing;

const STORE_FOLDER: &str = "store";
/// What to do with a damaged store. No wipe of a conversation reaches into it.
const REMEDY: &str = "restore a backup, or delete that folder: what you wipe stays readable in it";

/// Kept a second time beside the log: without these a client is nobody, and they seldom change.
const SPARE_TABLES: [Table; 3] = [Table::Own, Table::Contact, Table::Invite];
const SPARE_NUMBERS: [u8; SPARE_TABLES.len()] = [
    SPARE_TABLES[0] as u8,
    SPARE_TABLES[1] as u8,
    SPARE_TABLES[2] as u8,
];

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
    unlock: &Unlock,
    config: &MessengerConfig,
    now: UnixTime,
) -> Result<Opened, NodeError> {
    let key = &key::open(dir, unlock)?;
    let damage = match try_open(dir, key, config) {
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
    let saved = match salvage(dir, key, now) {
        Ok(salvaged) => salvaged_text(salvaged),
        // A full disk, say: nothing was replaced, and the next start may do better.
        Err(Trouble::Other(error)) => return Err(error),
        Err(Trouble::Damaged(what)) => what,
    };
    let (store, messenger, left) = open_salvaged(dir, key, config, now, saved)?;
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

fn salvaged_text(salvaged: Salvaged) -> String {
    let Salvaged {
        rows,
        unreadable,
        spare,
    } = salvaged;
    let mut text = format!("{rows} records were saved, {unreadable} could not be read");
    if spare > 0 {
        text +=
            &format!(", and {spare} of who you are and whom you know came from their second copy");
    }
    text
}

/// As much of what was salvaged as fits together, and what that is in words.
fn open_salvaged(
    dir: &DataDir,
    key: &SealKey,
    config: &MessengerConfig,
    now: UnixTime,
    saved: String,
) -> Result<(ClientStore, Messenger, String), NodeError> {
    match try_open(dir, key, config) {
        Ok((store, messenger)) => return Ok((store, messenger, saved)),
        Err(Trouble::Other(error)) => return Err(error),
        Err(Trouble::Damaged(_)) => {}
    }
    // Half of what was under way is of no use, and who we are needs none of it.
    let mut left = format!("{saved}; what was under way did not fit together and is lost");
    if let Ok(Ok(())) = caught(|| keep_only_people(dir, key)) {
        match try_open(dir, key, config) {
            Ok((store, messenger)) => return Ok((store, messenger, left)),
            Err(Trouble::Other(error)) => return Err(error),
            Err(Trouble::Damaged(_)) => {}
        }
    }
    // Too little is left to be anybody.
    quarantine(&dir.file(STORE_FOLDER), now).map_err(|error| ended(dir, &error))?;
    "nothing in it could be used, and this is a new identity without contacts"
        .clone_into(&mut left);
    match try_open(dir, key, config) {
        Ok((store, messenger)) => Ok((store, messenger, left)),
        Err(Trouble::Damaged(what)) => Err(NodeError::Ended(what)),
        Err(Trouble::Other(error)) => Err(error),
    }
}

/// Deletes all rows of the Messenger but those that are kept twice. Events, applications and files stay.
fn keep_only_people(dir: &DataDir, key: &SealKey) -> Result<(), OpenError> {
    let mut store = open_store(dir, key)?;
    for table in Table::ALL {
        if SPARE_TABLES.contains(&table) {
            continue;
        }
        let rows = store.scan(table as u8)?;
        let delete = |(key, _): store::Record| Write {
            table: table as u8,
            key,
            value: None,
            vault: None,
        };
        let deletions: Vec<Write> = rows.into_iter().map(delete).collect();
        store.commit(&deletions)?;
    }
    Ok(())
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

fn salvage(dir: &DataDir, key: &SealKey, now: UnixTime) -> Result<Salvaged, Trouble> {
    let rng = Entropy::os().key_rng();
    let rng = rng.map_err(|error| Trouble::Other(error.into()))?;
    let folder = dir.file(STORE_FOLDER);
    let salvaged = caught(|| ClientStore::salvage(&folder, key, rng, now, vault_of))?;
    salvaged.map_err(|error| {
        if let StoreError::Damaged { what } = error {
            Trouble::Damaged(what)
        } else {
            Trouble::Other(ended(dir, &error))
        }
    })
}

fn try_open(
    dir: &DataDir,
    key: &SealKey,
    config: &MessengerConfig,
) -> Result<(ClientStore, Messenger), Trouble> {
    let opened = caught(|| {
        let mut store = open_store(dir, key)?;
        let messenger = open_messenger(&mut store, config.clone())?;
        // Not before it is known to be whole: the second copy follows it.
        store.keep_spare(&SPARE_NUMBERS)?;
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

/// Opens the store, or makes it.
pub(crate) fn open_store(dir: &DataDir, key: &SealKey) -> Result<ClientStore, OpenError> {
    let rng = Entropy::os().key_rng();
    let rng = rng.map_err(|error| OpenError::Other(error.into()))?;
    let opened = ClientStore::open(&dir.file(STORE_FOLDER), key.clone(), rng, vault_of);
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
    let key = key::open(dir, &Unlock::default())?;
    let mut store = open_store(dir, &key).map_err(|error| error.into_node(dir))?;
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
