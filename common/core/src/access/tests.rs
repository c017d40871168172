use super::*;
use crate::dice::Dice;
use fairlead_conf::{Contexts, Cx, Level, Tree};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The rules of a block, and what was found wrong with them.
fn read(text: &str) -> (Rules, Vec<String>) {
    let tree = Tree::parse(Path::new("test.conf"), text);
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let mut rules = Rules::default();
    level().eval(&tree.root, &mut rules, &cx);
    let found = cx.diagnostics.borrow().iter().map(|found| found.message.clone()).collect();
    (rules, found)
}

fn level() -> Level<Rules> {
    Level::new(Contexts::STREAM).with(DIRECTIVES, |rules: &mut Rules| rules)
}

fn acl(text: &str) -> Acl {
    let (rules, found) = read(text);
    assert!(found.is_empty(), "{found:?}");
    Acl::new(&rules)
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

#[test]
fn the_first_rule_that_fits_decides() {
    let acl = acl("deny 10.1.2.3; allow 10.1.0.0/16; deny 10.0.0.0/8; allow 2001:db8::/32; deny all;");
    for (client, verdict) in [
        ("10.1.2.3", Verdict::Deny),
        ("10.1.2.4", Verdict::Allow),
        ("10.2.0.1", Verdict::Deny),
        ("11.0.0.1", Verdict::Deny),
        ("2001:db8::7", Verdict::Allow),
        ("2001:db9::7", Verdict::Deny),
        ("::ffff:10.1.2.4", Verdict::Allow),
        ("::ffff:10.2.0.1", Verdict::Deny),
    ] {
        assert_eq!(acl.verdict(ip(client)), Some(verdict), "{client}");
    }
    assert_eq!(acl.verdict(None), Some(Verdict::Deny));
}

#[test]
fn a_family_nobody_speaks_of_is_let_in() {
    let four = acl("deny 0.0.0.0/0;");
    assert!(four.denies(ip("192.0.2.1")));
    assert!(four.denies(ip("::ffff:192.0.2.1")), "IPv4 inside IPv6 is for the IPv4 rules");
    assert_eq!(four.verdict(ip("::1")), None);
    assert_eq!(four.verdict(None), None);
    let six = acl("deny ::/0;");
    assert_eq!(six.verdict(ip("192.0.2.1")), None);
    assert!(six.denies(ip("::ffff:192.0.2.1")), "without IPv4 rules it is an IPv6 address");
    assert!(acl("deny unix:;").denies(None));
    assert!(!acl("allow unix:; deny all;").denies(None));
    assert!(!Acl::default().denies(None));
}

#[test]
fn addresses_are_read_as_nginx_reads_them() {
    let network = |text: &str| Cidr::parse(text).map(|(cidr, low)| (cidr.to_string(), low));
    assert_eq!(network("10.0.0.1/8"), Ok(("10.0.0.0/8".into(), true)));
    assert_eq!(network("010.0.0.1"), Ok(("10.0.0.1/32".into(), false)));
    assert_eq!(network("0.0.0.0/0"), Ok(("0.0.0.0/0".into(), false)));
    assert_eq!(network("2001:db8::1/32"), Ok(("2001:db8::/32".into(), true)));
    assert_eq!(network("::/0"), Ok(("::/0".into(), false)));
    for wrong in ["", "foo", "1.2.3", "1.2.3.4.5", "1.2.3.256", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::1/129"] {
        assert_eq!(network(wrong), Err(InvalidCidr), "{wrong}");
    }
    let wrong = |text: &str| read(text).1;
    assert_eq!(wrong("allow [::1];"), ["invalid parameter \"[::1]\""]);
    assert_eq!(wrong("deny unix:/run/x;"), ["invalid parameter \"unix:/run/x\""]);
    assert_eq!(wrong("allow 10.0.0.1/8;"), ["low address bits of 10.0.0.1/8 are meaningless"]);
}

#[test]
fn a_block_with_rules_of_its_own_inherits_none() {
    let (mut rules, _) = read("allow 10.0.0.1; deny all;");
    let inherited = Acl::new(&rules.clone());
    assert!(inherited.denies(ip("10.0.0.2")) && !inherited.denies(ip("10.0.0.1")));
    let tree = Tree::parse(Path::new("test.conf"), "deny 10.0.0.1; allow 10.0.0.0/8;");
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    // The outer block of this reading, then the inner one.
    level().eval(&Tree::parse(Path::new("outer.conf"), "deny all;").root, &mut rules, &cx);
    level().eval(&tree.root, &mut rules, &cx);
    let own = Acl::new(&rules);
    assert!(own.denies(ip("10.0.0.1")), "both of its own rules hold, in order");
    assert_eq!(own.verdict(ip("10.0.0.2")), Some(Verdict::Allow));
    assert_eq!(own.verdict(ip("192.0.2.1")), None, "nothing is inherited");
}

#[test]
fn ranges_say_what_the_list_says() {
    for seed in 1..=256 {
        let mut dice = Dice::new(seed);
        // A small space makes ranges meet; every second list reaches the ends of the real one.
        let shift = if seed % 2 == 0 { 24 } else { 0 };
        let list: Vec<(u32, u32, u64)> = (0..dice.roll(40))
            .map(|place| {
                let (a, b) = (dice.roll(256) as u32, dice.roll(256) as u32);
                let last = (a.max(b) << shift) | ((1 << shift) - 1);
                (a.min(b) << shift, last, place % 3)
            })
            .collect();
        let ranges = Ranges::first_match(&list);
        assert!(ranges.len() <= 2 * list.len(), "seed {seed}");
        for step in 0..=255_u32 {
            for key in [step << shift, (step << shift) | ((1 << shift) - 1)] {
                let naive = list.iter().find(|(first, last, _)| (*first..=*last).contains(&key));
                assert_eq!(ranges.find(key), naive.map(|(_, _, value)| *value), "seed {seed}, key {key}");
            }
        }
    }
}

/// nginx's own way: every rule in order, an address and a mask each.
fn naive(rules: &[(bool, IpAddr, u8)], client: IpAddr) -> Option<bool> {
    let has_v4 = rules.iter().any(|(_, network, _)| network.is_ipv4());
    let client = match client {
        IpAddr::V6(six) if has_v4 => six.to_ipv4_mapped().map_or(client, IpAddr::V4),
        _ => client,
    };
    let covers = |network: &IpAddr, prefix: u8| match (network, client) {
        (IpAddr::V4(network), IpAddr::V4(client)) => {
            (0..prefix).all(|bit| (network.to_bits() ^ client.to_bits()) & (1 << (31 - bit)) == 0)
        }
        (IpAddr::V6(network), IpAddr::V6(client)) => {
            (0..prefix).all(|bit| (network.to_bits() ^ client.to_bits()) & (1 << (127 - bit)) == 0)
        }
        _ => false,
    };
    rules.iter().find(|(_, network, prefix)| covers(network, *prefix)).map(|(deny, _, _)| *deny)
}

#[test]
fn compiled_rules_agree_with_the_list_in_order() {
    for seed in 1..=256 {
        let mut dice = Dice::new(seed);
        // Few distinct bits, so that networks nest and clients meet them.
        let address = |dice: &mut Dice| match dice.roll(3) {
            0 => IpAddr::V6(Ipv6Addr::from(u128::from(dice.roll(16)) << 124 | u128::from(dice.roll(4)))),
            1 => IpAddr::V6(Ipv4Addr::from((dice.roll(16) << 28 | dice.roll(4)) as u32).to_ipv6_mapped()),
            _ => IpAddr::V4(Ipv4Addr::from((dice.roll(16) << 28 | dice.roll(4)) as u32)),
        };
        let mut rules = Vec::new();
        let mut text = String::new();
        for _ in 0..dice.roll(24) {
            let network = address(&mut dice);
            let bits = if network.is_ipv4() { 32 } else { 128 };
            let prefix = [0, 1, 2, 4, 96, bits - 1, bits][dice.roll(7) as usize].min(bits);
            let deny = dice.roll(2) == 0;
            text += &format!("{} {network}/{prefix}; ", if deny { "deny" } else { "allow" });
            rules.push((deny, network, prefix as u8));
        }
        let acl = Acl::new(&read(&text).0);
        for _ in 0..200 {
            let client = address(&mut dice);
            let found = acl.verdict(Some(client)).map(|verdict| verdict == Verdict::Deny);
            assert_eq!(found, naive(&rules, client), "seed {seed}: {client} by {text}");
        }
    }
}

#[test]
fn a_long_list_compiles_and_answers() {
    let text: String = (0..20_000_u32)
        .map(|number| format!("deny {}/32; ", Ipv4Addr::from(0x0a00_0000 + number * 2)))
        .chain(["allow 10.0.0.0/8; deny all;".to_owned()])
        .collect();
    let acl = acl(&text);
    assert!(acl.denies(ip("10.0.0.0")) && !acl.denies(ip("10.0.0.1")) && acl.denies(ip("11.0.0.0")));
}

#[test]
fn networks_take_mapped_addresses_as_ipv4() {
    let cidr = |text: &str| Cidr::parse(text).expect("a network").0;
    let networks = Networks::new(&[cidr("10.0.0.0/8"), cidr("10.1.0.0/16"), cidr("fd00::/8")]);
    for (client, inside) in
        [("10.1.2.3", true), ("11.0.0.1", false), ("::ffff:10.0.0.1", true), ("fd12::1", true), ("fe80::1", false)]
    {
        assert_eq!(networks.contains(ip(client)), inside, "{client}");
    }
    assert!(!networks.contains(None) && !networks.is_empty() && Networks::default().is_empty());
}
