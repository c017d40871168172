//! Settings reach the kernel, once and whole.

use crate::space::{Space, ip, settings};
use fairlead_appliance::Mac;
use fairlead_core::clock::tick;

const FULL: &str = "hostname lb7; dns 192.0.2.53; search example.com; sysctl net.ipv4.conf.a0.log_martians 1;
    interface a0 { address 192.0.2.2/24; address 192.0.2.3/24; address 2001:db8::2/64; gateway 192.0.2.1;
                   gateway 2001:db8::1; mtu 1400; mac 02:00:00:00:aa:01; description 'to the world'; }
    interface a1 { address 10.0.0.2/24; route 10.1.0.0/16 via 10.0.0.9 metric=7; route 10.2.0.0/16; address auto; }";

fn up(pairs: usize) {
    (0..pairs).for_each(|number| drop(ip(&format!("link set b{number} up"))));
}

#[test]
fn a_block_becomes_the_machine_and_a_second_time_nothing() {
    let space = Space::enter("block", 2);
    up(2);
    let mut network = space.network();
    let applied = network.apply(&settings(FULL), tick()).unwrap();
    assert!(applied.steps.contains(&"add 192.0.2.2/24 to a0".to_owned()), "{applied:#?}");
    let link = ip("link show a0");
    assert!(
        link.contains("mtu 1400") && link.contains("02:00:00:00:aa:01") && link.contains("alias to the world"),
        "{link}"
    );
    let addresses = ip("addr show a0");
    for address in ["192.0.2.2/24 brd 192.0.2.255", "secondary", "192.0.2.3/24", "2001:db8::2/64"] {
        assert!(addresses.contains(address), "{addresses}");
    }
    let routes = ip("route") + &ip("-6 route");
    for route in [
        "default via 192.0.2.1 dev a0",
        "10.1.0.0/16 via 10.0.0.9 dev a1",
        "metric 7",
        "10.2.0.0/16 dev a1",
        "default via 2001:db8::1",
    ] {
        assert!(routes.contains(route), "{route}: {routes}");
    }
    assert_eq!(nix::unistd::gethostname().unwrap(), "lb7");
    let resolver = std::fs::read_to_string(space.folder.join("resolv.conf")).unwrap();
    assert_eq!(resolver, "search example.com\nnameserver 192.0.2.53\n");
    let value = |path: &str| std::fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap();
    assert_eq!(
        [value("ipv4/conf/a0/log_martians"), value("ipv6/conf/a0/accept_ra"), value("ipv6/conf/a1/accept_ra")],
        ["1\n", "0\n", "2\n"]
    );

    let again = network.apply(&settings(FULL), tick()).unwrap();
    assert_eq!(again.steps, [""; 0], "all is as it should be");
}

#[test]
fn a_change_touches_what_has_changed_and_older_settings_bring_it_back() {
    let space = Space::enter("change", 2);
    up(2);
    let mut network = space.network();
    network.apply(&settings(FULL), tick()).unwrap();
    let before = (ip("-o addr show a0"), ip("route"), ip("-6 route show default"));
    ip("addr add 203.0.113.9/32 dev a0");
    let other = FULL.replace("address 192.0.2.2/24;", "address 192.0.2.9/24;").replace("192.0.2.1;", "192.0.2.8;");
    let applied = network.apply(&settings(&other), tick()).unwrap();
    assert_eq!(
        applied.steps,
        ["add 192.0.2.9/24 to a0", "route 0.0.0.0/0 via 192.0.2.8 on a0", "remove 192.0.2.2/24 from a0",]
    );
    let addresses = ip("-o addr show a0");
    assert!(addresses.contains("192.0.2.3/24") && !addresses.contains("192.0.2.2/24"), "{addresses}");
    assert!(addresses.contains("203.0.113.9/32"), "an address of somebody else's stays: {addresses}");

    network.apply(&settings(FULL), tick()).unwrap();
    ip("addr del 203.0.113.9/32 dev a0");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(|line| line.replace("secondary ", "")).collect();
        lines.sort();
        lines
    };
    let after = (ip("-o addr show a0"), ip("route"), ip("-6 route show default"));
    assert_eq!((sorted(&after.0).len(), sorted(&after.2)), (sorted(&before.0).len(), sorted(&before.2)));
    assert!(after.1.contains("default via 192.0.2.1 dev a0") && !after.1.contains("192.0.2.8"), "{}", after.1);
}

