//! See `fairlead_fuzz::response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::response(data));
