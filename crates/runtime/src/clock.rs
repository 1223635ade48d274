//! The one place where a daemon reads a clock, and the only caller of `Instant::from_nanos`.
//!
//! Its twin is the simulator's virtual clock. Waiting until a point in time is [`crate::timer`]; how a clock stands to
//! another machine's is [`Skew`].

mod skew;

pub use skew::Skew;

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::time::{Instant, UnixTime, WallAnchor};

/// What [`Clock::now`] reads at the start. Not zero, so that points in time before the process
/// began (the start of this epoch, say) still have a place.
const ORIGIN_NANOS: u64 = 100 * 24 * 3600 * 1_000_000_000;

/// This process' clock. All clocks of one process must be copies of one.
#[derive(Clone, Copy)]
pub struct Clock {
    /// `CLOCK_MONOTONIC` at the start, in nanoseconds.
    started: u64,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self {
            started: monotonic_nanos(),
        }
    }

    /// The time now; never goes back.
    pub fn now(&self) -> Instant {
        let elapsed = monotonic_nanos().saturating_sub(self.started);
        Instant::from_nanos(ORIGIN_NANOS.saturating_add(elapsed))
    }

    /// Wall-clock time now; goes where the operator puts it.
    pub fn unix(&self) -> UnixTime {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        UnixTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Both clocks now. Ask again for each use, so that a stepped wall clock is noticed.
    pub fn anchor(&self) -> WallAnchor {
        WallAnchor {
            instant: self.now(),
            unix: self.unix(),
        }
    }

    /// A moment that is over, in this clock; never earlier than it was.
    pub fn instant_of_std(&self, past: std::time::Instant) -> Instant {
        // The order matters, as below.
        let elapsed = u64::try_from(past.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(self.now().as_nanos().saturating_sub(elapsed))
    }

    /// The same moment for `std`; never earlier than `instant`.
    pub fn instant_to_std(&self, instant: Instant) -> std::time::Instant {
        // The order matters: the second reading is the later one, so what is added is not too short.
        let now = self.now();
        let std_now = std::time::Instant::now();
        if instant >= now {
            std_now + (instant - now)
        } else {
            std_now.checked_sub(now - instant).unwrap_or(std_now)
        }
    }

    /// The same moment for tokio's timers, which round up to a millisecond; what must be punctual
    /// uses [`crate::timer::PreciseTimer`].
    pub fn instant_to_tokio(&self, instant: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.instant_to_std(instant))
    }

    /// The same moment on `CLOCK_MONOTONIC`.
    pub(crate) fn instant_to_timespec(&self, instant: Instant) -> Timespec {
        let nanos = instant
            .as_nanos()
            .saturating_sub(ORIGIN_NANOS)
            .saturating_add(self.started);
        Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (nanos % 1_000_000_000) as _,
        }
    }
}

fn monotonic_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_goes_forward_and_leaves_room_behind_it() {
        let clock = Clock::start();
        let first = clock.now();
        let second = clock.now();
        assert!(first <= second);
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(first - first.saturating_sub(day), day);
    }

    #[test]
    fn std_time_is_never_earlier_than_ours() {
        let clock = Clock::start();
        let target = clock.now() + Duration::from_millis(5);
        let std_target = clock.instant_to_std(target);
        while std::time::Instant::now() < std_target {
            std::hint::spin_loop();
        }
        assert!(clock.now() >= target);
    }

    #[test]
    fn the_anchor_ties_both_clocks() {
        let clock = Clock::start();
        let anchor = clock.anchor();
        assert_eq!(anchor.unix_at(anchor.instant), anchor.unix);
        // 2020-01-01: whoever runs this test has set a clock.
        assert!(anchor.unix.0 > 1_577_836_800_000);
    }
}
