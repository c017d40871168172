//! Real services and applications behind both planes, driven by their own clients. In each story one of two
//! peers is killed in mid-run: the errors that clients see are those of the connections the dead peer had, and
//! no other; a request over HTTP that may be repeated fails for nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use fairlead_harness::Setup;

mod dns;
mod files;
mod flask;
mod iperf;
mod node;
mod postgresql;
mod redis;
mod service;
mod web;

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead")).workers(1)
}
