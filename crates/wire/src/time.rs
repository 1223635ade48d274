//! Points in time that no code below the line can find out by itself.
//!
//! [`Instant`] is monotonic and means nothing outside its process; [`UnixTime`] is wall-clock time
//! and appears only where a document is valid from and until. [`WallAnchor`] ties the two.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds since an arbitrary origin of this process (or of this simulation).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// Only a clock calls this: `runtime::clock`, the simulator's engine, and tests.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// `self - earlier`, or zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self - duration`, not before the origin.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    /// Saturates at the end of time (584 years after the origin).
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// `self + duration`, in whole milliseconds, saturating.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// `self - earlier`, or zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// One moment, read off both clocks at once.
#[derive(Clone, Copy, Debug)]
pub struct WallAnchor {
    /// The moment on the monotonic clock.
    pub instant: Instant,
    /// The same moment on the wall clock.
    pub unix: UnixTime,
}

impl WallAnchor {
    /// The wall-clock time at `instant`.
    pub fn unix_at(&self, instant: Instant) -> UnixTime {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        if instant >= self.instant {
            UnixTime(self.unix.0.saturating_add(ms(instant - self.instant)))
        } else {
            UnixTime(self.unix.0.saturating_sub(ms(self.instant - instant)))
        }
    }

    /// The monotonic time at `unix`; the origin when that lies before it.
    pub fn instant_at(&self, unix: UnixTime) -> Instant {
        if unix >= self.unix {
            self.instant + unix.saturating_since(self.unix)
        } else {
            self.instant
                .saturating_sub(self.unix.saturating_since(unix))
        }
    }
}
