//! See `mizzle_fuzz::descriptor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::descriptor(data));
