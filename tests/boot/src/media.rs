//! What is put into a machine: disks that remember, and seeds that carry a first configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fairlead_harness::Directory;

/// A disk of its own over `base`, which stays as it is. It lives as long as this value.
pub struct Overlay {
    directory: Directory,
}

/// What [`crate::Machine::disk`] is to be told of it.
pub const OVERLAY_FORMAT: &str = "qcow2";

pub fn overlay(base: &Path, format: &str) -> Overlay {
    let directory = Directory::new();
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", OVERLAY_FORMAT, "-F", format, "-b"]).arg(base).arg(directory.join("disk"));
    run(&mut command);
    Overlay { directory }
}

impl Overlay {
    pub fn file(&self) -> PathBuf {
        self.directory.join("disk")
    }
}

/// A copy of a raw disk of ours with another unified image in the place of the one it boots.
pub fn with_image(raw: &Path, version: &str, unified: &Path) -> Overlay {
    let directory = Directory::new();
    let disk = directory.join("disk");
    run(Command::new("cp").arg("--sparse=always").arg(raw).arg(&disk));
    // Where the EFI system partition begins.
    let partition = format!("{}@@1M", disk.display());
    let place = format!("::/EFI/Linux/fairlead-{version}.efi");
    run(Command::new("mcopy").args(["-o", "-i", &partition]).arg(unified).arg(place));
    Overlay { directory }
}

/// The same program without its signature.
pub fn unsigned(program: &Path, into: &Directory) -> PathBuf {
    let copy = into.join("unsigned.efi");
    fs::copy(program, &copy).expect("a file can be copied");
    run(Command::new("sbattach").arg("--remove").arg(&copy));
    copy
}

/// The forms a seed comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A CD.
    Iso,
    /// A stick.
    Fat,
}

/// A volume labelled `CIDATA` with files for the first start.
pub struct Seed {
    directory: Directory,
}

impl Seed {
    /// `user_data` is the configuration.
    pub fn new(form: Form, user_data: &str) -> Seed {
        let files = [("user-data", user_data), ("meta-data", "instance-id: test-1\n")];
        Seed::with_files(form, "CIDATA", &files)
    }

    pub fn with_files(form: Form, label: &str, files: &[(&str, &str)]) -> Seed {
        let directory = Directory::new();
        let volume = directory.join("volume");
        fs::create_dir(&volume).expect("a folder can be made");
        for (name, contents) in files {
            fs::write(volume.join(name), contents).expect("a file can be written");
        }
        let seed = Seed { directory };
        match form {
            Form::Iso => seed.iso(&volume, label),
            Form::Fat => seed.fat(&volume, label, files),
        }
        seed
    }

    fn iso(&self, volume: &Path, label: &str) {
        let mut command = Command::new("genisoimage");
        command.args(["-quiet", "-J", "-R", "-V", label, "-o"]).arg(self.file()).arg(volume);
        run(&mut command);
    }

    fn fat(&self, volume: &Path, label: &str, files: &[(&str, &str)]) {
        fs::write(self.file(), vec![0; 2 << 20]).expect("a file can be written");
        run(Command::new("mformat").arg("-i").arg(self.file()).args(["-v", label, "::"]));
        for (name, _) in files {
            run(Command::new("mcopy").arg("-i").arg(self.file()).arg(volume.join(name)).arg(format!("::{name}")));
        }
    }

    pub fn file(&self) -> PathBuf {
        self.directory.join("seed")
    }
}

/// Runs a tool to its end; its words when it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{words}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
