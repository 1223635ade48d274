//! Two streams of randomness, apart by type.
//!
//! [`TrafficRng`] makes everything an observer can see (when, over which route, how long). It is
//! keyed by (seed, purpose, tick): the draws at a tick are the same whatever the tick carries, which
//! is what makes independence from use testable (design §1). [`KeyRng`] makes keys, nonces and
//! padding. Neither ever feeds the other, so changing the packet format moves no event.
//!
//! Both are ChaCha20, named here because a recorded seed must mean the same next year.

use rand::rngs::ChaCha20Rng;
use rand::{SeedableRng, TryCryptoRng, TryRng};
use std::convert::Infallible;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use rand::{CryptoRng, Rng};

/// Why traffic randomness is drawn; part of the key, so that streams never overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// A client's payload stream.
    PayloadTick = 1,
    /// A client's loop stream.
    LoopTick = 2,
    /// A mix's own loops.
    MixLoop = 3,
    /// A gateway's own loops.
    GatewayLoop = 4,
    /// Phase of a session's downlink slots.
    Downlink = 5,
    /// When to connect again.
    Reconnect = 6,
    /// When a node asks an authority.
    DirectoryPoll = 7,
    /// Workloads and adversaries of `simulations`; never used by a daemon.
    Simulation = 8,
    /// Which packets a node of a test network loses on purpose.
    TestLoss = 9,
    /// When a node says that it lives, before a vote.
    SignOfLife = 10,
}

/// Keyed source of everything an observer can see.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TrafficRng {
    seed: [u8; 32],
}

impl TrafficRng {
    /// `seed` comes from the operating system in a daemon, from the scenario in a simulation.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    /// The draws that belong to one tick of one stream. Same arguments, same draws.
    ///
    /// `tick` is below 2⁵⁶: a billion ticks a second for two years.
    pub fn tick(&self, purpose: Purpose, tick: u64) -> TickRng {
        let mut rng = ChaCha20Rng::from_seed(self.seed);
        rng.set_stream(((purpose as u64) << 56) | (tick & ((1 << 56) - 1)));
        TickRng(rng)
    }
}

/// The draws of one tick.
pub struct TickRng(ChaCha20Rng);

impl TickRng {
    /// Uniform over all 64-bit values.
    pub fn draw_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in (0, 1): 53 bits, never 0, so that its logarithm is finite.
    pub fn draw_open01(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
    }

    /// Exponential with the given mean, not truncated (design §1). In nanoseconds.
    pub fn draw_exponential(&mut self, mean: std::time::Duration) -> std::time::Duration {
        let nanos = -self.draw_open01().ln() * mean.as_nanos() as f64;
        std::time::Duration::from_nanos(nanos.round() as u64)
    }
}

/// `draw` mapped to `0..len` by multiplication; `None` when `len` is 0.
///
/// The bias is below `len`/2⁶⁴, and one draw is used whatever `len` is.
pub fn pick(draw: u64, len: usize) -> Option<usize> {
    (len > 0).then(|| ((u128::from(draw) * len as u128) >> 64) as usize)
}

/// Cryptographically secure source of keys, nonces and padding.
pub struct KeyRng(ChaCha20Rng);

impl KeyRng {
    /// `seed` comes from the operating system in a daemon, from the scenario in a simulation.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// `N` fresh bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill_bytes(&mut out);
        out
    }
}

impl TryRng for KeyRng {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(dst)
    }
}

impl TryCryptoRng for KeyRng {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_draws_the_same_however_often_it_is_asked() {
        let rng = TrafficRng::from_seed([7; 32]);
        let first = rng.tick(Purpose::PayloadTick, 3).draw_u64();
        let _ = rng.tick(Purpose::PayloadTick, 4).draw_u64();
        assert_eq!(first, rng.tick(Purpose::PayloadTick, 3).draw_u64());
        assert_ne!(first, rng.tick(Purpose::LoopTick, 3).draw_u64());
        assert_ne!(first, rng.tick(Purpose::PayloadTick, 4).draw_u64());
    }

    #[test]
    fn frozen_draw() {
        // A recorded seed must mean the same next year. More in `tests/vectors/rng.txt`.
        let rng = TrafficRng::from_seed([1; 32]);
        let draws: Vec<u64> = (0..3)
            .map(|k| rng.tick(Purpose::PayloadTick, k).draw_u64())
            .collect();
        let frozen = [
            100_164_785_721_698_260,
            6_354_452_182_097_048_062,
            14_500_532_394_559_676_382,
        ];
        assert_eq!(draws, frozen);
    }

    #[test]
    fn exponential_has_its_mean() {
        let rng = TrafficRng::from_seed([2; 32]);
        let mean = std::time::Duration::from_millis(50);
        let n = 100_000u32;
        let sum: f64 = (0..u64::from(n))
            .map(|k| {
                rng.tick(Purpose::Simulation, k)
                    .draw_exponential(mean)
                    .as_secs_f64()
            })
            .sum();
        // Standard error of the mean is 50 ms / √n = 0.158 ms; six of them.
        assert!((sum / f64::from(n) - 0.050).abs() < 0.000_95);
    }

    #[test]
    fn pick_covers_its_range_and_nothing_else() {
        assert_eq!(pick(u64::MAX, 3), Some(2));
        assert_eq!(pick(0, 3), Some(0));
        assert_eq!(pick(5, 0), None);
    }
}
