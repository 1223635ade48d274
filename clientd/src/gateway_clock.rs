//! What the entry gateway's clock says, compared with this machine's: so that a person hears of a wrong clock from the
//! status, and not from directories that are refused.
//!
//! A gateway says its time once, in its `Hello`. Whoever runs it can make a client warn, and that is all: nothing here
//! sets a clock, or decides what is sent or when.

use crate::api::types::ClockStatus;
use runtime::clock::Skew;
use std::time::Duration;
use wire::time::{Instant, UnixTime, WallAnchor};

/// What a gateway said, and when that was.
#[derive(Clone, Copy)]
pub(crate) struct GatewayClock {
    time: UnixTime,
    heard: Instant,
    took: Duration,
}

impl GatewayClock {
    /// It said `time` at most `took` before it was heard.
    pub(crate) fn new(time: UnixTime, took: Duration, heard: Instant) -> Self {
        Self { time, heard, took }
    }

    /// How this machine's clock stands to it now.
    pub(crate) fn status(&self, now: WallAnchor) -> ClockStatus {
        let before = |t: UnixTime, d: Duration| {
            let ms = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
            UnixTime(t.0.saturating_sub(ms))
        };
        let latest = before(now.unix, now.instant.saturating_since(self.heard));
        let skew = Skew::between(before(latest, self.took), latest, self.time);
        ClockStatus {
            ahead_ms: skew.ahead_ms,
            wrong: skew.is_wrong(),
            says: skew.in_words("the entry gateway's"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_when_it_was_heard_and_how_long_that_took() {
        let heard = Instant::ZERO + Duration::from_secs(100);
        let at = |unix: u64, after: u64| WallAnchor {
            instant: heard + Duration::from_millis(after),
            unix: UnixTime(unix),
        };
        let said = |took: u64| {
            let took = Duration::from_millis(took);
            GatewayClock::new(UnixTime(1_000_000), took, heard)
        };
        let right = said(20).status(at(1_000_010, 0));
        assert!(right.ahead_ms == 0 && !right.wrong && right.says == "right");
        // An hour later too.
        assert_eq!(said(20).status(at(4_600_010, 3_600_000)).ahead_ms, 0);
        let ahead = said(20).status(at(1_061_010, 1000));
        assert!(ahead.wrong && ahead.ahead_ms == 60_000);
        assert!(ahead.says.contains("60.0 s ahead of"), "{}", ahead.says);
        let behind = said(20).status(at(999_010, 0));
        assert!(behind.wrong && behind.says.contains("1.0 s behind"));
        // What took 2 s may be off by one.
        assert!(!said(2000).status(at(1_002_400, 0)).wrong);
        assert!(said(2000).status(at(1_002_600, 0)).wrong);
        // A stranger's time, and a clock that begins in 1970.
        for time in [0, u64::MAX] {
            let clock = GatewayClock::new(UnixTime(time), Duration::MAX, heard);
            let _ = clock.status(at(5, u64::MAX / 2_000_000));
            let clock = GatewayClock::new(UnixTime(time), Duration::ZERO, heard);
            assert!(clock.status(at(1_795_889_715_123, 0)).wrong);
        }
    }
}
