//! See `mizzle_fuzz::contact_card`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mizzle_fuzz::contact_card(data));
