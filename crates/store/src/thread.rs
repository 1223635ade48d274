//! [`InboxStore`] on a thread of its own, with group commit.
//!
//! Orders come over a bounded queue and are applied in their order; the answer to an applied order is
//! given only after a commit, which comes after [`BATCH_MAX`] of them or [`BATCH_TIME`] after the
//! first, whichever is sooner. Reads are answered at once. About once a second the store looks after
//! its room on the disk. After a failure that is no refusal
//! everything is answered with [`Done::Failed`]: what memory holds is no longer what the disk holds.

use crate::error::StoreError;
use crate::inbox::InboxStore;
use mizzle_core::stored::{InboxKey, StoreOp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire::request::Cell;
use wire::time::UnixTime;

/// Orders that wait at most; one more is refused with [`Refused::Full`] and not done.
pub const QUEUE_MAX: usize = 1024;
/// Changes that one commit makes durable at most.
pub const BATCH_MAX: usize = 64;
/// How long the first change of a batch waits for others.
pub const BATCH_TIME: Duration = Duration::from_millis(5);
/// How often the store looks after its room on the disk.
pub const TEND_EVERY: Duration = Duration::from_secs(1);

/// An order for the thread.
// Nearly every order is the large one.
#[allow(clippy::large_enum_variant)]
pub enum Job {
    /// Change something; answered by [`Done::Applied`] when it is durable.
    Apply {
        /// Comes back in the answer.
        ticket: u64,
        /// The change.
        op: StoreOp,
    },
    /// Read a cell; answered by [`Done::Read`].
    Read {
        /// Comes back in the answer.
        ticket: u64,
        /// Of which inbox.
        key: InboxKey,
        /// Which cell.
        sequence: u64,
    },
    /// Destroy what has expired; not answered.
    Expire {
        /// The time.
        now: UnixTime,
    },
}

/// An answer of the thread.
pub enum Done {
    /// The change is durable.
    Applied {
        /// As in the order.
        ticket: u64,
    },
    /// The cell, or that there is none.
    Read {
        /// As in the order.
        ticket: u64,
        /// Its content.
        cell: Option<Cell>,
    },
    /// The order was refused, or the store has stopped. Nobody may count on the change.
    Failed {
        /// As in the order.
        ticket: u64,
    },
}

/// Why an order was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// [`QUEUE_MAX`] orders wait.
    Full,
    /// The thread has ended.
    Closed,
}

/// Takes the answers, on the store's thread; must not block.
pub type OnDone = Box<dyn Fn(Vec<Done>) + Send>;

/// The thread's handle. Dropping it commits and joins, as [`InboxThread::close`] does.
pub struct InboxThread {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
    failure: Arc<OnceLock<String>>,
    has_room: Arc<AtomicBool>,
}

impl InboxThread {
    /// Starts the thread.
    pub fn spawn(store: InboxStore, on_done: OnDone) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let failure = Arc::new(OnceLock::new());
        let has_room = Arc::new(AtomicBool::new(store.has_room()));
        let worker = Worker {
            store,
            on_done,
            failure: Arc::clone(&failure),
            has_room: Arc::clone(&has_room),
            tended: Instant::now(),
            waiting: Vec::with_capacity(BATCH_MAX),
            oldest: None,
            expiring: None,
        };
        let thread = std::thread::Builder::new()
            .name("inbox-store".into())
            .spawn(move || worker.run(&queue))
            .map_err(|source| StoreError::Io {
                what: "starting the store's thread",
                source,
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            failure,
            has_room,
        })
    }

    /// Gives an order; never waits.
    pub fn submit(&self, job: Job) -> Result<(), Refused> {
        let jobs = self.jobs.as_ref().ok_or(Refused::Closed)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Closed,
        })
    }

    /// Why the store has stopped; `None` while it runs.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Whether the disk has room for new cells; looked up every [`TEND_EVERY`].
    pub fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Relaxed)
    }

    /// Does what was ordered before, commits, answers, and ends the thread.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(done)) => done,
            Some(Err(_)) => Err(StoreError::Stopped),
            None => Ok(()),
        }
    }
}

