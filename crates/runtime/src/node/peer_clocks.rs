//! What the authorities' clocks say, compared with this machine's: so that an operator hears of a wrong clock from
//! `status`, and not from packets that die.
//!
//! An authority puts its time into every answer ([`TIME_HEADER`]), to the millisecond. Half of what a question took is
//! the error. It is not signed: who sits on the way can make a node warn, and that is all. Nothing here sets a clock
//! or decides about a packet.

use crate::clock::Clock;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::time::{Instant, UnixTime};

/// The header, in Unix ms.
pub const TIME_HEADER: &str = "mizzle-time";
/// A clock that differs by more is wrong, in milliseconds: a question over a long way takes less than twice that.
pub const WRONG_MS: u64 = 500;

#[derive(Clone, Copy)]
struct Said {
    at: Instant,
    ahead_ms: i64,
}

/// The last comparison with each authority.
#[derive(Clone)]
pub struct PeerClocks {
    clock: Clock,
    said: Arc<Mutex<Vec<Option<Said>>>>,
}

/// How this machine's clock stands to the authorities'.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skew {
    /// Median of how far it is ahead.
    pub ahead_ms: i64,
    /// Of so many comparisons.
    pub authorities: usize,
}

impl PeerClocks {
    /// None compared yet.
    pub fn new(clock: Clock, authorities: usize) -> Self {
        let said = Arc::new(Mutex::new(vec![None; authorities]));
        Self { clock, said }
    }

    /// This machine's time, to be taken when a question goes out.
    pub fn unix(&self) -> UnixTime {
        self.clock.unix()
    }

    /// An answer is here, to a question that went out when this clock said `asked`.
    pub fn compare(&self, authority: usize, asked: UnixTime, theirs: UnixTime) {
        let answered = self.clock.unix();
        // In the middle between the two. Times of a stranger: they saturate.
        let ours = asked
            .0
            .saturating_add(answered.0.saturating_sub(asked.0) / 2);
        let by = i64::try_from(ours.abs_diff(theirs.0)).unwrap_or(i64::MAX);
        let ahead_ms = if ours >= theirs.0 { by } else { -by };
        let at = self.clock.now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = said.get_mut(authority) {
            *one = Some(Said { at, ahead_ms });
        }
    }

    /// By what was said in so long a time; `None` where that is nothing.
    pub fn skew(&self, within: Duration) -> Option<Skew> {
        let now = self.clock.now();
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = said.iter().flatten().filter(|s| now - s.at <= within);
        let mut ahead: Vec<i64> = fresh.map(|s| s.ahead_ms).collect();
        ahead.sort_unstable();
        // Of two the one that is nearer to right: one authority that is wrong makes nobody warn.
        let middle = match ahead.as_slice() {
            [one, other] if one.unsigned_abs() > other.unsigned_abs() => *other,
            [one, _] => *one,
            all => *all.get(all.len() / 2)?,
        };
        Some(Skew {
            ahead_ms: middle,
            authorities: ahead.len(),
        })
    }
}

impl Skew {
    /// Whether an operator has to do something.
    pub fn is_wrong(self) -> bool {
        self.ahead_ms.unsigned_abs() > WRONG_MS
    }

    /// For people.
    pub fn in_words(self) -> String {
        let seconds = self.ahead_ms.unsigned_abs() as f64 / 1000.0;
        let side = if self.ahead_ms > 0 {
            "ahead of"
        } else {
            "behind"
        };
        if self.is_wrong() {
            format!(
                "THIS MACHINE'S CLOCK IS {seconds:.1} s {side} the authorities': set it right (NTP)"
            )
        } else {
            "right".to_owned()
        }
    }

    /// The lines of a node's status.
    pub fn status(skew: Option<Self>) -> Map<String, Value> {
        let clock = match skew {
            None => json!({ "says": "not compared yet", "wrong": null }),
            Some(skew) => json!({
                "says": skew.in_words(),
                "wrong": skew.is_wrong(),
                "ahead_ms": skew.ahead_ms,
                "authorities": skew.authorities,
            }),
        };
        Map::from_iter([("clock".to_owned(), clock)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_counts_and_what_is_old_does_not() {
        let clock = Clock::start();
        let clocks = PeerClocks::new(clock, 3);
        let hour = Duration::from_secs(3600);
        assert_eq!(clocks.skew(hour), None);
        let say = |authority, ahead_ms: i64| {
            let now = clock.unix();
            clocks.compare(
                authority,
                now,
                UnixTime(now.0.saturating_add_signed(-ahead_ms)),
            );
        };
        let near = |wanted: i64, of: usize| {
            let skew = clocks.skew(hour).unwrap();
            assert!((skew.ahead_ms - wanted).abs() < 50, "{skew:?}");
            assert_eq!(skew.authorities, of);
            skew
        };
        say(0, -7_200_000);
        let alone = near(-7_200_000, 1);
        assert!(
            alone.is_wrong() && alone.in_words().contains("7200.0 s behind"),
            "{}",
            alone.in_words()
        );
        say(1, 0);
        assert!(!near(0, 2).is_wrong(), "one of two may be wrong itself");
        say(2, 2000);
        near(0, 3);
        say(1, 1000);
        assert!(near(1000, 3).in_words().contains("1.0 s ahead of"));
        assert_eq!(clocks.skew(Duration::ZERO), None);
        // A stranger's time.
        for theirs in [0, u64::MAX] {
            clocks.compare(0, UnixTime(5), UnixTime(theirs));
        }
        clocks.compare(9, UnixTime(0), UnixTime(0));
    }
}
