//! The store's keys, its thread, and the orders that wait for it.
//!
//! What is stored, and how durably, is `crates/store`; when, is the machine's to say.

use mizzle_core::gateway::inboxes::InboxHashKey;
use mizzle_core::stored::StoredInbox;
use runtime::keyfile;
use runtime::node::NodeError;
use runtime::node::foundation::Foundation;
use sha2::Sha256;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use store::{
    Done, InboxStore, InboxThread, Job, QUEUE_MAX, StoreConfig, StoreError, quarantine, quarantined,
};
use tokio::sync::mpsc;
use wire::aead::SealKey;
use wire::time::{Instant, UnixTime};
use zeroize::Zeroizing;

/// The file in the data folder that everything below is derived from.
pub const STORE_KEY_FILE: &str = "store.key";
/// The store's folder in the data folder.
const STORE_FOLDER: &str = "inboxes";
/// Orders that wait because the thread's own queue is full; one more fails. More requests than
/// these never wait for the disk at one time.
const BACKLOG_MAX: usize = 16_384;
/// Orders in the thread's queue at one time; the rest of its room is for sweeps.
const GIVEN_MAX: usize = QUEUE_MAX / 2;
/// How long the store may take for its last commit.
const CLOSE_LIMIT: Duration = Duration::from_secs(4);

/// Derived from `store.key` by HKDF-SHA-256, one for each purpose.
pub struct StoreKeys {
    /// Seals what the store keeps.
    pub master: SealKey,
    /// Hides inbox ids.
    pub inbox_hash: InboxHashKey,
}

impl StoreKeys {
    /// Reads `store.key`, or makes it at the first start.
    pub fn load_or_create(foundation: &mut Foundation) -> Result<Self, NodeError> {
        let root = match keyfile::load(&foundation.dir, STORE_KEY_FILE)? {
            Some(root) => root,
            None => {
                let root = foundation.entropy.seed()?;
                keyfile::create(&foundation.dir, STORE_KEY_FILE, &root)?;
                root
            }
        };
        let hkdf = hkdf::Hkdf::<Sha256>::new(Some(b"mizzle-gateway-v1"), &root[..]);
        let derive = |purpose: &str| {
            let mut key = Zeroizing::new([0; 32]);
            hkdf.expand(purpose.as_bytes(), &mut key[..])
                .expect("32 bytes are fewer than 255 hashes");
            key
        };
        Ok(Self {
            master: SealKey::from_bytes(*derive("store master key")),
            inbox_hash: InboxHashKey(*derive("inbox hash key")),
        })
    }
}

/// The store's thread and the orders that wait for it.
pub struct Orders {
    thread: InboxThread,
    backlog: VecDeque<Order>,
    /// Given to the thread and not answered, with the moment when they were.
    given: BTreeMap<u64, Instant>,
    degraded: Option<String>,
}

/// A database that panics over what it reads is one that is damaged.
fn caught<T>(open: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| {
        let what = "reading them panicked".to_owned();
        Err(StoreError::Damaged { what })
    })
}

/// An order that is answered under its ticket.
pub struct Order {
    /// Comes back in the answer.
    pub ticket: u64,
    /// What to do.
    pub job: Job,
}

/// Answers of the store.
pub type Answers = mpsc::UnboundedReceiver<Done>;

