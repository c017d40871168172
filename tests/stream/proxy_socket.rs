//! `proxy_socket_*`: options of the sockets towards peers, as the kernel shows them.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use fairlead_harness::setup::installed;
use fairlead_harness::{TcpPeer, UdpClient, UdpPeer, connect, read_line};

use crate::fairlead;

/// What the kernel says of the sockets that are connected to `peer`.
fn sockets(protocol: &str, peer: SocketAddr) -> String {
    let ss = installed("ss", "apt-get install iproute2");
    let output = Command::new(ss).args(["-Hnaoem", protocol, "dst", &peer.to_string()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn connections_to_peers_are_kept_alive_where_asked() {
    for (flag, kept) in [("on", true), ("off", false)] {
        let peer = TcpPeer::named("a");
        let proxy = fairlead().set("peer", peer.address()).stream(&format!(
            "server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; proxy_socket_keepalive {flag}; }}"
        ));
        let mut stream = connect(proxy.address());
        writeln!(stream, "hi").unwrap();
        assert_eq!(read_line(&stream), "a: hi");
        let shown = sockets("-t", peer.address());
        assert!(!shown.is_empty());
        assert_eq!(shown.contains("timer:(keepalive"), kept, "{shown}");
    }
}

#[test]
fn buffers_have_the_sizes_that_are_asked_for() {
    if fairlead().is_nginx() {
        return; // Debian's is older than these directives.
    }
    let (tcp, udp) = (TcpPeer::named("a"), UdpPeer::named("u"));
    let proxy = fairlead().set("tcp", tcp.address()).set("udp", udp.address()).stream(
        "proxy_socket_rcvbuf 12k; proxy_socket_sndbuf 20k;
        server { listen 127.0.0.1:{port}; proxy_pass {tcp}; }
        server { listen 127.0.0.1:{port_udp} udp; proxy_pass {udp}; proxy_socket_sndbuf 24k; }",
    );
    let mut stream = connect(proxy.address());
    writeln!(stream, "hi").unwrap();
    assert_eq!(read_line(&stream), "a: hi");
    let client = UdpClient::connect(proxy.port("port_udp"));
    assert_eq!(client.ask("hi"), "u: hi");
    // Linux doubles what it is asked for, for its own bookkeeping.
    let shown = sockets("-t", tcp.address());
    assert!(shown.contains(",rb24576,") && shown.contains(",tb40960,"), "{shown}");
    let shown = sockets("-u", udp.address());
    assert!(shown.contains(",rb24576,") && shown.contains(",tb49152,"), "{shown}");
}

#[test]
fn mistakes_are_told() {
    for text in ["proxy_socket_rcvbuf much;", "proxy_socket_sndbuf 4g;", "proxy_socket_keepalive maybe;"] {
        let (sound, said) = fairlead().check(&format!("stream {{ {text} }}"));
        assert!(!sound && said.contains(text.split(' ').next().unwrap()), "{text}: {said}");
    }
}
