//! Numbers modulo p = 2²⁵⁵ − 19, one in each of eight lanes.
//!
//! A number is five limbs to the base 2⁵¹. The multiply-add instructions (`vpmadd52luq`, `vpmadd52huq`)
//! read the lowest 52 bits of each factor and give the lower or upper 52 of the product, so everything here
//! is right if, and only if, **no limb of a factor reaches 2⁵²**. Three types keep that:
//!
//! - [`Tight`], whose limbs are below 2⁵¹ + 2¹⁵: what may be multiplied;
//! - [`Loose`], whose limbs are below 2⁵⁹: what a multiplication gives;
//! - [`Biased`], the same plus 532 p: what a [`Loose`] may be subtracted from, with no limb below zero.
//!
//! The latter two are carried to a [`Tight`], alone or as a sum or a difference.
//!
//! Bounds. The lower half of a product is below 2⁵², the upper below 2⁵⁰ + 2¹⁷ (both factors are tight). The fullest
//! limb of a product is the lowest: 1 + 19 · 4 lower halves and 19 · 2 · 5 upper ones, below 2⁵⁸·⁹⁷. With the bias it is below
//! 2⁶⁰·⁷, as a sum or a difference below 2⁶¹·¹; what leaves a limb in the carry is below 2¹⁰·¹ and comes back, from
//! the highest to the lowest, times 19: below 2¹⁵. The tests hold each operation to 128-bit integers at these limits.

use crate::avx512::lanes::{self, Lanes64};
use core::arch::x86_64::*;

const LIMB_BITS: u32 = 51;
const MASK: i64 = (1 << LIMB_BITS) - 1;
/// p, limb by limb.
const P: [i64; 5] = [MASK - 18, MASK, MASK, MASK, MASK];
/// Times p, more than a loose limb. A multiple of 76, which is how often a square's upper halves count.
const BIAS: i64 = 532;
/// (A − 2) / 4 of the curve's A = 486662.
const A24: i64 = 121_665;

/// Limbs below 2⁵¹ + 2¹⁵: may be multiplied.
#[derive(Clone, Copy)]
pub(super) struct Tight(pub(super) [__m512i; 5]);

/// Limbs below 2⁵⁹.
#[derive(Clone, Copy)]
pub(super) struct Loose(pub(super) [__m512i; 5]);

/// Limbs of a [`Loose`], plus 532 p.
#[derive(Clone, Copy)]
pub(super) struct Biased(pub(super) [__m512i; 5]);

impl From<Tight> for Loose {
    fn from(number: Tight) -> Self {
        Self(number.0)
    }
}

/// `$sum` and the lower halves of the products.
macro_rules! lo {
    ($sum:expr $(, $a:ident * $b:ident)+) => {{
        let mut sum = $sum;
        $(sum = _mm512_madd52lo_epu64(sum, $a, $b);)+
        sum
    }};
}

/// `$sum` and the upper halves of the products.
macro_rules! hi {
    ($sum:expr $(, $a:ident * $b:ident)+) => {{
        let mut sum = $sum;
        $(sum = _mm512_madd52hi_epu64(sum, $a, $b);)+
        sum
    }};
}

