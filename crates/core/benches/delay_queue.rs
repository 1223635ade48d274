//! Which order to keep waiting packets in: `cargo bench -p mizzle-core --bench delay_queue`.
//!
//! One heap of whole frames, one heap of small keys, and [`DelayQueue`], each in the steady state of a mix:
//! so many packets a second with exponential delays. The last lines are ratios to the heap of whole
//! frames; `docs/decisions/0008-the-data-path.md` says what came out.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and looks at the clock"
)]

use mizzle_core::hop::DelayQueue;
use mizzle_core::{Peer, Transmit};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::{Duration, Instant as Wall};
use wire::frame::Frame;
use wire::ids::NodeId;
use wire::rng::{Purpose, TrafficRng};
use wire::time::Instant;

/// Short enough to fall between two interruptions; the quickest counts.
const ROUNDS: usize = 400;
const PACKETS: usize = 4_000;
const DELAYS: usize = 300_000;

trait Queue {
    fn push(&mut self, transmit: Transmit);
    fn pop_due(&mut self, now: Instant) -> Option<Transmit>;
}

/// Every frame in the heap itself.
#[derive(Default)]
struct Whole(BinaryHeap<Reverse<Entry>>, u64);

struct Entry(Instant, u64, Transmit);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl Queue for Whole {
    fn push(&mut self, transmit: Transmit) {
        self.1 += 1;
        self.0.push(Reverse(Entry(transmit.at, self.1, transmit)));
    }
    fn pop_due(&mut self, now: Instant) -> Option<Transmit> {
        if self.0.peek()?.0.0 > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry.2)
    }
}

/// Moments and places in the heap, frames beside it.
#[derive(Default)]
struct Keys {
    heap: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    pushed: u64,
    frames: Vec<Option<Transmit>>,
    free: Vec<u32>,
}

impl Queue for Keys {
    fn push(&mut self, transmit: Transmit) {
        self.pushed += 1;
        let at = transmit.at;
        let place = self.free.pop().unwrap_or_else(|| {
            self.frames.push(None);
            self.frames.len() as u32 - 1
        });
        self.frames[place as usize] = Some(transmit);
        self.heap.push(Reverse((at, self.pushed, place)));
    }
    fn pop_due(&mut self, now: Instant) -> Option<Transmit> {
        if self.heap.peek()?.0.0 > now {
            return None;
        }
        let Reverse((_, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.frames[place as usize].take()
    }
}

impl Queue for DelayQueue {
    fn push(&mut self, transmit: Transmit) {
        let _ = Self::push(self, transmit);
    }
    fn pop_due(&mut self, now: Instant) -> Option<Transmit> {
        Self::pop_due(self, now)
    }
}

/// Nanoseconds for one packet in and one out.
fn steady(queue: &mut impl Queue, rate: f64, mean: Duration) -> f64 {
    let mut draws = TrafficRng::from_seed([1; 32]).tick(Purpose::Simulation, 1);
    let gap = Duration::from_secs_f64(1.0 / rate);
    let delays: Vec<_> = (0..DELAYS).map(|_| draws.draw_exponential(mean)).collect();
    let (mut now, mut next) = (Instant::ZERO, 0);
    let mut run = |n: usize| {
        let began = Wall::now();
        for i in 0..n {
            next += 1;
            now += gap;
            queue.push(Transmit {
                to: Peer::Node(NodeId([i as u8; 28])),
                at: now + delays[next % DELAYS],
                frame: Frame::Dummy,
            });
            // A turn of the loop takes what is due by then.
            if i % 16 == 0 {
                while let Some(transmit) = queue.pop_due(now) {
                    black_box(transmit);
                }
            }
        }
        began.elapsed().as_secs_f64() * 1e9 / n as f64
    };
    // Until as much leaves as comes.
    run((4.0 * rate * mean.as_secs_f64()) as usize);
    (0..ROUNDS).map(|_| run(PACKETS)).fold(f64::MAX, f64::min)
}

fn main() {
    let mut last = (1.0, 1.0);
    for (rate, mean_ms) in [(50_000.0, 50), (50_000.0, 500), (50_000.0, 2_000)] {
        let mean = Duration::from_millis(mean_ms);
        let whole = steady(&mut Whole::default(), rate, mean);
        let keys = steady(&mut Keys::default(), rate, mean);
        let ours = steady(&mut DelayQueue::new(1 << 20), rate, mean);
        let waiting = rate * mean.as_secs_f64();
        println!(
            "{waiting:>7.0} wait: heap of frames {whole:>5.0} ns, heap of keys {keys:>5.0} ns, \
             DelayQueue {ours:>5.0} ns"
        );
        last = (whole / keys, whole / ours);
    }
    println!("ratio keys {:.2}", last.0);
    println!("ratio delay-queue {:.2}", last.1);
}
