//! Addresses from the DHCP servers that people run, and from the routers of IPv6.

use crate::beyond::{Beyond, later, until, wait};
use crate::space::{Space, ip, settings};
use fairlead_core::clock::tick;
use fairlead_network::{Event, Network};
use std::fs;

fn dnsmasq(space: &Space, rest: &str) -> Beyond {
    let folder = space.folder.display();
    let server = format!(
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 --interface=b0 --log-dhcp \
         --log-facility={folder}/log --dhcp-leasefile={folder}/leases --pid-file= --dhcp-authoritative --no-ping {rest}"
    );
    Beyond::start("b0", &["10.9.0.1/24", "2001:db8:9::1/64"], &server)
}

fn leased(network: &mut Network) -> Vec<Event> {
    until(network, "an address is leased", |network, _| !network.leases().is_empty())
}

#[test]
fn an_address_comes_with_all_that_belongs_to_it_and_is_kept_alive() {
    let space = Space::enter("lease", 1);
    let options = "--dhcp-range=10.9.0.50,10.9.0.50,255.255.255.0,10m --dhcp-option=option:router,10.9.0.1 \
        --dhcp-option=option:dns-server,10.9.0.53 --dhcp-option=option:domain-name,example.net \
        --dhcp-option=option:mtu,1400 --dhcp-option=option:ntp-server,10.9.0.123";
    let _server = dnsmasq(&space, options);
    let mut network = space.network();
    network.apply(&settings("hostname lb1; interface a0 { address dhcp; }"), tick()).unwrap();
    leased(&mut network);
    assert_eq!(network.fds().len(), 1, "no socket of DHCP is open while nothing is asked");
    let there = ip("addr show a0") + &ip("route");
    for part in ["inet 10.9.0.50/24 brd 10.9.0.255", "mtu 1400", "default via 10.9.0.1 dev a0", "metric 100"] {
        assert!(there.contains(part), "{part}: {there}");
    }
    assert_eq!(
        fs::read_to_string(space.folder.join("resolv.conf")).unwrap(),
        "search example.net\nnameserver 10.9.0.53\n"
    );
    assert_eq!(network.leases()[0].ntp, [std::net::Ipv4Addr::new(10, 9, 0, 123)]);
    let log = || fs::read_to_string(space.folder.join("log")).unwrap_or_default();
    let acks = || log().matches("DHCPACK(b0) 10.9.0.50").count();
    assert_eq!(acks(), 1, "{}", log());
    assert!(log().contains("client provides name: lb1"), "{}", log());

    // Half of the lease is over.
    let events = network.on_ready(later(301));
    assert!(network.fds().len() > 1, "{events:?}");
    wait("the lease is renewed", || acks() == 2);
    until(&mut network, "the answer is heard", |network, _| network.fds().len() == 1);
    assert!(!log().contains("DHCPNAK"), "{}", log());
    // Seven eighths of the next one: any server may answer now.
    network.on_ready(later(301 + 540));
    wait("it is asked for again", || acks() == 3);
    until(&mut network, "the answer is heard", |network, _| network.fds().len() == 1);
    assert!(ip("addr show a0").contains("inet 10.9.0.50/24"));

    network.release(tick());
    wait("the address is given back", || log().contains("DHCPRELEASE(b0) 10.9.0.50"));
}

#[test]
fn a_lease_that_is_over_leaves_the_link() {
    let space = Space::enter("over", 1);
    let server = dnsmasq(&space, "--dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,2m");
    let mut network = space.network();
    network.apply(&settings("interface a0 { address dhcp; address 192.0.2.2/24; }"), tick()).unwrap();
    leased(&mut network);
    assert!(ip("addr show a0").contains("inet 10.9.0."));
    drop(server);
    let events = network.on_ready(later(121));
    assert!(events.contains(&Event::LeaseLost { link: "a0".into() }), "{events:?}");
    let left = ip("addr show a0");
    assert!(!left.contains("inet 10.9.0.") && left.contains("inet 192.0.2.2/24"), "{left}");
}

#[test]
fn another_network_behind_the_cable_is_noticed() {
    let space = Space::enter("moved", 1);
    let server = dnsmasq(&space, "--dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,10m");
    let mut network = space.network();
    network.apply(&settings("interface a0 { address dhcp; }"), tick()).unwrap();
    leased(&mut network);
    // The other end goes with its namespace; a new card takes the place of ours.
    drop(server);
    until(&mut network, "the card is gone", |_, _| !ip("link").contains("a0"));
    ip("link add a0 type veth peer name b0");
    let other = format!(
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 --interface=b0 --no-ping \
         --log-facility={0}/log2 --dhcp-leasefile={0}/leases2 --pid-file= --dhcp-authoritative \
         --dhcp-range=10.8.0.50,10.8.0.60,255.255.255.0,10m",
        space.folder.display()
    );
    let _server = Beyond::start("b0", &["10.8.0.1/24"], &other);
    until(&mut network, "the new network's address is there", |_, _| {
        let there = ip("addr show a0");
        there.contains("inet 10.8.0.") && !there.contains("inet 10.9.0.")
    });
}

#[test]
fn routes_of_their_own_come_before_the_router() {
    let space = Space::enter("routes", 1);
    let conf =
        "authoritative; option rfc3442 code 121 = array of integer 8; default-lease-time 600; max-lease-time 600;
        subnet 10.9.0.0 netmask 255.255.255.0 { range 10.9.0.70 10.9.0.70; option routers 10.9.0.1;
        option rfc3442 24, 192,168,7, 10,9,0,7, 0, 10,9,0,2; }";
    let file = |name: &str| space.folder.join(name).display().to_string();
    fs::write(file("dhcpd.conf"), conf).unwrap();
    fs::write(file("leases"), "").unwrap();
    let server = format!("dhcpd -4 -f -cf {} -lf {} -pf {} b0", file("dhcpd.conf"), file("leases"), file("pid"));
    let _server = Beyond::start("b0", &["10.9.0.1/24"], &server);
    let mut network = space.network();
    network.apply(&settings("interface a0 { address dhcp; }"), tick()).unwrap();
    leased(&mut network);
    let routes = ip("route");
    assert!(
        routes.contains("default via 10.9.0.2 dev a0") && routes.contains("192.168.7.0/24 via 10.9.0.7"),
        "{routes}"
    );
    assert!(!routes.contains("10.9.0.1 dev"), "{routes}");
}

#[test]
fn routers_of_ipv6_are_heard_where_auto_is_written() {
    let space = Space::enter("auto", 1);
    let _server = dnsmasq(&space, "--enable-ra --dhcp-range=2001:db8:9::,ra-only");
    let mut network = space.network();
    network.apply(&settings("interface a0 { address auto; }"), tick()).unwrap();
    until(&mut network, "there is an address", |_, _| {
        ip("-6 addr show a0").contains("inet6 2001:db8:9:") && ip("-6 route").contains("default via fe80:")
    });
    let again = network.apply(&settings("interface a0 { address auto; }"), tick()).unwrap();
    assert_eq!(again.steps, [""; 0], "what the kernel made of them is left alone");
}
