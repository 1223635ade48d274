//! Waits until a point in time, with a lateness far below tokio's whole milliseconds.
//!
//! A packet must never leave early, and 99 of 100 less than 1 ms late (design §3); tokio's own
//! timer rounds up to a millisecond. This one is a Linux `timerfd` on `CLOCK_MONOTONIC`, set to an
//! absolute time.

use crate::clock::Clock;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wire::time::Instant;

/// One timer, for one waiting task.
pub struct PreciseTimer {
    clock: Clock,
    fd: AsyncFd<OwnedFd>,
}

impl PreciseTimer {
    /// Takes one file descriptor. Must be called within a tokio runtime.
    pub fn new(clock: Clock) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Its successor `register` is `unsafe`, for types whose descriptor may change under it. An
        // `OwnedFd` names the same one until it is dropped, which is what the contract asks.
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd; the successor is unsafe to call"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Self { clock, fd })
    }

    /// Returns at `deadline` or after it, never before; at once when it has passed.
    ///
    /// Cancel safe: a dropped wait leaves nothing behind that the next one could mistake for its
    /// own expiry.
    pub async fn sleep_until(&mut self, deadline: Instant) -> io::Result<()> {
        if self.clock.now() >= deadline {
            return Ok(());
        }
        let setting = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: self.clock.instant_to_timespec(deadline),
        };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &setting)?;
        loop {
            let mut ready = self.fd.readable().await?;
            // Setting the timer forgot earlier expiries; readiness left over from one of them
            // shows as "would block" here and is cleared.
            let mut expiries = [0; 8];
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expiries)?));
            if let Ok(result) = read {
                result?;
                if self.clock.now() >= deadline {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn never_early_and_usually_on_time() {
        let clock = Clock::start();
        let mut timer = PreciseTimer::new(clock).unwrap();
        let mut lateness = Vec::new();
        for step in 1..100u64 {
            let deadline = clock.now() + Duration::from_micros(137 * (step % 17));
            timer.sleep_until(deadline).await.unwrap();
            let now = clock.now();
            assert!(now >= deadline);
            lateness.push(now - deadline);
        }
        lateness.sort();
        println!("lateness p50 {:?}, p99 {:?}", lateness[50], lateness[97]);
        // Sanity only: a busy machine is late through no fault of ours.
        assert!(lateness[50] < Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_dropped_wait_does_not_end_the_next_one() {
        let clock = Clock::start();
        let mut timer = PreciseTimer::new(clock).unwrap();
        for _ in 0..10 {
            let soon = clock.now() + Duration::from_millis(1);
            let dropped = timer.sleep_until(soon);
            let _ = tokio::time::timeout(Duration::from_micros(1), dropped).await;
            std::thread::sleep(Duration::from_millis(2));
            let later = clock.now() + Duration::from_millis(3);
            timer.sleep_until(later).await.unwrap();
            assert!(clock.now() >= later);
        }
    }
}
