//! Threads that do a hop's public-key work, away from the loop that decides.
//!
//! What waits, whose turn it is and what is turned away is [`mizzle_core::hop::Intake`]'s to say; here
//! are the lock around it and the threads. Every link has a [`Lane`] of its own through the [`Door`];
//! what comes out goes to the loop in batches.
//!
//! ```text
//!   link ─▶ lane ─┐                     ┌─▶ thread ─┐
//!   link ─▶ lane ─┼─▶ Intake (one lock) ┼─▶ thread ─┼─▶ Vec<Arrival> ─▶ the loop
//!   link ─▶ lane ─┘                     └─▶ thread ─┘
//! ```

use crate::buffers;
use crate::clock::Clock;
use crate::stages::{Stage, Stages, ThreadMeter};
use mizzle_core::hop::{
    Admitted, Arrival, Intake, IntakeCounts, KeyFor, KeyTable, LaneId, Received, unwrap_batch,
};
use sphinx::{Backend, DiscardReason, PacketFormat};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc;
use wire::frame::PacketBytes;
use wire::ids::Epoch;
use wire::time::Instant;

/// Most packets that a thread takes at once.
pub const BATCH_MAX: usize = 16;

/// More than so many wait only where packets come faster than they are unwrapped, or just for a moment.
const CROWD: usize = 4 * BATCH_MAX;
/// The shortest time between two turns of the pool where packets are worth more side by side and fewer
/// wait than fill a batch. A small part of δ, so that nothing is later for it; a packet that
/// comes to an idle pool has its turn at once.
pub const TURN: Duration = Duration::from_millis(1);

/// Takes what one link brought, and leaves the vector empty. What is too much dies there.
pub type Deliver = Box<dyn FnMut(&mut Vec<Received>) + Send>;
/// Makes a way in for each link.
pub type Lanes = Arc<dyn Fn() -> Deliver + Send + Sync>;

/// What the threads are started with.
pub struct PoolConfig {
    /// How many threads.
    pub threads: usize,
    /// Packets that wait at most; see [`Intake`] for who loses when that is full.
    pub capacity: usize,
    /// So many packets cost a thread about as much as one: where more wait, a thread takes all of
    /// them, and where fewer do, they are shared out.
    pub lanes: usize,
    /// Tells how long a packet waited.
    pub clock: Clock,
    /// Counts what the threads cost.
    pub stages: Stages,
}

impl PoolConfig {
    /// How many packets the backend in use unwraps side by side.
    pub fn lanes_of(backend: Backend) -> usize {
        match backend {
            Backend::SphinxPacket | Backend::AwsLc => 1,
            Backend::Avx512 => BATCH_MAX,
        }
    }
}

/// A fixed number of threads behind one intake.
pub struct UnwrapPool<F: PacketFormat> {
    door: Door,
    table: Arc<Mutex<Arc<KeyTable<F>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<F: PacketFormat> UnwrapPool<F> {
    /// Starts the threads. `results` full makes them wait, and then the intake fills.
    pub fn start(config: PoolConfig, results: mpsc::Sender<Vec<Arrival>>) -> std::io::Result<Self> {
        let PoolConfig {
            threads,
            capacity,
            lanes,
            clock,
            stages,
        } = config;
        let threads = threads.max(1);
        let door = Door(Arc::new(Shared {
            state: Mutex::new(State {
                intake: Intake::new(capacity),
                idle: 0,
                resting: false,
                next: Instant::ZERO,
                closed: false,
            }),
            waiting: Condvar::new(),
            rest: Condvar::new(),
            threads,
            lanes,
        }));
        let table = Arc::new(Mutex::new(Arc::default()));
        let threads = (0..threads)
            .map(|index| {
                let worker = Worker {
                    door: door.clone(),
                    table: table.clone(),
                    clock,
                    results: results.clone(),
                };
                let meter = stages.thread(Stage::Unwrap);
                thread::Builder::new()
                    .name(format!("unwrap-{index}"))
                    .spawn(move || worker.work(meter))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            door,
            table,
            threads,
        })
    }

    /// The keys that packets are for from now on.
    pub fn set_table(&self, table: Arc<KeyTable<F>>) {
        *lock(&self.table) = table;
    }

    /// Where packets go in.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Drops what waits and waits for the threads. Blocks: not for an async task.
    pub fn close(mut self) {
        self.door.close();
        for thread in self.threads.drain(..) {
            // A thread's own panic was its end, and is no reason for another.
            let _ = thread.join();
        }
    }
}

impl<F: PacketFormat> Drop for UnwrapPool<F> {
    fn drop(&mut self) {
        self.door.close();
    }
}

/// The way into a pool that somebody else owns.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

/// One link's way in; dropping it gives the place back, not the packets.
pub struct Lane {
    door: Door,
    id: LaneId,
}

struct Shared {
    state: Mutex<State>,
    /// For threads without work.
    waiting: Condvar,
    /// For the one that rests until the next turn.
    rest: Condvar,
    threads: usize,
    lanes: usize,
}

struct State {
    intake: Intake,
    /// Threads that wait for work.
    idle: usize,
    /// One thread waits for the next turn, and takes what has come by then.
    resting: bool,
    /// When that is.
    next: Instant,
    closed: bool,
}

impl Door {
    /// A lane for a link.
    pub fn lane(&self) -> Lane {
        Lane {
            id: self.lock().intake.open(),
            door: self.clone(),
        }
    }

