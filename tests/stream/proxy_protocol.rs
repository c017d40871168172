//! The PROXY protocol, versions 1 and 2: accepted from clients, sent to peers.

use std::io::Write;
use std::net::Shutdown;

use fairlead_harness::{Proxy, Setup, TcpPeer, connect, read_line, read_to_end};

use crate::fairlead;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn accepting(setup: Setup) -> Proxy {
    setup.stream("server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; proxy_protocol on; }")
}

/// Version 2, command PROXY, TCP over IPv4: source, destination, ports.
fn version_2() -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, 0x11, 0, 12]);
    header.extend([192, 0, 2, 1]);
    header.extend([198, 51, 100, 2]);
    header.extend(40_000_u16.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header
}

#[test]
fn version_1_is_sent_to_the_peer() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead()
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; proxy_protocol on; }");
    let mut stream = connect(proxy.address());
    writeln!(stream, "hi").unwrap();
    let port = stream.local_addr().unwrap().port();
    let expected = format!("a: PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r", proxy.address().port());
    assert_eq!(read_line(&stream), expected);
    assert_eq!(read_line(&stream), "a: hi");
}

#[test]
fn the_header_is_sent_before_the_client_has_said_anything() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead()
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; proxy_protocol on; }");
    assert!(read_line(&connect(proxy.address())).starts_with("a: PROXY TCP4 127.0.0.1 127.0.0.1 "));
}

#[test]
fn version_1_is_accepted_and_names_the_client() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format p '$remote_addr|$proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|$proxy_protocol_server_port';
        server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; access_log {dir}/access.log p; }",
    );
    let mut stream = connect(proxy.address());
    stream.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\nhi\n").unwrap();
    assert_eq!(read_line(&stream), "a: hi");
    stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(proxy.access_lines(1), ["127.0.0.1|192.0.2.1|40000|198.51.100.2|443"]);
}

#[test]
fn version_2_is_accepted_and_names_the_client() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format p '$proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|$proxy_protocol_server_port';
        server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; access_log {dir}/access.log p; }",
    );
    let mut stream = connect(proxy.address());
    stream.write_all(&[version_2(), b"hi\n".to_vec()].concat()).unwrap();
    assert_eq!(read_line(&stream), "a: hi");
    stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(proxy.access_lines(1), ["192.0.2.1|40000|198.51.100.2|443"]);
}

#[test]
fn a_header_in_pieces_is_put_together() {
    let peer = TcpPeer::named("a");
    for header in [b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n".to_vec(), version_2()] {
        let proxy = fairlead()
            .set("peer", peer.address())
            .stream("server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; }");
        let mut stream = connect(proxy.address());
        // Either it is read as a whole once it is complete, or (nginx) the session ends; it is never passed on.
        for byte in header {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
        }
        if fairlead().is_nginx() {
            continue;
        }
        writeln!(stream, "hi").unwrap();
        assert_eq!(read_line(&stream), "a: hi");
    }
}

#[test]
fn a_session_without_the_header_is_closed() {
    let peer = TcpPeer::named("a");
    let proxy = accepting(fairlead().set("peer", peer.address()));
    for nonsense in
        ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP9 x\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n", "\r\n\r\n\0\r\nQUIX"]
    {
        let mut stream = connect(proxy.address());
        stream.write_all(nonsense.as_bytes()).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
        assert!(rest.is_empty(), "{nonsense:?}: {:?}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(peer.accepted(), 0);
    proxy.wait_for_error("broken header");
}

#[test]
fn a_header_that_does_not_come_ends_the_session() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format own '$status $bytes_received';
        server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; proxy_protocol_timeout 200ms;
                 access_log {dir}/access.log own; }",
    );
    assert!(read_to_end(&connect(proxy.address())).is_empty());
    assert_eq!(proxy.access_lines(1), ["200 0"]);
    let place = "while reading PROXY protocol, client: 127.0.0.1, server: 127.0.0.1";
    proxy.wait_for_error(&format!("client timed out (110: Connection timed out) {place}"));
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn unknown_origins_pass_without_an_address() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead()
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; }");
    let mut stream = connect(proxy.address());
    stream.write_all(b"PROXY UNKNOWN\r\nhi\n").unwrap();
    assert_eq!(read_line(&stream), "a: hi");
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&stream).is_empty());
}
