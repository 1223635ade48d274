//! Poisson ticks, and the draws that belong to each.
//!
//! Every tick makes the same draws in the same order whatever it will carry (design §1), so the
//! draws are taken here, all at once, before anybody looks into a queue.

use directory::Rate;
use std::time::Duration;
use wire::rng::{Purpose, TickRng, TrafficRng};
use wire::time::Instant;

/// A tick later than this is passed over instead of caught up: a machine that slept must not
/// send a burst. The process has no memory, so what follows is Poisson again.
pub const LATE_MAX: Duration = Duration::from_secs(1);

/// One Poisson stream.
pub struct PoissonStream {
    purpose: Purpose,
    rate: Rate,
    tick: u64,
    next: Instant,
}

/// One tick of a stream.
pub struct Tick {
    /// When.
    pub at: Instant,
    /// Everything random about it.
    pub draws: TickDraws,
}

impl PoissonStream {
    /// The first tick comes an exponential gap after `start`.
    pub fn new(purpose: Purpose, rate: Rate, rng: &TrafficRng, start: Instant) -> Self {
        let mut stream = Self {
            purpose,
            rate,
            tick: 0,
            next: start,
        };
        stream.next = start + stream.gap(rng);
        stream
    }

    /// When the next tick is.
    pub fn peek(&self) -> Instant {
        self.next
    }

    /// Another rate from the tick after the next on.
    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// The next tick, if it lies at or before `until`. Ticks more than [`LATE_MAX`] before `now`
    /// are passed over.
    pub fn pop(&mut self, rng: &TrafficRng, until: Instant, now: Instant) -> Option<Tick> {
        while self.next <= until {
            let at = self.next;
            let mut draws = rng.tick(self.purpose, self.tick);
            let _gap_of_this_tick = draws.draw_u64();
            self.tick += 1;
            self.next = at + self.gap(rng);
            if at + LATE_MAX >= now {
                return Some(Tick {
                    at,
                    draws: TickDraws::draw(&mut draws),
                });
            }
            if now.saturating_since(self.next) > LATE_MAX * 60 {
                // Slept for long: no need to walk through hours of ticks.
                self.next = now + self.gap(rng);
            }
        }
        None
    }

    fn gap(&self, rng: &TrafficRng) -> Duration {
        rng.tick(self.purpose, self.tick)
            .draw_exponential(self.rate.mean_gap())
    }
}

/// All that is random about one echo: what it is, whom it asks, by which ways, how long it waits.
#[derive(Clone, Debug, PartialEq)]
pub struct TickDraws {
    /// Send or fetch.
    pub coin: bool,
    /// Which inbox a fetch asks.
    pub inbox: u64,
    /// Which gateway a cover loops through.
    pub gateway: u64,
    /// Which mix of each layer, on the way there.
    pub forward: [u64; 3],
    /// Which mix of each layer, on the way back.
    pub back: [u64; 3],
    /// Delays in units of their mean: at the entry and three mixes, at the answering gateway, at
    /// three mixes and the entry on the way back.
    pub delays: [f64; 9],
}

impl TickDraws {
    fn draw(rng: &mut TickRng) -> Self {
        Self {
            coin: rng.draw_u64() >> 63 == 1,
            inbox: rng.draw_u64(),
            gateway: rng.draw_u64(),
            forward: std::array::from_fn(|_| rng.draw_u64()),
            back: std::array::from_fn(|_| rng.draw_u64()),
            delays: std::array::from_fn(|_| -rng.draw_open01().ln()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(rate: u32) -> (TrafficRng, PoissonStream) {
        let rng = TrafficRng::from_seed([1; 32]);
        let stream = PoissonStream::new(Purpose::PayloadTick, Rate(rate), &rng, Instant::ZERO);
        (rng, stream)
    }

    #[test]
    fn ticks_come_at_their_rate() {
        let (rng, mut stream) = stream(10_000);
        let end = Instant::from_nanos(1_000_000_000_000);
        let mut n = 0u32;
        while stream.pop(&rng, end, stream.peek()).is_some() {
            n += 1;
        }
        // 10 a second for 1000 s: 10,000 ± 6 standard deviations of 100.
        assert!((9_400..=10_600).contains(&n), "{n}");
    }

    #[test]
    fn a_machine_that_slept_sends_no_burst() {
        let (rng, mut stream) = stream(10_000);
        let now = Instant::from_nanos(3_600_000_000_000);
        let mut n = 0;
        while stream.pop(&rng, now, now).is_some() {
            n += 1;
        }
        assert!(n < 40, "{n} ticks at once after an hour's sleep");
        assert!(stream.peek() > now);
    }
}
