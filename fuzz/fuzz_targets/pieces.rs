//! See `mizzle_fuzz::pieces`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::pieces(data));
