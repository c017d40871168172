//! What the kernel has: links, addresses, routes, and the few values beside them. The edge reads it;
//! [`Kernel::take`] says what becomes of it by a step, side effects and all, as Linux does them.

use crate::plan::Step;
use crate::{BondMode, HashPolicy, LacpRate, Mac};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    pub links: Vec<KernelLink>,
    pub addresses: Vec<KernelAddress>,
    /// Of the main table.
    pub routes: Vec<KernelRoute>,
    pub hostname: Box<str>,
    pub resolv_conf: Box<str>,
    /// Values by their path below `/proc/sys`: of those that were asked for and are there.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLink {
    pub name: Box<str>,
    pub index: u32,
    pub kind: Kind,
    pub mac: Mac,
    /// The one that the card was made with.
    pub permanent: Option<Mac>,
    pub mtu: u32,
    pub up: bool,
    /// It is up and there is something at the other end.
    pub carrier: bool,
    pub master: Option<Box<str>>,
    pub alias: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Loopback,
    /// A card, or what stands in for one (a veth).
    Card,
    Vlan {
        parent: Box<str>,
        id: u16,
    },
    Bond(BondOptions),
    /// A macvlan and others that are not made from settings.
    Other,
}

/// Times in milliseconds, as the kernel has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BondOptions {
    pub mode: BondMode,
    pub miimon: u32,
    pub updelay: u32,
    pub downdelay: u32,
    pub primary: Option<Box<str>>,
    pub lacp_rate: LacpRate,
    pub hash_policy: HashPolicy,
    pub min_links: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelAddress {
    pub link: Box<str>,
    /// With the bits of the host.
    pub net: IpNet,
    /// Put there from settings or a lease, and by nobody else.
    pub ours: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    pub link: Box<str>,
    pub to: IpNet,
    pub via: Option<IpAddr>,
    /// The number in the kernel: without one, 0 for IPv4 and 1024 for IPv6.
    pub metric: u32,
    pub onlink: bool,
    pub ours: bool,
}

impl BondOptions {
    /// Whether a bond of `present` options can become this one as it is: neither the mode nor the
    /// rate of LACP can be changed in use.
    pub(super) fn can_follow(&self, present: &BondOptions) -> bool {
        (self.mode, self.lacp_rate) == (present.mode, present.lacp_rate)
    }
}

/// Longest chain of VLANs on VLANs that is followed.
const MAX_DEPTH: usize = 16;

impl Kernel {
    pub fn link(&self, name: &str) -> Option<&KernelLink> {
        self.links.iter().find(|link| &*link.name == name)
    }

    fn link_mut(&mut self, name: &str) -> Option<&mut KernelLink> {
        self.links.iter_mut().find(|link| &*link.name == name)
    }

    /// How many links are below `name`.
    pub(super) fn depth(&self, name: &str) -> usize {
        let mut at = name;
        for depth in 0..MAX_DEPTH {
            let Some(Kind::Vlan { parent, .. }) = self.link(at).map(|link| &link.kind) else { return depth };
            at = parent;
        }
        MAX_DEPTH
    }

    fn carried_by(&self, name: &str) -> Vec<Box<str>> {
        let on = |link: &&KernelLink| matches!(&link.kind, Kind::Vlan { parent, .. } if &**parent == name);
        self.links.iter().filter(on).map(|link| link.name.clone()).collect()
    }

