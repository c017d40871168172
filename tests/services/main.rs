//! Real services behind the stream plane, driven by their own clients. In each story one of two peers is
//! killed in mid-run: the errors that clients see are those of the connections the dead peer had, and no other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use fairlead_harness::Setup;

mod dns;
mod iperf;
mod postgresql;
mod redis;
mod service;

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead")).workers(1)
}
