//! `allow` and `deny`: the first rule that fits a client decides.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use fairlead_harness::{Proxy, TcpPeer, UdpClient, UdpPeer, connect, connect_from, read_to_end};

use crate::fairlead;

fn start(peer: &TcpPeer, body: &str) -> Proxy {
    fairlead().set("peer", peer.address()).stream(body)
}

fn is_let_in(source: &str, address: SocketAddr) -> bool {
    let mut stream = connect_from(source, address);
    let _ = writeln!(stream, "hi");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).is_ok() && &answer == b"a: hi\n"
}

#[test]
fn the_first_rule_that_fits_decides() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "server { listen 127.0.0.1:{port}; proxy_pass {peer};
            deny 127.1.2.3; allow 127.1.0.0/16; allow 127.0.0.1; deny all; }",
    );
    for (source, let_in) in [("127.1.2.3", false), ("127.1.2.4", true), ("127.0.0.1", true), ("127.0.0.2", false)] {
        assert_eq!(is_let_in(source, proxy.address()), let_in, "{source}");
    }
    assert_eq!(peer.accepted(), 2);
}

#[test]
fn who_is_turned_away_is_logged_with_403() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "log_format s '$remote_addr $status $bytes_sent';
        server { listen 127.0.0.1:{port}; proxy_pass {peer}; deny 127.0.0.0/8; access_log {dir}/access.log s; }",
    );
    assert!(read_to_end(&connect(proxy.address())).is_empty());
    assert_eq!(proxy.access_lines(1), ["127.0.0.1 403 0"]);
    let port = proxy.address().port();
    let scene = format!("while initializing session, client: 127.0.0.1, server: 127.0.0.1:{port}");
    proxy.wait_for_error(&format!("access forbidden by rule {scene}"));
}

#[test]
fn a_server_with_rules_of_its_own_inherits_none() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "deny 127.0.0.1; allow all;
        server { listen 127.0.0.1:{port}; proxy_pass {peer}; }
        server { listen 127.0.0.1:{port_own}; proxy_pass {peer}; allow 127.0.0.1; deny 127.0.0.3; }",
    );
    assert!(!is_let_in("127.0.0.1", proxy.address()));
    assert!(is_let_in("127.0.0.2", proxy.address()));
    let own = proxy.port("port_own");
    assert!(is_let_in("127.0.0.1", own));
    assert!(is_let_in("127.0.0.2", own), "no rule speaks of it");
    assert!(!is_let_in("127.0.0.3", own));
}

#[test]
fn ipv4_inside_ipv6_is_for_the_ipv4_rules() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "server { listen [::]:{port_any} ipv6only=off; proxy_pass {peer}; deny ::/0; allow 127.0.0.0/9; deny all; }
        server { listen 127.0.0.1:{port}; proxy_pass {peer}; }",
    );
    assert!(is_let_in("127.0.0.1", proxy.port("port_any")));
    assert!(!is_let_in("127.200.0.1", proxy.port("port_any")));
}

#[test]
fn unix_sockets_have_a_rule_of_their_own() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "server { listen unix:{dir}/open.sock; proxy_pass {peer}; allow unix:; deny all; }
        server { listen unix:{dir}/closed.sock; proxy_pass {peer}; deny unix:; allow all; }",
    );
    let mut open = UnixStream::connect(proxy.directory().join("open.sock")).unwrap();
    open.write_all(b"hi\n").unwrap();
    let mut answer = [0; 6];
    open.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"a: hi\n");
    let mut closed = UnixStream::connect(proxy.directory().join("closed.sock")).unwrap();
    assert_eq!(closed.read(&mut answer).unwrap(), 0);
    proxy.wait_for_error("access forbidden by rule while initializing session, client: unix:, server: unix:");
}

#[test]
fn datagrams_of_who_is_denied_begin_no_session() {
    let peer = UdpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format s '$protocol $remote_addr $status';
        server { listen 127.0.0.1:{port} udp; proxy_pass {peer}; allow 127.0.0.1; deny all;
            proxy_responses 1; access_log {dir}/access.log s; }",
    );
    UdpClient::connect_from("127.0.0.2", proxy.address()).send("no");
    assert_eq!(proxy.access_lines(1), ["UDP 127.0.0.2 403"]);
    assert_eq!(UdpClient::connect(proxy.address()).ask("hi"), "a: hi");
    assert_eq!(peer.seen().len(), 1);
    proxy.wait_for_error("access forbidden by rule while initializing session, udp client: 127.0.0.2, server:");
}

#[test]
fn thousands_of_rules_are_still_in_order() {
    let peer = TcpPeer::named("a");
    let rules: String =
        (0..5_000).map(|number| format!("deny 127.{}.{}.1;\n", 2 + number / 250, number % 250)).collect();
    let proxy = start(
        &peer,
        &format!("server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; {rules} allow 127.0.0.0/8; deny all; }}"),
    );
    assert!(!is_let_in("127.2.0.1", proxy.address()));
    assert!(!is_let_in("127.21.249.1", proxy.address()));
    assert!(is_let_in("127.21.249.2", proxy.address()));
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    for (rule, message) in [
        ("allow 10.0.0.0/33;", "invalid parameter \"10.0.0.0/33\""),
        ("deny somebody;", "invalid parameter \"somebody\""),
        ("deny [::1];", "invalid parameter \"[::1]\""),
    ] {
        let (sound, said) = fairlead().check(&format!("stream {{ {rule} }}"));
        assert!(!sound && said.contains(message), "{rule}: {said}");
    }
    let (sound, said) = fairlead().check("stream { allow 10.0.0.1/8; }");
    assert!(sound && said.contains("low address bits of 10.0.0.1/8 are meaningless"), "{said}");
}
