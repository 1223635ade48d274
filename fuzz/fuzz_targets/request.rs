//! See `mizzle_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::request(data));
