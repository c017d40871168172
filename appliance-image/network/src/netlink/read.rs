//! What the kernel has, out of the answers to three questions.

use super::wire::{Message, attributes, number, short, text};
use super::{Netlink, OURS};
use fairlead_appliance::plan::{BondOptions, Kernel, KernelAddress, KernelLink, KernelRoute, Kind};
use fairlead_appliance::{BondMode, HashPolicy, LacpRate, Mac};
use ipnet::IpNet;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

/// Attributes that libc does not name.
pub(super) const IFLA_PERM_ADDRESS: u16 = 54;
pub(super) const IFLA_VLAN_ID: u16 = 1;
pub(super) const IFA_PROTO: u16 = 11;
/// In the order of the kernel's `if_link.h`.
pub(super) mod bond {
    pub const MODE: u16 = 1;
    pub const MIIMON: u16 = 3;
    pub const UPDELAY: u16 = 4;
    pub const DOWNDELAY: u16 = 5;
    pub const PRIMARY: u16 = 11;
    pub const XMIT_HASH_POLICY: u16 = 14;
    pub const MIN_LINKS: u16 = 18;
    pub const LACP_RATE: u16 = 21;
}

const RTM_F_CLONED: u32 = 0x200;
pub(super) const RTNH_F_ONLINK: u32 = 4;

/// A link with what refers to others by number.
struct RawLink {
    link: KernelLink,
    master: Option<u32>,
    parent: Option<u32>,
    primary: Option<u32>,
}

impl Netlink {
    /// Links, addresses and routes; the rest of [`Kernel`] is not netlink's.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn kernel(&mut self) -> io::Result<Kernel> {
        let links = self.links()?;
        let names: HashMap<u32, Box<str>> = links.iter().map(|link| (link.index, link.name.clone())).collect();
        let (addresses, routes) = (self.addresses(&names)?, self.routes(&names)?);
        Ok(Kernel { links, addresses, routes, ..Kernel::default() })
    }

    /// # Errors
    /// The kernel does not answer.
    pub fn links(&mut self) -> io::Result<Vec<KernelLink>> {
        let mut raw = Vec::new();
        self.dump(Message::new(libc::RTM_GETLINK, &[0; 16]), &mut |kind, body| {
            raw.extend(link(body).filter(|_| kind == libc::RTM_NEWLINK));
        })?;
        let names: HashMap<u32, Box<str>> = raw.iter().map(|raw| (raw.link.index, raw.link.name.clone())).collect();
        let named = |index: Option<u32>| index.and_then(|index| names.get(&index)).cloned();
        let finished = raw.into_iter().map(|mut raw| {
            raw.link.master = named(raw.master);
            match &mut raw.link.kind {
                Kind::Vlan { parent, .. } => *parent = named(raw.parent).unwrap_or_default(),
                Kind::Bond(options) => options.primary = named(raw.primary),
                Kind::Loopback | Kind::Card | Kind::Other => {}
            }
            raw.link
        });
        Ok(finished.collect())
    }

    fn addresses(&mut self, names: &HashMap<u32, Box<str>>) -> io::Result<Vec<KernelAddress>> {
        let mut found = Vec::new();
        self.dump(Message::new(libc::RTM_GETADDR, &[0; 8]), &mut |kind, body| {
            found.extend(address(body, names).filter(|_| kind == libc::RTM_NEWADDR));
        })?;
        Ok(found)
    }

    fn routes(&mut self, names: &HashMap<u32, Box<str>>) -> io::Result<Vec<KernelRoute>> {
        let mut found = Vec::new();
        self.dump(Message::new(libc::RTM_GETROUTE, &[0; 12]), &mut |kind, body| {
            found.extend(route(body, names).filter(|_| kind == libc::RTM_NEWROUTE));
        })?;
        Ok(found)
    }
}

