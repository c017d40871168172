//! The partition that keeps what the machine was told. The kernel repairs it when it is mounted (the
//! journal is played back), and it can be written for as long as something is being written.

use crate::block_devices;
use crate::mkfs;
use crate::say;
use fairlead_appliance::store::Store;
use fairlead_disk::layout::CONFIGURATION_NAME;
use rustix::mount::{MountFlags, mount, mount_remount};
use std::fs;
use std::path::PathBuf;

pub const FOLDER: &str = "/conf";
const STILL: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);

#[derive(Debug)]
pub enum Partition {
    /// Mounted, read-only between changes.
    Kept(PathBuf),
    /// The machine has none: what is told lasts until it ends.
    InMemory,
    /// There is one that cannot be mounted; what is told lasts until the machine ends.
    Broken(PathBuf),
}

impl Partition {
    /// Finds and mounts it; `expected` says whether the machine was started from a disk.
    pub fn open(expected: bool) -> Partition {
        let found = block_devices::wait_for(CONFIGURATION_NAME, expected);
        let partition = match found {
            None => Partition::InMemory,
            Some(device) => {
                match mount(&device, FOLDER, "ext4", STILL | MountFlags::RDONLY, Some(c"errors=remount-ro")) {
                    Ok(()) => Partition::Kept(device),
                    Err(error) => {
                        say::trouble(
                            format!("the configuration on {} cannot be read: {error}", device.display()),
                            "the built-in default is served; a factory reset at the console makes it anew",
                        );
                        Partition::Broken(device)
                    }
                }
            }
        };
        if !matches!(partition, Partition::Kept(_))
            && let Err(error) = mount("tmpfs", FOLDER, "tmpfs", STILL, Some(c"mode=0700,size=32m"))
        {
            say::trouble(format!("{FOLDER} cannot be mounted: {error}"), "give the machine more memory");
        }
        partition
    }

    pub fn store() -> Store {
        Store::at(FOLDER)
    }

    /// Makes it writable, or read-only again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn writable(&self, yes: bool) -> std::io::Result<()> {
        if !matches!(self, Partition::Kept(_)) {
            return Ok(());
        }
        let flags = if yes { STILL } else { STILL | MountFlags::RDONLY };
        Ok(mount_remount(FOLDER, flags, "errors=remount-ro")?)
    }

    /// Writes to it, and makes it read-only again.
    ///
    /// # Errors
    /// What `act` says, and that the partition cannot be made writable.
    pub fn write<T, E: ToString>(&self, act: impl FnOnce(&Store) -> Result<T, E>) -> Result<T, String> {
        self.writable(true).map_err(|error| format!("the configuration partition cannot be written: {error}"))?;
        let done = act(&Partition::store()).map_err(|error| error.to_string());
        if let Err(error) = self.writable(false) {
            say::trouble(format!("the configuration partition stays writable: {error}"), "nothing is lost");
        }
        done
    }

    pub fn describe(&self) -> String {
        match self {
            Partition::Kept(device) => format!("on {}, read-only until it is written", device.display()),
            Partition::InMemory => "no partition; what is changed lasts until the next start".into(),
            Partition::Broken(device) => {
                format!("{} is damaged; what is changed lasts until the next start", device.display())
            }
        }
    }

    /// Forgets everything that was told. A damaged partition is made anew.
    ///
    /// # Errors
    /// What failed.
    pub fn reset(&mut self) -> Result<(), String> {
        if let Partition::Broken(device) = self {
            // The machine starts again from it.
            return mkfs::anew(device).map_err(|error| format!("{} cannot be written: {error}", device.display()));
        }
        self.write(|_| -> std::io::Result<()> {
            for entry in fs::read_dir(FOLDER)? {
                let entry = entry?;
                if entry.file_name() == "lost+found" {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?
                } else {
                    fs::remove_file(entry.path())?
                }
            }
            rustix::fs::sync();
            Ok(())
        })
    }
}
