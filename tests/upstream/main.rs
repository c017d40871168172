//! Groups of peers: who gets the next request, who is left out, and when they come back.
//! Where nginx decides the same thing, Debian's nginx runs beside and must agree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use fairlead_harness::Setup;

mod balance;
mod checks;
mod dynamic;
mod dynamic_stream;
mod failure;
mod hash;
mod health;
mod max_conns;
mod methods;
mod ntlm;
mod queue;
mod srv;
mod state;

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead"))
}
