//! The heart of a mix: frames by the moment they may leave. Never early, ties in order of arrival.

use crate::transmit::Transmit;
use sphinx::DiscardReason;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use wire::time::Instant;

/// Frames that wait. Holds at most `capacity`; one more is refused as `QueueFull`, because to
/// evict one that waits would bend the distribution of delays.
pub struct DelayQueue {
    capacity: usize,
    sequence: u64,
    heap: BinaryHeap<Reverse<Entry>>,
}

struct Entry {
    at: Instant,
    sequence: u64,
    transmit: Transmit,
}

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
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl DelayQueue {
    /// Empty.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            sequence: 0,
            heap: BinaryHeap::new(),
        }
    }

    /// Takes a frame until `transmit.at`.
    pub fn push(&mut self, transmit: Transmit) -> Result<(), DiscardReason> {
        if self.heap.len() >= self.capacity {
            return Err(DiscardReason::QueueFull);
        }
        let (at, sequence) = (transmit.at, self.sequence);
        self.sequence += 1;
        self.heap.push(Reverse(Entry {
            at,
            sequence,
            transmit,
        }));
        Ok(())
    }

    /// The frame that is due first, if it is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Transmit> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.transmit)
    }

    /// When the first one is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transmit::Peer;
    use wire::frame::Frame;
    use wire::ids::NodeId;

    fn transmit(ms: u64, node: u8) -> Transmit {
        let at = Instant::from_nanos(ms * 1_000_000);
        Transmit {
            to: Peer::Node(NodeId([node; 28])),
            at,
            frame: Frame::Dummy,
        }
    }

    #[test]
    fn nothing_leaves_early_and_ties_keep_their_order() {
        let mut queue = DelayQueue::new(10);
        for (ms, node) in [(5, 1), (3, 2), (5, 3), (4, 4)] {
            queue.push(transmit(ms, node)).unwrap();
        }
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        assert!(queue.pop_due(Instant::from_nanos(3_000_000 - 1)).is_none());
        let mut order = Vec::new();
        for ms in 3..=5 {
            while let Some(t) = queue.pop_due(at(ms)) {
                assert!(t.at <= at(ms));
                let Peer::Node(id) = t.to else { panic!() };
                order.push(id.0[0]);
            }
        }
        assert_eq!(order, [2, 4, 1, 3]);
    }

    #[test]
    fn a_full_queue_refuses_and_keeps_what_it_has() {
        let mut queue = DelayQueue::new(1);
        queue.push(transmit(1, 1)).unwrap();
        assert_eq!(queue.push(transmit(0, 2)), Err(DiscardReason::QueueFull));
        assert_eq!(queue.len(), 1);
    }
}
