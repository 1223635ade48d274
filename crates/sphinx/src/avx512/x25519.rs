//! X25519 (RFC 7748), one multiplication in each of eight lanes.
//!
//! Montgomery's ladder. No branch and no address depends on a scalar or a point: a scalar's bits become masks of lanes, and
//! masks choose. `.ci/constant-time` looks at the machine code.

use crate::avx512::field::{Biased, Loose, Tight, small};
use crate::avx512::lanes::{self, Lanes64};
use core::arch::x86_64::*;

/// Lanes of one ladder.
pub(super) const LANES: usize = 8;

/// Eight times 32 bytes, as little-endian words.
pub(super) type Octet = Lanes64<4>;

/// `out[lane] = scalar[lane] · point[lane]`.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn x25519_8(scalars: &Octet, points: &Octet) -> Octet {
    let (x, z) = ladder(scalars, points);
    // Where z is 0, so is its power, and the product.
    x.mul(&z.invert()).carry().encode()
}

/// Two at once, which share the inversion: 1/a = b · 1/(ab).
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn x25519_16(scalars: &[Octet; 2], points: &[Octet; 2]) -> [Octet; 2] {
    let (x0, z0) = ladder(&scalars[0], &points[0]);
    let (x1, z1) = ladder(&scalars[1], &points[1]);
    // A lane's 0 must not spoil the other's inverse: it counts as 1 there, and its result is set to 0.
    let (one, zero) = (small(1), small(0));
    let (none0, none1) = (z0.is_zero(), z1.is_zero());
    let z0 = Tight::select(none0, &z0, &one);
    let z1 = Tight::select(none1, &z1, &one);
    let inverse = z0.mul(&z1).carry().invert();
    let u0 = x0.mul(&inverse.mul(&z1).carry()).carry();
    let u1 = x1.mul(&inverse.mul(&z0).carry()).carry();
    [
        Tight::select(none0, &u0, &zero).encode(),
        Tight::select(none1, &u1, &zero).encode(),
    ]
}

/// A multiple's u-coordinate, as x / z.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn ladder(scalars: &Octet, points: &Octet) -> (Tight, Tight) {
    let u = Tight::decode(points);
    let changes = changes(scalars);
    let (mut x2, mut z2) = (Biased::new(&small(1)), Loose::from(small(0)));
    let (mut x3, mut z3) = (Biased::new(&u), Loose::from(small(1)));
    for bit in (0..255).rev() {
        let swap = _mm512_test_epi64_mask(changes[bit / 64], _mm512_set1_epi64(1 << (bit % 64)));
        let (a, b) = (x2.add(&z2), x2.sub(&z2));
        let (c, d) = (x3.add(&z3), x3.sub(&z3));
        // The sum of the two points does not care which is which; only the one that is doubled is chosen.
        let (da, cb) = (d.mul_biased(&a), c.mul(&b));
        let (sum, difference) = (Tight::select(swap, &a, &c), Tight::select(swap, &b, &d));
        let (aa, bb) = (sum.square_biased(), difference.square());
        let e = aa.sub(&bb);
        let aa = aa.carry();
        x2 = aa.mul_biased(&bb.carry());
        z2 = e.mul(&Loose::from(aa).add_a24_times(&e));
        x3 = da.add(&cb).square_biased();
        z3 = u.mul(&da.sub(&cb).square().carry());
    }
    // The scalar's last bit is clear: what was doubled last is the multiple.
    (x2.carry(), z2.carry())
}

/// The clamped scalars, each bit XORed with the one above it: where the ladder changes sides.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn changes(scalars: &Octet) -> [__m512i; 4] {
    let [w0, w1, w2, w3] = lanes::load64(scalars);
    let w0 = _mm512_and_si512(w0, _mm512_set1_epi64(!7));
    let w3 = _mm512_and_si512(w3, _mm512_set1_epi64(i64::MAX));
    let w3 = _mm512_or_si512(w3, _mm512_set1_epi64(1 << 62));
    let above =
        |low, high| _mm512_or_si512(_mm512_srli_epi64::<1>(low), _mm512_slli_epi64::<63>(high));
    [
        _mm512_xor_si512(w0, above(w0, w1)),
        _mm512_xor_si512(w1, above(w1, w2)),
        _mm512_xor_si512(w2, above(w2, w3)),
        _mm512_xor_si512(w3, _mm512_srli_epi64::<1>(w3)),
    ]
}
