//! Keeps a node's Sphinx keys and the tags seen under them: one thread that writes, syncs and
//! answers, so that the loop never waits for a disk.
//!
//! What is kept and what waits for it is the machine's to decide (`mizzle_core::hop`); the files are
//! [`crate::tag_log`]. Tags are committed in groups: the first one waits [`GATHER`] at most for
//! company, which hides in δ.

mod thread;

use super::NodeError;
use super::foundation::Foundation;
use crate::data_dir::{DataDirError, io_error};
use crate::metrics::Lateness;
use crate::stages::{Stage, Stages};
use crate::tag_log::{self, TagLog};
use mizzle_core::hop::{KeepOrder, Kept, KeptKey};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as jobs;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thread::{Desk, Job};
use tokio::sync::mpsc;
use wire::ids::{Epoch, NodeId};

/// How long a tag waits at most for others to be committed with it.
pub const GATHER: Duration = Duration::from_millis(3);
/// The folder of the logs in the data folder.
const FOLDER: &str = "sphinx-keys";
/// Orders that the thread has not taken yet. One more batch of tags fails, and its packets are
/// discarded.
const ORDERS_MAX: usize = 4096;
/// Answers that the loop has not taken yet; when full, the thread waits.
const ANSWERS_MAX: usize = 1024;
/// How long the last commit may take at the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(4);

/// The thread and the way to it.
pub struct Keeper {
    orders: jobs::SyncSender<Job>,
    thread: JoinHandle<()>,
    health: Arc<Health>,
}

/// What was kept over a restart, and where answers come from.
pub struct Opened {
    /// The way to the thread.
    pub keeper: Keeper,
    /// For the machine.
    pub keys: Vec<KeptKey>,
    /// For the machine, as they come.
    pub answers: mpsc::Receiver<Kept>,
}

/// What an operator sees of it.
#[derive(Default)]
struct Health {
    failing: AtomicBool,
    commits: Lateness,
    tags: Counter,
    keys_lost: Counter,
}

impl Keeper {
    /// Reads back all logs in the data folder, destroys those that cannot be used, and starts the
    /// thread, with `hurry` as the first that it does.
    ///
    /// A packet waits for this thread twice: until a group is written, and until its sync is known. Each turn is short, so
    /// it may be urgent.
    pub fn open(
        foundation: &Foundation,
        tags_max: usize,
        stages: &Stages,
        registry: &mut Registry,
        hurry: impl FnOnce() + Send + 'static,
    ) -> Result<Opened, NodeError> {
        let health = Arc::new(Health::default());
        health.register(registry);
        let folder = foundation.dir.file(FOLDER);
        let node = foundation.id();
        let (keys, logs) = read_all(&folder, &node, tags_max, &health)?;
        let (orders, taken) = jobs::sync_channel(ORDERS_MAX);
        let (answers_tx, answers) = mpsc::channel(ANSWERS_MAX);
        let desk = Desk::new(folder, node, logs, health.clone(), answers_tx);
        let meter = stages.thread(Stage::Keep);
        let thread = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || {
                hurry();
                desk.work(&taken, meter);
            })?;
        let keeper = Self {
            orders,
            thread,
            health,
        };
        Ok(Opened {
            keeper,
            keys,
            answers,
        })
    }

    /// Gives an order to the thread; its answer comes later, or here at once when the thread is too
    /// far behind, or gone.
    pub fn give(&self, order: KeepOrder) -> Option<Kept> {
        let at = Instant::now();
        let refused = match self.orders.try_send(Job { order, at }) {
            Ok(()) => return None,
            Err(jobs::TrySendError::Full(job) | jobs::TrySendError::Disconnected(job)) => job.order,
        };
        self.health.failing.store(true, Ordering::Relaxed);
        match refused {
            KeepOrder::Tags(batch) => Some(Kept::Failed {
                ticket: batch.ticket,
            }),
            KeepOrder::Key(key) => Some(Kept::KeyLost(key.epoch)),
            // Destroyed at the next start, when its epoch is over.
            KeepOrder::Forget(_) => None,
        }
    }

    /// Whether tags cannot be made durable now, so that packets die.
    pub fn is_failing(&self) -> bool {
        self.health.failing.load(Ordering::Relaxed)
    }

    /// Commits what was ordered and ends the thread, within a limit. What is not committed by then
    /// never left.
    pub async fn close(self) {
        drop(self.orders);
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(CLOSE_LIMIT, ended).await.is_err() {
            tracing::warn!("the last replay tags could not be written in time");
        }
    }
}

impl Health {
    fn register(&self, registry: &mut Registry) {
        let help = "From a tag's packet to its tag on the disk";
        self.commits
            .register(registry, "mizzle_tag_commit_seconds", help);
        let help = "Replay tags made durable";
        registry.register("mizzle_tags_durable", help, self.tags.clone());
        let help = "Sphinx keys given up because their tags could not be kept or read";
        registry.register("mizzle_sphinx_keys_lost", help, self.keys_lost.clone());
    }
}

type Logs = BTreeMap<Epoch, TagLog>;

fn read_all(
    folder: &Path,
    node: &NodeId,
    tags_max: usize,
    health: &Health,
) -> Result<(Vec<KeptKey>, Logs), NodeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io_error("create the folder", folder))?;
    let (mut keys, mut logs) = (Vec::new(), Logs::new());
    for epoch in epochs(folder)? {
        match TagLog::open(folder, node, epoch, tags_max)? {
            Ok((log, kept)) => {
                let tags = kept.tags.len();
                tracing::info!(epoch = epoch.0, tags, "a Sphinx key is taken up again");
                keys.push(kept);
                logs.insert(epoch, log);
            }
            Err(unusable) => {
                tracing::warn!(
                    epoch = epoch.0,
                    "a Sphinx key is given up: {unusable}. Until a directory names a new one, \
                     packets of that epoch die here"
                );
                health.keys_lost.inc();
                tag_log::destroy(folder, epoch)?;
            }
        }
    }
    Ok((keys, logs))
}

/// Every epoch that has a file. Half-written ones of a crash are removed: no key in them was ever
/// published.
fn epochs(folder: &Path) -> Result<Vec<Epoch>, DataDirError> {
    let cannot = || io_error("read the folder", folder);
    let mut epochs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot())? {
        let name = entry.map_err(cannot())?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(epoch) = tag_log::epoch_of(name) {
            epochs.push(epoch);
        } else if name
            .strip_suffix(".new")
            .and_then(tag_log::epoch_of)
            .is_some()
        {
            let path: PathBuf = folder.join(name);
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    epochs.sort_unstable();
    Ok(epochs)
}

#[cfg(test)]
mod tests;