/// The same small number in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn small(number: i64) -> Tight {
    let zero = _mm512_setzero_si512();
    Tight([_mm512_set1_epi64(number), zero, zero, zero, zero])
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn plus(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn twice(a: __m512i) -> __m512i {
    _mm512_add_epi64(a, a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn times_4(a: __m512i) -> __m512i {
    _mm512_slli_epi64::<2>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn times_8(a: __m512i) -> __m512i {
    _mm512_slli_epi64::<3>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn times_19(a: __m512i) -> __m512i {
    let sixteen = _mm512_slli_epi64::<4>(a);
    plus(plus(sixteen, a), twice(a))
}

/// Each limb gives what it has above 51 bits to the next, the highest 19 times to the lowest.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn carried(limbs: [__m512i; 5]) -> Tight {
    let [x0, x1, x2, x3, x4] = limbs;
    let mask = _mm512_set1_epi64(MASK);
    let over = |x| _mm512_srli_epi64::<LIMB_BITS>(x);
    let kept = |x| _mm512_and_si512(x, mask);
    let nineteen = _mm512_set1_epi64(19);
    Tight([
        _mm512_madd52lo_epu64(kept(x0), over(x4), nineteen),
        plus(kept(x1), over(x0)),
        plus(kept(x2), over(x1)),
        plus(kept(x3), over(x2)),
        plus(kept(x4), over(x3)),
    ])
}

impl Loose {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn carry(&self) -> Tight {
        carried(self.0)
    }

    /// `self` + 121665 · `other`, the curve's constant.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn add_a24_times(&self, other: &Tight) -> Tight {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, other.0);
        let (k, zero) = (_mm512_set1_epi64(A24), _mm512_setzero_si512());
        // Below 2¹⁷ each, and worth 2 · 2⁵¹.
        let upper = |b| twice(_mm512_madd52hi_epu64(zero, b, k));
        let nineteen = _mm512_set1_epi64(19);
        let wrapped = upper(b4);
        carried([
            lo!(a0, b0 * k, wrapped * nineteen),
            plus(lo!(a1, b1 * k), upper(b0)),
            plus(lo!(a2, b2 * k), upper(b1)),
            plus(lo!(a3, b3 * k), upper(b2)),
            plus(lo!(a4, b4 * k), upper(b3)),
        ])
    }
}

impl Biased {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn new(number: &Tight) -> Self {
        let [x0, x1, x2, x3, x4] = number.0;
        let [b0, b1, b2, b3, b4] = bias(BIAS);
        Self([
            plus(x0, b0),
            plus(x1, b1),
            plus(x2, b2),
            plus(x3, b3),
            plus(x4, b4),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn carry(&self) -> Tight {
        carried(self.0)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn add(&self, other: &Loose) -> Tight {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, other.0);
        carried([
            plus(a0, b0),
            plus(a1, b1),
            plus(a2, b2),
            plus(a3, b3),
            plus(a4, b4),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn sub(&self, other: &Loose) -> Tight {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, other.0);
        let minus = |a, b| _mm512_sub_epi64(a, b);
        carried([
            minus(a0, b0),
            minus(a1, b1),
            minus(a2, b2),
            minus(a3, b3),
            minus(a4, b4),
        ])
    }
}

/// So many times p.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn bias(times: i64) -> [__m512i; 5] {
    let mut out = [_mm512_setzero_si512(); 5];
    for (out, p) in out.iter_mut().zip(P) {
        *out = _mm512_set1_epi64(times * p);
    }
    out
}

impl Tight {
    /// Lanes of `b` where `mask` has a bit, else of `a`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn select(mask: __mmask8, a: &Self, b: &Self) -> Self {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (a.0, b.0);
        let blend = |a, b| _mm512_mask_blend_epi64(mask, a, b);
        Self([
            blend(a0, b0),
            blend(a1, b1),
            blend(a2, b2),
            blend(a3, b3),
            blend(a4, b4),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn mul(&self, other: &Self) -> Loose {
        Loose(self.product(other, bias(0)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn mul_biased(&self, other: &Self) -> Biased {
        // What the upper halves of limbs 5 to 9 start from counts 2 · 19 times.
        Biased(self.product(other, bias(BIAS / 38)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn square(&self) -> Loose {
        Loose(self.squared(bias(0)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn square_biased(&self) -> Biased {
        // Twice as often as in a product, but for limb 9, which has no pairs.
        let [b0, b1, b2, b3, b4] = bias(BIAS / 76);
        Biased(self.squared([b0, b1, b2, b3, twice(b4)]))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn product(&self, other: &Self, start: [__m512i; 5]) -> [__m512i; 5] {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, other.0);
        let [s5, s6, s7, s8, s9] = start;
        // An upper half belongs to the limb above its product's, and counts twice there: 2⁵² = 2 · 2⁵¹.
        let h5 = hi!(s5, a0 * b4, a1 * b3, a2 * b2, a3 * b1, a4 * b0);
        let h6 = hi!(s6, a1 * b4, a2 * b3, a3 * b2, a4 * b1);
        let h7 = hi!(s7, a2 * b4, a3 * b3, a4 * b2);
        let h8 = hi!(s8, a3 * b4, a4 * b3);
        let h9 = hi!(s9, a4 * b4);
        let t5 = lo!(twice(h5), a1 * b4, a2 * b3, a3 * b2, a4 * b1);
        let t6 = lo!(twice(h6), a2 * b4, a3 * b3, a4 * b2);
        let t7 = lo!(twice(h7), a3 * b4, a4 * b3);
        let t8 = lo!(twice(h8), a4 * b4);
        let t9 = twice(h9);
        // Limbs 5 to 9 are worth 19 times limbs 0 to 4: 2 · (8 + 1) + 1 times, where the upper halves are doubled anyway.
        let h1 = plus(hi!(times_8(t6), a0 * b0), t6);
        let h2 = plus(hi!(times_8(t7), a0 * b1, a1 * b0), t7);
        let h3 = plus(hi!(times_8(t8), a0 * b2, a1 * b1, a2 * b0), t8);
        let h4 = plus(hi!(times_8(t9), a0 * b3, a1 * b2, a2 * b1, a3 * b0), t9);
        [
            lo!(times_19(t5), a0 * b0),
            lo!(plus(twice(h1), t6), a0 * b1, a1 * b0),
            lo!(plus(twice(h2), t7), a0 * b2, a1 * b1, a2 * b0),
            lo!(plus(twice(h3), t8), a0 * b3, a1 * b2, a2 * b1, a3 * b0),
            lo!(
                plus(twice(h4), t9),
                a0 * b4,
                a1 * b3,
                a2 * b2,
                a3 * b1,
                a4 * b0
            ),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn squared(&self, start: [__m512i; 5]) -> [__m512i; 5] {
        let [a0, a1, a2, a3, a4] = self.0;
        let [s5, s6, s7, s8, s9] = start;
        // As a product; sums of products of unequal limbs are doubled, never the limbs.
        let h5 = hi!(twice(hi!(s5, a0 * a4, a1 * a3)), a2 * a2);
        let h6 = twice(hi!(s6, a1 * a4, a2 * a3));
        let h7 = hi!(twice(hi!(s7, a2 * a4)), a3 * a3);
        let h8 = twice(hi!(s8, a3 * a4));
        let h9 = hi!(s9, a4 * a4);
        let t5 = twice(lo!(h5, a1 * a4, a2 * a3));
        let t6 = lo!(twice(lo!(h6, a2 * a4)), a3 * a3);
        let t7 = twice(lo!(h7, a3 * a4));
        let t8 = lo!(twice(h8), a4 * a4);
        let t9 = twice(h9);
        let h1 = plus(hi!(times_8(t6), a0 * a0), t6);
        let h2 = plus(twice(hi!(times_4(t7), a0 * a1)), t7);
        let h3 = plus(hi!(twice(hi!(times_4(t8), a0 * a2)), a1 * a1), t8);
        let h4 = plus(twice(hi!(times_4(t9), a0 * a3, a1 * a2)), t9);
        [
            lo!(times_19(t5), a0 * a0),
            plus(twice(lo!(h1, a0 * a1)), t6),
            lo!(plus(twice(lo!(h2, a0 * a2)), t7), a1 * a1),
            plus(twice(lo!(h3, a0 * a3, a1 * a2)), t8),
            lo!(plus(twice(lo!(h4, a0 * a4, a1 * a3)), t9), a2 * a2),
        ]
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn square_times(&self, times: u32) -> Self {
        let mut x = *self;
        for _ in 0..times {
            x = x.square().carry();
        }
        x
    }

    /// The p − 2nd power: the inverse, and 0 of 0.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn invert(&self) -> Self {
        // Names say which power: `x_250` is of 2²⁵⁰ − 1.
        let x2 = self.square().carry();
        let x9 = x2.square_times(2).mul(self).carry();
        let x11 = x9.mul(&x2).carry();
        let x_5 = x11.square().carry().mul(&x9).carry();
        let x_10 = x_5.square_times(5).mul(&x_5).carry();
        let x_20 = x_10.square_times(10).mul(&x_10).carry();
        let x_40 = x_20.square_times(20).mul(&x_20).carry();
        let x_50 = x_40.square_times(10).mul(&x_10).carry();
        let x_100 = x_50.square_times(50).mul(&x_50).carry();
        let x_200 = x_100.square_times(100).mul(&x_100).carry();
        let x_250 = x_200.square_times(50).mul(&x_50).carry();
        x_250.square_times(5).mul(&x11).carry()
    }

    /// The same numbers with the one encoding that lies below p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn canonical(&self) -> Self {
        let mask = _mm512_set1_epi64(MASK);
        let mut x = self.0;
        // Twice around: after it every limb is below 2⁵¹, but for the lowest by less than 19.
        for _ in 0..2 {
            for i in 0..4 {
                x[i + 1] = plus(x[i + 1], _mm512_srli_epi64::<LIMB_BITS>(x[i]));
                x[i] = _mm512_and_si512(x[i], mask);
            }
            let over = _mm512_srli_epi64::<LIMB_BITS>(x[4]);
            x[4] = _mm512_and_si512(x[4], mask);
            x[0] = plus(x[0], times_19(over));
        }
        // 1 if the number is p or more: what x + 19 has in bit 255.
        let mut over = _mm512_set1_epi64(19);
        for limb in x {
            over = _mm512_srli_epi64::<LIMB_BITS>(plus(limb, over));
        }
        x[0] = plus(x[0], times_19(over));
        for i in 0..4 {
            x[i + 1] = plus(x[i + 1], _mm512_srli_epi64::<LIMB_BITS>(x[i]));
            x[i] = _mm512_and_si512(x[i], mask);
        }
        x[4] = _mm512_and_si512(x[4], mask);
        Self(x)
    }

    /// A bit for each lane that holds 0.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn is_zero(&self) -> __mmask8 {
        let [x0, x1, x2, x3, x4] = self.canonical().0;
        let or = |a, b| _mm512_or_si512(a, b);
        let any = or(or(or(x0, x1), or(x2, x3)), x4);
        _mm512_testn_epi64_mask(any, any)
    }

    /// From 256 bits, of which the highest is ignored.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn decode(words: &Lanes64<4>) -> Self {
        let [w0, w1, w2, w3] = lanes::load64(words);
        let mask = _mm512_set1_epi64(MASK);
        let kept = |x| _mm512_and_si512(x, mask);
        let or = |a, b| _mm512_or_si512(a, b);
        Self([
            kept(w0),
            kept(or(_mm512_srli_epi64::<51>(w0), _mm512_slli_epi64::<13>(w1))),
            kept(or(_mm512_srli_epi64::<38>(w1), _mm512_slli_epi64::<26>(w2))),
            kept(or(_mm512_srli_epi64::<25>(w2), _mm512_slli_epi64::<39>(w3))),
            kept(_mm512_srli_epi64::<12>(w3)),
        ])
    }

    /// The 256 bits of the numbers below p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn encode(&self) -> Lanes64<4> {
        let [x0, x1, x2, x3, x4] = self.canonical().0;
        let or = |a, b| _mm512_or_si512(a, b);
        lanes::store64([
            or(x0, _mm512_slli_epi64::<51>(x1)),
            or(_mm512_srli_epi64::<13>(x1), _mm512_slli_epi64::<38>(x2)),
            or(_mm512_srli_epi64::<26>(x2), _mm512_slli_epi64::<25>(x3)),
            or(_mm512_srli_epi64::<39>(x3), _mm512_slli_epi64::<12>(x4)),
        ])
    }
}
