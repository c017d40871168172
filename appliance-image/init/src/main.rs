//! One program under several names: process 1, and the console.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        fairlead_init::pid1::run()
    } else {
        fairlead_init::say::plain(
            "fairlead-init: this program is process 1 of the appliance; it does nothing elsewhere",
        );
        ExitCode::FAILURE
    }
}
