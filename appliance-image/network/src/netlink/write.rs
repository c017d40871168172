//! The changes that the kernel is asked for.

use super::read::{IFA_PROTO, IFLA_VLAN_ID, RTNH_F_ONLINK, bond};
use super::wire::{Message, inner};
use super::{Netlink, OURS};
use fairlead_appliance::plan::{BondOptions, KernelRoute, Step};
use fairlead_appliance::{BondMode, Mac};
use ipnet::IpNet;
use std::io;
use std::net::IpAddr;

const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_BRIDGE: u32 = 4;

impl Netlink {
    /// Does a step that is netlink's; `false` for those that are not.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take(&mut self, step: &Step) -> io::Result<bool> {
        match step {
            Step::DeleteLink(name) => self.delete_link(name),
            Step::CreateBond { name, options } => {
                let data = bond_data(options)?;
                self.create_link(name, ("bond", data), None)
            }
            Step::ConfigureBond { name, options } => {
                let info = inner().text(libc::IFLA_INFO_KIND, "bond");
                // The mode of one in use is not spoken of.
                let info = info.nested(libc::IFLA_INFO_DATA, bond_tuning(inner(), options)?);
                let message = Message::new(libc::RTM_NEWLINK, &about(index(name)?, 0, 0));
                self.change(message.nested(libc::IFLA_LINKINFO, info))
            }
            Step::CreateVlan { name, parent, id } => {
                let data = inner().bytes(IFLA_VLAN_ID, &id.to_ne_bytes());
                self.create_link(name, ("vlan", data), Some(parent))
            }
            Step::SetMaster { link, master } => {
                let master = master.as_deref().map_or(Ok(0), index)?;
                self.set_link(link, |message| message.number(libc::IFLA_MASTER, master))
            }
            Step::Down(name) => self.set_up(name, false),
            Step::Up(name) => self.set_up(name, true),
            Step::SetMac { link, mac } => self.set_mac(link, *mac),
            Step::SetMtu { link, mtu } => self.set_link(link, |message| message.number(libc::IFLA_MTU, *mtu)),
            Step::SetAlias { link, alias } => {
                self.set_link(link, |message| message.bytes(libc::IFLA_IFALIAS, alias.as_bytes()))
            }
            Step::AddAddress { link, net } => self.add_address(link, *net, OURS),
            Step::DeleteAddress { link, net } => self.delete_address(link, *net),
            Step::SetRoute(route) => {
                let message = route_message(libc::RTM_NEWROUTE, route)?;
                self.change(message.flags(libc::NLM_F_CREATE | libc::NLM_F_REPLACE))
            }
            Step::DeleteRoute(route) => {
                let message = route_message(libc::RTM_DELROUTE, route)?;
                self.change(message)
            }
            Step::SetSysctl { .. } | Step::SetHostname(_) | Step::SetResolver(_) => return Ok(false),
        }?;
        Ok(true)
    }

    /// A link with a hardware address of its own on `parent`, which other stations reach beside it
    /// (bridge mode). It is down.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create_macvlan(&mut self, name: &str, parent: &str, mac: Mac) -> io::Result<()> {
        let data = inner().number(IFLA_MACVLAN_MODE, MACVLAN_BRIDGE);
        self.create_link(name, ("macvlan", data), Some(parent))?;
        self.set_mac(name, mac)
    }

    /// # Errors
    /// What the kernel says.
    pub fn delete_link(&mut self, name: &str) -> io::Result<()> {
        let message = Message::new(libc::RTM_DELLINK, &about(index(name)?, 0, 0));
        self.change(message)
    }

    /// # Errors
    /// What the kernel says.
    pub fn set_up(&mut self, name: &str, up: bool) -> io::Result<()> {
        let flag = libc::IFF_UP.cast_unsigned();
        let message = Message::new(libc::RTM_NEWLINK, &about(index(name)?, if up { flag } else { 0 }, flag));
        self.change(message)
    }

    /// # Errors
    /// What the kernel says.
    pub fn set_mac(&mut self, name: &str, mac: Mac) -> io::Result<()> {
        self.set_link(name, |message| message.bytes(libc::IFLA_ADDRESS, &mac.0))
    }

    /// `mark` tells whose address it is: one that is not of settings or leases is left alone by them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_address(&mut self, link: &str, net: IpNet, mark: u8) -> io::Result<()> {
        let message = address_message(libc::RTM_NEWADDR, index(link)?, net).bytes(IFA_PROTO, &[mark]);
        let message = match net {
            IpNet::V4(net) if net.prefix_len() < 31 => message.bytes(libc::IFA_BROADCAST, &net.broadcast().octets()),
            _ => message,
        };
        self.change(message.flags(libc::NLM_F_CREATE | libc::NLM_F_EXCL))
    }

    /// # Errors
    /// What the kernel says.
    pub fn delete_address(&mut self, link: &str, net: IpNet) -> io::Result<()> {
        let message = address_message(libc::RTM_DELADDR, index(link)?, net);
        self.change(message)
    }

    fn create_link(&mut self, name: &str, (kind, data): (&str, Message), parent: Option<&str>) -> io::Result<()> {
        let info = inner().text(libc::IFLA_INFO_KIND, kind).nested(libc::IFLA_INFO_DATA, data);
        let mut message = Message::new(libc::RTM_NEWLINK, &about(0, 0, 0)).text(libc::IFLA_IFNAME, name);
        if let Some(parent) = parent {
            message = message.number(libc::IFLA_LINK, index(parent)?);
        }
        let message = message.nested(libc::IFLA_LINKINFO, info);
        self.change(message.flags(libc::NLM_F_CREATE | libc::NLM_F_EXCL))
    }

    fn set_link(&mut self, name: &str, fill: impl FnOnce(Message) -> Message) -> io::Result<()> {
        let message = fill(Message::new(libc::RTM_NEWLINK, &about(index(name)?, 0, 0)));
        self.change(message)
    }
}

