//! What an `appliance {}` block says, as values. Made by [`crate::of`] and [`crate::read`], which
//! let nothing through that contradicts itself.

use crate::{Bond, Interface, Vlan, Written};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The whole block. Without one, the same as an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub hostname: Option<Box<str>>,
    /// Name servers; empty leaves them to DHCP.
    pub dns: Vec<IpAddr>,
    /// Domains that short names are looked up in; empty leaves them to DHCP.
    pub search: Vec<Box<str>>,
    pub ntp: Ntp,
    pub interfaces: Vec<Interface>,
    pub vlans: Vec<Vlan>,
    pub bonds: Vec<Bond>,
    pub management: Management,
    /// What `crypt` makes of the console's password.
    pub console_password: Option<Box<str>>,
    pub watchdog: Watchdog,
    pub sysctls: Vec<Sysctl>,
    /// ed25519 public keys that may sign a new version, beside those that are built in.
    pub update_keys: Vec<[u8; 32]>,
}

/// Where the time comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ntp {
    /// The servers that DHCP names, or none.
    #[default]
    Leased,
    Off,
    /// Names or addresses.
    Servers(Vec<Box<str>>),
}

/// How the appliance is managed from afar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Management {
    /// `None`: nobody listens.
    pub listen: Option<SocketAddr>,
    /// Clients that may connect from the network as well as those enrolled at the console.
    pub authorized_keys: Vec<AuthorizedKey>,
    /// Networks that clients may come from; empty is everywhere.
    pub allow: Vec<IpNet>,
    /// How long a changed configuration waits to be confirmed before it is rolled back.
    pub confirm: Duration,
}

/// A client of the management: SHA-256 of its SubjectPublicKeyInfo, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey {
    pub digest: [u8; 32],
    pub comment: Box<str>,
}

/// How long the hardware waits for a sign of life before it resets the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchdog {
    Off,
    After(Duration),
}

/// One parameter of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// With dots, or with slashes where a part holds a dot itself.
    pub name: Written<Box<str>>,
    pub value: Box<str>,
}

pub const DEFAULT_MANAGEMENT_PORT: u16 = 8443;
const DEFAULT_CONFIRM: Duration = Duration::from_secs(300);
const DEFAULT_WATCHDOG: Duration = Duration::from_secs(30);

impl Default for Management {
    fn default() -> Management {
        Management {
            listen: Some(SocketAddr::from(([0; 16], DEFAULT_MANAGEMENT_PORT))),
            authorized_keys: Vec::new(),
            allow: Vec::new(),
            confirm: DEFAULT_CONFIRM,
        }
    }
}

impl Default for Watchdog {
    fn default() -> Watchdog {
        Watchdog::After(DEFAULT_WATCHDOG)
    }
}

impl Sysctl {
    /// Its file below `/proc/sys`.
    pub fn path(&self) -> String {
        path_of(&self.name)
    }
}

/// `net.ipv4.tcp_rmem` or `net/ipv4/conf/eth0.10/forwarding` as a path below `/proc/sys`.
pub(crate) fn path_of(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { name.replace('.', "/") }
}
