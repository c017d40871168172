//! fairlead-image: `make image` and `make run-image`.
//!
//! Everything happens as an ordinary user and within the output folder: no loop device, no mount, no chroot. The image
//! has Debian's kernel, systemd-boot, GRUB and our two static programs, and no other program.

use std::process::ExitCode;

use fairlead_image::cli::{self, Command};
use fairlead_image::{Fault, build, key, run};

fn main() -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("fairlead-image: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> Result<(), Fault> {
    match cli::parse(std::env::args().skip(1))? {
        Command::Help(text) => {
            println!("{text}");
            Ok(())
        }
        Command::Build(options) => build::all(&options),
        Command::Run(options) => run::run(&options),
        Command::Key(path) => key::generate(&path),
    }
}
