//! What is mounted where, before anything else runs.

use rustix::mount::{MountFlags, mount};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};

struct Mount {
    at: &'static str,
    kind: &'static str,
    flags: MountFlags,
    data: &'static str,
}

const STILL: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);

const MOUNTS: &[Mount] = &[
    Mount { at: "/proc", kind: "proc", flags: STILL, data: "" },
    Mount { at: "/sys", kind: "sysfs", flags: STILL, data: "" },
    Mount { at: "/sys/kernel/security", kind: "securityfs", flags: STILL, data: "" },
    Mount { at: "/dev", kind: "devtmpfs", flags: MountFlags::NOSUID.union(MountFlags::NOEXEC), data: "mode=0755" },
    Mount { at: "/run", kind: "tmpfs", flags: STILL, data: "mode=0755,size=50%" },
    Mount { at: "/tmp", kind: "tmpfs", flags: STILL, data: "mode=1777,size=25%" },
    Mount { at: "/dev/shm", kind: "tmpfs", flags: STILL, data: "mode=1777,size=25%" },
];

/// Folders of `/run`: who owns them and who may look inside.
const FOLDERS: &[(&str, u32, u32)] = &[("/run/log", 0, 0o755), ("/run/fairlead", 0, 0o755)];

/// Mounts everything; what could not be, in words.
pub fn all() -> Vec<String> {
    let mut failed = Vec::new();
    for wanted in MOUNTS {
        if let Err(error) = one(wanted) {
            failed.push(format!("{} on {}: {error}", wanted.kind, wanted.at));
        }
    }
    for (folder, owner, mode) in FOLDERS {
        if let Err(error) = make(folder, *owner, *mode) {
            failed.push(format!("{folder}: {error}"));
        }
    }
    let bounded = Mount { at: "/run/log", kind: "tmpfs", flags: STILL, data: "mode=0755,size=16m" };
    if let Err(error) = one(&bounded) {
        failed.push(format!("{}: {error}", bounded.at));
    }
    // Only a console that needs them misses them.
    for (link, to) in [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stderr", "/proc/self/fd/2")] {
        let _ = symlink(to, format!("/dev/{link}"));
    }
    failed
}

fn one(wanted: &Mount) -> io::Result<()> {
    fs::create_dir_all(wanted.at)?;
    let data = CString::new(wanted.data)?;
    match mount(wanted.kind, wanted.at, wanted.kind, wanted.flags, Some(data.as_c_str())) {
        // The kernel mounts /dev itself when it is told so.
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn make(folder: &str, owner: u32, mode: u32) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))?;
    std::os::unix::fs::chown(folder, Some(owner), Some(owner))
}