/// A kernel without these drivers refuses, and then the machine is as it was.
#[test]
fn vlans_and_bonds_are_made_whole_or_not_at_all() {
    let space = Space::enter("made", 3);
    let mut network = space.network();
    let text = "bond t0 { member a0 a1; primary a1; address 192.0.2.2/24; gateway 192.0.2.1; }
        vlan t0.7 { parent t0; id 7; address 10.7.0.2/24; } sysctl net/ipv4/conf/t0.7/log_martians 1;";
    let before = ip("-o -4 addr") + &ip("link");
    match network.apply(&settings(text), tick()) {
        Ok(_) => {
            let links = ip("-d link");
            for part in ["master t0", "vlan protocol 802.1Q id 7", "mode active-backup", "primary a1"] {
                assert!(links.contains(part), "{part}: {links}");
            }
            assert!(ip("route").contains("default via 192.0.2.1 dev t0"));
            let value = std::fs::read_to_string("/proc/sys/net/ipv4/conf/t0.7/log_martians").unwrap();
            assert_eq!(value, "1\n");
            assert_eq!(network.apply(&settings(text), tick()).unwrap().steps, [""; 0]);
            network.apply(&settings(""), tick()).unwrap();
            assert!(!ip("link").contains("t0"));
        }
        Err(problems) => {
            let first = problems[0].to_string();
            assert!(first.starts_with("could not create bond t0: ") && problems.len() == 1, "{problems:?}");
            assert_eq!(ip("-o -4 addr") + &ip("link"), before);
        }
    }
}

#[test]
fn a_parameter_that_no_kernel_has_is_told() {
    let space = Space::enter("unknown", 0);
    let mut network = space.network();
    let applied = network.apply(&settings("sysctl net.ipv4.no_such_thing 1;"), tick()).unwrap();
    assert_eq!(applied.unknown, ["net.ipv4.no_such_thing".into()]);
}

#[test]
fn what_fails_midway_is_taken_back() {
    let space = Space::enter("midway", 2);
    up(2);
    let mut network = space.network();
    network.apply(&settings("interface a0 { address 192.0.2.2/24; gateway 192.0.2.1; }"), tick()).unwrap();
    let before = (ip("-o -4 addr"), ip("route"), ip("link show a0"));
    let bad =
        "interface a0 { address 198.51.100.2/24; mtu 9000; } dns 192.0.2.53; sysctl net.ipv4.conf.a0.forwarding 1;
        interface a1 { address 10.0.0.2/24; route 10.9.0.0/16 via 10.0.0.3 metric=1; mac 02:00:00:00:00:07; }";
    // The last step of all cannot be done.
    std::fs::create_dir(space.folder.join("resolv.new")).unwrap();
    let problems = network.apply(&settings(bad), tick()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].to_string().starts_with("could not write resolv.conf: "), "{}", problems[0]);
    assert_eq!((ip("-o -4 addr"), ip("route"), ip("link show a0")), before);
    let forwarding = std::fs::read_to_string("/proc/sys/net/ipv4/conf/a0/forwarding").unwrap();
    assert_eq!(forwarding, "0\n");
}

#[test]
fn a_card_that_comes_later_gets_its_part() {
    let space = Space::enter("later", 1);
    let mut network = space.network();
    let applied = network.apply(&settings("interface c0 { address 192.0.2.2/24; }"), tick()).unwrap();
    assert_eq!(applied.missing.len(), 1);
    ip("link add c0 type veth peer name d0");
    ip("link set d0 up");
    let mut told = String::new();
    for _ in 0..5 {
        told += &format!("{:?}", network.on_ready(tick()));
    }
    assert!(told.contains("add 192.0.2.2/24 to c0"), "{told}");
    assert!(told.contains("Carrier { link: \"c0\", up: true }"), "{told}");
    assert!(network.without_carrier().is_empty());
    ip("link set d0 down");
    assert!(format!("{:?}", network.on_ready(tick())).contains("Carrier { link: \"c0\", up: false }"));
    assert_eq!(network.without_carrier(), ["c0"]);
}

#[test]
fn a_virtual_router_has_links_that_settings_leave_alone() {
    let space = Space::enter("virtual", 1);
    up(1);
    let mut network = space.network();
    let mut netlink = fairlead_network::netlink::Netlink::open().unwrap();
    network.apply(&settings("interface a0 { address 192.0.2.2/24; }"), tick()).unwrap();
    netlink.create_macvlan("vrrp7", "a0", Mac([0, 0, 0x5e, 0, 1, 7])).unwrap();
    netlink.add_address("vrrp7", "192.0.2.100/32".parse().unwrap(), 0).unwrap();
    netlink.set_up("vrrp7", true).unwrap();
    let applied = network.apply(&settings("interface a0 { address 192.0.2.3/24; }"), tick()).unwrap();
    assert_eq!(applied.steps.len(), 2, "{applied:?}");
    let there = ip("-o addr show vrrp7") + &ip("link show vrrp7");
    assert!(there.contains("192.0.2.100/32") && there.contains("00:00:5e:00:01:07"), "{there}");
    netlink.delete_address("vrrp7", "192.0.2.100/32".parse().unwrap()).unwrap();
    netlink.delete_link("vrrp7").unwrap();
    assert!(!ip("link").contains("vrrp7"));
}
