//! The header file: format, a check of the key, and room for the ledger.

use crate::derive::derive;
use crate::error::StoreError;
use crate::files::LockedFolder;
use crate::ledger::{HEAD_LEN, Ledger};
use std::fs::File;
use std::os::unix::fs::FileExt;
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::Writer;
use wire::rng::KeyRng;

/// The format that this program writes.
pub(super) const VERSION: u16 = 2;
pub(super) const LOG_FOLDER: &str = "sled";

const FILE: &str = "store";
const MAGIC: &[u8; 8] = b"MZCLIENT";
const CLEAR_LEN: usize = 10;

pub(super) fn exists(folder: &LockedFolder) -> bool {
    folder.join(FILE).exists()
}

/// Makes the header, before the log.
pub(super) fn create(
    folder: &LockedFolder,
    key: &SealKey,
    rng: &mut KeyRng,
) -> Result<(), StoreError> {
    let mut w = Writer::with_capacity(HEAD_LEN as usize);
    w.put(MAGIC).u16(VERSION);
    let clear = w.into_vec();
    let mut w = Writer::with_capacity(HEAD_LEN as usize);
    w.put(&clear).put(&check(key).seal(&clear, &[], rng));
    folder.create(FILE, &w.into_padded(HEAD_LEN as usize))
}

/// Opens it and says its format, which is at most [`VERSION`].
pub(super) fn open(folder: &LockedFolder, key: &SealKey) -> Result<(File, u16), StoreError> {
    let file = folder
        .open_file(FILE)?
        .ok_or_else(|| StoreError::damaged("the header file is missing"))?;
    let mut head = [0; CLEAR_LEN + SEAL_OVERHEAD];
    file.read_exact_at(&mut head, 0)
        .map_err(|_| StoreError::damaged("the header file is too short"))?;
    let (clear, sealed) = head.split_at(CLEAR_LEN);
    if clear[..8] != MAGIC[..] {
        return Err(StoreError::damaged("the header file is no header"));
    }
    let found = u16::from_be_bytes([clear[8], clear[9]]);
    if found > VERSION {
        let known = VERSION;
        return Err(StoreError::Version { found, known });
    }
    if check(key).open(clear, sealed).is_err() || found == 0 {
        // A key that opens the ledger is the right one.
        let ledger = Ledger::read(&file, derive(key, "mizzle-client-ledger-v1"))?;
        return Err(match ledger {
            Some(_) => StoreError::damaged("the header does not open"),
            None => StoreError::WrongKey,
        });
    }
    Ok((file, found))
}

fn check(key: &SealKey) -> SealKey {
    derive(key, "mizzle-client-check-v1")
}
