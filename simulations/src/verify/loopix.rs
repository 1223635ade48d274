//! Loopix' likelihood difference (USENIX Security 2017, §4.1.3): 100 users send 2 messages a unit of time each; all
//! messages of two of them are labelled, and an honest mix gives each packet that leaves the mean label of its pool. The
//! measure is |ln(p₀/p₁)|, the ratio of the two labels in a pool of the last layer in steady state, in nats; pools in which
//! one of the labels is missing do not count (they are the experiment's δ).
//!
//! The paper says neither which of the two senders' messages carry labels nor when it looks; this is the reading in
//! which nothing is left to choose. Labels belong to senders, not to messages, so the engines' posteriors do not give
//! it, and the network is followed here.

use super::family::Params;
use super::{Answer, Task};
use crate::random::{Purpose, Stream, replication_seed};
use crate::stats::Welford;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const USERS: u64 = 100;
/// Messages of a user in a unit of time.
const RATE: f64 = 2.0;
/// Looks at the last layer in one run, so far apart that they hardly know of each other.
const LOOKS: u32 = 8;

pub(super) fn likelihood(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let mu = p.number("mu", 0.02, 100.0)?;
    let layers = p.whole("layers", 1, 20)?;
    let width = p.whole("width", 1, 100)?;
    let corrupt = p.whole("corrupt", 0, layers * width)?;
    let rule = task.rule(40, 4_000);
    let mut runs = Welford::default();
    for run in 0..2 * rule.most {
        let seed = replication_seed(task.seed, run);
        if let Some(mean) = Network::new(mu, layers, width, corrupt, seed).look() {
            runs.push(mean);
        }
        let interval = runs.interval();
        if rule.done(&interval) {
            return Ok(Answer::new(interval, None, "labels followed through pools"));
        }
    }
    Err("the two senders are never in one pool".into())
}

#[derive(Clone, Copy, Default)]
struct Pool {
    packets: u32,
    labels: [f64; 2],
    corrupt: bool,
}

/// A packet inside a mix; a corrupt one leaves it its own label.
#[derive(Clone, Copy)]
struct Held {
    node: u32,
    labels: [f64; 2],
}

struct Network {
    mu: f64,
    layers: u32,
    width: u32,
    pools: Vec<Pool>,
    held: Vec<Held>,
    free: Vec<u32>,
    leaving: BinaryHeap<Reverse<(u64, u32)>>,
    draws: Stream,
}

impl Network {
    fn new(mu: f64, layers: u32, width: u32, corrupt: u32, seed: u64) -> Self {
        let mut pools = vec![Pool::default(); (layers * width) as usize];
        let mut order: Vec<usize> = (0..pools.len()).collect();
        Stream::new(seed, Purpose::PLACEMENT, 0).shuffle(&mut order);
        for node in order.into_iter().take(corrupt as usize) {
            pools[node].corrupt = true;
        }
        Self {
            mu,
            layers,
            width,
            pools,
            held: Vec::new(),
            free: Vec::new(),
            leaving: BinaryHeap::new(),
            draws: Stream::new(seed, Purpose::DELAY, 0),
        }
    }

    /// Mean over looks and over the pools of the last layer in which both labels are.
    fn look(&mut self) -> Option<f64> {
        let way = f64::from(self.layers) / self.mu;
        let mut ratios = Welford::default();
        let mut arrival = 0.0;
        let mut next_look = 5.0 * way;
        for _ in 0..LOOKS {
            while self.next_leaving().min(arrival) < next_look {
                if arrival <= self.next_leaving() {
                    let sender = self.draws.below(USERS) as usize;
                    let mut labels = [0.0; 2];
                    if let Some(label) = labels.get_mut(sender) {
                        *label = 1.0;
                    }
                    self.enter(arrival, 0, labels);
                    arrival += self.draws.exponential(1.0 / (USERS as f64 * RATE));
                } else {
                    self.leave();
                }
            }
            let last = (self.layers - 1) * self.width;
            for pool in &self.pools[last as usize..] {
                let [a, b] = pool.labels;
                if a > 1e-200 && b > 1e-200 {
                    ratios.push((a / b).ln().abs());
                }
            }
            next_look += 2.0 * way;
        }
        (ratios.count() > 0).then(|| ratios.mean())
    }

    fn next_leaving(&self) -> f64 {
        match self.leaving.peek() {
            Some(Reverse((time, _))) => f64::from_bits(*time),
            None => f64::INFINITY,
        }
    }

    fn enter(&mut self, now: f64, layer: u32, labels: [f64; 2]) {
        let node = layer * self.width + self.draws.below(u64::from(self.width)) as u32;
        let pool = &mut self.pools[node as usize];
        pool.packets += 1;
        for (sum, label) in pool.labels.iter_mut().zip(labels) {
            *sum += label;
        }
        let held = Held { node, labels };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.held[slot as usize] = held;
                slot
            }
            None => {
                self.held.push(held);
                self.held.len() as u32 - 1
            }
        };
        let leaves = now + self.draws.exponential(1.0 / self.mu);
        // Times are positive: their bits are in their order.
        self.leaving.push(Reverse((leaves.to_bits(), slot)));
    }

    fn leave(&mut self) {
        let Some(Reverse((time, slot))) = self.leaving.pop() else {
            return;
        };
        let Held { node, mut labels } = self.held[slot as usize];
        self.free.push(slot);
        let pool = &mut self.pools[node as usize];
        if !pool.corrupt {
            labels = pool.labels.map(|sum| sum / f64::from(pool.packets));
        }
        pool.packets -= 1;
        for (sum, label) in pool.labels.iter_mut().zip(labels) {
            *sum = if pool.packets == 0 {
                0.0
            } else {
                (*sum - label).max(0.0)
            };
        }
        let layer = node / self.width + 1;
        if layer < self.layers {
            self.enter(f64::from_bits(time), layer, labels);
        }
    }
}
