//! What only shows when the whole block is looked at: names used twice, parents that do not exist,
//! gateways that no link reaches, networks that overlap. Every finding points at a word.

use crate::{Bond, BondMode, Link, LinkName, Settings, Written};
use fairlead_conf::{Cx, Diagnostic, Span};
use ipnet::IpNet;
use std::net::IpAddr;

/// A link of any kind, under the name it is spoken of by.
struct Named<'s> {
    name: LinkName,
    span: Span,
    link: &'s Link,
}

/// Reports what is wrong.
pub(crate) fn check(settings: &Settings, cx: &Cx) {
    let links = all(settings);
    let mut found = Findings { cx };
    names(&links, &mut found);
    parents(settings, &links, &mut found);
    members(settings, &links, &mut found);
    settings.bonds.iter().for_each(|bond| bond_options(bond, &mut found));
    links.iter().for_each(|link| neighbours(link, &mut found));
    default_routes(&links, &mut found);
    addresses(&links, &mut found);
    sizes(settings, &links, &mut found);
    loopback(settings, &links, &mut found);
    management(settings, &links, &mut found);
}

struct Findings<'c> {
    cx: &'c Cx,
}

impl Findings<'_> {
    fn add(&mut self, span: Span, message: String, help: impl Into<String>) {
        self.cx.report(Diagnostic::error(span, message).help(help));
    }
}

fn all(settings: &Settings) -> Vec<Named<'_>> {
    let named = |name: &Written<Box<str>>| LinkName::Name(name.value.clone());
    let interfaces = settings.interfaces.iter().map(|interface| Named {
        name: interface.name.value.clone(),
        span: interface.name.span,
        link: &interface.link,
    });
    let vlans =
        settings.vlans.iter().map(|vlan| Named { name: named(&vlan.name), span: vlan.name.span, link: &vlan.link });
    let bonds =
        settings.bonds.iter().map(|bond| Named { name: named(&bond.name), span: bond.name.span, link: &bond.link });
    interfaces.chain(vlans).chain(bonds).collect()
}

/// Each of `all` with every one after it.
fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    all.iter().enumerate().flat_map(|(at, one)| all.iter().skip(at + 1).map(move |other| (one, other)))
}

