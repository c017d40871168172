//! Programs of others: how they are started, and what is said when one is not there or fails.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Fault;
use crate::progress::Progress;

/// The programs and files that are needed here and there, and the Debian packages that bring them.
const PACKAGES: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("grub-mkimage", "grub-common"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("sbsign", "sbsigntool"),
    ("xorriso", "xorriso"),
    ("cc", "gcc"),
    (STATIC_LIBRARY, "libc6-dev"),
    (UEFI, "ovmf"),
];

/// glibc as an archive, of which static programs are made.
pub const STATIC_LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libc.a";
/// UEFI for virtual machines.
pub const UEFI: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";

/// Sees to it that all of them are there: root has what is missing installed, others are told what to install.
pub fn need(wanted: &[&str], progress: &Progress) -> Result<(), Fault> {
    let missing = wanted.iter().copied().filter(|name| !is_there(name));
    let packages: BTreeSet<&str> = missing.filter_map(package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = packages.into_iter().collect();
    if output(command("id").arg("-u"))?.trim() != "0" {
        return Err(format!("packages are missing: apt-get install {}", packages.join(" ")).into());
    }
    progress.say(format_args!("installing {}", packages.join(" ")));
    output(command("apt-get").args(["update", "-q"]))?;
    let mut install = command("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-q", "-y", "--no-install-recommends"]);
    output(install.args(packages)).map(drop)
}

/// A file by its path, or a program by its name.
fn is_there(name: &str) -> bool {
    if name.starts_with('/') {
        return Path::new(name).exists();
    }
    path().split(':').any(|folder| Path::new(folder).join(name).exists())
}

fn package(name: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(known, _)| *known == name).map(|(_, package)| *package)
}

fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// A command that also finds what only administrators have on their path.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", path());
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
    let advice = package(program).map(|package| format!("; Debian has it in {package}: apt-get install {package}"));
    format!("{program} does not start: {error}{}", advice.unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert!(is_there("sh") && is_there("/etc/passwd") && !is_there("/sh") && !is_there("no-such-program"));
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert!(missing("xorriso", &error).to_string().ends_with("apt-get install xorriso"));
        assert!(need(&["sh", "/etc/passwd"], &Progress::begin()).is_ok());
    }
}
