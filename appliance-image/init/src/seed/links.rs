//! Network settings of a seed as an `appliance {}` block. Values are parsed, never pasted: what comes
//! from a seed cannot end a statement.

use super::links_v1;
use super::links_v2;
use super::yaml::Yaml;
use fairlead_appliance::Mac;
use ipnet::{IpNet, Ipv4Net};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// All that a seed says about the network.
#[derive(Debug, Default)]
pub struct Links {
    pub hostname: Option<String>,
    pub dns: Vec<IpAddr>,
    pub search: Vec<String>,
    pub ports: Vec<Port>,
    pub notes: Vec<String>,
}

#[derive(Debug)]
pub struct Port {
    pub kind: Kind,
    pub name: String,
    pub mac: Option<Mac>,
    pub mtu: Option<u32>,
    pub dhcp: bool,
    pub auto: bool,
    pub addresses: Vec<IpNet>,
    pub gateways: Vec<IpAddr>,
    pub routes: Vec<(IpNet, IpAddr)>,
}

#[derive(Debug)]
pub enum Kind {
    Interface,
    Vlan { parent: String, id: u16 },
    Bond { mode: &'static str, members: Vec<String> },
}

impl Port {
    pub fn new(kind: Kind, name: &str) -> Port {
        Port {
            kind,
            name: name.to_owned(),
            mac: None,
            mtu: None,
            dhcp: false,
            auto: false,
            addresses: Vec::new(),
            gateways: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// A default route is a gateway.
    pub fn route(&mut self, to: IpNet, via: IpAddr) {
        if to.prefix_len() == 0 { self.gateways.push(via) } else { self.routes.push((to, via)) }
    }
}

/// Either version of the format, alone or below `network:`.
pub fn read(network: &Yaml, hostname: Option<&str>) -> Links {
    let network = network.at("network").unwrap_or(network);
    let mut links = Links { hostname: hostname.filter(|name| is_name(name)).map(str::to_owned), ..Links::default() };
    match network.text_at("version") {
        Some("2") => links_v2::read(network, &mut links),
        Some("1") => links_v1::read(network, &mut links),
        Some(other) => links.notes.push(format!("network-config: version {other} is not known")),
        None => {}
    }
    links.settle_names();
    links
}

impl Links {
    /// The block; `None` when there is nothing to say.
    pub fn block(&self) -> Option<String> {
        let mut out = String::new();
        if let Some(name) = &self.hostname {
            let _ = writeln!(out, "    hostname {name};");
        }
        statement(&mut out, "dns", &self.dns);
        statement(&mut out, "search", &self.search);
        self.ports.iter().for_each(|port| port.write(&mut out));
        (!out.is_empty()).then(|| format!("appliance {{\n{out}}}\n"))
    }

    /// The kernel's names are eth0, eth1, …; a seed may have been written for other systems.
    pub fn settle_names(&mut self) {
        let is_interface = |port: &Port| matches!(port.kind, Kind::Interface);
        let mut renamed = Vec::new();
        let mut taken: Vec<String> = self.ports.iter().map(|port| port.name.clone()).collect();
        for port in self.ports.iter_mut().filter(|port| is_interface(port)) {
            if let Some(mac) = port.mac {
                renamed.push((port.name.clone(), mac.to_string()));
            } else if !port.name.starts_with("eth") {
                let free = (0..).map(|number| format!("eth{number}")).find(|name| !taken.contains(name));
                let free = free.unwrap_or_default();
                self.notes.push(format!("network-config: \"{}\" is taken for {free}", port.name));
                taken.push(free.clone());
                renamed.push((port.name.clone(), free));
            }
        }
        let rename = |name: &mut String| {
            if let Some((_, to)) = renamed.iter().find(|(from, _)| from == name) {
                name.clone_from(to);
            }
        };
        for port in &mut self.ports {
            match &mut port.kind {
                Kind::Interface => rename(&mut port.name),
                Kind::Vlan { parent, .. } => rename(parent),
                Kind::Bond { members, .. } => members.iter_mut().for_each(rename),
            }
        }
    }
}

impl Port {
    fn write(&self, out: &mut String) {
        let word = match &self.kind {
            Kind::Interface => "interface",
            Kind::Vlan { .. } => "vlan",
            Kind::Bond { .. } => "bond",
        };
        let _ = writeln!(out, "    {word} {} {{", self.name);
        match &self.kind {
            Kind::Interface => {}
            Kind::Vlan { parent, id } => {
                let _ = writeln!(out, "        parent {parent};\n        id {id};");
            }
            Kind::Bond { mode, members } => {
                let _ = writeln!(out, "        mode {mode};\n        member {};", members.join(" "));
            }
        }
        if let Some(mtu) = self.mtu {
            let _ = writeln!(out, "        mtu {mtu};");
        }
        for (word, wanted) in [("dhcp", self.dhcp), ("auto", self.auto)] {
            if wanted {
                let _ = writeln!(out, "        address {word};");
            }
        }
        for address in &self.addresses {
            let _ = writeln!(out, "        address {address};");
        }
        for gateway in &self.gateways {
            let _ = writeln!(out, "        gateway {gateway};");
        }
        for (to, via) in &self.routes {
            let _ = writeln!(out, "        route {to} via {via};");
        }
        out.push_str("    }\n");
    }
}

fn statement<T: ToString>(out: &mut String, word: &str, values: &[T]) {
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "    {word} {};", values.join(" "));
    }
}

/// What may stand in a configuration without quotes.
pub fn is_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    !name.is_empty() && name.len() <= 253 && name.chars().all(plain)
}

/// `192.0.2.1/24`, `192.0.2.1` with a mask beside it, `default`.
pub fn net(address: &str, mask: Option<&str>) -> Option<IpNet> {
    if address == "default" {
        return Some(Ipv4Net::default().into());
    }
    if let Ok(net) = address.parse() {
        return Some(net);
    }
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match mask {
        None => longest,
        Some(mask) => match mask.parse::<Ipv4Addr>() {
            Ok(mask) => ipnet::ipv4_mask_to_prefix(mask).ok()?,
            Err(_) => mask.parse().ok()?,
        },
    };
    IpNet::new(address, prefix).ok()
}

/// `mode` of a bond in the words of the kernel or its numbers; the two that we have.
pub fn bond_mode(mode: Option<&str>) -> Option<&'static str> {
    match mode {
        None | Some("active-backup" | "1") => Some("active-backup"),
        Some("802.3ad" | "4") => Some("802.3ad"),
        Some(_) => None,
    }
}
