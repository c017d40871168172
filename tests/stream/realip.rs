//! `set_real_ip_from`: a trusted client's PROXY header says who the client is, and what else it
//! says has names.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use fairlead_harness::{Proxy, TcpPeer, connect, connect_from, read_line, read_to_end};

use crate::fairlead;

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n";
const SEEN: &str = "log_format seen '$remote_addr:$remote_port $realip_remote_addr $status';
    access_log {dir}/access.log seen;";

fn start(peer: &TcpPeer, body: &str) -> Proxy {
    fairlead().set("peer", peer.address()).stream(&format!("{SEEN} {body}"))
}

/// One session that begins with `header`, from `source`; what came back.
fn say(proxy: &Proxy, source: &str, header: &[u8]) -> String {
    let mut stream = connect_from(source, proxy.address());
    stream.write_all(&[header, b"hi\n"].concat()).unwrap();
    read_line(&stream)
}

#[test]
fn a_trusted_header_names_the_client() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; set_real_ip_from 127.0.0.0/31; }",
    );
    assert_eq!(say(&proxy, "127.0.0.1", HEADER), "a: hi");
    assert_eq!(proxy.access_lines(1), ["192.0.2.1:40000 127.0.0.1 200"]);
    assert_eq!(say(&proxy, "127.0.0.9", HEADER), "a: hi");
    let log = proxy.access_lines(2);
    assert!(log[1].starts_with("127.0.0.9:") && log[1].ends_with(" 127.0.0.9 200"), "{log:?}");
}

#[test]
fn rules_limits_and_log_lines_see_the_new_client() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "limit_conn_zone $binary_remote_addr zone=clients:1m;
        server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; set_real_ip_from 127.0.0.1;
            limit_conn clients 1; deny 192.0.2.1; }",
    );
    let mut denied = connect(proxy.address());
    denied.write_all(HEADER).unwrap();
    assert!(read_to_end(&denied).is_empty());
    proxy.wait_for_error("access forbidden by rule while initializing session, client: 192.0.2.1, server:");
    let other = |last: u8| format!("PROXY TCP4 192.0.2.{last} 198.51.100.2 40000 443\r\nhi\n");
    let mut held = connect(proxy.address());
    held.write_all(other(2).as_bytes()).unwrap();
    assert_eq!(read_line(&held), "a: hi");
    let mut second = connect(proxy.address());
    second.write_all(other(2).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = second.read_to_end(&mut answer);
    assert!(answer.is_empty(), "the same client, over its limit");
    assert_eq!(say(&proxy, "127.0.0.1", b"PROXY TCP4 192.0.2.3 198.51.100.2 40000 443\r\n"), "a: hi");
}

#[test]
fn the_peer_is_told_of_the_new_client() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; proxy_protocol on;
            set_real_ip_from localhost; }",
    );
    let port = proxy.address().port();
    assert_eq!(say(&proxy, "127.0.0.1", HEADER), format!("a: PROXY TCP4 192.0.2.1 127.0.0.1 40000 {port}\r"));
}

#[test]
fn who_comes_over_a_unix_socket_may_be_trusted() {
    let peer = TcpPeer::named("a");
    let proxy =
        start(&peer, "server { listen unix:{dir}/s.sock proxy_protocol; proxy_pass {peer}; set_real_ip_from unix:; }");
    let mut stream = UnixStream::connect(proxy.directory().join("s.sock")).unwrap();
    stream.write_all(&[HEADER, b"hi\n"].concat()).unwrap();
    stream.read_exact(&mut [0; 6]).unwrap();
    drop(stream);
    assert_eq!(proxy.access_lines(1), ["192.0.2.1:40000 unix: 200"]);
}

#[test]
fn a_header_without_an_address_changes_nothing() {
    let peer = TcpPeer::named("a");
    let proxy = start(
        &peer,
        "server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; set_real_ip_from 127.0.0.1; }",
    );
    assert_eq!(say(&proxy, "127.0.0.1", b"PROXY UNKNOWN\r\n"), "a: hi");
    let log = proxy.access_lines(1);
    assert!(log[0].starts_with("127.0.0.1:") && log[0].ends_with(" 127.0.0.1 200"), "{log:?}");
}

