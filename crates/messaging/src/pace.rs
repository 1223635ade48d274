//! How long this end waits for the other: from the rates that the directory states, and from what it
//! measured. `docs/spec/messaging.md` §9.
//!
//! Everything here is generous. What is stored is durable, so a receipt that is late means almost
//! always that somebody is away, and asking again costs both ends a tick. Not here: a cell's way to
//! its gateway, which the client answers for (`crates/core`).

use directory::Parameters;
use std::time::Duration;

/// Inboxes that the other end is taken to read, before anything is measured: eight contacts.
const PLACES: u32 = 16;
/// Share of a payload stream that fetches from contacts' inboxes (`core`: φ · ¾).
const FETCH_SHARE: f64 = 0.375;
/// Hops that wait δ + 1/μ on the way over an inbox to its reader.
const HOPS: u32 = 9;
/// What all links of one way take together at most.
const TRANSPORT: Duration = Duration::from_secs(2);
/// The longest wait for a receipt.
pub const LONGEST: Duration = Duration::from_secs(6 * 3_600);

/// What follows from the rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Three times a message's way, the receipt's delay and the receipt's way, in the mean.
    pub base: Duration,
    /// What each cell before it in the same inbox may cost.
    pub per_cell: Duration,
    /// A receipt waits for a time drawn evenly from 0 to this.
    pub receipt_delay: Duration,
}

impl Pace {
    /// From the directory.
    pub fn of(p: &Parameters) -> Self {
        let gap = p.payload_rate.mean_gap();
        // Every second tick may send.
        let send = gap * 2;
        let fetch = |places: u32| gap.mul_f64(f64::from(places) / FETCH_SHARE);
        let hops = (p.hop_allowance + p.delay_mean) * HOPS;
        let one_way = send + hops + fetch(PLACES) + p.downlink_rate.mean_gap() * 2 + TRANSPORT;
        let receipt_delay = send * 5;
        Self {
            base: (one_way * 2 + receipt_delay) * 3,
            per_cell: fetch(4),
            receipt_delay,
        }
    }
}

/// Round trips to one contact, as RFC 6298 smooths them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trips {
    smoothed: Option<(Duration, Duration)>,
}

impl Trips {
    /// From stored to its receipt, of a message that was sent once.
    pub fn measured(&mut self, trip: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => (trip, trip / 2),
            Some((mean, spread)) => {
                let off = mean.abs_diff(trip);
                ((mean * 7 + trip) / 8, (spread * 3 + off) / 4)
            }
        });
    }

    /// How long to wait for a receipt with `ahead` cells before it, after `silences` questions that
    /// got no answer.
    pub fn timeout(&self, pace: &Pace, ahead: usize, silences: u32) -> Duration {
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        let by_rates = pace.base + pace.per_cell.saturating_mul(ahead);
        let by_measure = self.smoothed.map(|(mean, spread)| mean + spread * 4);
        let once = by_measure.map_or(by_rates, |m| m.max(by_rates));
        once.saturating_mul(1 << silences.min(16)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_for_a_network_on_one_machine() {
        let pace = Pace::of(&Parameters::localnet());
        // Send 0.2, hops 0.54, fetch 16 / 3.75, downlink 0.1, links 2: 7.107 s.
        let one_way = 0.2 + 0.54 + 16.0 / 3.75 + 0.1 + 2.0;
        let by_hand = 3.0 * (2.0 * one_way + 1.0);
        assert!((pace.base.as_secs_f64() - by_hand).abs() < 1e-6, "{pace:?}");
        assert_eq!(pace.receipt_delay, Duration::from_secs(1));
        assert!(Pace::of(&Parameters::wide()).base < Duration::from_secs(1_200));
    }

    #[test]
    fn waits_grow_with_what_is_ahead_with_silence_and_with_measured_trips() {
        let pace = Pace::of(&Parameters::localnet());
        let mut trips = Trips::default();
        assert_eq!(trips.timeout(&pace, 0, 0), pace.base);
        assert!(trips.timeout(&pace, 100, 0) > pace.base + pace.per_cell * 99);
        assert_eq!(trips.timeout(&pace, 0, 3), pace.base * 8);
        assert_eq!(trips.timeout(&pace, usize::MAX, 99), LONGEST);
        for _ in 0..100 {
            trips.measured(pace.base * 2);
        }
        let settled = trips.timeout(&pace, 0, 0);
        assert!(settled >= pace.base * 2 && settled < pace.base * 3);
    }
}
