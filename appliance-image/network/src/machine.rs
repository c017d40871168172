//! What of the machine's state is in files: parameters of the kernel, the name, who answers names.

use fairlead_appliance::plan::{Kernel, Step, Wanted};
use std::io;
use std::path::{Path, PathBuf};

/// Where they are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder of the kernel's parameters.
    pub sysctl: PathBuf,
    /// The file that `/etc/resolv.conf` leads to.
    pub resolv_conf: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places { sysctl: "/proc/sys".into(), resolv_conf: "/run/resolv.conf".into() }
    }
}

impl Places {
    /// Adds to `kernel` what is not netlink's.
    pub(crate) fn read(&self, kernel: &mut Kernel) {
        kernel.hostname = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into();
        kernel.resolv_conf = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default().into();
    }

    /// Adds the parameters that are wanted, as far as they are there.
    pub(crate) fn read_sysctls(&self, kernel: &mut Kernel, wanted: &Wanted) {
        for path in wanted.sysctls.keys() {
            if let Ok(value) = std::fs::read_to_string(self.sysctl.join(&**path)) {
                kernel.sysctls.insert(path.clone(), value.trim_end().into());
            }
        }
    }

    /// Whether the kernel has a parameter of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.sysctl.join(path).is_file()
    }

    /// Does a step that is not netlink's.
    pub(crate) fn take(&self, step: &Step) -> io::Result<()> {
        match step {
            Step::SetSysctl { path, value } => match std::fs::write(self.sysctl.join(&**path), value.as_bytes()) {
                // A kernel without IPv6 takes no advertisements.
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_left_out(path, value) => Ok(()),
                written => written,
            },
            Step::SetHostname(name) => Ok(nix::unistd::sethostname(&**name)?),
            Step::SetResolver(text) => replace(&self.resolv_conf, text),
            _ => Ok(()),
        }
    }
}

fn is_left_out(path: &str, value: &str) -> bool {
    path.ends_with("/accept_ra") && value == "0"
}

/// Nobody sees half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}
