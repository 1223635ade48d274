//! How far replies lie behind their drawn delays: what links, schedulers and the downlink's queue take,
//! which no directory states. The client knows every delay it drew, so nothing else is in it.
//!
//! Smoothed as RFC 6298 smooths round trips. It decides only when a cell that got no reply may ride
//! on another tick; no tick comes because of it.

use std::time::Duration;

/// Replies before what was measured counts.
const ENOUGH: u32 = 16;
/// Deviations above the mean that a reply is waited for.
const DEVIATIONS: u32 = 4;
/// Of the most that links may take, what is waited for at least: a scheduler that stalls once is no loss.
const LEAST: u32 = 8;

/// Mean and mean deviation of lateness.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lateness {
    count: u32,
    mean: Duration,
    deviation: Duration,
}

impl Lateness {
    /// A reply came so long after its drawn delays, in time or not.
    pub(super) fn measured(&mut self, late: Duration) {
        if self.count == 0 {
            (self.mean, self.deviation) = (late, late / 2);
        } else {
            self.deviation = (self.deviation * 3 + self.mean.abs_diff(late)) / 4;
            self.mean = (self.mean * 7 + late) / 8;
        }
        self.count = self.count.saturating_add(1);
    }

    /// How long links may take; never more than `most`.
    pub(super) fn allowed(&self, most: Duration) -> Duration {
        if self.count < ENOUGH {
            return most;
        }
        let likely = self.mean + self.deviation * DEVIATIONS;
        likely.clamp(most / LEAST, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(2);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn what_is_allowed_follows_what_is_measured_within_bounds() {
        let mut lateness = Lateness::default();
        for n in 0..ENOUGH {
            assert_eq!(lateness.allowed(MOST), MOST, "{n} say nothing");
            lateness.measured(ms(100));
        }
        // The first deviation of 50 ms has died away: 100 ms, and at least an eighth of the most.
        assert_eq!(lateness.allowed(MOST), ms(250));
        for late in [100, 700].iter().cycle().take(200) {
            lateness.measured(ms(*late));
        }
        let allowed = lateness.allowed(MOST);
        // Around 400 ms with a mean deviation of some 300 ms.
        assert!(allowed > ms(1_200) && allowed < ms(2_000), "{allowed:?}");
        (0..100).for_each(|_| lateness.measured(ms(60_000)));
        assert_eq!(lateness.allowed(MOST), MOST);
        (0..100).for_each(|_| lateness.measured(ms(1)));
        assert_eq!(lateness.allowed(MOST), MOST / LEAST);
    }
}
