//! Programs of others: how they are started, and what is said when one is not there or fails.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::Fault;

/// The programs a build may need, and the Debian packages that bring them.
const PACKAGES: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("grub-mkimage", "grub-common"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("sbsign", "sbsigntool"),
    ("xorriso", "xorriso"),
];

/// A command that also finds what only administrators have on their path.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Runs it to its end, and gives back what it printed. Its complaints are shown when it fails.
pub fn output(command: &mut Command) -> Result<String, Fault> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().map_err(|error| missing(&name, &error))?;
    if !done.status.success() {
        let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        return Err(format!("{name} failed ({}): {}", done.status, said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

pub fn missing(program: &str, error: &std::io::Error) -> Fault {
    let package = PACKAGES.iter().find(|(name, _)| *name == program);
    let advice = package.map(|(_, package)| format!("; Debian has it in {package}: apt-get install {package}"));
    format!("{program} does not start: {error}{}", advice.unwrap_or_default()).into()
}
