//! See `mizzle_fuzz::directory_chain`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::directory_chain(data));
