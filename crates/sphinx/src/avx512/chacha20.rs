//! ChaCha20 (RFC 8439), nonce zero and counter from 0, of sixteen keys in sixteen lanes, each over its own payload.

use crate::avx512::lanes::{Row, transposed32, words32, xor_into, xor_start};
use crate::lioness::{LEFT_LEN, Payload};
use core::arch::x86_64::*;

/// Lanes of one call.
pub(super) const LANES: usize = 16;

const CONSTANTS: [i32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

#[inline]
#[target_feature(enable = "avx512f")]
fn plus(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

macro_rules! quarter_round {
    ($v:ident, $a:literal $b:literal $c:literal $d:literal) => {
        $v[$a] = plus($v[$a], $v[$b]);
        $v[$d] = _mm512_rol_epi32::<16>(_mm512_xor_si512($v[$d], $v[$a]));
        $v[$c] = plus($v[$c], $v[$d]);
        $v[$b] = _mm512_rol_epi32::<12>(_mm512_xor_si512($v[$b], $v[$c]));
        $v[$a] = plus($v[$a], $v[$b]);
        $v[$d] = _mm512_rol_epi32::<8>(_mm512_xor_si512($v[$d], $v[$a]));
        $v[$c] = plus($v[$c], $v[$d]);
        $v[$b] = _mm512_rol_epi32::<7>(_mm512_xor_si512($v[$b], $v[$c]));
    };
}

/// One block of each lane's stream, a row for each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn block(key: &[__m512i; 8], counter: i32) -> [__m512i; 16] {
    let zero = _mm512_setzero_si512();
    let mut start = [zero; 16];
    for (word, constant) in start.iter_mut().zip(CONSTANTS) {
        *word = _mm512_set1_epi32(constant);
    }
    start[4..12].copy_from_slice(key);
    start[12] = _mm512_set1_epi32(counter);
    let mut v = start;
    for _ in 0..10 {
        quarter_round!(v, 0 4 8 12);
        quarter_round!(v, 1 5 9 13);
        quarter_round!(v, 2 6 10 14);
        quarter_round!(v, 3 7 11 15);
        quarter_round!(v, 0 5 10 15);
        quarter_round!(v, 1 6 11 12);
        quarter_round!(v, 2 7 8 13);
        quarter_round!(v, 3 4 9 14);
    }
    for (v, start) in v.iter_mut().zip(start) {
        *v = plus(*v, start);
    }
    transposed32(v)
}

/// XORs what stands behind the first 32 bytes of each payload, of which there are at most sixteen. `keys` has 32
/// bytes in each row; rows without a payload are not used.
#[inline(never)]
#[target_feature(enable = "avx512f")]
pub(super) fn xor(keys: &[Row; LANES], payloads: &mut [&mut Payload]) {
    let words = words32(keys.each_ref());
    let mut key = [_mm512_setzero_si512(); 8];
    key.copy_from_slice(&words[..8]);
    let whole = (size_of::<Payload>() - LEFT_LEN) / 64;
    for i in 0..whole {
        let stream = block(&key, i as i32);
        for (payload, stream) in payloads.iter_mut().zip(stream) {
            xor_into(&mut payload[LEFT_LEN..].as_chunks_mut().0[i], stream);
        }
    }
    let stream = block(&key, whole as i32);
    for (payload, stream) in payloads.iter_mut().zip(stream) {
        xor_start(payload[LEFT_LEN..].as_chunks_mut::<64>().1, stream);
    }
}
