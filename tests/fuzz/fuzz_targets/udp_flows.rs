//! See `fairlead_fuzz::udp_flows`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fairlead_fuzz::udp_flows(data));
