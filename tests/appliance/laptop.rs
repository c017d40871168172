//! Where `fairleadctl` is typed: a home folder, and the program under its own name.

use crate::{Appliance, FAIRLEAD};
use fairlead_harness::Directory;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

pub struct Laptop {
    pub home: Directory,
}

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Laptop {
    pub fn new() -> Laptop {
        let home = Directory::new();
        symlink(FAIRLEAD, home.join("fairleadctl")).unwrap();
        Laptop { home }
    }

    /// One whose key the appliance knows, and the other way round.
    pub fn enrolled(appliance: &Appliance) -> Laptop {
        let laptop = Laptop::new();
        let said = laptop.ctl(appliance, &["enroll", &appliance.code(), "--name", "ann"]);
        assert_eq!(said.code, 0, "{said:?}");
        laptop
    }

    /// `fairleadctl HOST ...`, in the home folder.
    pub fn ctl(&self, appliance: &Appliance, args: &[&str]) -> Said {
        let host = appliance.address.to_string();
        self.run(&[&[host.as_str()], args].concat())
    }

    pub fn run(&self, args: &[&str]) -> Said {
        self.run_as(&self.home.join("fairleadctl").display().to_string(), args)
    }

    pub fn run_as(&self, program: &str, args: &[&str]) -> Said {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.home.path()).stdin(Stdio::null());
        command.env("HOME", self.home.path()).env_remove("XDG_CONFIG_HOME").env("USER", "ann");
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}
