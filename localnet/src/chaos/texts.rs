//! What is said: texts whose lengths are log-uniform from 1 byte to 200 kB, all from the seed.

use sha2::{Digest as _, Sha256};
use wire::rng::KeyRng;

/// Longest text in bytes.
const LONGEST: f64 = 200_000.0;
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .";

/// SHA-256 of a text.
pub(super) type Digest = [u8; 32];

/// All texts of a run; odd ones go the other way.
pub(super) struct Texts {
    seed: u64,
    count: u32,
}

impl Texts {
    pub(super) fn new(seed: u64, count: u32) -> Self {
        Self { seed, count }
    }

    /// Numbers of the texts that go one way, in their order.
    pub(super) fn of_way(&self, way: usize) -> impl Iterator<Item = u32> {
        (0..self.count).filter(move |n| *n as usize % 2 == way)
    }

    /// One text.
    pub(super) fn text(&self, number: u32) -> String {
        let mut rng = stream(self.seed, number);
        let share = f64::from(u32::from_be_bytes(rng.bytes())) / f64::from(u32::MAX);
        let len = LONGEST.powf(share).round() as usize;
        let mut text = String::with_capacity(len + 64);
        while text.len() < len {
            let bytes: [u8; 64] = rng.bytes();
            text.extend(
                bytes
                    .iter()
                    .map(|b| char::from(LETTERS[usize::from(b % 64)])),
            );
        }
        text.truncate(len);
        text
    }

    /// Its digest.
    pub(super) fn digest(&self, number: u32) -> Digest {
        digest(&self.text(number))
    }
}

/// Of any text.
pub(super) fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// A stream of random bytes for one purpose of a run.
pub(super) fn stream(seed: u64, purpose: u32) -> KeyRng {
    let mut bytes = [0xc5; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..12].copy_from_slice(&purpose.to_be_bytes());
    KeyRng::from_seed(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_log_uniform_and_texts_follow_from_the_seed() {
        let texts = Texts::new(7, 400);
        let lengths: Vec<usize> = (0..400).map(|n| texts.text(n).len()).collect();
        assert!(lengths.iter().all(|len| (1..=200_000).contains(len)));
        // Half of them are below the root of 200,000; five standard deviations of a binomial.
        let short = lengths.iter().filter(|len| **len < 447).count();
        assert!((150..=250).contains(&short), "{short}");
        assert_eq!(Texts::new(7, 400).text(3), texts.text(3));
        assert_ne!(Texts::new(8, 400).text(3), texts.text(3));
    }
}
