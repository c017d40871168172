//! Names that are looked up while requests run: `resolver` and `resolver_timeout`.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use fairlead_harness::{Answer, DnsServer, HttpPeer};

use crate::fairlead;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
fn a_name_made_of_variables_is_looked_up_and_remembered() {
    let (dns, peer) = (DnsServer::start(), HttpPeer::start(|request| Answer::ok(request.target())));
    dns.addresses("app.test", &[LOOPBACK]);
    let proxy = fairlead().workers(1).set("dns", dns.address()).set("port_of_peer", peer.address().port()).http(
        "resolver {dns} ipv6=off valid=30s;
         server { listen 127.0.0.1:{port}; location / { proxy_pass http://$arg_name.test:{port_of_peer}; } }",
    );
    for _ in 0..5 {
        assert_eq!(proxy.get("/a?name=app").text(), "/a?name=app");
    }
    let (udp, tcp) = dns.queries();
    assert_eq!(udp + tcp, 1, "an answer is good for `valid`");
    assert_eq!(proxy.get("/a?name=none").status(), 502);
    proxy.wait_for_error("none.test could not be resolved (3: Host not found)");
}

#[test]
fn a_block_may_have_a_resolver_of_its_own() {
    let (dns, empty) = (DnsServer::start(), DnsServer::start());
    let peer = HttpPeer::start(|_| Answer::ok("here"));
    dns.addresses("app.test", &[LOOPBACK]);
    let setup = fairlead().set("dns", dns.address()).set("empty", empty.address());
    let proxy = setup.set("port_of_peer", peer.address().port()).http(
        "resolver {empty} ipv6=off;
         server { listen 127.0.0.1:{port}; set $name app.test;
            location /own { resolver {dns} ipv6=off; proxy_pass http://$name:{port_of_peer}; }
            location / { proxy_pass http://$name:{port_of_peer}; } }",
    );
    assert_eq!(proxy.get("/own").text(), "here");
    assert_eq!(proxy.get("/").status(), 502);
}

#[test]
fn a_name_server_that_stays_silent_is_waited_for_no_longer_than_told() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let proxy = fairlead().set("dns", silent.local_addr().unwrap()).http(
        "resolver {dns} ipv6=off; resolver_timeout 1s;
         server { listen 127.0.0.1:{port}; set $name app.test; location / { proxy_pass http://$name; } }",
    );
    let begun = Instant::now();
    assert_eq!(proxy.get("/").status(), 502);
    assert!((900..10_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10));
    proxy.wait_for_error("app.test could not be resolved (110: Operation timed out)");
}

#[test]
fn without_a_resolver_nothing_is_looked_up() {
    let proxy = fairlead()
        .http("server { listen 127.0.0.1:{port}; set $name app.test; location / { proxy_pass http://$name; } }");
    assert_eq!(proxy.get("/").status(), 502);
    proxy.wait_for_error("no resolver defined to resolve app.test");
}