    /// The state after `step`.
    pub fn take(&mut self, step: &Step) {
        match step {
            Step::SetSysctl { path, value } => drop(self.sysctls.insert(path.clone(), value.clone())),
            Step::DeleteLink(name) => self.delete(name),
            Step::CreateBond { name, options } => self.create(name, Kind::Bond(options.clone())),
            Step::ConfigureBond { name, options } => {
                if let Some(link) = self.link_mut(name) {
                    link.kind = Kind::Bond(options.clone());
                }
            }
            Step::CreateVlan { name, parent, id } => self.create(name, Kind::Vlan { parent: parent.clone(), id: *id }),
            Step::SetMaster { link, master } => self.set_master(link, master.as_deref()),
            Step::Down(name) => self.down(name),
            Step::Up(name) => self.up(name),
            Step::SetMac { link, mac } => {
                if let Some(link) = self.link_mut(link) {
                    link.mac = *mac;
                }
            }
            Step::SetMtu { link, mtu } => self.set_mtu(link, *mtu),
            Step::SetAlias { link, alias } => {
                if let Some(link) = self.link_mut(link) {
                    link.alias = alias.clone();
                }
            }
            Step::AddAddress { link, net } => {
                self.addresses.push(KernelAddress { link: link.clone(), net: *net, ours: true });
            }
            Step::DeleteAddress { link, net } => {
                self.addresses.retain(|address| (&address.link, &address.net) != (link, net));
            }
            Step::SetRoute(route) => {
                self.routes.retain(|other| !(other.ours && other.to == route.to && other.metric == route.metric));
                self.routes.push(route.clone());
            }
            Step::DeleteRoute(route) => self.routes.retain(|other| other != route),
            Step::SetHostname(name) => self.hostname.clone_from(name),
            Step::SetResolver(text) => self.resolv_conf.clone_from(text),
        }
    }

    fn create(&mut self, name: &str, kind: Kind) {
        let index = self.links.iter().map(|link| link.index).max().unwrap_or(0).saturating_add(1);
        let parent = match &kind {
            Kind::Vlan { parent, .. } => self.link(parent),
            _ => None,
        };
        let (mtu, mac) = parent.map_or((1500, Mac::default()), |parent| (parent.mtu, parent.mac));
        let link = KernelLink {
            name: name.into(),
            index,
            kind,
            mac,
            permanent: None,
            mtu,
            up: false,
            carrier: false,
            master: None,
            alias: "".into(),
        };
        self.links.push(link);
        // It has parameters of its own from now on.
        self.sysctls.insert(format!("net/ipv6/conf/{name}/accept_ra").into(), "1".into());
    }

    fn delete(&mut self, name: &str) {
        self.carried_by(name).iter().for_each(|carried| self.delete(carried));
        let members: Vec<_> = self.links.iter().filter(|link| link.master.as_deref() == Some(name)).cloned().collect();
        members.iter().for_each(|member| self.set_master(&member.name, None));
        self.links.retain(|link| &*link.name != name);
        self.addresses.retain(|address| &*address.link != name);
        self.routes.retain(|route| &*route.link != name);
        let own = format!("net/ipv6/conf/{name}/");
        self.sysctls.retain(|path, _| !path.starts_with(&own));
    }

    /// A member is up, and has the size of its bond; one that is released is down.
    fn set_master(&mut self, name: &str, master: Option<&str>) {
        if master.is_none() {
            self.down(name);
        }
        let size = master.and_then(|master| self.link(master)).map(|bond| bond.mtu);
        let Some(link) = self.link_mut(name) else { return };
        link.master = master.map(Into::into);
        match size {
            Some(mtu) => (link.up, link.mtu) = (true, mtu),
            None => link.mac = link.permanent.unwrap_or(link.mac),
        }
        if master.is_some() {
            self.addresses.retain(|address| &*address.link != name);
        }
    }

    /// IPv4 routes and everything of IPv6 go with it; VLANs follow their parent.
    fn down(&mut self, name: &str) {
        let Some(link) = self.link_mut(name) else { return };
        (link.up, link.carrier) = (false, false);
        self.routes.retain(|route| &*route.link != name);
        self.addresses.retain(|address| &*address.link != name || address.net.addr().is_ipv4());
        for carried in self.carried_by(name) {
            self.down(&carried);
        }
    }

    fn up(&mut self, name: &str) {
        let Some(link) = self.link_mut(name) else { return };
        link.up = true;
        for carried in self.carried_by(name) {
            self.up(&carried);
        }
    }

    fn set_mtu(&mut self, name: &str, mtu: u32) {
        let Some(link) = self.link_mut(name) else { return };
        link.mtu = mtu;
        let bond = matches!(link.kind, Kind::Bond(_));
        for carried in self.carried_by(name) {
            if self.link(&carried).is_some_and(|carried| carried.mtu > mtu) {
                self.set_mtu(&carried, mtu);
            }
        }
        let members = self.links.iter_mut().filter(|link| bond && link.master.as_deref() == Some(name));
        members.for_each(|member| member.mtu = mtu);
    }
}
