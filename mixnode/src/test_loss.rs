//! Loss on purpose, for test networks: what the rest of a network does when packets vanish can only
//! be seen where some do.
//!
//! Not part of the machine: a mix of a real network has no such thing, and what is lost here is
//! counted under a reason of its own, so that it hides no real loss.

use runtime::entropy::Entropy;
use std::io;
use wire::rng::{Purpose, TrafficRng};

/// Decides for each packet whether it is lost, independent of all others.
pub(crate) struct TestLoss {
    share: f64,
    rng: TrafficRng,
    packets: u64,
}

impl TestLoss {
    /// Loses `share` of all packets, and says so loudly.
    pub(crate) fn new(share: f64, entropy: &mut Entropy) -> io::Result<Self> {
        tracing::warn!(
            share,
            "test_loss is set: this mix throws packets away on purpose. Never do that in a real \
             network"
        );
        Ok(Self {
            share,
            rng: entropy.traffic_rng()?,
            packets: 0,
        })
    }

    /// Whether the next packet is lost.
    pub(crate) fn takes(&mut self) -> bool {
        self.packets += 1;
        let mut draws = self.rng.tick(Purpose::TestLoss, self.packets);
        // In the open interval (0, 1): nothing is lost at 0, everything at 1.
        draws.draw_open01() < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(share: f64, seed: u64) -> Vec<bool> {
        let mut entropy = Entropy::fixed_for_tests(seed);
        let mut loss = TestLoss::new(share, &mut entropy).unwrap();
        (0..20_000).map(|_| loss.takes()).collect()
    }

    #[test]
    fn the_share_is_lost_and_a_seed_repeats_it() {
        let of = |share| lost(share, 1).iter().filter(|l| **l).count();
        assert_eq!(of(0.0), 0);
        assert_eq!(of(1.0), 20_000);
        // 1,000 expected, standard deviation 31.
        assert!((850..1150).contains(&of(0.05)), "{}", of(0.05));
        assert_eq!(lost(0.05, 2), lost(0.05, 2));
        assert_ne!(lost(0.05, 2), lost(0.05, 3));
    }
}
