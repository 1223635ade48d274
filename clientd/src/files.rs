//! Files on this client's disk: uploads, files on their way to contacts, and files that came.
//!
//! ```text
//!   POST /v1/blobs ── Files::upload ──▶ Upload ──▶ BlobInfo          (blocking: call it on a
//!   GET  /v1/blobs ── Files::open   ──▶ Reader                        thread that may wait)
//!   event loop     ── Files::attach, release, finished, forget ──▶ rows for its batch
//!   storage thread ── writing::Hand ──▶ records that came, durable before their batch
//!   event loop     ── reading::start ──▶ records to send, hashes of files that are whole
//! ```
//!
//! Bytes lie in [`store::BlobStore`], each file under a key of its own. That key stands in one row for
//! every use of the file ([`catalog`]), in the vault of the conversation that uses it: with the vault
//! goes the key. A file without uses goes too; an upload that nobody used goes after
//! [`UNUSED_AFTER`].
//!
//! Not here: HTTP (`api`), which record goes where and when (`messaging::transfer`).

pub(crate) mod catalog;
pub(crate) mod reading;
#[cfg(test)]
mod tests;
mod upload;
pub(crate) mod writing;

use crate::storage::SharedStore;
use catalog::{Catalog, Use};
use messaging::{BlobRef, ClientMessageId, ContactId, FILE_RECORD_LEN, MessageId};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Blob, BlobId, BlobKey, BlobStore, StoreError, Write};
pub(crate) use upload::Upload;
use wire::rng::KeyRng;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// An upload that no message uses, and a sent file whose message is finished, stay so long.
pub(crate) const UNUSED_AFTER: Duration = Duration::from_secs(86_400);
/// Most bytes that [`Reader::read`] gives at once.
pub(crate) const READ_MAX: usize = 64 * 1024;

/// What is known of a file that is whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BlobInfo {
    /// Its name here.
    pub(crate) blob: BlobRef,
    /// In bytes.
    pub(crate) size: u64,
    /// SHA-256 of its content.
    pub(crate) sha256: [u8; 32],
    /// What it is called; of an upload possibly nothing.
    pub(crate) name: String,
    /// What it is said to be; possibly nothing.
    pub(crate) media_type: String,
}

/// All files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Files(Arc<Shared>);

struct Shared {
    blobs: BlobStore,
    rows: SharedStore,
    catalog: Mutex<Catalog>,
    rng: Mutex<KeyRng>,
}

impl Files {
    /// Opens the folder, or makes it; what no row names is removed. Together files take at most
    /// `limit` bytes. Blocks.
    pub(crate) fn open(
        folder: &Path,
        limit: u64,
        rows: SharedStore,
        mut rng: KeyRng,
    ) -> Result<Self, StoreError> {
        let catalog = Catalog::read(&rows.lock())?;
        let blobs = BlobStore::open(folder, limit, KeyRng::from_seed(rng.bytes()))?;
        blobs.retain(&catalog.ids())?;
        Ok(Self(Arc::new(Shared {
            blobs,
            rows,
            catalog: Mutex::new(catalog),
            rng: Mutex::new(rng),
        })))
    }

    /// Begins an upload. Blocks.
    pub(crate) fn upload(&self) -> Result<Upload, StoreError> {
        let (id, key) = self.new_blob();
        let writer = self.0.blobs.create_stream(id, &key, FILE_RECORD_LEN)?;
        Ok(Upload::new(self.clone(), id, key, writer))
    }

    /// What is known of a file; `None` for one that is not here, or not whole yet.
    pub(crate) fn info(&self, blob: &BlobRef) -> Option<BlobInfo> {
        self.catalog().whole(&BlobId(blob.0))
    }

    /// Every file that is whole, by name.
    pub(crate) fn all(&self) -> Vec<BlobInfo> {
        let catalog = self.catalog();
        let ids = catalog.ids().into_iter();
        ids.filter_map(|id| catalog.whole(&id)).collect()
    }

    /// The file that a contact's message brought.
    pub(crate) fn received(&self, contact: &ContactId, message: &MessageId) -> Option<BlobInfo> {
        let catalog = self.catalog();
        catalog.whole(&catalog.incoming(contact, message)?)
    }

    /// Who may see a file: the contacts whose conversations use it. `None` for an upload that no
    /// message uses.
    pub(crate) fn contacts(&self, blob: &BlobRef) -> Option<BTreeSet<ContactId>> {
        let contacts = self.catalog().contacts(&BlobId(blob.0));
        (!contacts.is_empty()).then_some(contacts)
    }

