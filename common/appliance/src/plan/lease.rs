//! What DHCP gave to a link, as far as it changes the machine.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// An address and what came with it. Whoever keeps it alive knows for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The kernel's name of the link.
    pub link: Box<str>,
    pub address: Ipv4Net,
    pub routers: Vec<Ipv4Addr>,
    /// Routes of their own (RFC 3442). Where there are any, `routers` mean nothing.
    pub routes: Vec<LeaseRoute>,
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<Box<str>>,
    pub hostname: Option<Box<str>>,
    pub ntp: Vec<Ipv4Addr>,
    pub mtu: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRoute {
    pub to: Ipv4Net,
    /// `None`: on the link itself.
    pub via: Option<Ipv4Addr>,
}

impl Lease {
    /// The routes that are in force.
    pub fn routes(&self) -> Vec<LeaseRoute> {
        if !self.routes.is_empty() {
            return self.routes.clone();
        }
        let default = |via: &Ipv4Addr| LeaseRoute { to: Ipv4Net::default(), via: Some(*via) };
        // The first one; the kernel knows nothing of a second of the same metric.
        self.routers.first().map(default).into_iter().collect()
    }
}
