//! What the event loop needs from files without waiting for the disk: records to send, and whether
//! a file that came is the one that was promised. Two threads, so that a long hash keeps no record
//! waiting.
//!
//! Every order is answered, once; a file that cannot be read is answered with "gone". Orders are
//! bounded by the Messenger, which has some dozens of records under way for each of some dozens of files; those for
//! which the thread has no room wait for it here, and their file is not gone.

use super::Files;
use messaging::{BlobWant, ContactId, MessageId};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use store::{Blob, BlobId, StoreError};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use zeroize::Zeroizing;

/// Orders and news on their way: those of some dozens of transfers.
pub(super) const QUEUE: usize = 4096;
/// Most files that are kept open.
const OPEN_MAX: usize = 16;
/// Bytes hashed at once.
const HASH_CHUNK: usize = 256 * 1024;

/// What the loop hears of files.
pub(crate) enum FileNews {
    /// A record to send; `None`: the file is gone.
    Record(BlobWant, Option<Zeroizing<Vec<u8>>>),
    /// Whether a file that came has the right hash.
    Checked {
        contact: ContactId,
        transfer: MessageId,
        right: bool,
    },
    /// A file that was coming cannot be kept: no room, or a broken disk.
    Failed {
        contact: ContactId,
        transfer: MessageId,
    },
}

/// The loop's end of both threads.
pub(crate) struct FileOrders {
    wants: mpsc::Sender<BlobWant>,
    /// Those for which there was no room.
    later: VecDeque<BlobWant>,
    checks: mpsc::Sender<(ContactId, MessageId, [u8; 32])>,
    /// A long hash looks at it.
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts the threads. They end with the orders.
pub(crate) fn start(
    files: &Files,
) -> std::io::Result<(FileOrders, mpsc::Sender<FileNews>, mpsc::Receiver<FileNews>)> {
    let (wants, wanted) = mpsc::channel(QUEUE);
    let (checks, to_check) = mpsc::channel(QUEUE);
    let (news, heard) = mpsc::channel(QUEUE);
    let ending = Arc::new(AtomicBool::new(false));
    let (of_reads, reader) = (news.clone(), files.clone());
    let reads = spawn("files", move || read_all(&reader, wanted, &of_reads))?;
    let (of_checks, hasher) = (news.clone(), files.clone());
    let stop = ending.clone();
    let hashes = spawn("hashes", move || {
        check_all(&hasher, to_check, &of_checks, &stop);
    })?;
    let orders = FileOrders {
        wants,
        later: VecDeque::new(),
        checks,
        ending,
        threads: vec![reads, hashes],
    };
    Ok((orders, news, heard))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

impl FileOrders {
    /// A record is needed; [`FileOrders::ask`] asks for it.
    pub(crate) fn want(&mut self, want: BlobWant) {
        self.later.push_back(want);
    }

    /// Asks for what is needed, as far as there is room; the rest is asked for when this is called after the thread
    /// gave something. Gives what will never come, because the thread is gone.
    pub(crate) fn ask(&mut self) -> Vec<BlobWant> {
        let mut never = Vec::new();
        while let Some(want) = self.later.pop_front() {
            match self.wants.try_send(want) {
                Ok(()) => {}
                Err(TrySendError::Full(want)) => {
                    self.later.push_front(want);
                    break;
                }
                Err(TrySendError::Closed(want)) => never.push(want),
            }
        }
        never
    }

    /// Asks for a hash. `false`: the thread is gone; take the file for gone. It is never without room, as files come
    /// some at a time.
    pub(crate) fn check(&self, contact: ContactId, transfer: MessageId, hash: [u8; 32]) -> bool {
        self.checks.try_send((contact, transfer, hash)).is_ok()
    }

    /// Waits until the threads have let go of the files.
    pub(crate) async fn close(self) {
        self.ending.store(true, Ordering::Relaxed);
        drop((self.wants, self.checks));
        for thread in self.threads {
            // A panic was printed by the panic hook.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn read_all(files: &Files, mut wanted: mpsc::Receiver<BlobWant>, news: &mpsc::Sender<FileNews>) {
    let mut open: BTreeMap<BlobId, Blob> = BTreeMap::new();
    while let Some(want) = wanted.blocking_recv() {
        let id = BlobId(want.blob.0);
        let read = record(files, &mut open, id, want.index);
        if let Err(error) = &read {
            tracing::warn!(%error, "a file that was to be sent cannot be read");
            open.remove(&id);
        }
        while open.len() > OPEN_MAX {
            open.pop_first();
        }
        if news
            .blocking_send(FileNews::Record(want, read.ok()))
            .is_err()
        {
            return;
        }
    }
}

fn record(
    files: &Files,
    open: &mut BTreeMap<BlobId, Blob>,
    id: BlobId,
    index: u32,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    // One that was removed or wiped must not be read from a file that is still open.
    let key = files.catalog().key(&id).ok_or(StoreError::Missing)?;
    let blob = match open.entry(id) {
        std::collections::btree_map::Entry::Occupied(blob) => blob.into_mut(),
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(files.0.blobs.open_blob(id, &key)?)
        }
    };
    blob.read_record(index)
}

fn check_all(
    files: &Files,
    mut to_check: mpsc::Receiver<(ContactId, MessageId, [u8; 32])>,
    news: &mpsc::Sender<FileNews>,
    ending: &AtomicBool,
) {
    while let Some((contact, transfer, expected)) = to_check.blocking_recv() {
        let hash = hash(files, &contact, &transfer, ending);
        if ending.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = &hash {
            tracing::warn!(%error, "a file that came cannot be read");
        }
        let right = hash.is_ok_and(|h| h == expected);
        let told = FileNews::Checked {
            contact,
            transfer,
            right,
        };
        if news.blocking_send(told).is_err() {
            return;
        }
    }
}

fn hash(
    files: &Files,
    contact: &ContactId,
    transfer: &MessageId,
    ending: &AtomicBool,
) -> Result<[u8; 32], StoreError> {
    let (id, key) = {
        let catalog = files.catalog();
        let id = catalog.incoming(contact, transfer);
        let id = id.ok_or(StoreError::Missing)?;
        (id, catalog.key(&id).ok_or(StoreError::Missing)?)
    };
    let blob = files.0.blobs.open_blob(id, &key)?;
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < blob.len() && !ending.load(Ordering::Relaxed) {
        let bytes = blob.read_range(at, HASH_CHUNK)?;
        hash.update(&bytes);
        at += bytes.len() as u64;
    }
    Ok(hash.finalize().into())
}
