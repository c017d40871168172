//! Our own programs: static, so that the image needs no library, and the same from whichever folder they are built in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Fault, tool};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Optimised like a release, without symbols; see Cargo.toml.
const PROFILE: &str = "appliance";

pub struct Programs {
    pub fairlead: Vec<u8>,
    pub init: Vec<u8>,
}

/// Builds both with cargo.
pub fn build(root: &Path) -> Result<Programs, Fault> {
    let target = target_folder(root);
    let mut cargo = Command::new(cargo());
    cargo.current_dir(root).args(["build", "--quiet", "--locked", "--profile", PROFILE, "--target", TARGET]);
    cargo.args(["-p", "fairlead", "--bin", "fairlead", "-p", "fairlead-init", "--bin", "fairlead-init"]);
    let home = cargo_home()?;
    let places = [(root, "/fairlead"), (&home, "/cargo"), (&target, "/target")];
    // Nothing unwinds where a panic aborts and no symbol is left.
    let rust: Vec<String> = ["-Ctarget-feature=+crt-static", "-Cforce-unwind-tables=no"]
        .into_iter()
        .map(str::to_owned)
        .chain(places.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())))
        .collect();
    let c: Vec<String> = ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
        .into_iter()
        .map(str::to_owned)
        .chain(places.iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display())))
        .collect();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\x1f"));
    cargo.env("CFLAGS_x86_64_unknown_linux_gnu", c.join(" ")).env("CARGO_INCREMENTAL", "0");
    let status = cargo.stdin(Stdio::null()).status().map_err(|error| tool::missing("cargo", &error))?;
    if !status.success() {
        return Err("our own programs do not build; cargo says why above".into());
    }
    read(&target.join(TARGET).join(PROFILE))
}

/// Takes both, built before, from a folder.
pub fn read(folder: &Path) -> Result<Programs, Fault> {
    Ok(Programs { fairlead: program(&folder.join("fairlead"))?, init: program(&folder.join("fairlead-init"))? })
}

fn program(path: &Path) -> Result<Vec<u8>, Fault> {
    let content = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !content.starts_with(b"\x7fELF") || has_interpreter(&content) {
        return Err(format!("{} is not a static program", path.display()).into());
    }
    Ok(content)
}

/// Whether a program header asks for a dynamic linker (`PT_INTERP`).
fn has_interpreter(file: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| {
        let field = file.get(at..at + bytes).unwrap_or_default();
        field.iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    (0..count).any(|header| number(table.saturating_add(header * size), 4) == 3)
}

pub fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo_home() -> Result<PathBuf, Fault> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    Ok(home.ok_or("neither CARGO_HOME nor HOME is set")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_dynamic_linker_is_told_apart() {
        // A test is one.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(has_interpreter(&own));
        let mut without = own[..64].to_vec();
        without[0x38] = 0;
        without[0x39] = 0;
        assert!(!has_interpreter(&without));
    }
}
