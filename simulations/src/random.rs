//! Random numbers keyed by (seed, purpose, entity, index): a counter goes in, a number comes out, and nothing
//! remembers what was drawn before. So a result does not depend on the order of drawing, the number
//! of threads or which engine asks; two engines that ask for the delay of message 7 at hop 2 get the same one.
//!
//! The generator is Philox 2×64-10 (Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC 2011). All
//! that follows a word uses only operations that IEEE 754 rounds exactly (and the `libm` crate for the Γ function), so
//! equal seeds give equal bits on every machine. For what an adversary of a *daemon* must not predict there is
//! `wire::rng`; this is for studies.
//!
//! ```
//! use simulations::random::{Purpose, Stream};
//! let mut delays = Stream::new(7, Purpose::DELAY, 3);
//! let first = delays.exponential(0.05);
//! assert_eq!(first, Stream::new(7, Purpose::DELAY, 3).exponential(0.05));
//! ```

use std::f64::consts::LOG2_E;

/// What numbers are for. Those of one purpose tell nothing about those of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Purpose(pub u16);

impl Purpose {
    /// When messages are sent.
    pub const ARRIVAL: Self = Self(1);
    /// By whom.
    pub const SENDER: Self = Self(2);
    /// To whom.
    pub const RECEIVER: Self = Self(3);
    /// Nodes of a route; entity is the message, index the hop.
    pub const ROUTE: Self = Self(4);
    /// Delays at nodes; entity is the message, index the hop.
    pub const DELAY: Self = Self(5);
    /// Own loops of nodes; entity is the node.
    pub const NODE_LOOP: Self = Self(6);
    /// Which nodes are corrupt.
    pub const PLACEMENT: Self = Self(7);
    /// Which messages are tracked.
    pub const TARGET: Self = Self(8);
    /// When people are online.
    pub const CHURN: Self = Self(9);
    /// What a client's clock and coin say.
    pub const CLIENT: Self = Self(10);
    /// What links do.
    pub const LINK: Self = Self(11);
    /// Which messages of a batch leave.
    pub const BATCH: Self = Self(12);
    /// Seeds of replications; index is the replication.
    pub const REPLICATION: Self = Self(13);
    /// Places of a Latin hypercube.
    pub const HYPERCUBE: Self = Self(14);
    /// What an adversary draws.
    pub const ADVERSARY: Self = Self(15);
    /// The bootstrap and other resampling.
    pub const RESAMPLING: Self = Self(16);
    /// Numbers from here on are free for tests and single studies.
    pub const FREE: Self = Self(0x1000);
}

const MULTIPLIER: u64 = 0xd2b7_4407_b1ce_6e93;
const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;
const ROUNDS: u32 = 10;

/// The seed and purpose of many streams: from here each entity's numbers can be asked for by index.
#[derive(Clone, Copy, Debug)]
pub struct Keyed {
    key: u64,
}

impl Keyed {
    /// The numbers of one purpose under one seed.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let key = mix(mix(seed) ^ u64::from(purpose.0).wrapping_mul(WEYL));
        Self { key }
    }

    /// Two words for (entity, index).
    #[inline]
    pub fn block(self, entity: u64, index: u64) -> [u64; 2] {
        philox(self.key, [index, entity])
    }

    /// The stream of one entity.
    pub fn stream(self, entity: u64) -> Stream {
        Stream {
            keyed: self,
            entity,
            index: 0,
            spare: None,
        }
    }
}

/// The seed of a replication.
pub fn replication_seed(seed: u64, replication: u64) -> u64 {
    Keyed::new(seed, Purpose::REPLICATION).block(replication, 0)[0]
}

/// One entity's numbers, one after the other.
#[derive(Clone, Debug)]
pub struct Stream {
    keyed: Keyed,
    entity: u64,
    index: u64,
    spare: Option<u64>,
}

impl Stream {
    /// From the start.
    pub fn new(seed: u64, purpose: Purpose, entity: u64) -> Self {
        Keyed::new(seed, purpose).stream(entity)
    }

