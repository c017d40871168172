//! `network-config` version 2: the words of netplan.

use super::links::{Kind, Links, Port, bond_mode, is_name, net};
use super::yaml::Yaml;
use fairlead_appliance::Mac;
use std::net::IpAddr;

pub fn read(network: &Yaml, links: &mut Links) {
    for (name, port) in network.entries_at("ethernets") {
        let name = port.text_at("set-name").unwrap_or(name);
        add(port, Kind::Interface, name, links);
    }
    for (name, port) in network.entries_at("bonds") {
        let parameters = port.at("parameters");
        let Some(mode) = bond_mode(parameters.and_then(|parameters| parameters.text_at("mode"))) else {
            links.notes.push(format!("network-config: bond {name} has a mode that is not known and is left out"));
            continue;
        };
        let members = port.words_at("interfaces").into_iter().filter(|name| is_name(name)).map(str::to_owned);
        add(port, Kind::Bond { mode, members: members.collect() }, name, links);
    }
    for (name, port) in network.entries_at("vlans") {
        let parent = port.text_at("link").filter(|name| is_name(name));
        match (port.text_at("id").and_then(|id| id.parse().ok()), parent) {
            (Some(id), Some(parent)) => add(port, Kind::Vlan { parent: parent.to_owned(), id }, name, links),
            _ => links.notes.push(format!("network-config: vlan {name} has no id or no link and is left out")),
        }
    }
    for other in ["bridges", "wifis", "tunnels", "modems"] {
        if network.at(other).is_some() {
            links.notes.push(format!("network-config: {other} are left out"));
        }
    }
}

fn add(from: &Yaml, kind: Kind, name: &str, links: &mut Links) {
    if !is_name(name) {
        links.notes.push("network-config: a link with a strange name is left out".into());
        return;
    }
    let mut port = Port::new(kind, name);
    port.mac = from.at("match").and_then(|wanted| wanted.text_at("macaddress")).and_then(Mac::parse);
    port.mtu = from.text_at("mtu").and_then(|mtu| mtu.parse().ok());
    port.dhcp = from.is_true_at("dhcp4");
    port.auto = from.is_true_at("dhcp6") || from.is_true_at("accept-ra");
    port.addresses = from.words_at("addresses").into_iter().filter_map(|address| net(address, None)).collect();
    for gateway in ["gateway4", "gateway6"] {
        port.gateways.extend(from.text_at(gateway).and_then(|gateway| gateway.parse::<IpAddr>().ok()));
    }
    for route in from.list_at("routes") {
        let via = route.text_at("via").and_then(|via| via.parse().ok());
        match (route.text_at("to").and_then(|to| net(to, None)), via) {
            (Some(to), Some(via)) => port.route(to, via),
            _ => links.notes.push(format!("network-config: a route of {name} has no to or no via and is left out")),
        }
    }
    if let Some(servers) = from.at("nameservers") {
        links.dns.extend(servers.words_at("addresses").into_iter().filter_map(|server| server.parse::<IpAddr>().ok()));
        let search = servers.words_at("search").into_iter().filter(|name| is_name(name));
        links.search.extend(search.map(str::to_owned));
    }
    links.ports.push(port);
}
