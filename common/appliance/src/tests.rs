//! What the block takes and what it refuses, in the words that a reader sees.

use crate::{BondMode, LinkName, Mac, Ntp, Settings, Watchdog, of};
use fairlead_conf::Tree;
use std::path::Path;
use std::time::Duration;

/// What `text` in an `appliance` block says, or every complaint.
pub(crate) fn settings(text: &str) -> Result<Settings, String> {
    let file = Path::new("fairlead.conf");
    let reading = of(Tree::parse(file, &format!("appliance {{ {text} }}")), file);
    let complaints = reading.complaints();
    reading.settings.ok_or(complaints)
}

#[track_caller]
pub(crate) fn sound(text: &str) -> Settings {
    settings(text).unwrap_or_else(|complaints| panic!("{complaints}"))
}

#[test]
fn the_blocks_of_the_planes_are_passed_over() {
    let file = Path::new("fairlead.conf");
    let text = "user nobody; http { nothing of ours; } appliance { hostname lb1; } stream { }";
    let reading = of(Tree::parse(file, text), file);
    assert_eq!(reading.settings.and_then(|it| it.hostname).as_deref(), Some("lb1"));
    let without = of(Tree::parse(file, "http { }"), file);
    assert_eq!(without.settings, Some(Settings::default()));
}

#[test]
fn an_empty_block_says_what_no_block_says() {
    assert_eq!(sound(""), Settings::default());
    assert_eq!(sound("management { }"), Settings::default());
}

#[test]
fn every_part_is_kept() {
    let all = sound(
        "hostname lb1; dns 192.0.2.53; dns 2001:db8::53; search example.com; ntp a.example 192.0.2.1;
         interface eth0 { address dhcp; address auto; mtu 9000; description 'to the world'; }
         interface 52:54:00:12:34:56 { address 10.0.0.2/24; gateway 10.0.0.1 metric=50;
            route 10.1.0.0/16 via 10.0.0.9 metric=7; route 10.2.0.0/16; }
         bond bond0 { mode 802.3ad; member eth1 eth2; miimon 50ms; lacp_rate fast; xmit_hash_policy layer3+4; }
         vlan bond0.10 { parent bond0; id 10; address 192.0.2.2/24; mac 02:00:00:00:00:01; }
         management { listen 10.0.0.2:9443; confirm 1m; allow 10.0.0.7; }
         watchdog off; sysctl net/ipv4/conf/bond0.10/log_martians 1;",
    );
    assert_eq!((all.dns.len(), all.search.len(), all.watchdog), (2, 1, Watchdog::Off));
    assert_eq!(all.ntp, Ntp::Servers(vec!["a.example".into(), "192.0.2.1".into()]));
    let [first, second] = &all.interfaces[..] else { panic!("two interfaces") };
    assert!(first.link.dhcp.is_some() && first.link.auto.is_some());
    assert_eq!(first.link.mtu.map(|mtu| mtu.value), Some(9000));
    assert_eq!(second.name.value, LinkName::Mac(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])));
    assert_eq!((second.link.gateways[0].metric, second.link.routes[0].metric), (Some(50), Some(7)));
    assert_eq!(second.link.routes[1].via, None);
    assert_eq!((all.bonds[0].mode, all.bonds[0].miimon), (BondMode::Lacp, Duration::from_millis(50)));
    assert_eq!((all.vlans[0].id, all.vlans[0].link.mac), (10, Some(Mac([2, 0, 0, 0, 0, 1]))));
    assert_eq!(all.management.confirm, Duration::from_secs(60));
    assert_eq!(all.sysctls[0].path(), "net/ipv4/conf/bond0.10/log_martians");
}

