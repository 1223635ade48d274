//! sled behind a small door: the only file that names it.
//!
//! Two things are added. Durability: sled's `flush` hands pages to the kernel but does not wait for
//! the disk, so [`Database::sync`] lets fdatasync follow on a handle of its own (decision 0002). And
//! containment: sled panics on some kinds of damage; a panic becomes [`StoreError::Damaged`].

use crate::error::{StoreError, While};
use crate::files::{make_folder, settle_tree};
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Memory that sled may use for pages. A gateway stays below 60 MB as a whole.
const CACHE_BYTES: u64 = 8 << 20;
/// How long a store that was just dropped may take to let go of its lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Some trees in one folder.
pub(crate) struct Database {
    /// `None` only while dropping.
    inner: Option<Inner>,
    file: File,
}

struct Inner {
    db: sled::Db,
    trees: Vec<sled::Tree>,
}

/// Index of a tree in the list given to [`Database::open`].
pub(crate) type TreeIndex = usize;

/// Changes of one tree that happen together or not at all, power cut or not.
#[derive(Default)]
pub(crate) struct Batch(sled::Batch);

impl Batch {
    pub(crate) fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

impl Database {
    /// Opens the log in `folder`, or makes it; its files are durable and private afterwards.
    ///
    /// What an earlier process left in the page cache is synced before sled sees it: recovery
    /// writes a snapshot that is durable at once and must not be newer than the log it describes.
    pub(crate) fn open(folder: &Path, names: &[&str]) -> Result<Self, StoreError> {
        make_folder(folder)?;
        settle_tree(folder)?;
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::LowSpace)
            .use_compression(false)
            .flush_every_ms(None);
        let inner = guard(|| {
            let db = open_patiently(&config)?;
            let trees = names
                .iter()
                .map(|name| db.open_tree(name))
                .collect::<Result<_, _>>()?;
            Ok(Inner { db, trees })
        })?;
        let file = File::open(folder.join("db")).while_doing("opening the log")?;
        let database = Self {
            inner: Some(inner),
            file,
        };
        database.sync()?;
        settle_tree(folder)?;
        Ok(database)
    }

    pub(crate) fn insert(
        &self,
        tree: TreeIndex,
        key: &[u8],
        value: Vec<u8>,
    ) -> Result<(), StoreError> {
        guard(|| self.tree(tree).insert(key, value).map(drop))
    }

    pub(crate) fn remove(&self, tree: TreeIndex, key: &[u8]) -> Result<(), StoreError> {
        guard(|| self.tree(tree).remove(key).map(drop))
    }

    pub(crate) fn get(&self, tree: TreeIndex, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guard(|| Ok(self.tree(tree).get(key)?.map(|value| value.to_vec())))
    }

    pub(crate) fn apply(&self, tree: TreeIndex, batch: Batch) -> Result<(), StoreError> {
        guard(|| self.tree(tree).apply_batch(batch.0))
    }

    /// Calls `visit` for each pair by ascending key, until it fails.
    pub(crate) fn each(
        &self,
        tree: TreeIndex,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut pairs = guard(|| Ok(self.tree(tree).iter()))?;
        while let Some((key, value)) = guard(|| pairs.next().transpose())? {
            visit(&key, &value)?;
        }
        Ok(())
    }

    /// Calls `visit` for each pair that sled can still read. Around what it cannot read it feels its
    /// way by keys: these are hashes, so that a step skips little.
    pub(crate) fn each_readable(
        &self,
        tree: TreeIndex,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut from = Vec::new();
        loop {
            let Ok(mut pairs) = guard(|| Ok(self.tree(tree).range(from.clone()..))) else {
                return Ok(());
            };
            loop {
                match guard(|| pairs.next().transpose()) {
                    Ok(Some((key, value))) => {
                        visit(&key, &value)?;
                        from = [&key[..], &[0]].concat();
                    }
                    Ok(None) => return Ok(()),
                    Err(_) => break,
                }
            }
            let Some(next) = step(&from) else {
                return Ok(());
            };
            from = next;
        }
    }

    /// Everything written so far is on the disk when this returns.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        guard(|| self.inner().db.flush().map(drop))?;
        // On an own handle: sled's flush ends in sync_file_range, which waits for no disk cache and
        // writes no metadata.
        self.file.sync_data().while_doing("syncing the log")
    }

    fn tree(&self, tree: TreeIndex) -> &sled::Tree {
        &self.inner().trees[tree]
    }

    fn inner(&self) -> &Inner {
        self.inner.as_ref().expect("taken by drop only")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let inner = self.inner.take();
        // sled flushes when it is dropped, and may panic again on what made it fail before.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(inner)));
    }
}

/// The next key to try after what could not be read: a 4096th of all keys further on.
fn step(from: &[u8]) -> Option<Vec<u8>> {
    let byte = |i: usize| u16::from(from.get(i).copied().unwrap_or(0));
    let prefix = ((byte(0) << 8 | byte(1)) & 0xfff0).checked_add(0x10)?;
    Some(prefix.to_be_bytes().to_vec())
}

/// Opens sled; waits where its own lock is still held. Nobody but an earlier store of this very
/// process can hold it, whose last threads sled leaves to end by themselves: against other processes
/// the folder is locked already (`crate::files::LockedFolder`).
fn open_patiently(config: &sled::Config) -> Result<sled::Db, sled::Error> {
    let began = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.kind() == ErrorKind::Other
                    && error.to_string().contains("lock")
                    && began.elapsed() < LOCK_PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            opened => return opened,
        }
    }
}

/// Runs one call of sled. After a panic the store that owns this database stops (`StoreError` is no
/// refusal), so nobody sees what the unwinding left half done.
fn guard<T>(call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(error)),
        Err(_) => Err(StoreError::damaged("the log cannot be read")),
    }
}

fn translate(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source)
            if matches!(
                source.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData
            ) =>
        {
            StoreError::damaged("the log ends too early")
        }
        sled::Error::Io(source) => StoreError::Io {
            what: "writing or reading the log",
            source,
        },
        sled::Error::Unsupported(_) => {
            StoreError::damaged("the log was made by another version or with other settings")
        }
        sled::Error::CollectionNotFound(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => StoreError::damaged("the log cannot be read"),
    }
}
