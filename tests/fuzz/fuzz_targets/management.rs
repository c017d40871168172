//! See `fairlead_fuzz::management`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::management(data));
