//! What happens to traffic while the program changes: reloads, lost workers, upgrades, log rotation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use fairlead_harness::Setup;

mod bad_file;
mod lost_worker;
mod new_listeners;
mod rotate;
mod under_load;
mod upgrade;

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead"))
}
