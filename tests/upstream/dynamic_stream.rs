//! `server NAME resolve` in stream: sessions and flows while the addresses of a name come and go.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use fairlead_harness::{DnsServer, Port, TcpPeer, UdpClient, UdpPeer, connect, eventually, read_line, read_to_end};

use crate::dynamic::{ONE, TWO, ip, places};
use crate::fairlead;

/// Says its name before every line it is told.
fn echo(name: &'static str) -> impl Fn(TcpStream) {
    move |mut stream| {
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let line = [name.as_bytes(), b" ", &buffer[..count]].concat();
            if stream.write_all(&line).is_err() {
                return;
            }
        }
    }
}

fn ask(mut stream: &TcpStream) -> String {
    stream.write_all(b"hello\n").unwrap();
    read_line(stream)
}

#[test]
fn stream_sessions_of_a_removed_peer_go_on_and_new_ones_go_elsewhere() {
    let (dns, port) = (DnsServer::start(), Port::reserve());
    let [one, two] = places(&port);
    let _peers = [TcpPeer::start_at(one, echo("one")), TcpPeer::start_at(two, echo("two"))];
    dns.addresses("app.test", &[ip(ONE)]);
    let proxy = fairlead().set("dns", dns.address()).set("peers", port.address().port()).stream(
        "upstream app { zone app 64k; resolver {dns} ipv6=off; server app.test:{peers} resolve max_conns=1; }
        server { listen 127.0.0.1:{port}; proxy_pass app; }",
    );
    let old = connect(proxy.address());
    assert_eq!(ask(&old), "one hello");
    dns.addresses("app.test", &[ip(TWO)]);
    proxy.wait_for_error("1 new and 1 gone");
    let new = connect(proxy.address());
    assert_eq!((ask(&new), ask(&old)), ("two hello".into(), "one hello".into()));
    drop((old, new));
    dns.addresses("app.test", &[ip(ONE)]);
    proxy.wait_for_error("upstream \"app\" has 1 peers now, 1 new and 1 gone, by app.test");
    eventually("both places are free again", || {
        let mut stream = connect(proxy.address());
        let _ = stream.write_all(b"hello\n");
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).is_ok() && &answer == b"one hello"
    });
}

#[test]
fn udp_flows_find_new_peers() {
    let (dns, port) = (DnsServer::start(), Port::reserve());
    let [one, two] = places(&port);
    let peer = |at: SocketAddr, name: &'static str| UdpPeer::start_at(at, move |_| vec![name.as_bytes().to_vec()]);
    let _peers = [peer(one, "one"), peer(two, "two")];
    dns.addresses("app.test", &[ip(ONE)]);
    let proxy = fairlead().set("dns", dns.address()).set("peers", port.address().port()).stream(
        "resolver {dns} ipv6=off valid=1s; upstream app { zone app 64k; server app.test:{peers} resolve; }
        server { listen 127.0.0.1:{port} udp; proxy_pass app; proxy_responses 1; }",
    );
    let ask = || UdpClient::connect(proxy.address()).ask("x");
    assert_eq!(ask(), "one");
    dns.addresses("app.test", &[ip(TWO)]);
    eventually("the new peer has taken over", || ask() == "two");
}

#[test]
fn proxy_session_drop_ends_the_sessions_of_a_peer_that_is_gone_and_no_other() {
    let (dns, port) = (DnsServer::start(), Port::reserve());
    let [one, two] = places(&port);
    let _peers = [TcpPeer::start_at(one, echo("one")), TcpPeer::start_at(two, echo("two"))];
    dns.addresses("app.test", &[ip(ONE), ip(TWO)]);
    let proxy = fairlead().workers(1).set("dns", dns.address()).set("peers", port.address().port()).stream(
        "resolver {dns} ipv6=off; upstream app { zone app 64k; server app.test:{peers} resolve; }
        server { listen 127.0.0.1:{port}; proxy_pass app; proxy_session_drop on; }",
    );
    let (first, second) = (connect(proxy.address()), connect(proxy.address()));
    let (gone, stays) = match ask(&first).as_str() {
        "one hello" => (first, second),
        _ => (second, first),
    };
    assert_eq!((ask(&gone), ask(&stays)), ("one hello".into(), "two hello".into()));
    dns.addresses("app.test", &[ip(TWO)]);
    assert_eq!(read_to_end(&gone), b"", "its session ends");
    assert_eq!(ask(&stays), "two hello");
}
