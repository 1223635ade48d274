//! Records of files that come, written on the storage thread before the rows of their batch: what a
//! row says is there is there. Not here: which records they are (`messaging::transfer`).
//!
//! A disk that is full or broken for a file ends that file and nothing else: its batch goes on, the
//! loop hears [`FileNews::Failed`] and cancels.

use super::catalog::Use;
use super::reading::FileNews;
use super::{BlobInfo, Files};
use messaging::{BlobRef, ContactId, FILE_RECORD_LEN, FileView, MessageId};
use std::collections::{BTreeMap, BTreeSet};
use store::{Blob, StoreError, Write};
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Most files that are kept open.
const OPEN_MAX: usize = 16;

/// What the storage thread does for a file.
pub(crate) enum FileJob {
    /// Make room for it.
    Begin {
        contact: ContactId,
        transfer: MessageId,
        file: FileView,
    },
    /// Write one record.
    Write {
        contact: ContactId,
        transfer: MessageId,
        index: u32,
        bytes: Zeroizing<Vec<u8>>,
    },
}

type Name = (ContactId, MessageId);

/// The storage thread's hand on the files that come.
pub(crate) struct Hand {
    files: Files,
    open: BTreeMap<Name, Blob>,
    /// Those that failed, so that each is told once. Emptied when there are too many.
    failed: BTreeSet<Name>,
}

impl Hand {
    pub(crate) fn new(files: Files) -> Self {
        Self {
            files,
            open: BTreeMap::new(),
            failed: BTreeSet::new(),
        }
    }

    /// Does the jobs of a batch and makes them durable; adds rows to the batch, and says what failed.
    pub(crate) fn work(&mut self, jobs: Vec<FileJob>, rows: &mut Vec<Write>) -> Vec<FileNews> {
        let mut touched = BTreeSet::new();
        let mut news = Vec::new();
        for job in jobs {
            let (name, done) = match job {
                FileJob::Begin {
                    contact,
                    transfer,
                    file,
                } => {
                    let name = (contact, transfer);
                    self.failed.remove(&name);
                    (name, self.begin(name, file, rows))
                }
                FileJob::Write {
                    contact,
                    transfer,
                    index,
                    bytes,
                } => {
                    let name = (contact, transfer);
                    touched.insert(name);
                    (name, self.write(name, index, &bytes))
                }
            };
            self.note(name, done, &mut news);
        }
        for name in touched {
            let synced = self.open.get(&name).map_or(Ok(()), Blob::sync);
            self.note(name, synced, &mut news);
        }
        while self.open.len() > OPEN_MAX {
            self.open.pop_first();
        }
        news
    }

    /// Removes the files of a conversation that is about to be wiped.
    pub(crate) fn wipe(&mut self, contact: &ContactId) -> Result<(), StoreError> {
        self.open.retain(|name, _| name.0 != *contact);
        self.failed.retain(|name| name.0 != *contact);
        self.files.forget(contact)
    }

    fn note(&mut self, name: Name, done: Result<(), StoreError>, news: &mut Vec<FileNews>) {
        let Err(error) = done else {
            return;
        };
        self.open.remove(&name);
        if self.failed.len() > 1024 {
            self.failed.clear();
        }
        if self.failed.insert(name) {
            tracing::warn!(%error, "a file that was coming cannot be kept");
            let (contact, transfer) = name;
            news.push(FileNews::Failed { contact, transfer });
        }
    }

    fn begin(
        &mut self,
        (contact, transfer): Name,
        file: FileView,
        rows: &mut Vec<Write>,
    ) -> Result<(), StoreError> {
        if self.files.catalog().incoming(&contact, &transfer).is_some() {
            return Ok(());
        }
        let (id, key) = self.files.new_blob();
        let blobs = &self.files.0.blobs;
        let blob = blobs.create(id, &key, FILE_RECORD_LEN, file.size)?;
        let info = BlobInfo {
            blob: BlobRef(id.0),
            size: file.size,
            sha256: file.hash,
            name: file.name,
            media_type: file.media_type,
        };
        let of = Use::Received(contact, transfer);
        let mut catalog = self.files.catalog();
        rows.push(catalog.insert(key, info, of, false, UnixTime(0)));
        self.open.insert((contact, transfer), blob);
        Ok(())
    }

    fn write(&mut self, name: Name, index: u32, bytes: &[u8]) -> Result<(), StoreError> {
        if self.failed.contains(&name) {
            return Ok(());
        }
        if !self.open.contains_key(&name) {
            let catalog = self.files.catalog();
            let id = catalog.incoming(&name.0, &name.1);
            let id = id.ok_or(StoreError::Missing)?;
            let key = catalog.key(&id).ok_or(StoreError::Missing)?;
            drop(catalog);
            let blob = self.files.0.blobs.open_blob(id, &key)?;
            self.open.insert(name, blob);
        }
        let blob = self.open.get_mut(&name).ok_or(StoreError::Missing)?;
        blob.write_record(index, bytes)
    }
}
