//! One program under several names: process 1, the console, the management.

use std::process::ExitCode;

fn main() -> ExitCode {
    let word = std::env::args().nth(1);
    match word.as_deref() {
        _ if std::process::id() == 1 => fairlead_init::pid1::run(),
        Some("console") => fairlead_init::console::run(),
        Some("manage") => fairlead_init::managed::run(),
        _ => {
            fairlead_init::say::plain("fairlead-init: process 1 of the appliance; it does nothing elsewhere");
            ExitCode::FAILURE
        }
    }
}