fn link(body: &[u8]) -> Option<RawLink> {
    let (hardware, index, flags) = (short(body, 2)?, number(body, 4)?, number(body, 8)?);
    let flag = |flag: i32| flags & flag.cast_unsigned() != 0;
    let up = flag(libc::IFF_UP);
    let mut raw = RawLink {
        link: KernelLink {
            name: "".into(),
            index,
            kind: Kind::Other,
            mac: Mac::default(),
            permanent: None,
            mtu: 0,
            up,
            carrier: up && flag(libc::IFF_LOWER_UP),
            master: None,
            alias: "".into(),
        },
        master: None,
        parent: None,
        primary: None,
    };
    let (mut kind, mut data) = (None, &[][..]);
    for (attribute, value) in attributes(body.get(16..)?) {
        match attribute {
            libc::IFLA_IFNAME => raw.link.name = text(value),
            libc::IFLA_ADDRESS => raw.link.mac = mac(value).unwrap_or_default(),
            IFLA_PERM_ADDRESS => raw.link.permanent = mac(value).filter(|mac| mac.is_unicast()),
            libc::IFLA_MTU => raw.link.mtu = number(value, 0)?,
            libc::IFLA_MASTER => raw.master = number(value, 0),
            libc::IFLA_LINK => raw.parent = number(value, 0),
            libc::IFLA_IFALIAS => raw.link.alias = text(value),
            libc::IFLA_LINKINFO => {
                for (attribute, value) in attributes(value) {
                    match attribute {
                        libc::IFLA_INFO_KIND => kind = Some(text(value)),
                        libc::IFLA_INFO_DATA => data = value,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    raw.link.kind = match kind.as_deref() {
        _ if hardware == libc::ARPHRD_LOOPBACK => Kind::Loopback,
        None | Some("veth" | "dummy") if hardware == libc::ARPHRD_ETHER => Kind::Card,
        Some("vlan") => {
            let id = attributes(data).find(|(kind, _)| *kind == IFLA_VLAN_ID).and_then(|(_, value)| short(value, 0));
            Kind::Vlan { parent: "".into(), id: id? }
        }
        Some("bond") => {
            raw.primary = find(data, bond::PRIMARY).and_then(|value| number(value, 0));
            bond_options(data).map_or(Kind::Other, Kind::Bond)
        }
        _ => Kind::Other,
    };
    Some(raw)
}

fn find(data: &[u8], attribute: u16) -> Option<&[u8]> {
    attributes(data).find(|(kind, _)| *kind == attribute).map(|(_, value)| value)
}

/// `None` for a mode that is not ours.
fn bond_options(data: &[u8]) -> Option<BondOptions> {
    let byte = |attribute: u16| find(data, attribute).and_then(|value| value.first().copied());
    let long = |attribute: u16| find(data, attribute).and_then(|value| number(value, 0)).unwrap_or(0);
    let mode =
        [BondMode::ActiveBackup, BondMode::Lacp].into_iter().find(|mode| Some(*mode as u8) == byte(bond::MODE))?;
    let policies = [HashPolicy::Layer2, HashPolicy::Layer23, HashPolicy::Layer34];
    let policy = byte(bond::XMIT_HASH_POLICY);
    Some(BondOptions {
        mode,
        miimon: long(bond::MIIMON),
        updelay: long(bond::UPDELAY),
        downdelay: long(bond::DOWNDELAY),
        primary: None,
        lacp_rate: if byte(bond::LACP_RATE) == Some(1) { LacpRate::Fast } else { LacpRate::Slow },
        hash_policy: policies.into_iter().find(|known| Some(*known as u8) == policy).unwrap_or(HashPolicy::Layer2),
        min_links: long(bond::MIN_LINKS),
    })
}

fn address(body: &[u8], names: &HashMap<u32, Box<str>>) -> Option<KernelAddress> {
    let (length, index) = (*body.get(1)?, number(body, 4)?);
    let (mut own, mut other, mut ours) = (None, None, false);
    for (attribute, value) in attributes(body.get(8..)?) {
        match attribute {
            libc::IFA_LOCAL => own = ip(value),
            libc::IFA_ADDRESS => other = ip(value),
            IFA_PROTO => ours = value.first() == Some(&OURS),
            _ => {}
        }
    }
    let net = IpNet::new(own.or(other)?, length).ok()?;
    Some(KernelAddress { link: names.get(&index)?.clone(), net, ours })
}

fn route(body: &[u8], names: &HashMap<u32, Box<str>>) -> Option<KernelRoute> {
    let [family, length, _, _, table, protocol, _, kind] = *body.first_chunk::<8>()?;
    let flags = number(body, 8)?;
    if table != libc::RT_TABLE_MAIN || kind != libc::RTN_UNICAST || flags & RTM_F_CLONED != 0 {
        return None;
    }
    let nothing: IpAddr = match i32::from(family) {
        libc::AF_INET => [0; 4].into(),
        libc::AF_INET6 => [0; 16].into(),
        _ => return None,
    };
    let (mut to, mut via, mut metric, mut index) = (nothing, None, 0, None);
    for (attribute, value) in attributes(body.get(12..)?) {
        match attribute {
            libc::RTA_DST => to = ip(value)?,
            libc::RTA_GATEWAY => via = ip(value),
            libc::RTA_PRIORITY => metric = number(value, 0)?,
            libc::RTA_OIF => index = number(value, 0),
            _ => {}
        }
    }
    Some(KernelRoute {
        // One over several links has none of its own.
        link: names.get(&index?)?.clone(),
        to: IpNet::new(to, length).ok()?,
        via,
        metric,
        onlink: flags & RTNH_F_ONLINK != 0,
        ours: protocol == OURS,
    })
}

fn mac(value: &[u8]) -> Option<Mac> {
    <[u8; 6]>::try_from(value).ok().map(Mac)
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(value).ok().map(IpAddr::from);
    four.or_else(|| <[u8; 16]>::try_from(value).ok().map(IpAddr::from))
}
