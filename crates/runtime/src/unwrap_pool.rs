//! Threads that do a hop's public-key work, away from the loop that decides.
//!
//! The pool holds no state between packets: [`sphinx::PacketFormat::unwrap_batch`] gives a value or
//! a reason, and whether a packet was here before is the machine's to say.

use sphinx::{DiscardReason, PacketFormat, Unwrapped};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::sync::mpsc;
use wire::frame::PacketBytes;
use wire::time::Instant;

/// Most packets that a thread takes at once.
pub const BATCH_MAX: usize = 16;

/// A packet as it came, and the key of the epoch that its frame named.
pub struct Received<F: PacketFormat, C> {
    /// Of this node, for that epoch.
    pub key: Arc<F::Secret>,
    /// The packet.
    pub packet: PacketBytes,
    /// When its last byte was read; its deadline counts from here.
    pub received_at: Instant,
    /// Whatever the owner wants back with the result.
    pub context: C,
}

/// What became of a [`Received`].
pub struct Done<C> {
    /// What was in it, or why it died.
    pub result: Result<Unwrapped, DiscardReason>,
    /// As it was given.
    pub received_at: Instant,
    /// As it was given.
    pub context: C,
}

/// A fixed number of threads on one bounded queue.
pub struct UnwrapPool<F: PacketFormat, C> {
    shared: Arc<Shared<F, C>>,
    threads: Vec<JoinHandle<()>>,
}

impl<F: PacketFormat, C: Send + 'static> UnwrapPool<F, C> {
    /// Starts `threads` threads. At most `capacity` packets wait; `results` full makes the threads
    /// wait, and then the queue fills.
    pub fn start(
        threads: usize,
        capacity: usize,
        results: mpsc::Sender<Done<C>>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: VecDeque::with_capacity(capacity),
                closed: false,
            }),
            waiting: Condvar::new(),
            capacity,
            threads: threads.max(1),
        });
        let threads = (0..threads.max(1))
            .map(|index| {
                let (shared, results) = (shared.clone(), results.clone());
                thread::Builder::new()
                    .name(format!("unwrap-{index}"))
                    .spawn(move || work(&shared, &results))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// Packets that wait.
    pub fn queued(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// A handle for a task that submits; as many as wanted.
    pub fn submitter(&self) -> Submitter<F, C> {
        Submitter {
            shared: self.shared.clone(),
        }
    }

    /// Drops what waits and waits for the threads. Blocks: not for an async task.
    pub fn close(mut self) {
        self.shared.close();
        for thread in self.threads.drain(..) {
            // A thread's own panic was its end, and is no reason for another.
            let _ = thread.join();
        }
    }
}

impl<F: PacketFormat, C> Drop for UnwrapPool<F, C> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Puts packets into a pool that somebody else owns.
pub struct Submitter<F: PacketFormat, C> {
    shared: Arc<Shared<F, C>>,
}

impl<F: PacketFormat, C> Clone for Submitter<F, C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<F: PacketFormat, C: Send + 'static> Submitter<F, C> {
    /// Queues a packet. When the queue is full or closed the packet comes back: it is to be counted
    /// as [`DiscardReason::Overloaded`], before any public-key work.
    pub fn submit(&self, received: Received<F, C>) -> Result<(), Received<F, C>> {
        {
            let mut state = self.shared.lock();
            if state.closed || state.queue.len() >= self.shared.capacity {
                return Err(received);
            }
            state.queue.push_back(received);
        }
        self.shared.waiting.notify_one();
        Ok(())
    }
}

struct Shared<F: PacketFormat, C> {
    state: Mutex<State<F, C>>,
    waiting: Condvar,
    capacity: usize,
    threads: usize,
}

struct State<F: PacketFormat, C> {
    queue: VecDeque<Received<F, C>>,
    closed: bool,
}

impl<F: PacketFormat, C> Shared<F, C> {
    fn lock(&self) -> MutexGuard<'_, State<F, C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.queue.clear();
        drop(state);
        self.waiting.notify_all();
    }

    /// The next packets, or `None` when the pool is closed. A short queue is shared out among the
    /// threads, so that a small burst does not wait behind one of them.
    fn take(&self) -> Option<Vec<Received<F, C>>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let share = state.queue.len().div_ceil(self.threads).min(BATCH_MAX);
            if share > 0 {
                return Some(state.queue.drain(..share).collect());
            }
            state = self
                .waiting
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work<F: PacketFormat, C>(shared: &Shared<F, C>, results: &mpsc::Sender<Done<C>>) {
    while let Some(batch) = shared.take() {
        let unwrapped = unwrap_all::<F, C>(&batch);
        for (received, result) in batch.into_iter().zip(unwrapped) {
            let done = Done {
                result,
                received_at: received.received_at,
                context: received.context,
            };
            if results.blocking_send(done).is_err() {
                return;
            }
        }
    }
}

fn unwrap_all<F: PacketFormat, C>(
    batch: &[Received<F, C>],
) -> Vec<Result<Unwrapped, DiscardReason>> {
    let pairs: Vec<_> = batch.iter().map(|r| (&*r.key, &r.packet)).collect();
    if let Ok(results) = catch_unwind(AssertUnwindSafe(|| F::unwrap_batch(&pairs))) {
        return results;
    }
    // A bug of ours that one packet woke must not cost the node a thread, nor the others of its
    // batch their lives. Unwrapping holds no state that a panic could leave half-changed.
    tracing::error!("unwrapping a packet panicked; it is discarded. Please report this");
    pairs
        .iter()
        .map(|(key, packet)| {
            catch_unwind(AssertUnwindSafe(|| F::unwrap(key, packet)))
                .unwrap_or(Err(DiscardReason::BadRouting))
        })
        .collect()
}

#[cfg(test)]
mod tests;
