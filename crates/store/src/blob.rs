//! Files of a client, sealed, each as one file of records of one length. `docs/spec/store.md` §6.
//!
//! A record is found by its number alone, so that a download of a range and a sender of bulk read
//! what they need, and a receiver writes what comes in any order. Each blob has a [`BlobKey`] of its
//! own, which its owner keeps in the [`crate::ClientStore`]: with the row that holds it goes the
//! blob, whatever the disk still has of it.
//!
//! [`BlobStore`] makes, opens and counts blobs; [`Blob`] reads and writes records of one;
//! [`BlobWriter`] takes bytes whose length nobody knows yet. All of it blocks on the disk. The bytes
//! of a blob's file are in `blob/file.rs`. Which blobs there are to be, and which records have come,
//! is the owner's business.

mod file;
mod writer;

pub use file::{Blob, RECORD_MAX};
pub use writer::BlobWriter;

use crate::derive::derive;
use crate::error::{OrNoSpace, StoreError, While};
use crate::files::LockedFolder;
use crate::space::Space;
use file::{Geometry, file_len};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wire::aead::SealKey;
use wire::rng::KeyRng;
use zeroize::Zeroizing;

const SUFFIX: &str = ".blob";

/// A blob's name; random, so that it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlobId(pub [u8; 16]);

/// What opens one blob. Wiped on drop; no `Debug`.
#[derive(Clone)]
pub struct BlobKey(SealKey);

impl BlobKey {
    /// A new key.
    pub fn random(rng: &mut KeyRng) -> Self {
        Self(SealKey::from_bytes(rng.bytes()))
    }

    /// The key that [`BlobKey::to_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(SealKey::from_bytes(bytes))
    }

    /// To be kept in a sealed row.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.0.expose())
    }

    fn header(&self) -> SealKey {
        derive(&self.0, "mizzle-blob-header-v1")
    }

    fn records(&self) -> SealKey {
        derive(&self.0, "mizzle-blob-records-v1")
    }
}

/// The blobs in one folder. Share it in an `Arc`; blobs that are open outlive it.
pub struct BlobStore {
    folder: LockedFolder,
    used: Usage,
    rng: Mutex<KeyRng>,
}

impl BlobStore {
    /// Opens the folder, or makes it, and counts what is in it. Blobs together take at most
    /// `limit_bytes` on the disk. Files that are no blobs stay and are not counted.
    pub fn open(folder: &Path, limit_bytes: u64, rng: KeyRng) -> Result<Self, StoreError> {
        let store = Self {
            folder: LockedFolder::open(folder)?,
            used: Usage::new(folder, limit_bytes),
            rng: Mutex::new(rng),
        };
        let mut used = 0;
        for (_, path) in store.list()? {
            used += std::fs::metadata(path)
                .while_doing("counting the blobs")?
                .len();
        }
        store.used.bytes.store(used, Ordering::Relaxed);
        Ok(store)
    }

