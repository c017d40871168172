//! `server NAME resolve`: peers come and go with the addresses of their name, without a reload.
//! (Debian's nginx does not know it.)

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fairlead_harness::{Answer, DnsServer, HttpPeer, Load, Port, Proxy, Records, Signal, eventually};

use crate::fairlead;

pub(crate) const ONE: [u8; 4] = [127, 0, 0, 21];
pub(crate) const TWO: [u8; 4] = [127, 0, 0, 22];

pub(crate) fn ip(address: [u8; 4]) -> IpAddr {
    address.into()
}

/// The same port on both addresses.
pub(crate) fn places(port: &Port) -> [SocketAddr; 2] {
    [ONE, TWO].map(|address| SocketAddr::from((address, port.address().port())))
}

fn http_peers(port: &Port) -> [HttpPeer; 2] {
    let [one, two] = places(port);
    [HttpPeer::named_at("one", one), HttpPeer::named_at("two", two)]
}

const HTTP: &str = "resolver {dns} ipv6=off;
    upstream app { zone app 64k; server app.test:{peers} resolve; }
    server { listen 127.0.0.1:{port}; location / { proxy_pass http://app; } }";

fn start(dns: &DnsServer, port: &Port) -> Proxy {
    fairlead().set("dns", dns.address()).set("peers", port.address().port()).http(HTTP)
}

/// Who answers `tries` requests, each named once.
fn servers(proxy: &Proxy, tries: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..tries).map(|_| proxy.get("/").text()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn http_peers_appear_and_vanish_while_traffic_flows_without_an_error() {
    let (dns, port) = (DnsServer::start(), Port::reserve());
    let _peers = http_peers(&port);
    dns.addresses("app.test", &[ip(ONE)]);
    let proxy = start(&dns, &port);
    assert_eq!(servers(&proxy, 4), ["one"], "the first request finds a peer");
    let (kept, new) = (Load::keepalive(proxy.address(), "/", 2), Load::new_connections(proxy.address(), "/", 2));
    dns.addresses("app.test", &[ip(ONE), ip(TWO)]);
    eventually("the second serves too", || servers(&proxy, 8) == ["one", "two"]);
    dns.addresses("app.test", &[ip(TWO)]);
    proxy.wait_for_error("upstream \"app\" has 1 peers now, 0 new and 1 gone, by app.test");
    eventually("the first is left alone", || servers(&proxy, 8) == ["two"]);
    kept.advance(20);
    assert_eq!(servers(&proxy, 20), ["two"]);
    for report in [kept.stop(), new.stop()] {
        assert!(report.errors.is_empty() && report.requests > 0, "{report:?}");
    }
}

#[test]
fn a_lookup_that_fails_leaves_the_peers_and_a_name_that_is_gone_does_not() {
    let (dns, port) = (DnsServer::start(), Port::reserve());
    let _peers = http_peers(&port);
    dns.addresses("app.test", &[ip(ONE)]);
    let proxy = start(&dns, &port);
    assert_eq!(servers(&proxy, 2), ["one"]);
    dns.set("app.test", Records::Failure);
    proxy.wait_for_error("app.test could not be resolved (2: Server failure)");
    assert_eq!(servers(&proxy, 4), ["one"]);
    dns.remove("app.test");
    eventually("nobody is left", || proxy.get("/").status() == 502);
    proxy.wait_for_error("app.test could not be resolved (3: Host not found)");
    proxy.wait_for_error("no live upstreams while connecting to upstream");
    dns.addresses("app.test", &[ip(TWO)]);
    eventually("a new peer serves", || proxy.get("/").status() == 200);
}

#[test]
fn a_reload_carries_the_peers_over_although_no_name_server_answers() {
    let (dns, port) = (DnsServer::start(), Port::reserve());
    let _peers = http_peers(&port);
    dns.addresses("app.test", &[ip(ONE), ip(TWO)]);
    dns.ttl(3600);
    let mut proxy = start(&dns, &port);
    assert_eq!(servers(&proxy, 8), ["one", "two"]);
    let load = Load::new_connections(proxy.address(), "/", 2);
    dns.set("app.test", Records::Failure);
    for round in 1..=3 {
        let blocks = format!("http {{ access_log off; keepalive_timeout {round}s; {HTTP} }}");
        proxy.rewrite(&blocks);
        proxy.signal(Signal::SIGHUP);
        eventually("the reload is over", || proxy.error_log().matches("reconfiguring").count() == round);
        load.advance(20);
    }
    eventually("both serve", || servers(&proxy, 8) == ["one", "two"]);
    let report = load.stop();
    assert!(report.errors.is_empty(), "{report:?}");
}

#[test]
fn a_mandatory_check_comes_before_the_first_request_of_a_new_peer() {
    let (dns, port) = (DnsServer::start(), Port::reserve());
    let [one, two] = places(&port);
    let _one = HttpPeer::named_at("one", one);
    let ill = HttpPeer::start_at(two, |_| Answer::status("503 Ill", "ill"));
    dns.addresses("app.test", &[ip(ONE)]);
    let proxy = fairlead().set("dns", dns.address()).set("peers", port.address().port()).http(
        "resolver {dns} ipv6=off; upstream app { zone app 64k; server app.test:{peers} resolve; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://app;
            health_check interval=100ms mandatory uri=/health; } }",
    );
    eventually("the first has passed", || proxy.get("/").status() == 200);
    dns.addresses("app.test", &[ip(ONE), ip(TWO)]);
    let load = Load::new_connections(proxy.address(), "/", 2);
    eventually("the second is checked", || !ill.requests().is_empty());
    load.advance(50);
    assert!(ill.requests().iter().all(|request| request.target() == "/health"), "it gets checks only");
    let report = load.stop();
    assert!(report.errors.is_empty(), "{report:?}");
    dns.addresses("app.test", &[ip(ONE)]);
    proxy.wait_for_error("0 new and 1 gone");
    let quiet = ill.requests().len();
    let limit = Duration::from_millis(400);
    let start = std::time::Instant::now();
    while start.elapsed() < limit {
        proxy.get("/");
    }
    assert!(ill.requests().len() <= quiet + 1, "a peer that is gone is not checked");
}

#[test]
fn a_name_server_that_says_nothing_is_waited_for_as_long_as_resolver_timeout_says() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let proxy = fairlead().set("dns", silent.local_addr().unwrap()).http(
        "upstream app { zone app 64k; resolver {dns} ipv6=off; resolver_timeout 1s; server app.test resolve; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://app; } }",
    );
    // It is 30 seconds unless it is written: longer than a test waits.
    proxy.wait_for_error("app.test could not be resolved (110: Operation timed out)");
    assert_eq!(proxy.get("/").status(), 502);
}
