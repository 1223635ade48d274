//! Loss on purpose, for test networks: what the rest of a network does when packets vanish can only
//! be seen where some do.
//!
//! Not part of the machine: a mix of a real network has no such thing, and what is lost here is
//! counted under a reason of its own, so that it hides no real loss.
//!
//! A test that plays the adversary writes another share into [`FILE`] of the data folder while the mix
//! runs.

use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use std::io;
use std::path::PathBuf;
use wire::rng::{Purpose, TrafficRng};

/// In the data folder: the share from now on, looked at with each copy of the counts.
const FILE: &str = "test_loss";

/// Decides for each packet whether it is lost, independent of all others.
pub(crate) struct TestLoss {
    share: f64,
    file: PathBuf,
    rng: TrafficRng,
    packets: u64,
}

impl TestLoss {
    /// Loses `share` of all packets, and says so loudly.
    pub(crate) fn new(share: f64, dir: &DataDir, entropy: &mut Entropy) -> io::Result<Self> {
        tracing::warn!(
            share,
            "test_loss is set: this mix throws packets away on purpose. Never do that in a real \
             network"
        );
        Ok(Self {
            share,
            file: dir.file(FILE),
            rng: entropy.traffic_rng()?,
            packets: 0,
        })
    }

    /// Takes the share in the file, if there is one.
    pub(crate) fn look(&mut self) {
        let text = std::fs::read_to_string(&self.file).ok();
        let share = text.and_then(|text| text.trim().parse().ok());
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        if let Some(share) = share.filter(|share| *share != self.share) {
            tracing::warn!(share, "another share of packets is thrown away on purpose");
            self.share = share;
        }
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
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path().join("data")).unwrap();
        let mut loss = TestLoss::new(share, &dir, &mut entropy).unwrap();
        loss.look();
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

    #[test]
    fn a_file_changes_the_share() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path().join("data")).unwrap();
        let mut entropy = Entropy::fixed_for_tests(1);
        let mut loss = TestLoss::new(0.0, &dir, &mut entropy).unwrap();
        for (text, takes) in [("1.0\n", true), ("-1", true), ("all", true), ("0", false)] {
            std::fs::write(dir.file(FILE), text).unwrap();
            loss.look();
            assert_eq!(loss.takes(), takes, "{text}");
        }
    }
}
