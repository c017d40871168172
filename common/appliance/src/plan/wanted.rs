//! How the machine shall be.

use crate::plan::{BondOptions, Kernel, KernelAddress, KernelLink, KernelRoute, Kind, Lease};
use crate::settings::Settings;
use crate::{Bond, HashPolicy, LacpRate, Link, LinkName, Mac};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub links: BTreeMap<Box<str>, WantedLink>,
    pub bonds: BTreeMap<Box<str>, BondOptions>,
    /// Every value is a [`Kind::Vlan`].
    pub vlans: BTreeMap<Box<str>, Kind>,
    pub addresses: Vec<KernelAddress>,
    pub routes: Vec<KernelRoute>,
    pub hostname: Box<str>,
    pub resolv_conf: Box<str>,
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// Links whose addresses come by DHCP.
    pub dhcp: Vec<Box<str>>,
    /// Cards that the settings speak of and the machine does not have.
    pub missing: Vec<LinkName>,
}

/// `None`: as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedLink {
    pub up: bool,
    pub mtu: Option<u32>,
    pub mac: Option<Mac>,
    pub master: Option<Box<str>>,
    pub alias: Option<Box<str>>,
}

const DEFAULT_HOSTNAME: &str = "fairlead";
const DEFAULT_MTU: u32 = 1500;
/// Metric of the default route of the first link that DHCP serves; the next one's is one more. One
/// that is written without a metric comes before it.
const LEASED_METRIC: u32 = 100;
/// What the kernel gives to an IPv6 route without a metric.
const IPV6_METRIC: u32 = 1024;
/// Without it, the other addresses of a network go with the first one.
const PROMOTE_SECONDARIES: &str = "net/ipv4/conf/all/promote_secondaries";

impl Wanted {
    /// What `settings` and `leases` say of a machine that has the cards of `kernel`.
    pub fn of(settings: &Settings, kernel: &Kernel, leases: &[Lease]) -> Wanted {
        let mut wanted = Wanted::default();
        wanted.sysctls.insert(PROMOTE_SECONDARIES.into(), "1".into());
        for sysctl in &settings.sysctls {
            wanted.sysctls.insert(sysctl.path().into(), sysctl.value.clone());
        }
        for interface in &settings.interfaces {
            match find(kernel, &interface.name) {
                Some(card) => wanted.card(card, &interface.link, leases),
                None => wanted.missing.push(interface.name.value.clone()),
            }
        }
        for bond in &settings.bonds {
            wanted.bond(bond, kernel, leases);
        }
        for vlan in &settings.vlans {
            let parent = match &vlan.parent.value {
                LinkName::Name(name) => name.clone(),
                LinkName::Mac(_) => match find(kernel, &vlan.parent) {
                    Some(card) => card.name.clone(),
                    None => continue,
                },
            };
            wanted.vlans.insert(vlan.name.value.clone(), Kind::Vlan { parent, id: vlan.id });
        }
        // Parents first, whose size is that of what they carry.
        let mut vlans: Vec<_> = settings.vlans.iter().collect();
        vlans.sort_by_key(|vlan| wanted.depth(&vlan.name));
        for vlan in vlans {
            let Some(Kind::Vlan { parent, .. }) = wanted.vlans.get(&vlan.name.value) else { continue };
            let carrier = wanted.links.get(parent).and_then(|link| link.mtu);
            wanted.link(&vlan.name, &vlan.link, (None, carrier, leases));
        }
        wanted.names(settings, leases);
        wanted
    }

    /// What `kernel` is, so that what came after it can be undone.
    pub fn as_it_was(kernel: &Kernel) -> Wanted {
        let mut wanted = Wanted {
            addresses: kernel.addresses.iter().filter(|address| address.ours).cloned().collect(),
            routes: kernel.routes.iter().filter(|route| route.ours).cloned().collect(),
            hostname: kernel.hostname.clone(),
            resolv_conf: kernel.resolv_conf.clone(),
            sysctls: kernel.sysctls.clone(),
            ..Wanted::default()
        };
        for link in &kernel.links {
            match &link.kind {
                Kind::Bond(options) => drop(wanted.bonds.insert(link.name.clone(), options.clone())),
                Kind::Vlan { .. } => drop(wanted.vlans.insert(link.name.clone(), link.kind.clone())),
                Kind::Loopback | Kind::Card => {}
                Kind::Other => continue,
            }
            let link_wanted = WantedLink {
                up: link.up,
                mtu: Some(link.mtu),
                mac: Some(link.mac),
                master: link.master.clone(),
                alias: Some(link.alias.clone()),
            };
            wanted.links.insert(link.name.clone(), link_wanted);
        }
        wanted
    }

    fn depth(&self, name: &str) -> usize {
        let mut at = name;
        for depth in 0..=self.vlans.len() {
            let Some(Kind::Vlan { parent, .. }) = self.vlans.get(at) else { return depth };
            at = parent;
        }
        self.vlans.len()
    }

    fn card(&mut self, card: &KernelLink, link: &Link, leases: &[Lease]) {
        if card.kind == Kind::Loopback {
            return self.link(&card.name, link, (None, None, leases));
        }
        let leased = leases.iter().find(|lease| lease.link == card.name && link.dhcp.is_some());
        let mtu = leased.and_then(|lease| lease.mtu).unwrap_or(DEFAULT_MTU);
        self.link(&card.name, link, (card.permanent, Some(mtu), leases));
    }

