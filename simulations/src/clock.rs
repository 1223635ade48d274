//! Virtual time, and the queue of what happens in it. The only file of this crate that makes an
//! [`Instant`] of a number.

use directory::EpochSchedule;
use std::collections::BTreeMap;
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

/// What is to happen, in one total order: by time, then by actor, then by the order of pushing.
pub struct EventQueue<A, E> {
    sequence: u64,
    events: BTreeMap<(Instant, A, u64), E>,
}

impl<A: Ord + Copy, E> Default for EventQueue<A, E> {
    fn default() -> Self {
        Self {
            sequence: 0,
            events: BTreeMap::new(),
        }
    }
}

impl<A: Ord + Copy, E> EventQueue<A, E> {
    /// `event` happens to `actor` at `at`.
    pub fn push(&mut self, at: Instant, actor: A, event: E) {
        self.sequence += 1;
        self.events.insert((at, actor, self.sequence), event);
    }

    /// The next event, if it happens at or before `until`.
    pub fn pop(&mut self, until: Instant) -> Option<(Instant, A, E)> {
        let entry = self.events.first_entry()?;
        let (at, actor, _) = *entry.key();
        (at <= until).then(|| (at, actor, entry.remove()))
    }

    /// How many are to come.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is to come.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
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
            queue.push(at(ms), actor, event);
        }
        let mut order = String::new();
        assert!(queue.pop(at(0)).is_none());
        while let Some((_, _, event)) = queue.pop(at(9)) {
            order.push(event);
        }
        assert_eq!(order, "abcd");
    }
}