    /// 64 random bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        if let Some(word) = self.spare.take() {
            return word;
        }
        let [first, second] = self.keyed.block(self.entity, self.index);
        self.index += 1;
        self.spare = Some(second);
        first
    }

    /// Uniform in the open interval (0, 1).
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        uniform(self.word())
    }

    /// Exponential of a mean.
    #[inline]
    pub fn exponential(&mut self, mean: f64) -> f64 {
        exponential(self.word(), mean)
    }

    /// Uniform in 0..n; `n` of 0 gives 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        below(self.word(), n)
    }

    /// True with a probability.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Erlang: the sum of `k` exponentials.
    pub fn erlang(&mut self, k: u32, mean: f64) -> f64 {
        (0..k).map(|_| self.exponential(mean)).sum()
    }

    /// Standard normal, by the polar method.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = x * x + y * y;
            if s < 1.0 && s > 0.0 {
                return x * (-2.0 * ln(s) / s).sqrt();
            }
        }
    }

    /// Poisson of a mean, exact in distribution: gaps up to 10, Hörmann's PTRS (1993) above.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean.is_nan() || mean <= 0.0 {
            return 0;
        }
        if mean < 10.0 {
            let (mut at, mut n) = (self.exponential(1.0), 0);
            while at < mean {
                at += self.exponential(1.0);
                n += 1;
            }
            return n;
        }
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let v_r = 0.9277 - 3.6224 / (b - 2.0);
        let ln_mean = ln(mean);
        loop {
            let (u, v) = (self.uniform() - 0.5, self.uniform());
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
            if us >= 0.07 && v <= v_r {
                return k as u64;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let left = ln(v) + ln(inverse_alpha) - ln(a / (us * us) + b);
            if left <= k * ln_mean - mean - libm::lgamma(k + 1.0) {
                return k as u64;
            }
        }
    }

    /// Puts a slice into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// A word as a number in the open interval (0, 1), one of 2⁵² equally far apart.
#[inline]
pub fn uniform(word: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 52) as f64;
    (small_as_f64(word >> 12) + 0.5) * STEP
}

/// A number below 2⁵² as it is, by operations that processors do several of at a time.
#[inline]
fn small_as_f64(x: u64) -> f64 {
    const TWO_52: f64 = (1_u64 << 52) as f64;
    f64::from_bits(TWO_52.to_bits() | x) - TWO_52
}

/// A word as an exponential of a mean. Never more than 36.8 means: the tail beyond has
/// probability 2⁻⁵³.
#[inline]
pub fn exponential(word: u64, mean: f64) -> f64 {
    -ln(uniform(word)) * mean
}

/// A word as a number of 0..n. The bias is at most n/2⁶⁴.
#[inline]
pub fn below(word: u64, n: u64) -> u64 {
    ((u128::from(word) * u128::from(n)) >> 64) as u64
}

/// Natural logarithm of a positive normal number, to a few units in the last place, and the same on every machine:
/// ln x = k ln 2 + 2 artanh((m − 1)/(m + 1)) with m in [√½, √2).
#[inline]
pub fn ln(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let bits = x.to_bits();
    // 2048 more than k, so that it is never negative.
    let k = (bits.wrapping_sub(SQRT_HALF) >> 52) ^ 0x800;
    let m = f64::from_bits(bits.wrapping_sub(k.wrapping_sub(0x800) << 52));
    let k = small_as_f64(k) - 2048.0;
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let z2 = z * z;
    let z4 = z2 * z2;
    let a = (2.0 / 3.0 + z * (2.0 / 5.0)) + z2 * (2.0 / 7.0 + z * (2.0 / 9.0));
    let b = (2.0 / 11.0 + z * (2.0 / 13.0)) + z2 * (2.0 / 15.0 + z * (2.0 / 17.0));
    let c = 2.0 / 19.0 + z * (2.0 / 21.0);
    let series = a + z4 * (b + z4 * c);
    k * LN2_HIGH + (2.0 * s + (s * z * series + k * LN2_LOW))
}

/// Base-2 logarithm of a positive normal number, by [`ln`].
#[inline]
pub fn log2(x: f64) -> f64 {
    ln(x) * LOG2_E
}

#[inline]
fn philox(key: u64, counter: [u64; 2]) -> [u64; 2] {
    let ([mut x, mut y], mut key) = (counter, key);
    for _ in 0..ROUNDS {
        let product = u128::from(x) * u128::from(MULTIPLIER);
        (x, y) = ((product >> 64) as u64 ^ key ^ y, product as u64);
        key = key.wrapping_add(WEYL);
    }
    [x, y]
}

