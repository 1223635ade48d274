//! Virtual time, and the queue of what happens in it. The only file of this crate that makes an
//! [`Instant`] of a number.

use crate::engine::Actor;
use directory::EpochSchedule;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use wire::ids::Epoch;
use wire::time::{Instant, UnixTime, WallAnchor};

/// Where virtual time starts: late enough that taking a lead off it never reaches the origin.
pub const START: Instant = Instant::from_nanos(3_600_000_000_000);
/// The epoch in which virtual time starts.
pub const START_EPOCH: Epoch = Epoch(10);
/// Start of epoch 0: 2026-01-01 00:00 UTC.
const GENESIS: UnixTime = UnixTime(1_767_225_600_000);

/// Time that passes only when told to.
pub struct VirtualClock {
    now: Instant,
    schedule: EpochSchedule,
}

impl VirtualClock {
    /// At [`START`], which is the first moment of [`START_EPOCH`].
    pub fn new(epoch_length: Duration) -> Self {
        let schedule = EpochSchedule {
            genesis: GENESIS,
            length: epoch_length,
        };
        Self {
            now: START,
            schedule,
        }
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Moves on; never back.
    pub fn advance_to(&mut self, to: Instant) {
        assert!(to >= self.now, "virtual time never goes back");
        self.now = to;
    }

    /// How epochs follow each other.
    pub fn schedule(&self) -> EpochSchedule {
        self.schedule
    }

    /// Ties virtual time to the wall clock.
    pub fn anchor(&self) -> WallAnchor {
        WallAnchor {
            instant: START,
            unix: self.schedule.start(START_EPOCH),
        }
    }

    /// The wall clock now.
    pub fn unix(&self) -> UnixTime {
        self.anchor().unix_at(self.now)
    }
}

/// What is to happen, in one total order: by time, then by actor, then by the order of pushing. Events stay in
/// their places; a heap of small keys says whose turn it is.
pub struct EventQueue<E> {
    pushed: u64,
    keys: BinaryHeap<Reverse<Key>>,
    events: Vec<Option<(Actor, E)>>,
    free: Vec<u32>,
}

/// When, to whom and after how many others (12 and 52 bits), and where the event is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Instant,
    order: u64,
    place: u32,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self {
            pushed: 0,
            keys: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<E> EventQueue<E> {
    /// `event` happens to `actor` at `at`.
    pub fn push(&mut self, at: Instant, actor: Actor, event: E) {
        self.pushed += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            (self.events.len() - 1) as u32
        });
        self.events[place as usize] = Some((actor, event));
        let order = actor.number() << 52 | self.pushed;
        self.keys.push(Reverse(Key { at, order, place }));
    }

    /// The next event, if it happens at or before `until`.
    pub fn pop(&mut self, until: Instant) -> Option<(Instant, Actor, E)> {
        let Reverse(Key { at, place, .. }) = *self.keys.peek()?;
        if at > until {
            return None;
        }
        self.keys.pop();
        self.free.push(place);
        let (actor, event) = self.events[place as usize].take()?;
        Some((at, actor, event))
    }

    /// How many are to come.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none is to come.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_actor_then_order_of_pushing() {
        let at = |ms: u64| Instant::from_nanos(ms);
        let mut queue = EventQueue::default();
        for (ms, actor, event) in [(2, 1, 'd'), (1, 2, 'b'), (1, 1, 'a'), (1, 2, 'c')] {
            queue.push(at(ms), Actor::Client(actor), event);
        }
        let mut order = String::new();
        assert!(queue.pop(at(0)).is_none());
        while let Some((_, _, event)) = queue.pop(at(9)) {
            order.push(event);
        }
        assert_eq!(order, "abcd");
    }
}