    /// Opens a whole file; [`StoreError::Missing`] when there is none. Blocks.
    pub(crate) fn reader(&self, blob: &BlobRef) -> Result<Reader, StoreError> {
        let id = BlobId(blob.0);
        let (info, key) = {
            let catalog = self.catalog();
            let info = catalog.whole(&id).ok_or(StoreError::Missing)?;
            (info, catalog.key(&id).ok_or(StoreError::Missing)?)
        };
        let blob = self.0.blobs.open_blob(id, &key)?;
        Ok(Reader { info, blob })
    }

    /// Removes a file and its rows; whether there was one. One that is on its way to a contact
    /// cannot be sent on. Blocks.
    pub(crate) fn remove(&self, blob: &BlobRef) -> Result<bool, StoreError> {
        let id = BlobId(blob.0);
        let rows = self.catalog().remove(&id);
        if rows.is_empty() {
            return Ok(false);
        }
        self.0.rows.lock().commit(&rows)?;
        self.0.blobs.remove(id)?;
        Ok(true)
    }

    /// A message to a contact uses a file. The row belongs into the batch of the message; `None`
    /// when there is no such file. Only after the Messenger accepted the message.
    pub(crate) fn attach(
        &self,
        blob: &BlobRef,
        contact: ContactId,
        message: &ClientMessageId,
    ) -> Option<Vec<Write>> {
        let sent = Use::Sent(contact, message.clone());
        self.catalog().attach(&BlobId(blob.0), sent)
    }

    /// The message is finished; its file stays for [`UNUSED_AFTER`]. The row belongs into the batch
    /// of the message's last state; nothing for a message without a file.
    pub(crate) fn release(
        &self,
        contact: ContactId,
        message: &ClientMessageId,
        unix: UnixTime,
    ) -> Vec<Write> {
        let sent = Use::Sent(contact, message.clone());
        self.catalog().release(&sent, unix)
    }

    /// A file that came is whole and right: from now on it can be read. The row belongs into the
    /// batch of the news.
    pub(crate) fn finished(
        &self,
        contact: ContactId,
        message: MessageId,
    ) -> Option<(BlobInfo, Write)> {
        self.catalog().finished(contact, message)
    }

    /// A file that was coming will not come. Its blob goes with the next [`Files::sweep`].
    pub(crate) fn given_up(&self, contact: ContactId, message: MessageId) -> Vec<Write> {
        self.catalog().drop_use(&Use::Received(contact, message))
    }

    /// A conversation was wiped, its vault with it. Removes what only it used. Blocks.
    pub(crate) fn forget(&self, contact: &ContactId) -> Result<(), StoreError> {
        self.catalog().forget(contact);
        self.remove_unused()
    }

    /// Removes what nobody uses any more. Blocks; to be called now and then.
    pub(crate) fn sweep(&self, unix: UnixTime) -> Result<(), StoreError> {
        let rows = self.catalog().expire(unix, UNUSED_AFTER);
        if !rows.is_empty() {
            self.0.rows.lock().commit(&rows)?;
        }
        self.remove_unused()
    }

    /// What all files take on the disk.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.0.blobs.used_bytes()
    }

    fn remove_unused(&self) -> Result<(), StoreError> {
        let unused = self.catalog().take_unused();
        let removed = |id: BlobId| self.0.blobs.remove(id);
        unused.into_iter().try_for_each(removed)
    }

    fn new_blob(&self) -> (BlobId, BlobKey) {
        let mut rng = self.0.rng.lock().unwrap_or_else(PoisonError::into_inner);
        (BlobId(rng.bytes()), BlobKey::random(&mut rng))
    }

    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        // Every change of the catalog is one step; a panic elsewhere leaves it whole.
        let lock = self.0.catalog.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that can be read.
pub(crate) struct Reader {
    info: BlobInfo,
    blob: Blob,
}

impl Reader {
    /// What it is.
    pub(crate) fn info(&self) -> &BlobInfo {
        &self.info
    }

    /// Bytes from `offset` on: at most [`READ_MAX`], `len`, or to the end. Blocks.
    pub(crate) fn read(&self, offset: u64, len: u64) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let len = len.min(READ_MAX as u64) as usize;
        self.blob.read_range(offset, len)
    }
}
