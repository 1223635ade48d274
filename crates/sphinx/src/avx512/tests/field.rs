//! The field's operations beside 128-bit integers, with limbs up to what each operation allows.

#![allow(
    unsafe_code,
    reason = "calls of functions for processors that have more than every x86-64 has; the token is asked first"
)]

use super::detect;
use crate::avx512::field::{Biased, Loose, Tight};
use crate::avx512::lanes::{load64, store64};
use wire::rng::{KeyRng, Rng};

type Limbs = [u64; 5];
type Eight = [[u64; 8]; 5];

const MASK: u64 = (1 << 51) - 1;
/// What the types promise.
const TIGHT_END: u64 = (1 << 51) + (1 << 15);
const LOOSE_END: u64 = 1 << 59;
const P: Limbs = [MASK - 18, MASK, MASK, MASK, MASK];
const BIAS: u64 = 532;

/// The one encoding below p.
fn canonical(limbs: [u128; 5]) -> Limbs {
    let mut x = limbs;
    for _ in 0..4 {
        for i in 0..4 {
            x[i + 1] += x[i] >> 51;
            x[i] &= u128::from(MASK);
        }
        x[0] += 19 * (x[4] >> 51);
        x[4] &= u128::from(MASK);
    }
    let mut x = x.map(|limb| limb as u64);
    if x.iter().rev().ge(P.iter().rev()) {
        x = std::array::from_fn(|i| x[i] - P[i]);
    }
    x
}

fn value(limbs: Limbs) -> Limbs {
    canonical(limbs.map(u128::from))
}

fn product(a: Limbs, b: Limbs) -> Limbs {
    let mut out = [0u128; 5];
    for (i, a) in value(a).into_iter().enumerate() {
        for (j, b) in value(b).into_iter().enumerate() {
            let wrap = if i + j < 5 { 1 } else { 19 };
            out[(i + j) % 5] += wrap * u128::from(a) * u128::from(b);
        }
    }
    canonical(out)
}

fn sum(a: Limbs, b: Limbs) -> Limbs {
    canonical(std::array::from_fn(|i| u128::from(a[i]) + u128::from(b[i])))
}

fn difference(a: Limbs, b: Limbs) -> Limbs {
    let (a, b) = (value(a), value(b));
    canonical(std::array::from_fn(|i| {
        u128::from(a[i]) + 2 * u128::from(P[i]) - u128::from(b[i])
    }))
}

/// Eight numbers whose limbs are below `end`, and often just below it or zero.
fn extreme(rng: &mut KeyRng, end: u64) -> Eight {
    std::array::from_fn(|_| {
        std::array::from_fn(|_| match rng.next_u64() % 6 {
            0 | 1 => end - 1,
            2 => end - 1 - rng.next_u64() % 40,
            3 => rng.next_u64() % 2 * MASK.min(end - 1),
            4 => 0,
            _ => rng.next_u64() % end,
        })
    })
}

fn lane(of: &Eight, lane: usize) -> Limbs {
    of.map(|words| words[lane])
}

/// Plus 532 p, which is no other number.
fn biased(of: &Eight) -> Eight {
    std::array::from_fn(|limb| of[limb].map(|word| word + BIAS * P[limb]))
}