    fn bond(&mut self, bond: &Bond, kernel: &Kernel, leases: &[Lease]) {
        let name = &bond.name.value;
        let own = |name: &LinkName| find(kernel, name).map(|card| card.name.clone());
        self.bonds.insert(name.clone(), options(bond, bond.primary.as_ref().and_then(|primary| own(primary))));
        for member in &bond.members {
            let Some(card) = find(kernel, member) else {
                self.missing.push(member.value.clone());
                continue;
            };
            let link = self.links.entry(card.name.clone()).or_default();
            *link =
                WantedLink { up: true, master: Some(name.clone()), alias: link.alias.take(), ..WantedLink::default() };
        }
        let leased = leases.iter().find(|lease| lease.link == *name && bond.link.dhcp.is_some());
        let mtu = leased.and_then(|lease| lease.mtu).unwrap_or(DEFAULT_MTU);
        self.link(name, &bond.link, (None, Some(mtu), leases));
    }

    /// What all kinds of links have; where nothing is written, the hardware address and MTU given.
    fn link(&mut self, name: &str, link: &Link, (mac, mtu, leases): (Option<Mac>, Option<u32>, &[Lease])) {
        let wanted = WantedLink {
            up: true,
            mtu: link.mtu.map(|mtu| mtu.value).or(mtu),
            mac: link.mac.or(mac),
            master: None,
            alias: Some(link.description.clone().unwrap_or_default()),
        };
        self.links.insert(name.into(), wanted);
        if name != "lo" {
            // 2: even where packets are forwarded.
            let accept = if link.auto.is_some() { "2" } else { "0" };
            self.sysctls.insert(format!("net/ipv6/conf/{name}/accept_ra").into(), accept.into());
        }
        if link.dhcp.is_some() {
            self.dhcp.push(name.into());
        }
        for address in &link.addresses {
            self.addresses.push(KernelAddress { link: name.into(), net: address.value, ours: true });
        }
        for gateway in &link.gateways {
            let to = if gateway.address.is_ipv4() { Ipv4Net::default().into() } else { Ipv6Net::default().into() };
            self.route(name, (to, Some(gateway.address.value)), (gateway.metric, gateway.onlink));
        }
        for route in &link.routes {
            let via = route.via.map(|via| via.value);
            self.route(name, (route.to.value, via), (route.metric, route.onlink));
        }
        for (position, lease) in leases.iter().enumerate() {
            if &*lease.link == name && link.dhcp.is_some() {
                self.lease(lease, u32::try_from(position).unwrap_or(0));
            }
        }
    }

    fn route(&mut self, link: &str, (to, via): (IpNet, Option<IpAddr>), (metric, onlink): (Option<u32>, bool)) {
        let metric = metric.filter(|metric| *metric > 0).unwrap_or(if to.addr().is_ipv4() { 0 } else { IPV6_METRIC });
        let route = KernelRoute { link: link.into(), to, via, metric, onlink: onlink && via.is_some(), ours: true };
        let same = |other: &KernelRoute| other.to == route.to && other.metric == route.metric;
        // What is written comes before what is leased, and both before a second of the same.
        if !self.routes.iter().any(same) {
            self.routes.push(route);
        }
    }

    fn lease(&mut self, lease: &Lease, position: u32) {
        let net = IpNet::V4(lease.address);
        if !self.addresses.iter().any(|address| address.net.addr() == net.addr()) {
            self.addresses.push(KernelAddress { link: lease.link.clone(), net, ours: true });
        }
        for route in lease.routes() {
            // Some clouds lease a single address and a router beyond it.
            let beyond = |via: Ipv4Addr| !lease.address.contains(&via);
            let metric = LEASED_METRIC.saturating_add(position);
            let via = route.via.map(IpAddr::V4);
            self.route(&lease.link, (route.to.into(), via), (Some(metric), route.via.is_some_and(beyond)));
        }
    }

    fn names(&mut self, settings: &Settings, leases: &[Lease]) {
        let leased = leases.iter().find_map(|lease| lease.hostname.clone());
        self.hostname = settings.hostname.clone().or(leased).unwrap_or_else(|| DEFAULT_HOSTNAME.into());
        let domains = leases.iter().filter_map(|lease| lease.domain.clone());
        let search = if settings.search.is_empty() { unique(domains) } else { settings.search.clone() };
        let servers = leases.iter().flat_map(|lease| &lease.dns).map(|server| IpAddr::V4(*server));
        let dns = if settings.dns.is_empty() { unique(servers) } else { settings.dns.clone() };
        let mut text = String::new();
        if !search.is_empty() {
            text.push_str(&format!("search {}\n", search.join(" ")));
        }
        dns.iter().take(3).for_each(|server| text.push_str(&format!("nameserver {server}\n")));
        self.resolv_conf = text.into();
    }
}

fn unique<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

/// The card of this name, or with this address; the one it was made with counts most, since members
/// of a bond share one.
fn find<'k>(kernel: &'k Kernel, name: &LinkName) -> Option<&'k KernelLink> {
    match name {
        LinkName::Name(name) => kernel.link(name),
        LinkName::Mac(mac) => {
            let cards = || kernel.links.iter().filter(|link| link.kind == Kind::Card);
            let own = cards().find(|link| link.permanent == Some(*mac));
            own.or_else(|| cards().find(|link| link.mac == *mac && link.permanent.is_none()))
        }
    }
}

fn options(bond: &Bond, primary: Option<Box<str>>) -> BondOptions {
    let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let miimon = millis(bond.miimon).max(1);
    // As the kernel does.
    let whole = |time: Duration| millis(time) / miimon * miimon;
    BondOptions {
        mode: bond.mode,
        miimon,
        updelay: whole(bond.updelay),
        downdelay: whole(bond.downdelay),
        primary,
        lacp_rate: bond.lacp_rate.map_or(LacpRate::Slow, |rate| rate.value),
        hash_policy: bond.hash_policy.map_or(HashPolicy::Layer2, |policy| policy.value),
        min_links: bond.min_links.map_or(0, |number| number.value),
    }
}
