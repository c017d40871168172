//! Network namespaces of a test's own. A namespace belongs to a thread, and ends with it.

use fairlead_appliance::Settings;
use fairlead_conf::Tree;
use fairlead_network::{Network, Places};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A namespace with a veth pair for each number, `a0` to `b0`, and a folder for files.
pub struct Space {
    pub folder: PathBuf,
}

impl Space {
    /// Moves this thread into a new namespace, of the network and of the machine's name.
    pub fn enter(name: &str, pairs: usize) -> Space {
        let flags = nix::sched::CloneFlags::CLONE_NEWNET | nix::sched::CloneFlags::CLONE_NEWUTS;
        nix::sched::unshare(flags).expect("these tests make network namespaces, which only root may");
        let folder = std::env::temp_dir().join(format!("fairlead-network-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        ip("link set lo up");
        for number in 0..pairs {
            ip(&format!("link add a{number} type veth peer name b{number}"));
        }
        Space { folder }
    }

    pub fn network(&self) -> Network {
        Network::open(Places { resolv_conf: self.folder.join("resolv.conf"), ..Places::default() }, 7).unwrap()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What `ip` prints.
#[track_caller]
pub fn ip(arguments: &str) -> String {
    let done = Command::new("ip").args(arguments.split_whitespace()).output().expect("iproute2 is installed");
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The settings of a block with `text` in it.
#[track_caller]
pub fn settings(text: &str) -> Settings {
    let file = Path::new("fairlead.conf");
    let reading = fairlead_appliance::of(Tree::parse(file, &format!("appliance {{ {text} }}")), file);
    let complaints = reading.complaints();
    reading.settings.unwrap_or_else(|| panic!("{complaints}"))
}
