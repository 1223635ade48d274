//! An upload: bytes of unknown length become a file. Not here: where they come from (`api`).

use super::catalog::Use;
use super::{BlobInfo, Files};
use messaging::BlobRef;
use sha2::{Digest, Sha256};
use store::{BlobId, BlobKey, BlobWriter, StoreError};
use wire::time::UnixTime;

/// Takes the bytes one after the other. Dropped before [`Upload::finish`], nothing is left.
pub(crate) struct Upload {
    files: Files,
    id: BlobId,
    key: BlobKey,
    writer: BlobWriter,
    hash: Sha256,
}

impl Upload {
    pub(super) fn new(files: Files, id: BlobId, key: BlobKey, writer: BlobWriter) -> Self {
        Self {
            files,
            id,
            key,
            writer,
            hash: Sha256::new(),
        }
    }

    /// Bytes taken so far.
    pub(crate) fn len(&self) -> u64 {
        self.writer.len()
    }

    /// Takes more; [`StoreError::Full`] and [`StoreError::NoSpace`] end the upload. Blocks.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hash.update(bytes);
        self.writer.push(bytes)
    }

    /// The file, durable when this returns. Blocks.
    pub(crate) fn finish(
        self,
        name: String,
        media_type: String,
        unix: UnixTime,
    ) -> Result<BlobInfo, StoreError> {
        let info = BlobInfo {
            blob: BlobRef(self.id.0),
            size: self.writer.len(),
            sha256: self.hash.finalize().into(),
            name,
            media_type,
        };
        self.writer.finish()?;
        let mut catalog = self.files.catalog();
        let row = catalog.insert(self.key, info.clone(), Use::Upload, true, unix);
        drop(catalog);
        let durable = self.files.0.rows.lock().commit(&[row]);
        if let Err(error) = durable {
            self.files.catalog().remove(&self.id);
            // What stays goes at the next start: no row names it.
            let _ = self.files.0.blobs.remove(self.id);
            return Err(error);
        }
        Ok(info)
    }
}
