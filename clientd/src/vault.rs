//! The client's own folder on the disk: its store with its key, and the Messenger in it.

use crate::history::{TABLE_EVENTS, TABLE_SPAN};
use messaging::{Event, Messenger, MessengerConfig, Record, RestoreError, Table};
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use runtime::keyfile;
use runtime::node::NodeError;
use store::{ClientStore, VaultId, Write};
use wire::aead::SealKey;
use zeroize::Zeroizing;

/// Seals the store. Without it nothing in the folder can be read.
const KEY_FILE: &str = "store.key";
const STORE_FOLDER: &str = "store";

const _: () = assert!((Table::Partial as u8) < TABLE_EVENTS && TABLE_EVENTS < TABLE_SPAN);

/// Opens the store, or makes it.
pub(crate) fn open_store(dir: &DataDir) -> Result<ClientStore, NodeError> {
    let mut entropy = Entropy::os();
    let seed = match keyfile::load(dir, KEY_FILE)? {
        Some(seed) => seed,
        None => {
            let seed = entropy.seed()?;
            keyfile::create(dir, KEY_FILE, &seed)?;
            seed
        }
    };
    let key = SealKey::from_bytes(*seed);
    ClientStore::open(&dir.file(STORE_FOLDER), key, entropy.key_rng()?, vault_of)
        .map_err(|error| NodeError::Ended(format!("{}: {error}", dir.path().display())))
}

/// The Messenger that the store holds; a new one where it holds none.
pub(crate) fn open_messenger(
    store: &mut ClientStore,
    config: MessengerConfig,
) -> Result<Messenger, NodeError> {
    let failed = |error: store::StoreError| NodeError::Ended(error.to_string());
    let mut records = Vec::new();
    for table in Table::ALL {
        for (key, value) in store.scan(table as u8).map_err(failed)? {
            records.push(Record {
                table,
                vault: table.vault_of(&key),
                key,
                value: Some(value),
            });
        }
    }
    let keys = Entropy::os().key_rng()?;
    if !records.is_empty() {
        let restored = Messenger::restore(config, keys, records);
        return restored.map_err(|error: RestoreError| {
            NodeError::Ended(format!("the store cannot be used: {error}"))
        });
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
    store.commit(&writes).map_err(failed)?;
    Ok(messenger)
}

/// Rows of a Messenger's tables.
pub(crate) fn provision(
    dir: &DataDir,
    rows: impl IntoIterator<Item = ((Table, Vec<u8>), Zeroizing<Vec<u8>>)>,
) -> Result<(), NodeError> {
    let mut store = open_store(dir)?;
    let failed = |error: store::StoreError| NodeError::Ended(error.to_string());
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
