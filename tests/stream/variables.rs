//! Variables of the process and of the client, as a log line shows them.

use std::io::Write;

use fairlead_harness::{DnsServer, TcpPeer, UdpClient, UdpPeer, connect, read_line, read_to_end};

use crate::fairlead;

const FORMAT: &str = "log_format own '$connection|$hostname|$msec|$nginx_version|$pid|$time_iso8601|$time_local|\
     $remote_port|$server_addr|$server_port|$protocol|$session_time|$upstream_last_addr|$upstream_addr';";

fn is_time(text: &str, digits: usize) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    whole.bytes().all(|byte| byte.is_ascii_digit()) && !whole.is_empty() && fraction.len() == digits
}

#[test]
fn a_line_shows_the_process_the_client_and_the_time() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().workers(1).set("peer", peer.address()).stream(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own; }}"
    ));
    let mut ports = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(proxy.address());
        ports.push(stream.local_addr().unwrap().port().to_string());
        writeln!(stream, "hi").unwrap();
        read_line(&stream);
        drop(stream);
        proxy.access_lines(ports.len());
    }
    let lines = proxy.access_lines(2);
    let fields: Vec<Vec<&str>> = lines.iter().map(|line| line.split('|').collect()).collect();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_lowercase();
    for (fields, port) in fields.iter().zip(&ports) {
        assert!(fields[0].parse::<u64>().unwrap() > 0);
        assert_eq!(fields[1], hostname);
        assert!(is_time(fields[2], 3), "{fields:?}");
        assert!(fields[3].split('.').count() == 3, "{fields:?}");
        assert!(proxy.workers().contains(&fields[4].parse().unwrap()), "{fields:?}");
        assert!(fields[5].len() == 25 && fields[5].as_bytes()[10] == b'T', "{fields:?}");
        assert!(fields[6].len() == 26 && fields[6].as_bytes()[2] == b'/', "{fields:?}");
        assert_eq!(fields[7], port);
        assert_eq!(fields[8], "127.0.0.1");
        assert_eq!(fields[9], proxy.address().port().to_string());
        assert_eq!(fields[10], "TCP");
        assert!(is_time(fields[11], 3), "{fields:?}");
        assert_eq!((fields[12], fields[13]), (&*peer.address().to_string(), &*peer.address().to_string()));
    }
    assert_ne!(fields[0][0], fields[1][0], "every connection has its number");
}

#[test]
fn milliseconds_come_with_the_time_of_day() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format own '$time_iso8601_ms';
         server { listen 127.0.0.1:{port}; proxy_pass {peer}; access_log {dir}/access.log own; }",
    );
    drop(connect(proxy.address()));
    let line = proxy.access_lines(1).remove(0);
    assert!(line.len() == 29 && line.as_bytes()[19] == b'.', "{line}");
}

#[test]
fn the_binary_address_is_a_key_like_any_other() {
    let peer = TcpPeer::named("a");
    let limited = fairlead().workers(1).set("peer", peer.address()).stream(
        "limit_conn_zone $binary_remote_addr zone=one:1m;
         server { listen 127.0.0.1:{port}; limit_conn one 1; proxy_pass {peer}; }",
    );
    let mut first = connect(limited.address());
    writeln!(first, "hi").unwrap();
    assert_eq!(read_line(&first), "a: hi");
    assert_eq!(read_to_end(&connect(limited.address())), b"", "a second one of the same address");
}

#[test]
fn a_name_in_a_variable_is_resolved_for_each_session() {
    let (dns, peer) = (DnsServer::start(), TcpPeer::named("a"));
    dns.addresses("peer.test", &["127.0.0.1".parse().unwrap()]);
    let proxy = fairlead().workers(1).set("dns", dns.address()).set("target", peer.address().port()).stream(
        "resolver {dns} valid=1s; resolver_timeout 2s;
         server { listen 127.0.0.1:{port}; set $name peer.test; proxy_pass $name:{target}; }
         server { listen 127.0.0.1:{port_none}; set $name none.test; proxy_pass $name:{target}; }",
    );
    let mut stream = connect(proxy.address());
    writeln!(stream, "hi").unwrap();
    assert_eq!(read_line(&stream), "a: hi");
    dns.remove("none.test");
    assert_eq!(read_to_end(&connect(proxy.port("port_none"))), b"");
    proxy.wait_for_error("none.test could not be resolved (3: Host not found)");
}

#[test]
fn a_datagram_to_a_name_waits_for_its_address() {
    let (dns, peer) = (DnsServer::start(), UdpPeer::named("a"));
    dns.addresses("peer.test", &["127.0.0.1".parse().unwrap()]);
    let proxy = fairlead().workers(1).set("dns", dns.address()).set("target", peer.address().port()).stream(
        "resolver {dns};
         server { listen 127.0.0.1:{port} udp; set $name peer.test; proxy_pass $name:{target}; }",
    );
    assert_eq!(UdpClient::connect(proxy.address()).ask("hi"), "a: hi");
}
