//! Keyed BLAKE2b (RFC 7693) with a digest of 32 bytes, of eight payloads' right sides in eight lanes.

use crate::avx512::lanes::{Row, rows64, words64};
use crate::lioness::{LEFT_LEN, Payload};
use core::arch::x86_64::*;
use wire::geometry::SPHINX_PAYLOAD_LEN;

/// Lanes of one call.
pub(super) const LANES: usize = 8;

const IV: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];
/// Parameters: no tree, a key of 64 bytes, a digest of 32.
const PARAMETERS: u64 = 0x0101_4020;
const BLOCK_LEN: usize = 128;
const DATA_LEN: usize = SPHINX_PAYLOAD_LEN - LEFT_LEN;
/// What is left behind whole blocks. Were it nothing, the last whole block would have to be marked as the last.
const REST: usize = DATA_LEN % BLOCK_LEN;
const _: () = assert!(REST > 0);

#[inline]
#[target_feature(enable = "avx512f")]
fn same(word: u64) -> __m512i {
    _mm512_set1_epi64(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn plus(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi64(a, b)
}

/// G of RFC 7693 §3.1.
macro_rules! mix {
    ($a:expr, $b:expr, $c:expr, $d:expr, $x:expr, $y:expr) => {
        $a = plus(plus($a, $x), $b);
        $d = _mm512_ror_epi64::<32>(_mm512_xor_si512($d, $a));
        $c = plus($c, $d);
        $b = _mm512_ror_epi64::<24>(_mm512_xor_si512($b, $c));
        $a = plus(plus($a, $y), $b);
        $d = _mm512_ror_epi64::<16>(_mm512_xor_si512($d, $a));
        $c = plus($c, $d);
        $b = _mm512_ror_epi64::<63>(_mm512_xor_si512($b, $c));
    };
}

macro_rules! round {
    ($v:ident, $m:ident, $($s:literal)+) => {
        round!(@ $v, $m, [$($s),+]);
    };
    (@ $v:ident, $m:ident, $s:expr) => {
        mix!($v[0], $v[4], $v[8], $v[12], $m[$s[0]], $m[$s[1]]);
        mix!($v[1], $v[5], $v[9], $v[13], $m[$s[2]], $m[$s[3]]);
        mix!($v[2], $v[6], $v[10], $v[14], $m[$s[4]], $m[$s[5]]);
        mix!($v[3], $v[7], $v[11], $v[15], $m[$s[6]], $m[$s[7]]);
        mix!($v[0], $v[5], $v[10], $v[15], $m[$s[8]], $m[$s[9]]);
        mix!($v[1], $v[6], $v[11], $v[12], $m[$s[10]], $m[$s[11]]);
        mix!($v[2], $v[7], $v[8], $v[13], $m[$s[12]], $m[$s[13]]);
        mix!($v[3], $v[4], $v[9], $v[14], $m[$s[14]], $m[$s[15]]);
    };
}

/// One more block; `read` bytes were read with it, in all lanes alike.
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn compress(h: &mut [__m512i; 8], m: &[__m512i; 16], read: u64, is_last: bool) {
    let mut v = [_mm512_setzero_si512(); 16];
    v[..8].copy_from_slice(h);
    for (v, iv) in v[8..].iter_mut().zip(IV) {
        *v = same(iv);
    }
    v[12] = same(IV[4] ^ read);
    v[14] = same(if is_last { !IV[6] } else { IV[6] });
    round!(v, m, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    round!(v, m, 14 10 4 8 9 15 13 6 1 12 0 2 11 7 5 3);
    round!(v, m, 11 8 12 0 5 2 15 13 10 14 3 6 7 1 9 4);
    round!(v, m, 7 9 3 1 13 12 11 14 2 6 5 10 4 0 15 8);
    round!(v, m, 9 0 5 7 2 4 10 15 14 1 11 12 6 8 3 13);
    round!(v, m, 2 12 6 10 0 11 8 3 4 13 7 5 15 14 1 9);
    round!(v, m, 12 5 1 15 14 13 4 10 0 7 6 3 9 2 8 11);
    round!(v, m, 13 11 7 14 12 1 3 9 5 0 15 4 8 6 2 10);
    round!(v, m, 6 15 14 9 11 3 0 8 12 2 13 7 1 4 10 5);
    round!(v, m, 10 2 8 4 7 6 1 5 15 11 9 14 3 12 13 0);
    round!(v, m, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    round!(v, m, 14 10 4 8 9 15 13 6 1 12 0 2 11 7 5 3);
    for (i, h) in h.iter_mut().enumerate() {
        *h = _mm512_ternarylogic_epi64::<0x96>(*h, v[i], v[8 + i]);
    }
}

/// A block of two times eight rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn block(low: [&Row; LANES], high: [&Row; LANES]) -> [__m512i; 16] {
    let mut out = [_mm512_setzero_si512(); 16];
    out[..8].copy_from_slice(&words64(low));
    out[8..].copy_from_slice(&words64(high));
    out
}

/// Digests of what stands behind the first 32 bytes of each payload: the first 32 bytes of each row.
#[inline(never)]
#[target_feature(enable = "avx512f")]
pub(super) fn hash(keys: [&[u8; 64]; LANES], payloads: [&Payload; LANES]) -> [Row; LANES] {
    let mut h = [_mm512_setzero_si512(); 8];
    for (h, iv) in h.iter_mut().zip(IV) {
        *h = same(iv);
    }
    h[0] = same(IV[0] ^ PARAMETERS);
    let zeros = [0; 64];
    compress(
        &mut h,
        &block(keys, [&zeros; LANES]),
        BLOCK_LEN as u64,
        false,
    );
    let (mut rows, mut rest): ([&[Row]; LANES], _) = ([&[]; LANES], [[[0; 64]; 2]; LANES]);
    for lane in 0..LANES {
        let data = &payloads[lane][LEFT_LEN..];
        rows[lane] = data.as_chunks().0;
        rest[lane].as_flattened_mut()[..REST].copy_from_slice(&data[DATA_LEN - REST..]);
    }
    let mut read = BLOCK_LEN;
    for i in 0..DATA_LEN / BLOCK_LEN {
        let (mut low, mut high) = ([&zeros; LANES], [&zeros; LANES]);
        for lane in 0..LANES {
            (low[lane], high[lane]) = (&rows[lane][2 * i], &rows[lane][2 * i + 1]);
        }
        read += BLOCK_LEN;
        compress(&mut h, &block(low, high), read as u64, false);
    }
    let (mut low, mut high) = ([&zeros; LANES], [&zeros; LANES]);
    for lane in 0..LANES {
        (low[lane], high[lane]) = (&rest[lane][0], &rest[lane][1]);
    }
    compress(
        &mut h,
        &block(low, high),
        (BLOCK_LEN + DATA_LEN) as u64,
        true,
    );
    rows64(h)
}
