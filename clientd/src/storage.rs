//! The client's store on a thread of its own, so that the disk never delays a tick.
//!
//! Batches become durable in the order they were given; those that wait while one is being written
//! become durable together with one flush. Records of files are written and synced before the rows of
//! their batch. What a batch holds is the loop's business.
//!
//! On a full disk a batch waits here until there is room, and everything behind it too; nothing that
//! was accepted is lost, and nothing is answered before it is durable. [`Storage::has_room`] tells the
//! loop beforehand, so that it takes on no more ([`store::ClientStore::has_room`]: deleting goes on for a while).

use crate::files::reading::FileNews;
use crate::files::writing::{FileJob, Hand};
use messaging::ContactId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use store::{ClientStore, StoreError, VaultId, Write};
use tokio::sync::mpsc;

/// Most batches on their way to the disk; the loop hands in no more until some are durable.
pub(crate) const PENDING_MAX: usize = 64;

/// How often the store looks after its room on the disk, and a batch that found none is tried again.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// The store, for the thread that writes and for readers.
#[derive(Clone)]
pub(crate) struct SharedStore(Arc<Mutex<ClientStore>>);

impl SharedStore {
    pub(crate) fn new(store: ClientStore) -> Self {
        Self(Arc::new(Mutex::new(store)))
    }

    /// Blocks while a batch is being written; never to be called on the loop.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ClientStore> {
        // A panic while the store was held leaves it stopped or whole; it says which.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many batches, in order, are durable; or nothing after them ever will be.
pub(crate) type Committed = Result<usize, StoreError>;

/// What becomes durable together.
#[derive(Default)]
pub(crate) struct Work {
    /// Rows.
    pub(crate) writes: Vec<Write>,
    /// For files, before the rows.
    pub(crate) jobs: Vec<FileJob>,
    /// Conversations to destroy, after the rows: what was ever written into their vaults.
    pub(crate) wipes: Vec<ContactId>,
}

impl Work {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.jobs.is_empty() && self.wipes.is_empty()
    }
}

/// The loop's end of the thread.
pub(crate) struct Storage {
    batches: mpsc::Sender<Work>,
    thread: JoinHandle<()>,
    room: Arc<AtomicBool>,
}

impl Storage {
    /// Starts the thread. Outcomes come through the receiver.
    /// What becomes of files that come goes to `news`.
    pub(crate) fn start(
        store: SharedStore,
        hand: Hand,
        news: mpsc::Sender<FileNews>,
    ) -> std::io::Result<(Self, mpsc::Receiver<Committed>)> {
        let (batches, incoming) = mpsc::channel(PENDING_MAX);
        let (done, outcomes) = mpsc::channel(PENDING_MAX);
        let room = Arc::new(AtomicBool::new(store.lock().has_room()));
        tokio::spawn(tend(Arc::downgrade(&store.0), Arc::downgrade(&room)));
        let told = room.clone();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || write_all((&store, &told), hand, incoming, (&done, &news)))?;
        let storage = Self {
            batches,
            thread,
            room,
        };
        Ok((storage, outcomes))
    }

    /// Whether the disk has room for more; looked up every second, and after each batch.
    pub(crate) fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed)
    }

    /// Hands in a batch. The caller keeps count and never has more than [`PENDING_MAX`] on their
    /// way; an error means that the thread ended after a failure.
    pub(crate) fn submit(&self, work: Work) -> Result<(), StoreError> {
        self.batches.try_send(work).map_err(|_| StoreError::Stopped)
    }

    /// Waits until everything that was handed in is durable.
    pub(crate) async fn close(self) {
        drop(self.batches);
        // A panic of the thread was printed by the panic hook; there is nothing left to save.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

/// Looks after the room on the disk until the [`Storage`] is gone. Keeps nothing alive meanwhile: the
/// folder is free for another process when the daemon is done with it.
async fn tend(store: Weak<Mutex<ClientStore>>, room: Weak<AtomicBool>) {
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        let Some(store) = store.upgrade().map(SharedStore) else {
            return;
        };
        let looked = tokio::task::spawn_blocking(move || {
            let mut store = store.lock();
            // A store that has stopped says so at the next batch.
            let _ = store.tend();
            store.has_room()
        });
        let (Ok(has), Some(room)) = (looked.await, room.upgrade()) else {
            return;
        };
        note_room(&room, has);
    }
}

fn note_room(room: &AtomicBool, has: bool) {
    if room.swap(has, Ordering::Relaxed) == has {
        return;
    }
    if has {
        tracing::info!("there is room on the disk again");
    } else {
        tracing::warn!(
            "the disk is full: nothing new is taken until there is room. Make some, or delete messages \
             and files; nothing needs to be started again"
        );
    }
}

/// Durable, as soon as there is room for it; unless nobody waits for that any more.
fn commit(
    store: &SharedStore,
    writes: &[Write],
    incoming: &mpsc::Receiver<Work>,
) -> Result<(), StoreError> {
    loop {
        let done = store.lock().commit(writes);
        if !matches!(done, Err(StoreError::NoSpace)) || incoming.is_closed() {
            return done;
        }
        std::thread::sleep(TEND_EVERY);
        let _ = store.lock().tend();
    }
}

fn write_all(
    (store, room): (&SharedStore, &AtomicBool),
    mut hand: Hand,
    mut incoming: mpsc::Receiver<Work>,
    (done, news): (&mpsc::Sender<Committed>, &mpsc::Sender<FileNews>),
) {
    while let Some(mut work) = incoming.blocking_recv() {
        let mut count = 1;
        // A wipe ends what is made durable together: what comes behind it must outlive it.
        while work.wipes.is_empty()
            && let Ok(more) = incoming.try_recv()
        {
            work.writes.extend(more.writes);
            work.jobs.extend(more.jobs);
            work.wipes.extend(more.wipes);
            count += 1;
        }
        let Work {
            mut writes,
            jobs,
            wipes,
        } = work;
        for failed in hand.work(jobs, &mut writes) {
            // At the end of the process nobody listens any more.
            let _ = news.blocking_send(failed);
        }
        let mut result = if writes.is_empty() {
            Ok(())
        } else {
            commit(store, &writes, &incoming)
        };
        // Before the batch is answered: who fills the disk quicker than once a second is told in time.
        let has = store.lock().has_room();
        note_room(room, has);
        for contact in wipes {
            result = result.and_then(|()| hand.wipe(&contact));
            result = result.and_then(|()| store.lock().wipe(VaultId(contact.0)));
        }
        let failed = result.is_err();
        // At the end of the process nobody listens any more, and the batches still count.
        let _ = done.blocking_send(result.map(|()| count));
        if failed {
            return;
        }
    }
}