    /// The same as a function, for listeners that do not know what is behind it.
    pub fn lanes(&self) -> Lanes {
        let door = self.clone();
        Arc::new(move || {
            let lane = door.lane();
            Box::new(move |packets| lane.push(packets))
        })
    }

    /// Packets that wait.
    pub fn queued(&self) -> usize {
        self.lock().intake.len()
    }

    /// Whether more wait than the threads take at once.
    pub fn is_crowded(&self) -> bool {
        self.queued() > CROWD
    }

    /// What was counted since the last call, for the machine.
    pub fn take_counts(&self) -> IntakeCounts {
        self.lock().intake.take_counts()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.intake.clear();
        drop(state);
        self.0.waiting.notify_all();
        self.0.rest.notify_all();
    }
}

impl Lane {
    /// Takes all packets.
    pub fn push(&self, packets: &mut Vec<Received>) {
        let mut state = self.door.lock();
        if state.closed {
            packets.clear();
            return;
        }
        let shared = &self.door.0;
        state.intake.push(self.id, packets.drain(..));
        // A thread that rests takes a batch; only what is more is worth another one.
        let full = state.intake.len() >= shared.lanes;
        let rouse = state.resting && full;
        let wake = state.idle > 0 && !state.intake.is_empty() && !state.resting;
        drop(state);
        if rouse {
            shared.rest.notify_one();
        } else if wake {
            shared.waiting.notify_one();
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.door.lock().intake.close(self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker<F: PacketFormat> {
    door: Door,
    table: Arc<Mutex<Arc<KeyTable<F>>>>,
    clock: Clock,
    results: mpsc::Sender<Vec<Arrival>>,
}

impl<F: PacketFormat> Worker<F> {
    fn work(self, mut meter: ThreadMeter) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while let Some(table) = self.take(&mut batch, &mut meter) {
            let arrivals = unwrap_all(&table, &mut batch);
            if self.results.blocking_send(arrivals).is_err() {
                return;
            }
            meter.sample();
        }
    }

    /// The next packets and the keys for them, or `None` when the pool is closed.
    fn take(
        &self,
        batch: &mut Vec<(Epoch, Received)>,
        meter: &mut ThreadMeter,
    ) -> Option<Arc<KeyTable<F>>> {
        let shared = &self.door.0;
        let mut state = self.door.lock();
        loop {
            if state.closed {
                return None;
            }
            let len = state.intake.len();
            let now = self.clock.now();
            let early = len < shared.lanes && now < state.next;
            if len > 0 && early && !state.resting {
                meter.settle();
                state.resting = true;
                let left = state.next - now;
                let waited = shared.rest.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                state.resting = false;
                continue;
            }
            if len > 0 && !early {
                state.next = now + TURN;
                let share = len.div_ceil(shared.threads).max(shared.lanes);
                let table = lock(&self.table).clone();
                state.intake.take(share.min(BATCH_MAX), &table, now, batch);
                let more = state.idle > 0 && !state.intake.is_empty();
                drop(state);
                if more {
                    shared.waiting.notify_one();
                }
                if !batch.is_empty() {
                    return Some(table);
                }
                state = self.door.lock();
                continue;
            }
            // Nothing waits, or somebody rests until it is time for what does.
            meter.settle();
            state.idle += 1;
            let waited = shared.waiting.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

fn unwrap_all<F: PacketFormat>(
    table: &KeyTable<F>,
    batch: &mut Vec<(Epoch, Received)>,
) -> Vec<Arrival> {
    // Every one has its key: the table is the one that it was taken by.
    batch.retain(|(epoch, _)| table.key(*epoch).is_some());
    let pairs: Vec<_> = batch
        .iter()
        .filter_map(|(epoch, received)| Some((table.key(*epoch)?, &received.packet)))
        .collect();
    let results = unwrap_pairs(&pairs);
    drop(pairs);
    let mut arrivals = Vec::with_capacity(batch.len());
    let mut used = buffers::Batch::default();
    for ((epoch, received), unwrapped) in batch.drain(..).zip(results) {
        used.give_back(received.packet);
        arrivals.push(Arrival {
            unwrapped,
            epoch,
            received_at: received.received_at,
            source: received.source,
        });
    }
    arrivals
}

fn unwrap_pairs<F: PacketFormat>(
    pairs: &[(&KeyFor<F>, &PacketBytes)],
) -> Vec<Result<Admitted, DiscardReason>> {
    let mut admitted = [false; BATCH_MAX];
    let whole = AssertUnwindSafe(|| unwrap_batch(pairs, &mut admitted));
    if let Ok(results) = catch_unwind(whole) {
        return results;
    }
    // A bug of ours that one packet woke must not cost the node a thread, nor the others of its
    // batch their lives. Unwrapping holds no state that a panic could leave half-changed.
    tracing::error!("unwrapping a packet panicked; it is discarded. Please report this");
    let each = pairs.iter().zip(&mut admitted);
    each.map(|(pair, admitted)| {
        let one = || unwrap_batch(&[*pair], std::slice::from_mut(admitted));
        let result = catch_unwind(AssertUnwindSafe(one)).ok();
        let result = result.and_then(|mut results| results.pop());
        result.unwrap_or(Err(DiscardReason::BadRouting))
    })
    .collect()
}

#[cfg(test)]
mod tests;
