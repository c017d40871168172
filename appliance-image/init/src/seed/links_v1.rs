//! `network-config` version 1: a list of devices, each with its subnets.

use super::links::{Kind, Links, Port, bond_mode, is_name, net};
use super::yaml::Yaml;
use fairlead_appliance::Mac;
use std::net::IpAddr;

pub fn read(network: &Yaml, links: &mut Links) {
    for device in network.list_at("config") {
        let name = device.text_at("name").unwrap_or_default();
        match device.text_at("type").unwrap_or_default() {
            "physical" => add(device, Kind::Interface, name, links),
            "bond" => bond(device, name, links),
            "vlan" => vlan(device, name, links),
            "nameserver" => name_servers(device, "address", "search", links),
            "route" => {
                let route = (place(device), gateway(device));
                match (route, links.ports.last_mut()) {
                    ((Some(to), Some(via)), Some(port)) => port.route(to, via),
                    _ => links.notes.push("network-config: a route without a link is left out".into()),
                }
            }
            other => links.notes.push(format!("network-config: type {other} is left out")),
        }
    }
}

fn bond(device: &Yaml, name: &str, links: &mut Links) {
    let parameters = device.at("params");
    let mode = parameters.and_then(|parameters| parameters.text_at("bond-mode").or(parameters.text_at("mode")));
    let Some(mode) = bond_mode(mode) else {
        links.notes.push(format!("network-config: bond {name} has a mode that is not known and is left out"));
        return;
    };
    let members = device.words_at("bond_interfaces").into_iter().filter(|name| is_name(name)).map(str::to_owned);
    add(device, Kind::Bond { mode, members: members.collect() }, name, links);
}

fn vlan(device: &Yaml, name: &str, links: &mut Links) {
    let parent = device.text_at("vlan_link").filter(|name| is_name(name));
    match (device.text_at("vlan_id").and_then(|id| id.parse().ok()), parent) {
        (Some(id), Some(parent)) => add(device, Kind::Vlan { parent: parent.to_owned(), id }, name, links),
        _ => links.notes.push(format!("network-config: vlan {name} has no id or no link and is left out")),
    }
}

fn add(device: &Yaml, kind: Kind, name: &str, links: &mut Links) {
    if !is_name(name) {
        links.notes.push("network-config: a link with a strange name is left out".into());
        return;
    }
    let mut port = Port::new(kind, name);
    port.mac = device.text_at("mac_address").and_then(Mac::parse);
    port.mtu = device.text_at("mtu").and_then(|mtu| mtu.parse().ok());
    for subnet in device.list_at("subnets") {
        match subnet.text_at("type").unwrap_or("static") {
            "dhcp" | "dhcp4" => port.dhcp = true,
            "dhcp6" | "ipv6_slaac" | "ipv6_dhcpv6-stateless" | "ipv6_dhcpv6-stateful" => port.auto = true,
            "static" | "static6" => port.addresses.extend(place(subnet)),
            "manual" => {}
            other => links.notes.push(format!("network-config: subnet type {other} is left out")),
        }
        port.gateways.extend(gateway(subnet));
        for route in subnet.list_at("routes") {
            if let (Some(to), Some(via)) = (place(route), gateway(route)) {
                port.route(to, via);
            }
        }
        name_servers(subnet, "dns_nameservers", "dns_search", links);
    }
    links.ports.push(port);
}

fn name_servers(from: &Yaml, servers: &str, search: &str, links: &mut Links) {
    links.dns.extend(from.words_at(servers).into_iter().filter_map(|server| server.parse::<IpAddr>().ok()));
    links.search.extend(from.words_at(search).into_iter().filter(|name| is_name(name)).map(str::to_owned));
}

fn place(from: &Yaml) -> Option<ipnet::IpNet> {
    let address = ["address", "network", "destination"].iter().find_map(|key| from.text_at(key))?;
    net(address, from.text_at("netmask"))
}

fn gateway(from: &Yaml) -> Option<IpAddr> {
    from.text_at("gateway")?.parse().ok()
}
