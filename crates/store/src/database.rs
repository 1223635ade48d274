//! sled behind a small door: the only file that names it.
//!
//! Three things are added. Durability: sled's `flush` hands pages to the kernel but does not wait for
//! the disk, so [`Database::sync`] lets fdatasync follow on a handle of its own (decision 0002). And
//! containment: sled panics on some kinds of damage; a panic becomes [`StoreError::Damaged`]. And room:
//! sled does not survive a full disk (after one failed write it reads nothing either), so nothing is
//! begun that might not find room. A log has room reserved behind its end, and a [`Ballast`] beside it.

use crate::ballast::Ballast;
use crate::error::{StoreError, While, is_no_space};
use crate::files::{make_folder, settle_tree};
use rustix::fs::FallocateFlags;
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Memory that sled may use for pages. A gateway stays below 60 MB as a whole.
const CACHE_BYTES: u64 = 8 << 20;
/// Room that is reserved behind the log's end: some of sled's segments of 512 KiB.
const AHEAD: u64 = 3 << 20;
/// Below this, and what is about to be written, it is reserved anew. What sled writes besides is less.
const AHEAD_MIN: u64 = 3 << 19;
/// Twice the room that sled wants for what it keeps.
const LIVE_FACTOR: u64 = 5;
/// How long a store that was just dropped may take to let go of its lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Some trees in one folder.
pub(crate) struct Database {
    /// `None` only while dropping.
    inner: Option<Inner>,
    file: File,
    ballast: RefCell<Ballast>,
    /// Where the log ended when room was last reserved, and how much; `None` where the file system reserves none.
    reserved: Cell<Option<(u64, u64)>>,
    /// A call of sled failed.
    failed: Cell<bool>,
}

struct Inner {
    db: sled::Db,
    trees: Vec<sled::Tree>,
}

/// Index of a tree in the list given to [`Database::open`].
pub(crate) type TreeIndex = usize;

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

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
        // Gives back room before sled writes anything.
        let ballast = Ballast::open(folder)?;
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
        let file = OpenOptions::new().write(true).open(folder.join("db"));
        let database = Self {
            inner: Some(inner),
            file: file.while_doing("opening the log")?,
            ballast: RefCell::new(ballast),
            reserved: Cell::new(Some((u64::MAX, 0))),
            failed: Cell::new(false),
        };
        database.reserve(0)?;
        database.sync()?;
        settle_tree(folder)?;
        database.tend()?;
        Ok(database)
    }

    pub(crate) fn insert(
        &self,
        tree: TreeIndex,
        key: &[u8],
        value: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.call(|| self.tree(tree).insert(key, value).map(drop))
    }

    pub(crate) fn remove(&self, tree: TreeIndex, key: &[u8]) -> Result<(), StoreError> {
        self.call(|| self.tree(tree).remove(key).map(drop))
    }

    pub(crate) fn get(&self, tree: TreeIndex, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(|| Ok(self.tree(tree).get(key)?.map(|value| value.to_vec())))
    }

    /// All pairs whose key begins so, by ascending key.
    pub(crate) fn with_prefix(
        &self,
        tree: TreeIndex,
        prefix: &[u8],
    ) -> Result<Vec<Pair>, StoreError> {
        self.call(|| {
            let pairs = self.tree(tree).scan_prefix(prefix);
            pairs
                .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect()
        })
    }

    pub(crate) fn apply(&self, tree: TreeIndex, batch: Batch) -> Result<(), StoreError> {
        self.call(|| self.tree(tree).apply_batch(batch.0))
    }

    /// Calls `visit` for each pair by ascending key, until it fails.
    pub(crate) fn each(
        &self,
        tree: TreeIndex,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut pairs = self.call(|| Ok(self.tree(tree).iter()))?;
        while let Some((key, value)) = self.call(|| pairs.next().transpose())? {
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

    /// Whether the store may grow: by what the log takes of `bytes`, and as much beside it. `live`:
    /// what is kept in the log. sled copies about what it keeps, so it wants some times as much room:
    /// in the log, on the disk, or both together.
    pub(crate) fn has_room_to_grow(&self, bytes: u64, live: u64) -> Result<bool, StoreError> {
        let (len, lacking) = (self.len()?, self.lacking(bytes)?);
        let wanted = (live + bytes).saturating_mul(LIVE_FACTOR) / 2;
        let (beside, within) = (bytes + lacking, wanted.saturating_sub(len));
        let ballast = self.ballast.borrow();
        if ballast.has_room_to_grow(beside.max(within))? {
            return Ok(true);
        }
        // What was deleted makes room within, and what is reserved is there in any case.
        Ok(within == 0 && lacking == 0 && len > 2 * wanted && ballast.is_spare()?)
    }

    /// To be called before `bytes` are written. [`StoreError::NoSpace`]: they might find no room, and
    /// nothing may be written.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), StoreError> {
        let mut ballast = self.ballast.borrow_mut();
        ballast.room_to_work()?;
        let lacking = self.lacking(bytes)?;
        if lacking == 0 {
            return Ok(());
        }
        if self.allocate(AHEAD + bytes)? {
            return Ok(());
        }
        ballast.give(lacking)?;
        match self.allocate(AHEAD + bytes)? || self.allocate(AHEAD_MIN + bytes)? {
            true => Ok(()),
            false => Err(StoreError::NoSpace),
        }
    }

    /// Takes and gives back ballast. To be called about once a second.
    pub(crate) fn tend(&self) -> Result<(), StoreError> {
        self.ballast.borrow_mut().tend()
    }

    /// Room that would have to be had before `bytes` are written; 0 while enough is reserved.
    fn lacking(&self, bytes: u64) -> Result<u64, StoreError> {
        let Some((from, room)) = self.reserved.get() else {
            return Ok(0);
        };
        let len = self.len()?;
        // sled cuts off free segments at the end, and the room behind them with them.
        let left = match from <= len {
            true => (from + room).saturating_sub(len),
            false => 0,
        };
        Ok(match left >= bytes + AHEAD_MIN {
            true => 0,
            false => AHEAD + bytes - left,
        })
    }

    /// Reserves room behind the end; false when there is none.
    fn allocate(&self, room: u64) -> Result<bool, StoreError> {
        let len = self.len()?;
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, len, room) {
            Ok(()) => self.reserved.set(Some((len, room))),
            Err(error) if is_no_space(&error.into()) => return Ok(false),
            Err(_) => self.reserved.set(None),
        }
        Ok(true)
    }

    fn len(&self) -> Result<u64, StoreError> {
        let metadata = self.file.metadata().while_doing("measuring the log")?;
        Ok(metadata.len())
    }

    /// Everything written so far is on the disk when this returns.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.call(|| self.inner().db.flush().map(drop))?;
        // On an own handle: sled's flush ends in sync_file_range, which waits for no disk cache and
        // writes no metadata.
        self.file.sync_data().while_doing("syncing the log")
    }

    fn call<T>(&self, call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StoreError> {
        // sled moves pages about while it reads.
        self.reserve(0)?;
        let done = guard(call);
        self.failed.set(self.failed.get() || done.is_err());
        done
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
        if self.failed.get() {
            // After a failed write its flush waits for ever. The process is about to end.
            std::mem::forget(inner);
            return;
        }
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
