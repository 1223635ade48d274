//! Seeds from the operating system, the only source of randomness in a daemon.
//!
//! What is drawn from them is in `wire::rng`. A fixed seed exists for `localnet --seed` and tests
//! alone: whoever knows it knows every delay, route and key.

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};
use std::io;
use wire::rng::{KeyRng, TrafficRng};
use zeroize::Zeroizing;

/// 32 bytes from `getrandom(2)`. Fails only where the kernel lacks the call.
pub fn os_seed() -> io::Result<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0; 32]);
    let mut filled = 0;
    while filled < seed.len() {
        match getrandom(&mut seed[filled..], GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(seed)
}

/// Where a process gets its seeds from.
pub struct Entropy {
    fixed: Option<(Zeroizing<[u8; 32]>, u64)>,
}

impl Entropy {
    /// The operating system. What every real daemon uses.
    pub fn os() -> Self {
        Self { fixed: None }
    }

    /// **Test networks only**: every seed follows from `seed` and the order of asking.
    pub fn fixed_for_tests(seed: u64) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            fixed: Some((bytes, 0)),
        }
    }

    /// The operating system, or a fixed seed where a test network names one.
    pub fn from_option(seed: Option<u64>) -> Self {
        seed.map_or_else(Self::os, Self::fixed_for_tests)
    }

    /// The next seed.
    pub fn seed(&mut self) -> io::Result<Zeroizing<[u8; 32]>> {
        let Some((base, count)) = &mut self.fixed else {
            return os_seed();
        };
        *count += 1;
        let mut hash = Sha256::new();
        hash.update(b"mizzle-fixed-seed-v1");
        hash.update(&base[..]);
        hash.update(count.to_be_bytes());
        Ok(Zeroizing::new(hash.finalize().into()))
    }

    /// A fresh generator of keys.
    pub fn key_rng(&mut self) -> io::Result<KeyRng> {
        Ok(KeyRng::from_seed(*self.seed()?))
    }

    /// A fresh generator of what an observer can see.
    pub fn traffic_rng(&mut self) -> io::Result<TrafficRng> {
        Ok(TrafficRng::from_seed(*self.seed()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_gives_another_seed_each_time_and_a_fixed_one_the_same_row() {
        assert_ne!(*os_seed().unwrap(), *os_seed().unwrap());
        let (mut a, mut b) = (Entropy::fixed_for_tests(7), Entropy::fixed_for_tests(7));
        let first = *a.seed().unwrap();
        assert_eq!(first, *b.seed().unwrap());
        assert_ne!(first, *a.seed().unwrap());
    }
}
