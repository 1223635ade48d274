//! See `mizzle_fuzz::unwrap`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::unwrap(data));