/// What one operation gave: of the right value, and within what its type promises.
fn check(name: &str, out: Eight, end: u64, expected: impl Fn(usize) -> Limbs) -> u64 {
    for at in 0..8 {
        assert_eq!(value(lane(&out, at)), expected(at), "{name} in lane {at}");
    }
    let most = out.into_iter().flatten().max().unwrap();
    assert!(most < end, "{name} gives a limb of {most:#x}");
    most
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn round(rng: &mut KeyRng) -> u64 {
    let (a, b) = (extreme(rng, TIGHT_END), extreme(rng, TIGHT_END));
    let (c, d) = (extreme(rng, LOOSE_END), extreme(rng, LOOSE_END));
    let (ta, tb) = (Tight(load64(&a)), Tight(load64(&b)));
    let biased_c = biased(&c);
    let (lc, ld, bc) = (
        Loose(load64(&c)),
        Loose(load64(&d)),
        Biased(load64(&biased_c)),
    );
    let of = |eight: &Eight, at| lane(eight, at);
    let multiplied = store64(ta.mul(&tb).0);
    let most = check("mul", multiplied, LOOSE_END, |i| {
        product(of(&a, i), of(&b, i))
    });
    let squared = store64(ta.square().0);
    let most = most.max(check("square", squared, LOOSE_END, |i| {
        product(of(&a, i), of(&a, i))
    }));
    assert_eq!(store64(ta.mul_biased(&tb).0), biased(&multiplied));
    assert_eq!(store64(ta.square_biased().0), biased(&squared));
    assert_eq!(store64(Biased::new(&ta).0), biased(&a));
    check("add", store64(bc.add(&ld).0), TIGHT_END, |i| {
        sum(of(&c, i), of(&d, i))
    });
    check("sub", store64(bc.sub(&ld).0), TIGHT_END, |i| {
        difference(of(&c, i), of(&d, i))
    });
    check("biased carry", store64(bc.carry().0), TIGHT_END, |i| {
        value(of(&c, i))
    });
    check("carry", store64(lc.carry().0), TIGHT_END, |i| {
        value(of(&c, i))
    });
    check("a24", store64(lc.add_a24_times(&ta).0), TIGHT_END, |i| {
        sum(of(&c, i), product([121_665, 0, 0, 0, 0], of(&a, i)))
    });
    let mask = rng.next_u64() as u8;
    let chosen = store64(Tight::select(mask, &ta, &tb).0);
    check("select", chosen, TIGHT_END, |i| {
        value(of(if mask >> i & 1 == 1 { &b } else { &a }, i))
    });
    let canonical = store64(ta.canonical().0);
    check("canonical", canonical, MASK + 1, |i| value(of(&a, i)));
    for i in 0..8 {
        assert_eq!(lane(&canonical, i), value(lane(&a, i)), "not below p");
    }
    most
}

#[test]
fn operations_at_the_limits_of_their_limbs() {
    if detect().is_none() {
        return;
    }
    let mut rng = KeyRng::from_seed([1; 32]);
    // SAFETY: the token was there.
    let most = (0..15_000).map(|_| unsafe { round(&mut rng) }).max();
    println!(
        "120,000 lanes of each operation; the largest limb is 2^{:.2}",
        (most.unwrap() as f64).log2()
    );
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn inverse_and_codes(rng: &mut KeyRng) {
    let mut a = extreme(rng, TIGHT_END);
    // 0, p and 2p have none.
    for (at, limbs) in [[0; 5], P].into_iter().enumerate() {
        for (words, limb) in a.iter_mut().zip(limbs) {
            words[at] = limb;
        }
    }
    let number = Tight(load64(&a));
    assert_eq!(number.is_zero() & 3, 3);
    let inverse = store64(number.invert().0);
    for at in 0..8 {
        let one = [u64::from(value(lane(&a, at)) != [0; 5]), 0, 0, 0, 0];
        assert_eq!(
            product(lane(&a, at), lane(&inverse, at)),
            one,
            "inverse in lane {at}"
        );
    }
    let words: [[u64; 8]; 4] = std::array::from_fn(|_| std::array::from_fn(|_| rng.next_u64()));
    let decoded = Tight::decode(&words);
    let limbs = store64(decoded.0);
    let again = decoded.encode();
    for at in 0..8 {
        let bits = |limbs: Limbs| -> [u64; 4] {
            std::array::from_fn(|word| {
                (0..64).fold(0, |out, bit| {
                    let at = 64 * word + bit;
                    let set = at < 255 && limbs[at / 51] >> (at % 51) & 1 == 1;
                    out | u64::from(set) << bit
                })
            })
        };
        let mut whole = words.map(|word| word[at]);
        whole[3] &= !(1 << 63);
        assert_eq!(bits(lane(&limbs, at)), whole);
        assert_eq!(again.map(|word| word[at]), bits(value(lane(&limbs, at))));
    }
}

#[test]
fn inverses_and_encodings() {
    if detect().is_none() {
        return;
    }
    let mut rng = KeyRng::from_seed([2; 32]);
    for _ in 0..200 {
        // SAFETY: the token was there.
        unsafe { inverse_and_codes(&mut rng) };
    }
}
