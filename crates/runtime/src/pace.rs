//! Spaces the turns of a loop, so that under load each of them has a batch to work on.
//!
//! A loop that turns for every packet spends its time on being woken. This one rests until
//! [`TURN`] after its last turn, and then takes all that came. What waits is late by that much at
//! most, which is a small part of the millisecond that design §3 gives; a loop that was idle does not
//! rest at all.

use crate::awake::Awake;
use crate::clock::Clock;
use std::time::Duration;
use wire::time::Instant;

/// The shortest time between two turns.
pub const TURN: Duration = Duration::from_micros(200);

/// The same where more packets wait to be unwrapped than a batch or two: then each of them waits for longer than
/// this anyway, and what turns save is time for those that unwrap.
pub const CROWDED_TURN: Duration = Duration::from_micros(500);

/// Of one loop, which has a thread for itself.
pub struct Pace {
    clock: Clock,
    next: Instant,
    awake: Option<Awake>,
}

impl Pace {
    /// The first turn is at once. `awake` is told of every turn.
    pub fn new(clock: Clock, awake: Option<Awake>) -> Self {
        Self {
            clock,
            next: Instant::ZERO,
            awake,
        }
    }

    /// Returns when the next turn may begin, and begins it; the one after comes later if it is `crowded`.
    ///
    /// Blocks the thread: a timer of an async runtime would cost several system calls for each turn, and
    /// there is nothing else on a loop's thread that could run meanwhile.
    pub fn rest(&mut self, crowded: bool) {
        let left = self.next - self.clock.now();
        if left > Duration::ZERO {
            std::thread::sleep(left);
        }
        let now = self.clock.now();
        self.next = now + if crowded { CROWDED_TURN } else { TURN };
        if let Some(awake) = &mut self.awake {
            awake.turn(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_never_closer_and_idleness_costs_nothing() {
        let clock = Clock::start();
        let mut pace = Pace::new(clock, None);
        let mut last = Instant::ZERO;
        for _ in 0..20 {
            pace.rest(false);
            let now = clock.now();
            assert!(now - last >= TURN);
            last = now;
        }
        std::thread::sleep(2 * TURN);
        let before = pace.next;
        pace.rest(false);
        assert!(pace.next > before + TURN, "the turn began at once");
    }
}
