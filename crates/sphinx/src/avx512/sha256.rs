//! SHA-256's compression (FIPS 180-4), one in each of sixteen lanes.

use core::arch::x86_64::*;

/// Lanes of one call.
pub(super) const LANES: usize = 16;

/// Eight words, in host order.
pub(super) type State = [__m512i; 8];

pub(super) const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// A block that is the same in all lanes, expanded beforehand; the rounds' constants are in it.
#[derive(Clone, Copy)]
pub(super) struct Schedule([u32; 64]);

impl Schedule {
    pub(super) const EMPTY: Self = Self([0; 64]);

    pub(super) const fn of(block: &[u8; 64]) -> Self {
        let mut w = [0u32; 64];
        let mut t = 0;
        while t < 64 {
            w[t] = if t < 16 {
                let at = 4 * t;
                u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
            } else {
                let (a, b) = (w[t - 15], w[t - 2]);
                let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
                let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
                w[t - 16]
                    .wrapping_add(s0)
                    .wrapping_add(w[t - 7])
                    .wrapping_add(s1)
            };
            t += 1;
        }
        t = 0;
        while t < 64 {
            w[t] = w[t].wrapping_add(K[t]);
            t += 1;
        }
        Self(w)
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn plus(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn same(word: u32) -> __m512i {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn same_state(state: &[u32; 8]) -> State {
    let mut out = [_mm512_setzero_si512(); 8];
    for (out, word) in out.iter_mut().zip(state) {
        *out = same(*word);
    }
    out
}

/// Between big-endian bytes and words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn swapped<const N: usize>(mut words: [__m512i; N]) -> [__m512i; N] {
    let order = _mm512_broadcast_i32x4(_mm_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    ));
    for word in &mut words {
        *word = _mm512_shuffle_epi8(*word, order);
    }
    words
}

/// One round; `$wk` is the word of the schedule and the round's constant.
macro_rules! round {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $wk:expr) => {
        let sigma = xor3(
            _mm512_ror_epi32::<6>($e),
            _mm512_ror_epi32::<11>($e),
            _mm512_ror_epi32::<25>($e),
        );
        let chosen = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
        let t = plus(plus($h, $wk), plus(sigma, chosen));
        $d = plus($d, t);
        let sigma = xor3(
            _mm512_ror_epi32::<2>($a),
            _mm512_ror_epi32::<13>($a),
            _mm512_ror_epi32::<22>($a),
        );
        let most = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
        $h = plus(t, plus(sigma, most));
    };
}

/// Eight rounds, after which the names stand for the same words again.
macro_rules! eight_rounds {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $wk:expr) => {
        round!($a $b $c $d $e $f $g $h, $wk(0));
        round!($h $a $b $c $d $e $f $g, $wk(1));
        round!($g $h $a $b $c $d $e $f, $wk(2));
        round!($f $g $h $a $b $c $d $e, $wk(3));
        round!($e $f $g $h $a $b $c $d, $wk(4));
        round!($d $e $f $g $h $a $b $c, $wk(5));
        round!($c $d $e $f $g $h $a $b, $wk(6));
        round!($b $c $d $e $f $g $h $a, $wk(7));
    };
}

/// The state after one more block, whose words are in host order.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(state: &State, block: &[__m512i; 16]) -> State {
    let mut w = *block;
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for k in K.as_chunks::<16>().0 {
        eight_rounds!(a b c d e f g h, |i: usize| plus(w[i], same(k[i])));
        eight_rounds!(a b c d e f g h, |i: usize| plus(w[8 + i], same(k[8 + i])));
        // The last of the four expands once too often, which costs less than asking.
        for t in 0..16 {
            let (x, y) = (w[(t + 1) % 16], w[(t + 14) % 16]);
            let s0 = xor3(
                _mm512_ror_epi32::<7>(x),
                _mm512_ror_epi32::<18>(x),
                _mm512_srli_epi32::<3>(x),
            );
            let s1 = xor3(
                _mm512_ror_epi32::<17>(y),
                _mm512_ror_epi32::<19>(y),
                _mm512_srli_epi32::<10>(y),
            );
            w[t] = plus(plus(w[t], s0), plus(w[(t + 9) % 16], s1));
        }
    }
    added(state, [a, b, c, d, e, f, g, h])
}

/// The same for a block that is the same in all lanes: without the third of the work that is the schedule.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress_same(state: &State, block: &Schedule) -> State {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for wk in block.0.as_chunks::<8>().0 {
        eight_rounds!(a b c d e f g h, |i: usize| same(wk[i]));
    }
    added(state, [a, b, c, d, e, f, g, h])
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn added(a: &State, mut b: State) -> State {
    for (b, a) in b.iter_mut().zip(a) {
        *b = plus(*b, *a);
    }
    b
}
