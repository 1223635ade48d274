//! Kernels that tell secrets by time, on purpose. `.ci/constant-time --self-test` must find each in the machine code, and the
//! timing test must find the first by its watch.

#![allow(
    unsafe_code,
    reason = "calls of functions for processors that have more than every x86-64 has; the token is asked first"
)]

use super::detect;
use crate::avx512::lanes::load64;
use crate::avx512::x25519::{Octet, x25519_8};
use core::arch::x86_64::*;
use std::hint::black_box;

/// X25519 that takes about a percent longer where bit 3 of the first lane's scalar is set.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn leaks_a_mask(scalars: &Octet, points: &Octet) -> Octet {
    let out = x25519_8(scalars, points);
    let [w0, ..] = load64(scalars);
    let bits = _mm512_test_epi64_mask(w0, _mm512_set1_epi64(8));
    if bits & 1 == 1 {
        (0..1_000).for_each(|step| _ = black_box(step));
    }
    out
}

/// A comparison that ends at the first difference.
#[inline(never)]
pub(super) fn leaks_a_comparison(a: &[u8; 32], b: &[u8; 32]) -> bool {
    for (a, b) in a.iter().zip(b) {
        if black_box(*a) != *b {
            return false;
        }
    }
    true
}

/// A table's index.
#[inline(never)]
pub(super) fn leaks_an_index(table: &[u8; 256], secret: &[u8; 32]) -> u8 {
    secret
        .iter()
        .fold(0, |out, byte| out ^ table[usize::from(*byte)])
}

/// A vector's lane as a condition.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn leaks_a_lane(scalars: &Octet, out: &mut u64) {
    let [w0, w1, ..] = load64(scalars);
    let sum = _mm_cvtsi128_si64(_mm512_castsi512_si128(_mm512_add_epi64(w0, w1)));
    if sum == 0 {
        *out = black_box(7);
    }
}

#[test]
fn what_leaks_is_right_all_the_same() {
    assert!(
        leaks_a_comparison(black_box(&[1; 32]), &[1; 32])
            && !leaks_a_comparison(&[1; 32], &[2; 32])
    );
    let table = std::array::from_fn(|i| i as u8);
    assert_eq!(leaks_an_index(black_box(&table), black_box(&[9; 32])), 0);
    if detect().is_none() {
        return;
    }
    let (scalars, points) = black_box(([[8; 8]; 4], [[9; 8]; 4]));
    let mut out = 0;
    // SAFETY: the token was there.
    unsafe {
        assert_eq!(leaks_a_mask(&scalars, &points), x25519_8(&scalars, &points));
        leaks_a_lane(black_box(&[[0; 8]; 4]), &mut out);
    }
    assert_eq!(out, 7);
}