impl Drop for InboxThread {
    fn drop(&mut self) {
        // Its failure is in `failure`, which its owner could read before.
        let _ = self.finish();
    }
}

struct Worker {
    store: InboxStore,
    on_done: OnDone,
    failure: Arc<OnceLock<String>>,
    has_room: Arc<AtomicBool>,
    tended: Instant,
    /// Applied, not yet committed.
    waiting: Vec<u64>,
    /// When the first change since the last commit was made.
    oldest: Option<Instant>,
    /// There is more to expire.
    expiring: Option<UnixTime>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) -> Result<(), StoreError> {
        loop {
            match self.next(queue) {
                Ok(job) => self.handle(job),
                Err(RecvTimeoutError::Timeout) => self.expire(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.is_due() {
                self.commit();
                // Also under a load that leaves no idle moment.
                self.expire();
            }
            if self.tended.elapsed() >= TEND_EVERY {
                self.tend();
            }
        }
        self.commit();
        match self.failure.get() {
            Some(_) => Err(StoreError::Stopped),
            None => Ok(()),
        }
    }

    fn next(&self, queue: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        if self.expiring.is_some() {
            return queue.recv_timeout(Duration::ZERO);
        }
        match self.oldest {
            Some(oldest) => queue.recv_timeout(BATCH_TIME.saturating_sub(oldest.elapsed())),
            None => queue.recv_timeout(TEND_EVERY.saturating_sub(self.tended.elapsed())),
        }
    }

    fn tend(&mut self) {
        self.tended = Instant::now();
        match self.store.tend() {
            Ok(()) => self.changed(),
            Err(StoreError::Stopped) => {}
            Err(error) => self.stop(&error),
        }
        let has = self.store.has_room();
        self.has_room.store(has, Ordering::Relaxed);
    }

    fn handle(&mut self, job: Job) {
        match job {
            Job::Apply { ticket, op } => match self.store.apply(&op) {
                Ok(()) => {
                    self.waiting.push(ticket);
                    self.changed();
                }
                Err(error) => self.refuse(ticket, &error),
            },
            Job::Read {
                ticket,
                key,
                sequence,
            } => match self.store.read_cell(key, sequence) {
                Ok(cell) => self.answer(vec![Done::Read { ticket, cell }]),
                Err(error) => self.refuse(ticket, &error),
            },
            Job::Expire { now } => {
                self.expiring = Some(now);
                self.expire();
            }
        }
    }

    /// Removes a batch of what has expired, if anything has.
    fn expire(&mut self) {
        let Some(now) = self.expiring else {
            return;
        };
        match self.store.expire(now) {
            Ok(expired) => {
                self.expiring = expired.more.then_some(now);
                self.changed();
            }
            Err(error) => {
                self.expiring = None;
                self.stop(&error);
            }
        }
    }

    fn changed(&mut self) {
        self.oldest.get_or_insert_with(Instant::now);
    }

    fn is_due(&self) -> bool {
        self.waiting.len() >= BATCH_MAX
            || self
                .oldest
                .is_some_and(|oldest| oldest.elapsed() >= BATCH_TIME)
    }

    fn commit(&mut self) {
        self.oldest = None;
        match self.store.commit() {
            Ok(()) => {
                let done = self
                    .waiting
                    .drain(..)
                    .map(|ticket| Done::Applied { ticket });
                let done = done.collect();
                self.answer(done);
            }
            Err(error) => self.stop(&error),
        }
    }

    fn refuse(&mut self, ticket: u64, error: &StoreError) {
        if !error.is_refusal() {
            self.stop(error);
        }
        self.answer(vec![Done::Failed { ticket }]);
    }

    /// Nothing that was not committed may be acknowledged any more.
    fn stop(&mut self, error: &StoreError) {
        self.oldest = None;
        let _ = self.failure.set(error.to_string());
        let failed = self.waiting.drain(..).map(|ticket| Done::Failed { ticket });
        let failed = failed.collect();
        self.answer(failed);
    }

    fn answer(&self, done: Vec<Done>) {
        if !done.is_empty() {
            (self.on_done)(done);
        }
    }
}
