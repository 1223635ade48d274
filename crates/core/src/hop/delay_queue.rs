//! The heart of a mix: frames by the moment they may leave. Never early, ties in order of arrival.
//!
//! A calendar: a list for each millisecond to come, and a heap for the one that is being emptied. So
//! what it costs to take a packet in and out does not grow with how many wait
//! (`docs/decisions/0008-the-data-path.md` has the measurement, `benches/delay_queue.rs` repeats it).

use crate::transmit::Transmit;
use sphinx::DiscardReason;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use wire::time::Instant;

/// Nanoseconds of one list: about a millisecond.
const LIST_BITS: u32 = 20;
/// Most lists that are kept for another millisecond when they are empty.
const SPARE_MAX: usize = 64;

/// Frames that wait. Holds at most `capacity`; one more is refused as `QueueFull`, because to
/// evict one that waits would bend the distribution of delays.
pub struct DelayQueue {
    capacity: usize,
    pushed: u64,
    /// Frames, each in its place; a key says where.
    frames: Vec<Option<Transmit>>,
    free: Vec<u32>,
    /// Keys of all moments before the start of the list `near_end`.
    near: BinaryHeap<Reverse<Key>>,
    near_end: u64,
    /// All others. No list is empty.
    later: BTreeMap<u64, List>,
    spare: Vec<Vec<Key>>,
}

/// When, in which order among equals, and where the frame is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Instant,
    pushed: u64,
    place: u32,
}

struct List {
    first: Instant,
    keys: Vec<Key>,
}

impl DelayQueue {
    /// Empty.
    pub fn new(capacity: usize) -> Self {
        Self {
            // Places are numbered by 32 bits; so many frames fill no memory there is.
            capacity: capacity.min(u32::MAX as usize),
            pushed: 0,
            frames: Vec::new(),
            free: Vec::new(),
            near: BinaryHeap::new(),
            near_end: 0,
            later: BTreeMap::new(),
            spare: Vec::new(),
        }
    }

    /// Takes a frame until `transmit.at`.
    pub fn push(&mut self, transmit: Transmit) -> Result<(), DiscardReason> {
        if self.len() >= self.capacity {
            return Err(DiscardReason::QueueFull);
        }
        self.pushed += 1;
        let mut key = Key {
            at: transmit.at,
            pushed: self.pushed,
            place: 0,
        };
        key.place = self.free.pop().unwrap_or_else(|| {
            self.frames.push(None);
            (self.frames.len() - 1) as u32
        });
        self.frames[key.place as usize] = Some(transmit);
        let number = key.at.as_nanos() >> LIST_BITS;
        if number < self.near_end {
            self.near.push(Reverse(key));
        } else {
            let spare = &mut self.spare;
            let list = self.later.entry(number).or_insert_with(|| List {
                first: key.at,
                keys: spare.pop().unwrap_or_default(),
            });
            list.first = list.first.min(key.at);
            list.keys.push(key);
        }
        Ok(())
    }

    /// The frame that is due first, if it is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Transmit> {
        if self.poll_timeout()? > now {
            return None;
        }
        if self.near.is_empty() {
            self.open_list();
        }
        let Reverse(key) = self.near.pop()?;
        self.free.push(key.place);
        self.frames[key.place as usize].take()
    }

    /// The first list becomes the heap.
    fn open_list(&mut self) {
        let Some((number, mut list)) = self.later.pop_first() else {
            return;
        };
        self.near_end = number + 1;
        self.near.extend(list.keys.drain(..).map(Reverse));
        if self.spare.len() < SPARE_MAX {
            self.spare.push(list.keys);
        }
    }

    /// When the first one is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let near = self.near.peek().map(|Reverse(key)| key.at);
        near.or_else(|| self.later.first_key_value().map(|(_, list)| list.first))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.frames.len() - self.free.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    proptest::proptest! {
        /// Whatever comes when: out come the same frames, in the order of a sorted list.
        #[test]
        fn it_is_a_sorted_list(steps in proptest::collection::vec(
            (0u64..6_000, 0u64..200, 0usize..4), 1..300,
        )) {
            let mut queue = DelayQueue::new(usize::MAX);
            let mut model = BTreeMap::new();
            let mut now = Instant::ZERO;
            for (i, (delay_us, wait_us, pushes)) in steps.into_iter().enumerate() {
                now += std::time::Duration::from_micros(wait_us);
                for k in 0..pushes {
                    // Some of one moment, some in the past.
                    let at = (now + std::time::Duration::from_micros(delay_us))
                        .saturating_sub(std::time::Duration::from_micros(500));
                    let mut id = [0; 28];
                    id[..8].copy_from_slice(&((i * 4 + k) as u64).to_be_bytes());
                    let to = Peer::Node(NodeId(id));
                    model.insert((at, i * 4 + k), to.clone());
                    queue.push(Transmit { to, at, frame: Frame::Dummy }).unwrap();
                }
                let first = model.first_key_value().map(|((at, _), _)| *at);
                proptest::prop_assert_eq!(queue.poll_timeout(), first);
                while let Some(left) = queue.pop_due(now) {
                    let ((at, _), to) = model.pop_first().unwrap();
                    proptest::prop_assert!(at <= now && left.at == at && left.to == to);
                }
                proptest::prop_assert!(model.first_key_value().is_none_or(|((at, _), _)| *at > now));
                proptest::prop_assert_eq!(queue.len(), model.len());
            }
        }
    }

    #[test]
    fn a_full_queue_refuses_and_keeps_what_it_has() {
        let mut queue = DelayQueue::new(1);
        queue.push(transmit(1, 1)).unwrap();
        assert_eq!(queue.push(transmit(0, 2)), Err(DiscardReason::QueueFull));
        assert_eq!(queue.len(), 1);
    }
}
