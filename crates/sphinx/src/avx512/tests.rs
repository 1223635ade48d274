//! The kernels beside other people's, in every lane.
//!
//! A processor that lacks what they need SKIPS these, in so many words.

mod field;
mod leaky;
mod symmetric;
mod timing;
mod x25519;

use super::Avx512;

/// The token, or a word to who reads the output.
fn detect() -> Option<Avx512> {
    let token = Avx512::detect();
    if token.is_none() {
        println!("SKIPPED: tests of the AVX-512 kernels, which this processor cannot run");
    }
    token
}