/// Each block, and the words that refuse it.
const REFUSED: &[(&str, &str)] = &[
    ("interface eth0 { address 192.0.2.2; }", "write the length of its network too: 192.0.2.2/24"),
    ("interface eth0 { address 192.0.2.0/24; }", "this is the address of the whole network"),
    ("interface eth0 { address 192.0.2.255/24; }", "no machine can have this address"),
    ("interface eth0 { address dhcp; address dhcp; }", "duplicate \"address dhcp\""),
    ("interface eth0 { } interface eth0 { }", "duplicate link \"eth0\""),
    ("interface averylongnameofacard { }", "invalid name \"averylongnameofacard\" of a link"),
    ("interface eth0 { mtu 60; }", "value must be between 68 and 65535"),
    ("interface eth0 { mac 01:00:00:00:00:01; }", "invalid hardware address"),
    ("interface eth0 { address 192.0.2.2/24; gateway 198.51.100.1; }", "gateway \"198.51.100.1\" is in no network"),
    ("interface eth0 { gateway 192.0.2.1; }", "\"eth0\" has no address of its kind"),
    ("interface eth0 { address 192.0.2.2/24; gateway 192.0.2.2; }", "is an address of \"eth0\" itself"),
    (
        "interface eth0 { address 192.0.2.2/24; route 10.0.0.0/8 via 10.0.0.1; }",
        "next hop \"10.0.0.1\" is in no network",
    ),
    ("interface eth0 { address 192.0.2.2/24; route 10.0.0.1/8 via 192.0.2.1; }", "the network is 10.0.0.0/8"),
    ("interface eth0 { address 192.0.2.2/24; route 0.0.0.0/0 via 192.0.2.1; }", "gateway 192.0.2.1;"),
    ("interface eth0 { address 192.0.2.2/24; route 10.0.0.0/8 via; }", "no address after \"via\""),
    ("interface eth0 { address 192.0.2.2/24; route 10.0.0.0/8 via fe80::1; }", "are not of one family"),
    ("interface eth0 { address 192.0.2.2/24; gateway 192.0.2.1 metrik=1; }", "invalid parameter \"metrik=1\""),
    (
        "interface eth0 { address 192.0.2.2/24; } interface eth1 { address 192.0.2.130/25; }",
        "overlaps \"192.0.2.2/24\" of \"eth0\"",
    ),
    (
        "interface eth0 { address 192.0.2.2/24; } interface eth1 { address 192.0.2.2/32; }",
        "duplicate address \"192.0.2.2\"",
    ),
    (
        "interface a { address 192.0.2.2/24; gateway 192.0.2.1; } interface b { address 10.0.0.2/24; gateway 10.0.0.1; }",
        "have gateways of one metric",
    ),
    ("vlan v { id 10; }", "vlan \"v\" has no \"parent\""),
    ("interface eth0 { } vlan v { parent eth0; }", "vlan \"v\" has no \"id\""),
    ("vlan v { parent eth0; id 10; }", "unknown parent \"eth0\" of vlan \"v\""),
    ("interface eth0 { } vlan v { parent eth0; id 4095; }", "value must be between 1 and 4094"),
    ("interface e { } vlan v { parent e; id 7; } vlan w { parent e; id 7; }", "vlan 7 of \"e\" has two names"),
    ("vlan v { parent w; id 1; } vlan w { parent v; id 2; }", "is carried by itself"),
    ("interface e { } vlan v { parent e; id 7; mtu 9000; }", "mtu 9000 is larger than that of \"e\", 1500"),
    ("interface e { mtu 1000; address 2001:db8::1/64; }", "mtu 1000 is too small for IPv6"),
    ("bond b { }", "bond \"b\" has no \"member\""),
    ("bond b { member eth0; } bond c { member eth0; }", "\"eth0\" is a member twice"),
    ("bond b { member eth0; } interface eth0 { address dhcp; }", "has settings of its own"),
    ("bond b { member eth0; } interface eth0 { } vlan v { parent eth0; id 1; }", "carries a VLAN and is a member"),
    ("bond b { member eth0; lacp_rate fast; }", "\"lacp_rate\" is for 802.3ad bonds"),
    ("bond b { member eth0; primary eth1; }", "primary \"eth1\" is no member of \"b\""),
    ("bond b { member eth0; mode 802.3a; }", "did you mean \"802.3ad\"?"),
    ("interface lo { address dhcp; }", "\"lo\" takes addresses only"),
    ("management { listen 0; }", "invalid address \"0\" in \"listen\""),
    ("interface e { address 192.0.2.2/24; } management { listen 10.0.0.1:8443; }", "which no link has"),
    ("management { authorized_key abc; }", "64 hexadecimal digits"),
    ("management { confirm 1s; }", "\"confirm\" must be between 10s and 1h"),
    ("console_password secret;", "this is no hash of a password"),
    ("watchdog 1s;", "\"watchdog\" must be between 5s and 10m"),
    ("sysctl ../../x 1;", "invalid name \"../../x\" in \"sysctl\""),
    ("sysctl net.core.somaxconn 1; sysctl net/core/somaxconn 2;", "duplicate sysctl"),
    ("dns 1.1.1.1 1.0.0.1 8.8.8.8 9.9.9.9;", "more than three name servers"),
    ("ntp off pool.example;", "\"off\" stands beside servers"),
    ("hostname -a;", "invalid name \"-a\" in \"hostname\""),
    ("interface eth0 { adress dhcp; }", "did you mean \"address\"?"),
    ("hostname a; hostname b;", "\"hostname\" directive is duplicate"),
];

#[test]
fn what_contradicts_itself_is_refused_where_it_stands() {
    for (text, words) in REFUSED {
        let complaints = settings(text).expect_err(text);
        assert!(complaints.contains(words), "{text}\n{complaints}");
        let general = complaints.contains("which no link has");
        assert!(general || complaints.contains("fairlead.conf:1"), "{text}\n{complaints}");
    }
}

#[test]
fn what_looks_alike_is_not_refused() {
    sound("interface a { address 192.0.2.2/24; address 192.0.2.3/24; } interface b { address 192.0.2.9/32; }");
    sound("interface a { address 192.0.2.2/32; gateway 10.0.0.1 onlink; }");
    sound("interface a { address 10.0.0.0/31; gateway 10.0.0.1; }");
    sound("interface a { address dhcp; route 10.0.0.0/8 via 192.0.2.1; } management { listen 10.9.9.9:1; }");
    sound("interface a { address auto; gateway fe80::1; }");
    sound("interface a { address 10.0.0.2/24; gateway 10.0.0.1; address 2001:db8::2/64; gateway 2001:db8::1; }");
    sound("interface lo { address 203.0.113.1/32; }");
    sound("console_password '$6$salt$abcdefgh';");
}