/// A bijection that spreads every bit over all (the finalizer of SplitMix64).
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(WEYL);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that are published with the generator.
    #[test]
    fn philox_gives_its_known_answers() {
        let all = u64::MAX;
        assert_eq!(
            philox(0, [0, 0]),
            [0xca00_a045_9843_d731, 0x66c2_4222_c9a8_45b5]
        );
        assert_eq!(
            philox(all, [all, all]),
            [0x65b0_21d6_0cd8_310f, 0x4d02_f322_2f86_df20]
        );
        let pi = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];
        assert_eq!(
            philox(0xa409_3822_299f_31d0, pi),
            [0x0a5e_742c_2997_341c, 0xb0f8_83d3_8000_de5d]
        );
    }

    /// Frozen: another machine or compiler that gives other bits makes every stored result a riddle.
    #[test]
    fn draws_are_the_same_bits_everywhere() {
        let mut stream = Stream::new(1, Purpose::DELAY, 2);
        let mut sum = 0_u64;
        for _ in 0..1000 {
            sum = sum.rotate_left(7) ^ stream.exponential(0.05).to_bits();
            sum = sum.rotate_left(7) ^ stream.normal().to_bits();
            sum = sum.rotate_left(7) ^ stream.poisson(3.0);
            sum = sum.rotate_left(7) ^ stream.poisson(300.0);
        }
        assert_eq!(sum, FROZEN, "{sum:#x}");
    }
    const FROZEN: u64 = 0x32fa_8370_0177_f10d;

    #[test]
    fn ln_is_right_to_a_few_units_in_the_last_place() {
        let mut stream = Stream::new(3, Purpose::FREE, 0);
        for _ in 0..100_000 {
            let x = uniform(stream.word()) * [1.0, 1e-3, 1e-12, 1e6][stream.below(4) as usize];
            let (mine, theirs) = (ln(x), libm::log(x));
            assert!(
                (mine - theirs).abs() <= 4e-16 * theirs.abs().max(0.5),
                "{x}: {mine} {theirs}"
            );
        }
        assert_eq!(ln(1.0), 0.0);
    }

    /// Means and variances within five standard errors: wrong by chance once in a million runs,
    /// and the seed is fixed.
    #[test]
    fn moments() {
        let n = 200_000;
        let check =
            |name: &str, mean: f64, var: f64, fourth: f64, draw: &mut dyn FnMut() -> f64| {
                let (mut s, mut q) = (0.0, 0.0);
                for _ in 0..n {
                    let x = draw();
                    s += x;
                    q += (x - mean) * (x - mean);
                }
                let (m, v) = (s / f64::from(n), q / f64::from(n));
                let (em, ev) = (
                    (var / f64::from(n)).sqrt(),
                    ((fourth - var * var) / f64::from(n)).sqrt(),
                );
                assert!((m - mean).abs() < 5.0 * em, "{name}: mean {m}, not {mean}");
                assert!(
                    (v - var).abs() < 5.0 * ev,
                    "{name}: variance {v}, not {var}"
                );
            };
        let mut s = Stream::new(9, Purpose::FREE, 1);
        check("exponential", 2.0, 4.0, 9.0 * 16.0, &mut || {
            s.exponential(2.0)
        });
        check("normal", 0.0, 1.0, 3.0, &mut || s.normal());
        check("uniform", 0.5, 1.0 / 12.0, 1.0 / 80.0, &mut || s.uniform());
        for mean in [0.3, 5.0, 12.0, 1000.0] {
            let fourth = mean * (1.0 + 3.0 * mean);
            check("poisson", mean, mean, fourth, &mut || {
                s.poisson(mean) as f64
            });
        }
    }

    /// χ² with 255 degrees of freedom over bytes of words of neighbouring entities and indices.
    #[test]
    fn neighbouring_streams_are_independent() {
        let keyed = Keyed::new(5, Purpose::ROUTE);
        for shift in [0, 20, 56] {
            let mut counts = [0_u32; 256];
            for entity in 0..256 {
                for index in 0..256 {
                    let [a, b] = keyed.block(entity, index);
                    let [c, _] = keyed.block(entity + 1, index);
                    counts[((a ^ b.rotate_left(3) ^ c) >> shift) as usize & 255] += 1;
                }
            }
            let chi: f64 = counts
                .iter()
                .map(|c| (f64::from(*c) - 256.0) * (f64::from(*c) - 256.0) / 256.0)
                .sum();
            assert!((160.0..360.0).contains(&chi), "{shift}: {chi}");
        }
    }
}
