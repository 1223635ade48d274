//! See `mizzle_fuzz::vote`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::vote(data));
