//! See `mizzle_fuzz::directory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::directory(data));
