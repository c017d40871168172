//! One change of the kernel's state, and how it is told to a reader of the log.

use crate::Mac;
use crate::plan::{BondOptions, KernelRoute};
use ipnet::IpNet;
use std::fmt;

/// Links are spoken of by name, since some are made on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A path below `/proc/sys`.
    SetSysctl {
        path: Box<str>,
        value: Box<str>,
    },
    DeleteLink(Box<str>),
    CreateBond {
        name: Box<str>,
        options: BondOptions,
    },
    ConfigureBond {
        name: Box<str>,
        options: BondOptions,
    },
    CreateVlan {
        name: Box<str>,
        parent: Box<str>,
        id: u16,
    },
    SetMaster {
        link: Box<str>,
        master: Option<Box<str>>,
    },
    Down(Box<str>),
    Up(Box<str>),
    SetMac {
        link: Box<str>,
        mac: Mac,
    },
    SetMtu {
        link: Box<str>,
        mtu: u32,
    },
    SetAlias {
        link: Box<str>,
        alias: Box<str>,
    },
    AddAddress {
        link: Box<str>,
        net: IpNet,
    },
    DeleteAddress {
        link: Box<str>,
        net: IpNet,
    },
    /// In place of one to the same network with the same metric.
    SetRoute(KernelRoute),
    DeleteRoute(KernelRoute),
    SetHostname(Box<str>),
    /// The text of `resolv.conf`.
    SetResolver(Box<str>),
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::SetSysctl { path, value } => write!(out, "set {path} to {value}"),
            Step::DeleteLink(name) => write!(out, "delete {name}"),
            Step::CreateBond { name, .. } => write!(out, "create bond {name}"),
            Step::ConfigureBond { name, .. } => write!(out, "configure bond {name}"),
            Step::CreateVlan { name, parent, id } => write!(out, "create {name}, vlan {id} of {parent}"),
            Step::SetMaster { link, master: Some(master) } => write!(out, "make {link} a member of {master}"),
            Step::SetMaster { link, master: None } => write!(out, "release {link} from its bond"),
            Step::Down(name) => write!(out, "take {name} down"),
            Step::Up(name) => write!(out, "bring {name} up"),
            Step::SetMac { link, mac } => write!(out, "set the address of {link} to {mac}"),
            Step::SetMtu { link, mtu } => write!(out, "set the mtu of {link} to {mtu}"),
            Step::SetAlias { link, alias } => write!(out, "describe {link} as \"{alias}\""),
            Step::AddAddress { link, net } => write!(out, "add {net} to {link}"),
            Step::DeleteAddress { link, net } => write!(out, "remove {net} from {link}"),
            Step::SetRoute(route) => write!(out, "route {route}"),
            Step::DeleteRoute(route) => write!(out, "remove the route {route}"),
            Step::SetHostname(name) => write!(out, "set the hostname to {name}"),
            Step::SetResolver(_) => out.write_str("write resolv.conf"),
        }
    }
}

impl fmt::Display for KernelRoute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(out, " via {via}")?;
        }
        write!(out, " on {}", self.link)?;
        if self.metric > 0 { write!(out, " metric {}", self.metric) } else { Ok(()) }
    }
}