/// Type, length, value.
fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
}

/// Version 2 over IPv6 with everything nginx has a name for.
fn version_2() -> Vec<u8> {
    let inner = [
        &[7, 0, 0, 0, 18][..],
        &tlv(0x21, b"TLSv1.3"),
        &tlv(0x22, b"client"),
        &tlv(0x23, b"AES"),
        &tlv(0x24, b"SHA256"),
        &tlv(0x25, b"RSA2048"),
    ];
    let tlvs = [
        tlv(0x01, b"h2"),
        tlv(0x02, b"example.com"),
        tlv(0x05, b"unique"),
        tlv(0x20, &inner.concat()),
        tlv(0x30, b"blue"),
        tlv(0xea, b"vpce-1"),
    ]
    .concat();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21".to_vec();
    header.extend((36 + tlvs.len() as u16).to_be_bytes());
    let source: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let destination: std::net::Ipv6Addr = "2001:db8::2".parse().unwrap();
    header.extend(source.octets());
    header.extend(destination.octets());
    header.extend(40_000_u16.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header.extend(tlvs);
    header
}

#[test]
fn what_else_a_header_says_has_names() {
    if fairlead().is_nginx() {
        return; // Debian's is older than these variables.
    }
    let peer = TcpPeer::named("a");
    let names = ["alpn", "authority", "unique_id", "netns", "0xea", "234", "0x03"];
    let ssl = ["version", "cn", "cipher", "sig_alg", "key_alg", "verify", "0x22", "0x29"];
    let names = names.iter().map(|name| format!("$proxy_protocol_tlv_{name}"));
    let all: Vec<String> = names.chain(ssl.iter().map(|name| format!("$proxy_protocol_tlv_ssl_{name}"))).collect();
    let proxy = fairlead().set("peer", peer.address()).stream(&format!(
        "log_format tlvs '{}'; log_format raw '$proxy_protocol_addr $proxy_protocol_tlv_ssl';
        access_log {{dir}}/access.log tlvs; access_log {{dir}}/raw.log raw;
        server {{ listen 127.0.0.1:{{port}} proxy_protocol; proxy_pass {{peer}}; }}",
        all.join("|")
    ));
    assert_eq!(say(&proxy, "127.0.0.1", &version_2()), "a: hi");
    let expected = "h2|example.com|unique|blue|vpce-1|vpce-1|-|TLSv1.3|client|AES|SHA256|RSA2048|18|client|-";
    assert_eq!(proxy.access_lines(1), [expected]);
    let raw = proxy.directory().read("raw.log");
    assert!(raw.starts_with(r"2001:db8::1 \x07\x00\x00\x00\x12!\x00\x07TLSv1.3"), "{raw}");
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    for (text, message) in [
        ("set_real_ip_from nobody.invalid;", "host not found in set_real_ip_from \"nobody.invalid\""),
        ("set_real_ip_from 10.0.0.0/40;", "host not found in set_real_ip_from \"10.0.0.0/40\""),
        ("log_format x $proxy_protocol_tlv_foo;", "unknown \"proxy_protocol_tlv_foo\" variable"),
    ] {
        let server = "server { listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:9; }";
        let (sound, said) = fairlead().check(&format!("stream {{ {text} {server} }}"));
        assert!(!sound && said.contains(message), "{text}: {said}");
    }
}

#[test]
fn the_port_of_who_really_connected_is_there() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format ports '$realip_remote_port $remote_port';
         server { listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; set_real_ip_from 127.0.0.1;
                  access_log {dir}/access.log ports; }",
    );
    let mut stream = connect(proxy.address());
    let own = stream.local_addr().unwrap().port();
    stream.write_all(&[HEADER, b"hi\n"].concat()).unwrap();
    assert_eq!(read_line(&stream), "a: hi");
    drop(stream);
    assert_eq!(proxy.access_lines(1), [format!("{own} 40000")]);
}
