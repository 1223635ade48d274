//! Between bytes and lanes: loads, stores, transpositions. What is unsafe in the kernels stands here, and in the calls into
//! them (`avx512.rs`).

#![allow(
    unsafe_code,
    reason = "loads and stores by intrinsics, of arrays whose length is in their types"
)]

use core::arch::x86_64::*;

/// N words, each of eight lanes.
pub(super) type Lanes64<const N: usize> = [[u64; 8]; N];

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load64<const N: usize>(words: &Lanes64<N>) -> [__m512i; N] {
    let mut out = [_mm512_setzero_si512(); N];
    for (out, words) in out.iter_mut().zip(words) {
        // SAFETY: reads 64 bytes at any alignment, all of `words`; every bit pattern is a vector.
        *out = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store64<const N: usize>(vectors: [__m512i; N]) -> Lanes64<N> {
    let mut out = [[0; 8]; N];
    for (out, vector) in out.iter_mut().zip(vectors) {
        // SAFETY: writes 64 bytes at any alignment, all of `out`, which is ours alone.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), vector) };
    }
    out
}

/// 64 bytes of one lane.
pub(super) type Row = [u8; 64];

#[inline]
#[target_feature(enable = "avx512f")]
fn load(row: &Row) -> __m512i {
    // SAFETY: reads 64 bytes at any alignment, all of `row`; every bit pattern is a vector.
    unsafe { _mm512_loadu_si512(row.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(vector: __m512i) -> Row {
    let mut row = [0; 64];
    // SAFETY: writes 64 bytes at any alignment, all of `row`, which is ours alone.
    unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), vector) };
    row
}

/// `row ^= vector`
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn xor_into(row: &mut Row, vector: __m512i) {
    let mixed = _mm512_xor_si512(load(row), vector);
    // SAFETY: writes 64 bytes at any alignment, all of `row`, which is borrowed by nobody else.
    unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), mixed) };
}

/// The same for fewer bytes than 64.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn xor_start(bytes: &mut [u8], vector: __m512i) {
    let row = store(vector);
    for (byte, mask) in bytes.iter_mut().zip(row) {
        *byte ^= mask;
    }
}

/// Word w of row l becomes lane l of vector w.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn words32(rows: [&Row; 16]) -> [__m512i; 16] {
    let mut vectors = [_mm512_setzero_si512(); 16];
    for (vector, row) in vectors.iter_mut().zip(rows) {
        *vector = load(row);
    }
    transposed32(vectors)
}

/// Lane l of vector w becomes word w of row l.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn rows32(vectors: [__m512i; 16]) -> [Row; 16] {
    let mut rows = [[0; 64]; 16];
    for (row, vector) in rows.iter_mut().zip(transposed32(vectors)) {
        *row = store(vector);
    }
    rows
}

/// Word w of row l becomes lane l of vector w.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn words64(rows: [&Row; 8]) -> [__m512i; 8] {
    let mut vectors = [_mm512_setzero_si512(); 8];
    for (vector, row) in vectors.iter_mut().zip(rows) {
        *vector = load(row);
    }
    transposed64(vectors)
}

/// Lane l of vector w becomes word w of row l.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn rows64(vectors: [__m512i; 8]) -> [Row; 8] {
    let mut rows = [[0; 64]; 8];
    for (row, vector) in rows.iter_mut().zip(transposed64(vectors)) {
        *row = store(vector);
    }
    rows
}

/// The sixteen words of sixteen vectors, mirrored.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transposed32(r: [__m512i; 16]) -> [__m512i; 16] {
    let zero = _mm512_setzero_si512();
    // Pairs of words, then words of four rows in each block of 128 bits.
    let (mut t, mut u, mut out) = ([zero; 16], [zero; 16], [zero; 16]);
    for i in (0..16).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for i in (0..16).step_by(4) {
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for i in 0..4 {
        let blocks = transposed_blocks([u[i], u[4 + i], u[8 + i], u[12 + i]]);
        [out[i], out[4 + i], out[8 + i], out[12 + i]] = blocks;
    }
    out
}

/// The eight words of eight vectors, mirrored.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed64(r: [__m512i; 8]) -> [__m512i; 8] {
    let zero = _mm512_setzero_si512();
    let (mut t, mut out) = ([zero; 8], [zero; 8]);
    for i in (0..8).step_by(2) {
        t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    for i in 0..2 {
        let blocks = transposed_blocks([t[i], t[2 + i], t[4 + i], t[6 + i]]);
        [out[i], out[2 + i], out[4 + i], out[6 + i]] = blocks;
    }
    out
}

/// The four blocks of 128 bits of four vectors, mirrored.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed_blocks([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let (even_ab, even_cd) = (
        _mm512_shuffle_i32x4::<EVEN>(a, b),
        _mm512_shuffle_i32x4::<EVEN>(c, d),
    );
    let (odd_ab, odd_cd) = (
        _mm512_shuffle_i32x4::<ODD>(a, b),
        _mm512_shuffle_i32x4::<ODD>(c, d),
    );
    [
        _mm512_shuffle_i32x4::<EVEN>(even_ab, even_cd),
        _mm512_shuffle_i32x4::<EVEN>(odd_ab, odd_cd),
        _mm512_shuffle_i32x4::<ODD>(even_ab, even_cd),
        _mm512_shuffle_i32x4::<ODD>(odd_ab, odd_cd),
    ]
}
