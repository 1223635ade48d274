//! See `mizzle_fuzz::cell`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::cell(data));
