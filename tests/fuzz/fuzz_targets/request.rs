//! See `fairlead_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::request(data));