fn index(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}

/// `struct ifinfomsg`.
fn about(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (place, value) in bytes.chunks_exact_mut(4).zip([0, index, flags, change]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

fn bond_data(options: &BondOptions) -> io::Result<Message> {
    let message = bond_tuning(inner().bytes(bond::MODE, &[options.mode as u8]), options)?;
    Ok(match options.mode {
        BondMode::ActiveBackup => message,
        BondMode::Lacp => message.bytes(bond::LACP_RATE, &[options.lacp_rate as u8]),
    })
}

/// What can be changed while the bond is in use.
fn bond_tuning(message: Message, options: &BondOptions) -> io::Result<Message> {
    let message = message
        .number(bond::MIIMON, options.miimon)
        .number(bond::UPDELAY, options.updelay)
        .number(bond::DOWNDELAY, options.downdelay)
        .number(bond::MIN_LINKS, options.min_links);
    Ok(match options.mode {
        BondMode::ActiveBackup => message.number(bond::PRIMARY, options.primary.as_deref().map_or(Ok(0), index)?),
        BondMode::Lacp => message.bytes(bond::XMIT_HASH_POLICY, &[options.hash_policy as u8]),
    })
}

fn family(ip: IpAddr) -> u8 {
    u8::try_from(if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }).unwrap_or(0)
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// `struct ifaddrmsg` and the address, twice: of its own and of the other end, which are the same
/// where many stations share a link.
fn address_message(kind: u16, index: u32, net: IpNet) -> Message {
    let [a, b, c, d] = index.to_ne_bytes();
    let message = Message::new(kind, &[family(net.addr()), net.prefix_len(), 0, 0, a, b, c, d]);
    let bytes = octets(net.addr());
    message.bytes(libc::IFA_LOCAL, &bytes).bytes(libc::IFA_ADDRESS, &bytes)
}

/// `struct rtmsg` and the route.
fn route_message(kind: u16, route: &KernelRoute) -> io::Result<Message> {
    let scope = if route.via.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
    let flags = if route.onlink { RTNH_F_ONLINK } else { 0 };
    let [a, b, c, d] = flags.to_ne_bytes();
    let (family, length) = (family(route.to.addr()), route.to.prefix_len());
    let fixed = [family, length, 0, 0, libc::RT_TABLE_MAIN, OURS, scope, libc::RTN_UNICAST, a, b, c, d];
    let mut message =
        Message::new(kind, &fixed).number(libc::RTA_OIF, index(&route.link)?).number(libc::RTA_PRIORITY, route.metric);
    if length > 0 {
        message = message.bytes(libc::RTA_DST, &octets(route.to.addr()));
    }
    if let Some(via) = route.via {
        message = message.bytes(libc::RTA_GATEWAY, &octets(via));
    }
    Ok(message)
}
