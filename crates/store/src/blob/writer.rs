//! A blob whose length is known only at its end, as an upload's.

use super::file::Blob;
use super::{Lease, StoreError};
use crate::error::While;
use std::fs::File;
use std::path::PathBuf;
use wire::aead::SEAL_OVERHEAD;
use zeroize::Zeroizing;

/// Room is asked for by so many bytes, so that not every record asks the file system.
const LEASE_STEP: u64 = 1 << 20;

/// Takes the bytes of a blob one after the other. Dropped before [`BlobWriter::finish`], nothing
/// is left of it.
pub struct BlobWriter {
    /// `None` once it is finished.
    blob: Option<Blob>,
    path: PathBuf,
    lease: Lease,
    /// Of the lease, not yet written.
    spare: u64,
    record: Zeroizing<Vec<u8>>,
    records: u32,
    len: u64,
}

impl BlobWriter {
    pub(super) fn new(blob: Blob, path: PathBuf, lease: Lease) -> Self {
        let record = Zeroizing::new(Vec::with_capacity(blob.record_len()));
        Self {
            blob: Some(blob),
            path,
            lease,
            spare: 0,
            record,
            records: 0,
            len: 0,
        }
    }

    /// Bytes taken so far.
    // A writer without bytes is a writer.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Takes more bytes. After [`StoreError::Full`] or [`StoreError::NoSpace`] drop it: what was
    /// taken goes, and its room comes back.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        let record_len = self.blob()?.record_len();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(record_len - self.record.len()));
            self.record.extend_from_slice(now);
            self.len += now.len() as u64;
            bytes = later;
            if self.record.len() == record_len {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Makes it a blob, durably.
    pub fn finish(mut self) -> Result<Blob, StoreError> {
        if !self.record.is_empty() {
            self.write()?;
        }
        let len = self.len;
        let blob = self.blob()?;
        blob.set_len(len)?;
        blob.sync()?;
        blob.write_header()?;
        blob.sync()?;
        let parent = self.path.parent().ok_or(StoreError::Stopped)?;
        File::open(parent)
            .and_then(|folder| folder.sync_all())
            .while_doing("syncing the folder of the blobs")?;
        self.lease.usage.give_back(self.spare);
        self.lease.bytes = 0;
        self.blob.take().ok_or(StoreError::Stopped)
    }

    fn blob(&mut self) -> Result<&mut Blob, StoreError> {
        self.blob.as_mut().ok_or(StoreError::Stopped)
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let index = self.records;
        self.records = index.checked_add(1).ok_or(StoreError::TooLong)?;
        let needed = (self.blob()?.record_len() + SEAL_OVERHEAD) as u64;
        if self.spare < needed {
            let step = LEASE_STEP.max(needed);
            // Near the limit the last step is too long.
            let (more, leased) = match self.lease.extend(step) {
                Ok(()) => (step, Ok(())),
                Err(_) => (needed, self.lease.extend(needed)),
            };
            leased?;
            self.spare += more;
        }
        self.spare -= needed;
        // Never grown, so that no copy of it stays behind unwiped.
        let empty = Zeroizing::new(Vec::with_capacity(self.record.capacity()));
        let record = std::mem::replace(&mut self.record, empty);
        self.blob()?.put(index, &record)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.blob.is_some() {
            // A file that stays goes by `retain`: nobody knows it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