impl Orders {
    /// Opens the store and starts its thread; gives the index of all that is kept.
    ///
    /// The channel of answers has no bound of its own: it holds one answer for each order at most,
    /// and those are bounded.
    pub fn open(
        foundation: &mut Foundation,
        master: SealKey,
        cells_max: u32,
    ) -> Result<(Self, Vec<StoredInbox>, Answers), NodeError> {
        let folder = foundation.dir.file(STORE_FOLDER);
        let failed = |error: StoreError| {
            NodeError::Ended(format!("the inboxes in {}: {error}", folder.display()))
        };
        let config = StoreConfig {
            cells_max,
            ..StoreConfig::default()
        };
        let unix = foundation.clock.unix();
        let mut open = || -> Result<_, NodeError> {
            let rng = foundation.entropy.key_rng()?;
            let master = master.clone();
            let opened = || InboxStore::open_with(&folder, master, unix, rng, config);
            Ok(caught(opened))
        };
        // A gateway that ended over damage would be started again for ever.
        let opened = match open()? {
            Err(StoreError::Damaged { what }) => {
                tracing::error!("the inboxes are damaged ({what}); they are set aside");
                quarantine(&folder, unix).map_err(failed)?;
                open()?
            }
            opened => opened,
        };
        let (inbox_store, index) = opened.map_err(failed)?;
        // Until somebody has removed it.
        let aside = quarantined(&folder).map_err(failed)?;
        let aside = aside.last().and_then(|path| path.file_name());
        let degraded = aside.map(|name| {
            format!(
                "inboxes were damaged and are set aside as `{}` in the data folder: all cells in \
                 them are lost to their readers. Check the disk, then delete it",
                name.to_string_lossy()
            )
        });
        let swept = inbox_store.swept();
        tracing::info!(?swept, "the inboxes are open");
        let (answers_tx, answers) = mpsc::unbounded_channel();
        let on_done = Box::new(move |done: Vec<Done>| {
            for one in done {
                // Nobody takes answers any more at the end.
                let _ = answers_tx.send(one);
            }
        });
        let thread = InboxThread::spawn(inbox_store, on_done).map_err(failed)?;
        let orders = Self {
            thread,
            backlog: VecDeque::new(),
            given: BTreeMap::new(),
            degraded,
        };
        Ok((orders, index, answers))
    }

    /// Gives an order, after all that wait. False, and nothing done, when too many wait already.
    pub fn give(&mut self, ticket: u64, job: Job, now: Instant) -> bool {
        if self.backlog.len() >= BACKLOG_MAX {
            return false;
        }
        self.backlog.push_back(Order { ticket, job });
        self.push(now);
        true
    }

    /// Has everything forgotten that expired. Asked again at the next sweep, so a full queue is no
    /// loss.
    pub fn expire(&self, now: UnixTime) {
        let _ = self.thread.submit(Job::Expire { now });
    }

    /// An answer came: returns how long it took, and hands on orders that wait.
    pub fn answered(&mut self, ticket: u64, now: Instant) -> Option<Duration> {
        let given = self.given.remove(&ticket);
        self.push(now);
        given.map(|at| now - at)
    }

    fn push(&mut self, now: Instant) {
        while self.given.len() < GIVEN_MAX {
            let Some(Order { ticket, job }) = self.backlog.pop_front() else {
                return;
            };
            // Its queue has room for all that are given, so this fails only when the thread has
            // ended; the loop then sees `failure` and ends too.
            if self.thread.submit(job).is_ok() {
                self.given.insert(ticket, now);
            }
        }
    }

    /// What an operator must know of the disk: `ok`, or in words what is wrong.
    pub fn health(&self) -> String {
        if !self.thread.has_room() {
            let text = "the disk is full: new cells and inboxes are refused until there is room";
            return text.to_owned();
        }
        self.degraded.clone().unwrap_or_else(|| "ok".to_owned())
    }

    /// Why the store has stopped.
    pub fn failure(&self) -> Option<&str> {
        self.thread.failure()
    }

    /// Commits everything that was given, within a limit. What still waits was never
    /// acknowledged.
    pub async fn close(self) -> Result<(), NodeError> {
        let work = tokio::task::spawn_blocking(move || self.thread.close());
        match tokio::time::timeout(CLOSE_LIMIT, work).await {
            Ok(Ok(done)) => done.map_err(|e| NodeError::Ended(format!("the inboxes: {e}"))),
            Ok(Err(_)) | Err(_) => {
                let text = "the inboxes could not be closed in time; nothing acknowledged is lost";
                Err(NodeError::Ended(text.into()))
            }
        }
    }
}
