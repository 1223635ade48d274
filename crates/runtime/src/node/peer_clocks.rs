//! What the authorities' clocks say, compared with this machine's: so that an operator hears of a wrong clock from
//! `status`, and not from packets that die.
//!
//! An authority puts its time into every answer ([`TIME_HEADER`]), to the millisecond. Half of what a question took is
//! the error. It is not signed: who sits on the way can make a node warn, and that is all. Nothing here sets a clock
//! or decides about a packet.

use crate::clock::{Clock, Skew};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::time::{Instant, UnixTime};

/// The header, in Unix ms.
pub const TIME_HEADER: &str = "mizzle-time";
#[derive(Clone, Copy)]
struct Said {
    at: Instant,
    skew: Skew,
}

/// The last comparison with each authority.
#[derive(Clone)]
pub struct PeerClocks {
    clock: Clock,
    said: Arc<Mutex<Vec<Option<Said>>>>,
}

/// How this machine's clock stands to the authorities', by several comparisons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compared {
    /// The median.
    pub skew: Skew,
    /// Of so many.
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
        let skew = Skew::between(asked, self.clock.unix(), theirs);
        let at = self.clock.now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = said.get_mut(authority) {
            *one = Some(Said { at, skew });
        }
    }

    /// By what was said in so long a time; `None` where that is nothing.
    pub fn compared(&self, within: Duration) -> Option<Compared> {
        let now = self.clock.now();
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = said.iter().flatten().filter(|s| now - s.at <= within);
        let mut all: Vec<Skew> = fresh.map(|s| s.skew).collect();
        all.sort_unstable_by_key(|s| s.ahead_ms);
        // Of two the one that is nearer to right: one authority that is wrong makes nobody warn.
        let middle = match all.as_slice() {
            [one, other] if one.ahead_ms.unsigned_abs() > other.ahead_ms.unsigned_abs() => *other,
            [one, _] => *one,
            all => *all.get(all.len() / 2)?,
        };
        Some(Compared {
            skew: middle,
            authorities: all.len(),
        })
    }
}

impl Compared {
    /// For people.
    pub fn in_words(self) -> String {
        self.skew.in_words("the authorities'")
    }

    /// The lines of a node's status.
    pub fn status(compared: Option<Self>) -> Map<String, Value> {
        let clock = match compared {
            None => json!({ "says": "not compared yet", "wrong": null }),
            Some(compared) => json!({
                "says": compared.in_words(),
                "wrong": compared.skew.is_wrong(),
                "ahead_ms": compared.skew.ahead_ms,
                "authorities": compared.authorities,
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
        assert_eq!(clocks.compared(hour), None);
        let say = |authority, ahead_ms: i64| {
            let now = clock.unix();
            clocks.compare(
                authority,
                now,
                UnixTime(now.0.saturating_add_signed(-ahead_ms)),
            );
        };
        let near = |wanted: i64, of: usize| {
            let compared = clocks.compared(hour).unwrap();
            let off = compared.skew.ahead_ms - wanted;
            assert!(off.abs() < 50, "{compared:?}");
            assert_eq!(compared.authorities, of);
            compared
        };
        say(0, -7_200_000);
        let alone = near(-7_200_000, 1);
        assert!(
            alone.skew.is_wrong() && alone.in_words().contains("7200.0 s behind"),
            "{}",
            alone.in_words()
        );
        say(1, 0);
        assert!(
            !near(0, 2).skew.is_wrong(),
            "one of two may be wrong itself"
        );
        say(2, 2000);
        near(0, 3);
        say(1, 1000);
        assert!(near(1000, 3).in_words().contains("1.0 s ahead of"));
        assert_eq!(clocks.compared(Duration::ZERO), None);
        // A stranger's time.
        for theirs in [0, u64::MAX] {
            clocks.compare(0, UnixTime(5), UnixTime(theirs));
        }
        clocks.compare(9, UnixTime(0), UnixTime(0));
    }
}
