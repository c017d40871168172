//! One line for each session, written when it ends.

use std::io::Write;
use std::net::Shutdown;

use fairlead_harness::{Port, Signal, TcpPeer, UdpClient, UdpPeer, connect, read_exactly, read_line};

use crate::fairlead;

const FORMAT: &str = "log_format own '$remote_addr|$protocol|$status|$bytes_sent|$bytes_received|$upstream_addr|\
                      $upstream_bytes_sent|$upstream_bytes_received|$server_port';";

#[test]
fn a_session_says_what_passed() {
    let peer = TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own; }}"
    ));
    let mut stream = connect(proxy.address());
    stream.write_all(b"0123456789").unwrap();
    assert_eq!(read_exactly(&stream, 10), b"0123456789");
    assert!(proxy.access_log().is_empty(), "the session is not over");
    stream.shutdown(Shutdown::Both).unwrap();
    let expected = format!("127.0.0.1|TCP|200|10|10|{}|10|10|{}", peer.address(), proxy.address().port());
    assert_eq!(proxy.access_lines(1), [expected]);
}

#[test]
fn a_session_that_reached_nobody_is_502() {
    let nobody = Port::reserve();
    let proxy = fairlead().set("peer", nobody.address()).stream(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own; }}"
    ));
    drop(connect(proxy.address()));
    let line = proxy.access_lines(1).remove(0);
    assert!(line.starts_with(&format!("127.0.0.1|TCP|502|0|0|{}|0|0|", nobody.address())), "{line}");
}

#[test]
fn a_udp_flow_has_its_line_too() {
    let peer = UdpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}} udp; proxy_pass {{peer}}; proxy_responses 1; proxy_requests 1;
            access_log {{dir}}/access.log own; }}"
    ));
    UdpClient::connect(proxy.address()).ask("hi");
    let expected = format!("127.0.0.1|UDP|200|5|2|{}|2|5|{}", peer.address(), proxy.address().port());
    assert_eq!(proxy.access_lines(1), [expected]);
}

#[test]
fn every_session_has_exactly_one_line() {
    let peer = TcpPeer::named("a");
    let mut proxy = fairlead().set("peer", peer.address()).stream(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own; }}"
    ));
    for _ in 0..50 {
        let mut stream = connect(proxy.address());
        writeln!(stream, "x").unwrap();
        read_line(&stream);
    }
    proxy.stop_with(Signal::SIGQUIT);
    assert_eq!(proxy.access_log().len(), 50);
}
