//! See `fairlead_fuzz::conf_lexer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::conf_lexer(data));
