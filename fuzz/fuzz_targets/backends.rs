//! See `mizzle_fuzz::backends`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::backends(data));
