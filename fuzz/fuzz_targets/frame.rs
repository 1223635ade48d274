//! See `mizzle_fuzz::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::frame(data));