    /// Removes every blob that is not in `known`, and says how many. For the start: a crash leaves
    /// blobs whose key was never kept, and files whose row is gone already.
    pub fn retain(&self, known: &BTreeSet<BlobId>) -> Result<usize, StoreError> {
        let mut removed = 0;
        for (id, _) in self.list()? {
            if !known.contains(&id) {
                self.remove(id)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// A blob of `len` bytes, to be filled by [`Blob::write_record`] in any order. Its room is taken
    /// at once: [`StoreError::Full`] above the limit, [`StoreError::NoSpace`] on a full disk. It is
    /// durable, empty, when this returns.
    pub fn create(
        &self,
        id: BlobId,
        key: &BlobKey,
        record_len: usize,
        len: u64,
    ) -> Result<Blob, StoreError> {
        let geometry = Geometry::new(record_len, len)?;
        let bytes = file_len(geometry);
        let lease = self.used.take(bytes)?;
        let path = self.path(id);
        let file = make(&path)?;
        let mut blob = Blob::new(file, id, key, geometry, self.draw());
        let made = blob
            .allocate()
            .and_then(|()| blob.write_header())
            .and_then(|()| blob.sync())
            .and_then(|()| self.folder.sync());
        if let Err(error) = made {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        lease.keep();
        Ok(blob)
    }

    /// A blob whose length the end of its bytes decides. Not there before [`BlobWriter::finish`].
    pub fn create_stream(
        &self,
        id: BlobId,
        key: &BlobKey,
        record_len: usize,
    ) -> Result<BlobWriter, StoreError> {
        let geometry = Geometry::new(record_len, 0)?;
        let lease = self.used.take(file_len(geometry))?;
        let path = self.path(id);
        let file = make(&path)?;
        let blob = Blob::new(file, id, key, geometry, self.draw());
        Ok(BlobWriter::new(blob, path, lease))
    }

    /// Opens a blob; [`StoreError::Missing`] when there is none, [`StoreError::Damaged`] when its
    /// file was cut, or is none of ours, or its head does not open with this key.
    pub fn open_blob(&self, id: BlobId, key: &BlobKey) -> Result<Blob, StoreError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(id));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Missing);
            }
            Err(error) => return Err(error).while_doing("opening a blob"),
        };
        Blob::open(file, id, key, self.draw())
    }

    /// Removes a blob's file; nothing happens when there is none. What the disk keeps of it opens
    /// with its key only, whose row the caller removes first.
    pub fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        let path = self.path(id);
        let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        match std::fs::metadata(&path).and_then(|m| std::fs::remove_file(&path).map(|()| m.len())) {
            Ok(len) => self.used.give_back(len),
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => return Err(error).while_doing("removing a blob"),
        }
        self.folder.sync()
    }

    /// What all blobs take on the disk, those being written included.
    pub fn used_bytes(&self) -> u64 {
        self.used.bytes.load(Ordering::Relaxed)
    }

    fn draw(&self) -> KeyRng {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        KeyRng::from_seed(rng.bytes())
    }

    fn path(&self, id: BlobId) -> PathBuf {
        let hex: String = id.0.iter().map(|b| format!("{b:02x}")).collect();
        self.folder.join(&format!("{hex}{SUFFIX}"))
    }

    fn list(&self) -> Result<Vec<(BlobId, PathBuf)>, StoreError> {
        let read = || -> std::io::Result<Vec<(BlobId, PathBuf)>> {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(self.folder.path())? {
                let entry = entry?;
                let id = entry.file_name().to_str().and_then(parse_name);
                if let Some(id) = id.filter(|_| entry.file_type().is_ok_and(|t| t.is_file())) {
                    found.push((id, entry.path()));
                }
            }
            Ok(found)
        };
        read().while_doing("listing the blobs")
    }
}

/// What the limit allows, shared with the writers of streams.
#[derive(Clone)]
struct Usage {
    bytes: Arc<AtomicU64>,
    limit: u64,
    folder: PathBuf,
}

impl Usage {
    fn new(folder: &Path, limit: u64) -> Self {
        Self {
            bytes: Arc::new(AtomicU64::new(0)),
            limit,
            folder: folder.to_owned(),
        }
    }

    /// Takes room for `more` bytes: below the limit, and off the disk's reserve, which belongs to
    /// what must never fail.
    fn take(&self, more: u64) -> Result<Lease, StoreError> {
        let mut lease = Lease {
            usage: self.clone(),
            bytes: 0,
        };
        lease.extend(more)?;
        Ok(lease)
    }

    fn give_back(&self, less: u64) {
        let back = |used: u64| Some(used.saturating_sub(less));
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        // Cannot fail: `back` always gives a value.
        let _ = self.bytes.fetch_update(set, fetch, back);
    }
}

/// Room that was taken; given back on drop unless kept.
struct Lease {
    usage: Usage,
    bytes: u64,
}

impl Lease {
    fn extend(&mut self, more: u64) -> Result<(), StoreError> {
        let space = Space::of(&self.usage.folder)?;
        if space.free.saturating_sub(more) < space.reserve() {
            return Err(StoreError::NoSpace);
        }
        let limit = self.usage.limit;
        let add = |used: u64| used.checked_add(more).filter(|sum| *sum <= limit);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.usage
            .bytes
            .fetch_update(set, fetch, add)
            .map_err(|_| StoreError::Full)?;
        self.bytes += more;
        Ok(())
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.usage.give_back(self.bytes);
    }
}

fn make(path: &Path) -> Result<File, StoreError> {
    let made = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.or_no_space("making a blob")
}

fn parse_name(name: &str) -> Option<BlobId> {
    let hex = name.strip_suffix(SUFFIX)?;
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if hex.len() != 32 || !hex.bytes().all(lower) {
        return None;
    }
    let mut id = [0; 16];
    for (byte, at) in id.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(BlobId(id))
}
