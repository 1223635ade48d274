//! What waits in a batch mix.

use crate::design::Packet;
use crate::random::{Purpose, Stream};

/// One mix's.
pub(super) struct Batch {
    waiting: Vec<Packet>,
    random: Stream,
}

impl Batch {
    pub(super) fn new(node: u32, seed: u64) -> Self {
        Self {
            waiting: Vec::new(),
            random: Stream::new(seed, Purpose::BATCH, u64::from(node)),
        }
    }

    /// Where in its period a timed mix begins.
    pub(super) fn phase(&mut self, period: f64) -> f64 {
        self.random.uniform() * period
    }

    /// One more; says how many there are.
    pub(super) fn add(&mut self, packet: Packet) -> usize {
        self.waiting.push(packet);
        self.waiting.len()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A random `n` of them, in random order.
    pub(super) fn take(&mut self, n: usize) -> Vec<Packet> {
        self.random.shuffle(&mut self.waiting);
        let at = self.waiting.len().saturating_sub(n);
        self.waiting.split_off(at)
    }
}
