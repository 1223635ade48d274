//! The keeper's thread: gathers tags, commits them, and makes and destroys keys in between.

use super::{GATHER, Health, Logs};
use crate::stages::ThreadMeter;
use crate::tag_log::{self, AppendError, BATCH_MAX, TagLog};
use mizzle_core::hop::{KeepOrder, Kept, NodeKey, ShortTag, TagBatch};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;
use tokio::sync::mpsc;
use wire::ids::{Epoch, NodeId};

/// An order and when it was given.
pub(super) struct Job {
    pub(super) order: KeepOrder,
    pub(super) at: Instant,
}

/// Everything the thread works with.
pub(super) struct Desk {
    folder: PathBuf,
    node: NodeId,
    logs: Logs,
    /// Keys to make and to destroy: never urgent, for keys are drawn two epochs ahead.
    later: VecDeque<KeepOrder>,
    health: Arc<Health>,
    answers: mpsc::Sender<Kept>,
}

/// Batches that are committed together, oldest first.
struct Group {
    since: Instant,
    batches: Vec<TagBatch>,
    tags: usize,
}

impl Desk {
    pub(super) fn new(
        folder: PathBuf,
        node: NodeId,
        logs: Logs,
        health: Arc<Health>,
        answers: mpsc::Sender<Kept>,
    ) -> Self {
        Self {
            folder,
            node,
            logs,
            later: VecDeque::new(),
            health,
            answers,
        }
    }

    /// Until nobody orders any more; everything that was ordered is done then.
    pub(super) fn work(mut self, orders: &Receiver<Job>, mut meter: ThreadMeter) {
        while let Some(job) = self.next(orders) {
            match job.order {
                KeepOrder::Tags(batch) => {
                    let group = self.gather(batch, job.at, orders);
                    self.commit(group);
                    meter.sample();
                }
                order @ (KeepOrder::Key(_) | KeepOrder::Forget(_)) => self.later.push_back(order),
            }
        }
    }

    /// The next order. While there is none, keys are made and destroyed.
    fn next(&mut self, orders: &Receiver<Job>) -> Option<Job> {
        loop {
            if self.later.is_empty() {
                return orders.recv().ok();
            }
            match orders.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => self.do_later(),
            }
        }
    }

    fn gather(&mut self, first: TagBatch, since: Instant, orders: &Receiver<Job>) -> Group {
        let mut group = Group {
            since,
            tags: first.tags.len(),
            batches: vec![first],
        };
        // Not woken for each of them.
        std::thread::sleep(GATHER.saturating_sub(since.elapsed()));
        while group.tags < BATCH_MAX {
            match orders.try_recv() {
                Ok(Job {
                    order: KeepOrder::Tags(batch),
                    ..
                }) => {
                    group.tags += batch.tags.len();
                    group.batches.push(batch);
                }
                Ok(Job {
                    order: order @ (KeepOrder::Key(_) | KeepOrder::Forget(_)),
                    ..
                }) => self.later.push_back(order),
                // That was all, or the node ends.
                Err(_) => break,
            }
        }
        group
    }

    /// One write and one sync for each epoch in the group, then the answers.
    fn commit(&mut self, group: Group) {
        let mut by_epoch: BTreeMap<Epoch, Vec<ShortTag>> = BTreeMap::new();
        for batch in &group.batches {
            by_epoch.entry(batch.epoch).or_default().extend(&batch.tags);
        }
        let durable: BTreeMap<Epoch, bool> = by_epoch
            .into_iter()
            .map(|(epoch, tags)| (epoch, self.append(epoch, &tags)))
            .collect();
        let mut last = None;
        for batch in &group.batches {
            let ticket = batch.ticket;
            if durable.get(&batch.epoch).copied().unwrap_or(false) {
                last = Some(ticket);
                self.health.tags.inc_by(batch.tags.len() as u64);
            } else {
                self.answer(Kept::Failed { ticket });
            }
        }
        if let Some(ticket) = last {
            self.health.commits.observe(group.since.elapsed());
            self.answer(Kept::Durable { ticket });
        }
    }

    fn append(&mut self, epoch: Epoch, tags: &[ShortTag]) -> bool {
        while !self.logs.contains_key(&epoch) && !self.later.is_empty() {
            self.do_later();
        }
        let Some(log) = self.logs.get_mut(&epoch) else {
            return false;
        };
        match log.append(tags) {
            Ok(()) => {
                if self.health.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("replay tags can be kept again");
                }
                true
            }
            Err(error @ AppendError::Refused(_)) => {
                self.fail(&error);
                false
            }
            Err(error @ AppendError::Broken(_)) => {
                self.fail(&error);
                self.logs.remove(&epoch);
                self.destroy(epoch);
                self.lose(epoch);
                false
            }
        }
    }

    fn do_later(&mut self) {
        match self.later.pop_front() {
            None => {}
            Some(KeepOrder::Key(key)) => self.make(&key),
            Some(KeepOrder::Forget(epoch)) => {
                self.logs.remove(&epoch);
                self.destroy(epoch);
            }
            // Tags are never put off.
            Some(KeepOrder::Tags(batch)) => self.answer(Kept::Failed {
                ticket: batch.ticket,
            }),
        }
    }

    fn make(&mut self, key: &NodeKey) {
        match TagLog::create(&self.folder, &self.node, key) {
            Ok(log) => {
                self.logs.insert(key.epoch, log);
            }
            Err(error) => {
                self.fail(&error);
                self.lose(key.epoch);
            }
        }
    }

    fn destroy(&self, epoch: Epoch) {
        if let Err(error) = tag_log::destroy(&self.folder, epoch) {
            tracing::error!(
                epoch = epoch.0,
                "an old Sphinx key is still on the disk: {error}"
            );
        }
    }

    fn lose(&self, epoch: Epoch) {
        tracing::error!(
            epoch = epoch.0,
            "the Sphinx key of this epoch is given up; packets of that epoch die here"
        );
        self.health.keys_lost.inc();
        self.answer(Kept::KeyLost(epoch));
    }

    fn fail(&self, error: &dyn std::error::Error) {
        if !self.health.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "{error}. No packet leaves without its tag on the disk: make room there, or look \
                 after the disk"
            );
        }
    }

    fn answer(&self, kept: Kept) {
        // At the end nobody takes answers any more, and nothing leaves either.
        let _ = self.answers.blocking_send(kept);
    }
}
