//! `network_data.json` of OpenStack's config drive.

use super::links::{Kind, Links, Port, is_name, net};
use super::yaml::Yaml;
use fairlead_appliance::Mac;
use std::net::IpAddr;

pub fn read(data: &Yaml, hostname: Option<&str>) -> Links {
    let mut links = Links { hostname: hostname.filter(|name| is_name(name)).map(str::to_owned), ..Links::default() };
    for (number, link) in data.list_at("links").into_iter().enumerate() {
        let kind = link.text_at("type").unwrap_or_default();
        if matches!(kind, "bond" | "vlan") {
            links.notes.push(format!("network_data.json: a {kind} is left out; write it as an appliance block"));
            continue;
        }
        let mut port = Port::new(Kind::Interface, &format!("eth{number}"));
        port.mac = link.text_at("ethernet_mac_address").and_then(Mac::parse);
        port.mtu = link.text_at("mtu").and_then(|mtu| mtu.parse().ok());
        let id = link.text_at("id");
        data.list_at("networks").into_iter().filter(|network| network.text_at("link") == id).for_each(|network| {
            add(network, &mut port);
        });
        links.ports.push(port);
    }
    let services = data.list_at("services").into_iter().filter(|service| service.text_at("type") == Some("dns"));
    links.dns.extend(services.filter_map(|service| service.text_at("address")?.parse::<IpAddr>().ok()));
    links.settle_names();
    links
}

fn add(network: &Yaml, port: &mut Port) {
    match network.text_at("type").unwrap_or_default() {
        "ipv4_dhcp" => port.dhcp = true,
        "ipv6_dhcp" | "ipv6_slaac" => port.auto = true,
        _ => {
            let address = network.text_at("ip_address").and_then(|address| net(address, network.text_at("netmask")));
            port.addresses.extend(address);
        }
    }
    for route in network.list_at("routes") {
        let to = route.text_at("network").and_then(|to| net(to, route.text_at("netmask")));
        let via = route.text_at("gateway").and_then(|via| via.parse().ok());
        if let (Some(to), Some(via)) = (to, via) {
            port.route(to, via);
        }
    }
    port.gateways.extend(network.text_at("gateway").and_then(|via| via.parse::<IpAddr>().ok()));
    port.gateways.dedup();
}
