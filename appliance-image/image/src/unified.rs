//! The unified kernel image: made of kernel, initramfs and command line, and signed for Secure Boot where keys are given.

use std::fs;
use std::path::{Path, PathBuf};

use fairlead_disk::slot::Version;

use crate::{Fault, tool};

/// Both consoles, the serial one for `/dev/console`; a panic restarts the machine, which ends the trial of an image.
const ARGUMENTS: &str = "console=tty0 console=ttyS0,115200 panic=5 loglevel=4";

pub fn arguments(version: Version, more: &str) -> String {
    format!("{ARGUMENTS} fairlead.slot={version} {more}").trim_end().to_owned()
}

/// os-release(5).
pub fn os_release(version: Version) -> String {
    format!("ID=fairlead\nNAME=fairlead\nPRETTY_NAME=\"fairlead {version}\"\nVERSION_ID={version}\n")
}

/// A key and a certificate (PEM) that firmware trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecureBoot {
    pub key: PathBuf,
    pub certificate: PathBuf,
}

impl SecureBoot {
    /// The same program, signed.
    pub fn sign(&self, program: &[u8], work: &Path) -> Result<Vec<u8>, Fault> {
        let (plain, signed) = (work.join("plain.efi"), work.join("signed.efi"));
        fs::write(&plain, program)?;
        let mut sbsign = tool::command("sbsign");
        sbsign.arg("--key").arg(&self.key).arg("--cert").arg(&self.certificate);
        tool::output(sbsign.arg("--output").arg(&signed).arg(&plain))?;
        Ok(fs::read(signed)?)
    }
}
