//! How many packets one client may send: a multiple of what the directory lets an honest one send, so that
//! no set of rates makes a gateway slow its own clients down, and none lets a flood pass.
//!
//! A client sends two Poisson streams, of `payload_rate` and `loop_rate` together. [`FACTOR`] times that,
//! with the burst of two seconds that `clients` adds, is more than a client ever sends: at localnet's 12 a
//! second the chance of 216 packets within two seconds is below 10⁻¹⁰⁰. The margin is for frames that a
//! stalled connection hands over at once: a stall of sixteen seconds costs no wait.

use directory::Parameters;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many times the rate of an honest client.
pub const FACTOR: f64 = 8.0;
/// Packets a second that every client may send, however low the rates, and while no directory is known.
pub const LEAST: f64 = 8.0;

/// The allowance now; clones share it.
#[derive(Clone)]
pub struct Allowance {
    /// Nanoseconds between two packets.
    gap: Arc<AtomicU64>,
    configured: bool,
}

impl Allowance {
    /// So many packets a second, whatever a directory says; 0 leaves it to the directory.
    pub fn new(configured: u32) -> Self {
        let allowance = Self {
            gap: Arc::default(),
            configured: configured > 0,
        };
        allowance.set(f64::from(configured).max(LEAST));
        if configured > 0 {
            allowance.set(f64::from(configured));
        }
        allowance
    }

    /// The directory that holds from now on.
    pub fn follow(&self, parameters: &Parameters) {
        if !self.configured {
            let honest = parameters.payload_rate.per_second() + parameters.loop_rate.per_second();
            self.set((FACTOR * honest).max(LEAST));
        }
    }

    /// From one packet to the next at the full rate.
    pub fn gap(&self) -> Duration {
        Duration::from_nanos(self.gap.load(Ordering::Relaxed))
    }

    fn set(&self, per_second: f64) {
        let gap = Duration::from_secs_f64(per_second.recip());
        let nanos = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        self.gap.store(nanos, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::Rate;

    fn per_second(allowance: &Allowance) -> f64 {
        allowance.gap().as_secs_f64().recip()
    }

    #[test]
    fn it_follows_the_directory_unless_somebody_said_a_number() {
        let (free, fixed) = (Allowance::new(0), Allowance::new(5));
        let shared = free.clone();
        assert!((per_second(&free) - LEAST).abs() < 1e-6);
        let localnet = Parameters::localnet();
        for (scale, expected) in [(1, 96.0), (20, 1920.0)] {
            let mut rates = localnet.clone();
            rates.payload_rate = Rate(localnet.payload_rate.0 * scale);
            rates.loop_rate = Rate(localnet.loop_rate.0 * scale);
            free.follow(&rates);
            fixed.follow(&rates);
            assert!((per_second(&shared) - expected).abs() < 0.01);
            assert!((per_second(&fixed) - 5.0).abs() < 1e-6);
        }
    }

    #[test]
    fn low_rates_leave_a_client_its_bursts() {
        let mut rates = Parameters::localnet();
        (rates.payload_rate, rates.loop_rate) = (Rate(1), Rate(1));
        let free = Allowance::new(0);
        free.follow(&rates);
        assert!((per_second(&free) - LEAST).abs() < 1e-6);
    }
}
