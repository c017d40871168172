//! `service=NAME`: SRV records say which hosts serve, on which ports, and who backs them up.

use fairlead_harness::{DnsServer, HttpPeer, Proxy, TcpPeer, connect, eventually, read_to_end};
use std::io::Write;
use std::net::IpAddr;

use crate::fairlead;

const HOME: [u8; 4] = [127, 0, 0, 1];

fn home() -> IpAddr {
    HOME.into()
}

fn port_of(peer: &HttpPeer) -> u16 {
    peer.address().port()
}

fn start(dns: &DnsServer, line: &str) -> Proxy {
    fairlead().workers(1).set("dns", dns.address()).http(&format!(
        "upstream app {{ zone app 64k; resolver {{dns}}; resolver_timeout 5s; server {line} resolve; }}
        server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://app; }} }}"
    ))
}

fn ask(proxy: &Proxy, count: usize) -> Vec<String> {
    (0..count).map(|_| proxy.get("/").text()).collect()
}

fn share(answers: &[String], name: &str) -> usize {
    answers.iter().filter(|answer| *answer == name).count()
}

#[test]
fn ports_weights_and_priorities_come_from_the_records() {
    let dns = DnsServer::start();
    let [a, b, spare] = ["a", "b", "spare"].map(HttpPeer::named);
    for host in ["a.test", "b.test"] {
        dns.addresses(host, &[home()]);
    }
    let records = [(10, 3, port_of(&a), "a.test"), (10, 1, port_of(&b), "b.test"), (20, 1, port_of(&spare), "a.test")];
    dns.services("_http._tcp.app.test", &records);
    let proxy = start(&dns, "app.test service=http");
    let answers = ask(&proxy, 40);
    assert_eq!((share(&answers, "a"), share(&answers, "b"), share(&answers, "spare")), (30, 10, 0));
    drop((a, b));
    eventually("the backup takes over", || proxy.get("/").text() == "spare");
    dns.services("_http._tcp.app.test", &[(5, 1, port_of(&spare), "a.test")]);
    proxy.wait_for_error("by service http of app.test");
    eventually("it is the only one now", || ask(&proxy, 4) == ["spare"; 4]);
}

#[test]
fn a_service_with_a_dot_is_put_before_the_name() {
    let dns = DnsServer::start();
    let peer = HttpPeer::named("peer");
    dns.addresses("host.test", &[home()]);
    dns.services("server1.backend.app.test", &[(1, 1, port_of(&peer), "host.test")]);
    let proxy = start(&dns, "app.test service=server1.backend");
    assert_eq!(ask(&proxy, 2), ["peer"; 2]);
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let dns = DnsServer::start();
    dns.truncate_udp();
    let peer = HttpPeer::named("peer");
    dns.addresses("host.test", &[home()]);
    dns.services("_http._tcp.app.test", &[(1, 1, port_of(&peer), "host.test")]);
    let proxy = start(&dns, "app.test service=_http._tcp");
    assert_eq!(ask(&proxy, 2), ["peer"; 2]);
    assert!(dns.queries().1 >= 2, "{:?}", dns.queries());
}

#[test]
fn what_cannot_be_resolved_is_logged_in_nginx_s_words() {
    let dns = DnsServer::start();
    let peer = HttpPeer::named("peer");
    dns.addresses("host.test", &[home()]);
    let proxy = start(&dns, "app.test service=http");
    proxy.wait_for_error("service http of app.test could not be resolved (3: Host not found)");
    assert_eq!(proxy.get("/").status(), 502);
    dns.services("_http._tcp.app.test", &[(1, 1, port_of(&peer), "host.test"), (1, 1, 1, "gone.test")]);
    proxy
        .wait_for_error("gone.test could not be resolved (3: Host not found) while resolving service http of app.test");
    eventually("the host that is there serves", || proxy.get("/").text() == "peer");
}

#[test]
fn stream_has_services_too() {
    let dns = DnsServer::start();
    let peer = |name: &'static str| {
        TcpPeer::start(move |mut stream| {
            let _ = stream.write_all(name.as_bytes());
        })
    };
    let (first, second) = (peer("first"), peer("second"));
    dns.addresses("host.test", &[home()]);
    dns.services("_db._tcp.app.test", &[(1, 1, first.address().port(), "host.test")]);
    let proxy = fairlead().set("dns", dns.address()).stream(
        "resolver {dns} ipv6=off;
        upstream db { zone db 64k; server app.test service=db resolve; }
        server { listen 127.0.0.1:{port}; proxy_pass db; }",
    );
    let answer = || String::from_utf8(read_to_end(&connect(proxy.address()))).unwrap();
    assert_eq!(answer(), "first");
    dns.services("_db._tcp.app.test", &[(1, 1, second.address().port(), "host.test")]);
    eventually("the new port is used", || answer() == "second");
}