fn names(links: &[Named<'_>], found: &mut Findings<'_>) {
    for (one, other) in pairs(links) {
        if one.name == other.name {
            found.add(other.span, format!("duplicate link \"{}\"", other.name), "write all of a link in one block");
        }
    }
}

fn parents(settings: &Settings, links: &[Named<'_>], found: &mut Findings<'_>) {
    for vlan in &settings.vlans {
        let parent = &vlan.parent;
        let own = matches!(&parent.value, LinkName::Name(name) if *name == vlan.name.value);
        if !links.iter().any(|link| link.name == parent.value) {
            let help = format!("it needs a block of its own: interface {} {{ }}", parent.value);
            found.add(
                parent.span,
                format!("unknown parent \"{}\" of vlan \"{}\"", parent.value, vlan.name.value),
                help,
            );
        } else if own || is_above_itself(settings, &vlan.name.value) {
            let message = format!("vlan \"{}\" is carried by itself", vlan.name.value);
            found.add(parent.span, message, "the parents of VLANs end at an interface or a bond");
        }
    }
    for (one, other) in pairs(&settings.vlans) {
        if one.parent == other.parent && one.id == other.id && one.name != other.name {
            let message = format!("vlan {} of \"{}\" has two names", other.id, other.parent.value);
            found.add(other.name.span, message, format!("the other one is \"{}\"", one.name.value));
        }
    }
}

fn is_above_itself(settings: &Settings, name: &str) -> bool {
    let mut at = name;
    for _ in 0..=settings.vlans.len() {
        let Some(vlan) = settings.vlans.iter().find(|vlan| &*vlan.name.value == at) else { return false };
        let LinkName::Name(parent) = &vlan.parent.value else { return false };
        if &**parent == name {
            return true;
        }
        at = parent;
    }
    false
}

fn members(settings: &Settings, links: &[Named<'_>], found: &mut Findings<'_>) {
    let members: Vec<(&Written<LinkName>, &Bond)> =
        settings.bonds.iter().flat_map(|bond| bond.members.iter().map(move |member| (member, bond))).collect();
    for ((one, first), (other, _)) in pairs(&members) {
        if one.value == other.value {
            let message = format!("\"{}\" is a member twice", other.value);
            found.add(other.span, message, format!("it is one of \"{}\"", first.name.value));
        }
    }
    for (member, bond) in members {
        let (name, of) = (&member.value, &bond.name.value);
        let built = |built: &str| matches!(name, LinkName::Name(name) if **name == *built);
        let vlan = settings.vlans.iter().any(|vlan| built(&vlan.name.value));
        if vlan || settings.bonds.iter().any(|bond| built(&bond.name.value)) {
            let message = format!("\"{name}\" cannot be a member of \"{of}\"");
            found.add(member.span, message, "a bond is made of interfaces; VLANs are put on the bond");
        }
        if let Some(carried) = settings.vlans.iter().find(|vlan| vlan.parent.value == *name) {
            let message = format!("\"{name}\" carries a VLAN and is a member of \"{of}\"");
            found.add(carried.parent.span, message, format!("put the VLAN on the bond: parent {of};"));
        }
        let spoken = links.iter().find(|link| link.name == *name);
        let plain = Link { description: spoken.and_then(|link| link.link.description.clone()), ..Link::default() };
        if let Some(link) = spoken.filter(|link| *link.link != plain) {
            let message = format!("\"{name}\" is a member of \"{of}\" and has settings of its own");
            found.add(link.span, message, format!("addresses, routes, mtu and mac belong to \"{of}\""));
        }
    }
}

fn bond_options(bond: &Bond, found: &mut Findings<'_>) {
    if let Some(primary) = &bond.primary {
        if !bond.members.iter().any(|member| member.value == primary.value) {
            let message = format!("primary \"{}\" is no member of \"{}\"", primary.value, bond.name.value);
            found.add(primary.span, message, "name one of its members");
        }
        if bond.mode == BondMode::Lacp {
            found.add(primary.span, "\"primary\" is for active-backup bonds".into(), "all members of 802.3ad are used");
        }
    }
    let options = [
        ("lacp_rate", bond.lacp_rate.map(|option| option.span)),
        ("xmit_hash_policy", bond.hash_policy.map(|option| option.span)),
        ("min_links", bond.min_links.map(|option| option.span)),
    ];
    for (name, span) in options {
        if let Some(span) = span.filter(|_| bond.mode != BondMode::Lacp) {
            found.add(span, format!("\"{name}\" is for 802.3ad bonds"), "write: mode 802.3ad;");
        }
    }
}

impl Link {
    /// Whether `neighbour` can be spoken to on this link, as far as the file says.
    fn reaches(&self, neighbour: IpAddr) -> bool {
        match neighbour {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => return true,
            // What network an address will be in is not known before it came.
            IpAddr::V4(_) if self.dhcp.is_some() => return true,
            IpAddr::V6(_) if self.auto.is_some() => return true,
            _ => {}
        }
        let near = |to: &IpNet| to.contains(&neighbour);
        self.addresses.iter().any(|address| near(&address.value))
            || self.routes.iter().any(|route| route.via.is_none() && near(&route.to.value))
    }
}

fn neighbours(link: &Named<'_>, found: &mut Findings<'_>) {
    let gateways = link.link.gateways.iter().map(|gateway| ("gateway", gateway.address, gateway.onlink));
    let routes = link.link.routes.iter().filter_map(|route| Some(("next hop", route.via?, route.onlink)));
    for (what, neighbour, onlink) in gateways.chain(routes) {
        if link.link.addresses.iter().any(|address| address.addr() == neighbour.value) {
            let message = format!("{what} \"{}\" is an address of \"{}\" itself", neighbour.value, link.name);
            found.add(neighbour.span, message, "it is the address of another machine");
        } else if !onlink && !link.link.reaches(neighbour.value) {
            let message = format!("{what} \"{}\" is in no network of \"{}\"", neighbour.value, link.name);
            let family = |address: &&Written<IpNet>| address.addr().is_ipv4() == neighbour.is_ipv4();
            let help = match link.link.addresses.iter().find(family) {
                Some(address) => format!("its network is {}; \"onlink\" allows others", address.trunc()),
                None => format!("\"{}\" has no address of its kind", link.name),
            };
            found.add(neighbour.span, message, help);
        }
    }
}

fn default_routes(links: &[Named<'_>], found: &mut Findings<'_>) {
    let gateways: Vec<_> = links.iter().flat_map(|link| link.link.gateways.iter().map(move |it| (it, link))).collect();
    for ((one, first), (other, second)) in pairs(&gateways) {
        let same = one.address.is_ipv4() == other.address.is_ipv4() && one.metric == other.metric;
        if same && first.name != second.name {
            let message = format!("\"{}\" and \"{}\" have gateways of one metric", first.name, second.name);
            found.add(
                other.address.span,
                message,
                format!("say which comes second: gateway {} metric=100;", other.address.value),
            );
        }
    }
}

fn addresses(links: &[Named<'_>], found: &mut Findings<'_>) {
    let written = |link: &'_ Named<'_>| link.link.addresses.clone();
    let all: Vec<(Written<IpNet>, &Named<'_>)> =
        links.iter().flat_map(|link| written(link).into_iter().map(move |address| (address, link))).collect();
    for ((one, first), (other, second)) in pairs(&all) {
        let host = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
        let (near, far) = (one.value, other.value);
        if near.addr() == far.addr() {
            found.add(
                other.span,
                format!("duplicate address \"{}\"", far.addr()),
                format!("\"{}\" has it", first.name),
            );
        } else if first.name != second.name && !host(&near) && !host(&far) {
            let overlap = near.contains(&far.network()) || far.contains(&near.network());
            if overlap && !matches!(near.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local()) {
                let message = format!("\"{far}\" of \"{}\" overlaps \"{near}\" of \"{}\"", second.name, first.name);
                found.add(other.span, message, "a network is on one link only: correct the address or its length");
            }
        }
    }
}

fn sizes(settings: &Settings, links: &[Named<'_>], found: &mut Findings<'_>) {
    let mtu = |name: &LinkName| links.iter().find(|link| link.name == *name).and_then(|link| link.link.mtu);
    for vlan in &settings.vlans {
        let Some(own) = vlan.link.mtu else { continue };
        let carrier = mtu(&vlan.parent.value).map_or(1500, |mtu| mtu.value);
        if own.value > carrier {
            let message = format!("mtu {} is larger than that of \"{}\", {carrier}", own.value, vlan.parent.value);
            found.add(own.span, message, format!("raise it there first: mtu {};", own.value));
        }
    }
    for link in links {
        let six = link.link.auto.is_some() || link.link.addresses.iter().any(|address| address.addr().is_ipv6());
        if let Some(mtu) = link.link.mtu.filter(|mtu| six && mtu.value < 1280) {
            found.add(mtu.span, format!("mtu {} is too small for IPv6", mtu.value), "IPv6 needs 1280 or more");
        }
    }
}

fn loopback(settings: &Settings, links: &[Named<'_>], found: &mut Findings<'_>) {
    let lo = |name: &LinkName| matches!(name, LinkName::Name(name) if &**name == "lo");
    for link in links.iter().filter(|link| lo(&link.name)) {
        let made = !settings.interfaces.iter().any(|interface| interface.name.span == link.span);
        let Link { dhcp, auto, mtu, mac, gateways, .. } = link.link;
        if made || dhcp.is_some() || auto.is_some() || mtu.is_some() || mac.is_some() || !gateways.is_empty() {
            found.add(
                link.span,
                "\"lo\" takes addresses only".into(),
                "it is the machine itself, and no network is behind it",
            );
        }
    }
    let carried = settings.vlans.iter().map(|vlan| &vlan.parent);
    for name in carried.chain(settings.bonds.iter().flat_map(|bond| &bond.members)) {
        if lo(&name.value) {
            found.add(name.span, "\"lo\" carries nothing".into(), "name a network card");
        }
    }
}

fn management(settings: &Settings, links: &[Named<'_>], found: &mut Findings<'_>) {
    let Some(listen) = settings.management.listen else { return };
    let ip = listen.ip();
    let leased = |link: &Named<'_>| link.link.dhcp.is_some() || link.link.auto.is_some();
    let ours = links.iter().any(|link| link.link.addresses.iter().any(|address| address.addr() == ip));
    if !(ip.is_unspecified() || ip.is_loopback() || ours || links.is_empty() || links.iter().any(leased)) {
        let message = format!("management listens on \"{ip}\", which no link has");
        let help = "name an address of a link, or the port alone for all of them";
        found.cx.report(Diagnostic::general(message).help(help));
    }
}
