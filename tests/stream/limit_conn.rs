//! `limit_conn`: how many sessions of one key may run at once, over all workers and reloads.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use fairlead_harness::{Proxy, Signal, TcpPeer, UdpClient, UdpPeer, connect, connect_from, eventually, read_to_end};

use crate::fairlead;

/// A session that has reached its peer, unless it was turned away.
fn open(source: &str, address: SocketAddr) -> Option<TcpStream> {
    let mut stream = connect_from(source, address);
    let _ = writeln!(stream, "hi");
    let mut byte = [0];
    // Seen, not taken: the caller reads whole lines.
    matches!(stream.peek(&mut byte), Ok(1)).then_some(stream)
}

fn is_refused(source: &str, address: SocketAddr) -> bool {
    open(source, address).is_none()
}

fn reload(proxy: &Proxy, generation: usize) {
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error(&format!("generation {generation} is served"));
}

#[test]
fn a_client_has_no_more_sessions_than_its_limit() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().workers(2).set("peer", peer.address()).stream(
        "limit_conn_zone $binary_remote_addr zone=clients:1m;
        log_format s '$status [$limit_conn_status]';
        server { listen 127.0.0.1:{port}; limit_conn clients 3; proxy_pass {peer}; access_log {dir}/access.log s; }",
    );
    let mut held: Vec<TcpStream> = (0..3).map(|_| open("127.0.0.1", proxy.address()).unwrap()).collect();
    for _ in 0..6 {
        assert!(read_to_end(&connect(proxy.address())).is_empty(), "workers count together");
    }
    assert!(open("127.0.0.2", proxy.address()).is_some(), "another client has a limit of its own");
    let log = proxy.access_lines(7);
    assert_eq!(log.iter().filter(|line| *line == "503 [REJECTED]").count(), 6);
    assert!(log.contains(&"200 [PASSED]".to_owned()));
    proxy.wait_for_error(
        "limiting connections by zone \"clients\" while initializing session, client: 127.0.0.1, server:",
    );
    held.pop();
    eventually("its end makes room", || !is_refused("127.0.0.1", proxy.address()));
}

#[test]
fn a_dry_run_tells_and_lets_in() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "limit_conn_zone $binary_remote_addr zone=clients:1m;
        limit_conn_dry_run on; limit_conn_log_level notice; log_format s '$status [$limit_conn_status]';
        server { listen 127.0.0.1:{port}; limit_conn clients 1; proxy_pass {peer}; access_log {dir}/access.log s; }",
    );
    let held = open("127.0.0.1", proxy.address()).unwrap();
    drop(open("127.0.0.1", proxy.address()).expect("it is let in"));
    assert_eq!(proxy.access_lines(1), ["200 [REJECTED_DRY_RUN]"]);
    proxy.wait_for_error("limiting connections, dry run, by zone \"clients\" while initializing session");
    assert!(proxy.error_log().lines().any(|line| line.contains("[notice]") && line.contains("dry run")));
    drop(held);
    assert_eq!(proxy.access_lines(2)[1], "200 [PASSED]");
}

#[test]
fn a_session_that_one_limit_refuses_is_counted_by_none() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "limit_conn_zone $server_port zone=servers:1m; limit_conn_zone $remote_addr zone=clients:1m;
        server { listen 127.0.0.1:{port}; limit_conn servers 2; limit_conn clients 1; proxy_pass {peer}; }",
    );
    let _first = open("127.0.0.1", proxy.address()).unwrap();
    for _ in 0..5 {
        assert!(is_refused("127.0.0.1", proxy.address()));
    }
    let _second = open("127.0.0.2", proxy.address()).expect("the server's second place is free");
    assert!(is_refused("127.0.0.3", proxy.address()));
}

#[test]
fn an_empty_key_is_not_counted() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "limit_conn_zone $proxy_protocol_addr zone=clients:1m; log_format s '[$limit_conn_status]';
        server { listen 127.0.0.1:{port}; limit_conn clients 1; proxy_pass {peer}; access_log {dir}/access.log s; }",
    );
    let held: Vec<TcpStream> = (0..5).map(|_| open("127.0.0.1", proxy.address()).unwrap()).collect();
    drop(held);
    assert_eq!(proxy.access_lines(5), ["[-]"; 5]);
}

#[test]
fn a_full_zone_turns_new_keys_away() {
    if fairlead().is_nginx() {
        return; // nginx counts its own bookkeeping as well, and fits fewer.
    }
    let peer = TcpPeer::named("a");
    let key = "x".repeat(200);
    let proxy = fairlead().workers(1).set("peer", peer.address()).stream(&format!(
        "limit_conn_zone $remote_port-{key} zone=ports:32k;
        server {{ listen 127.0.0.1:{{port}}; limit_conn ports 10; proxy_pass {{peer}}; }}"
    ));
    // A key of 93 to 220 bytes takes 256 of the zone.
    let mut held: Vec<TcpStream> = (0..128).map(|_| open("127.0.0.1", proxy.address()).unwrap()).collect();
    assert!(is_refused("127.0.0.1", proxy.address()));
    proxy.wait_for_error("no memory in limit_conn_zone \"ports\"");
    held.clear();
    eventually("all of it is given back", || {
        let held: Vec<_> = (0..128).map_while(|_| open("127.0.0.1", proxy.address())).collect();
        held.len() == 128
    });
}

#[test]
fn counts_survive_a_reload_even_to_another_size() {
    if fairlead().is_nginx() {
        return; // nginx begins a zone of another size anew.
    }
    let peer = TcpPeer::named("a");
    let body = |size: &str, zone: &str| {
        format!(
            "stream {{ limit_conn_zone $binary_remote_addr zone={zone}:{size};
            server {{ listen 127.0.0.1:{{port}}; limit_conn {zone} 1; proxy_pass {{peer}}; }} }}"
        )
    };
    let mut proxy = fairlead().set("peer", peer.address()).start(&body("1m", "clients"));
    let held = open("127.0.0.1", proxy.address()).unwrap();
    assert!(is_refused("127.0.0.1", proxy.address()));
    proxy.rewrite(&body("2m", "clients"));
    reload(&proxy, 2);
    assert!(is_refused("127.0.0.1", proxy.address()), "the session from before counts");
    proxy.rewrite(&body("1m", "others"));
    reload(&proxy, 3);
    eventually("a zone of another name begins empty", || !is_refused("127.0.0.1", proxy.address()));
    drop(held);
}

#[test]
fn a_connection_that_is_passed_on_keeps_its_place() {
    if fairlead().is_nginx() {
        return; // Debian's is older than pass.
    }
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "limit_conn_zone $binary_remote_addr zone=clients:1m;
        server { listen 127.0.0.1:{port}; limit_conn clients 1; pass 127.0.0.1:{port_inner}; }
        server { listen 127.0.0.1:{port_inner}; proxy_pass {peer}; }",
    );
    let held = open("127.0.0.1", proxy.address()).unwrap();
    assert!(is_refused("127.0.0.1", proxy.address()));
    drop(held);
    eventually("its end makes room", || !is_refused("127.0.0.1", proxy.address()));
}

#[test]
fn sessions_of_datagrams_are_counted_too() {
    let peer = UdpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "limit_conn_zone $binary_remote_addr zone=clients:1m; log_format s '$remote_addr $status';
        server { listen 127.0.0.1:{port} udp; limit_conn clients 1; proxy_pass {peer};
            proxy_timeout 1s; access_log {dir}/access.log s; }",
    );
    let first = UdpClient::connect(proxy.address());
    assert_eq!(first.ask("one"), "a: one");
    UdpClient::connect(proxy.address()).send("two");
    assert_eq!(proxy.access_lines(1)[0], "127.0.0.1 503");
    assert_eq!(first.ask("three"), "a: three", "its session goes on");
    proxy.access_lines(2);
    assert_eq!(UdpClient::connect(proxy.address()).ask("four"), "a: four", "the first is over");
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    let zone = "limit_conn_zone $remote_addr zone=x:32k;";
    for (text, message) in [
        ("limit_conn_zone $remote_addr zone=x:1k;", "zone \"zone=x:1k\" is too small"),
        ("limit_conn_zone $remote_addr zone=x;", "invalid zone size \"zone=x\""),
        ("limit_conn_zone $nobody zone=x:32k;", "unknown \"nobody\" variable"),
        ("limit_conn x 1;", "zero size shared memory zone \"x\""),
        ("ZONE limit_conn x 0;", "invalid number of connections \"0\""),
        ("ZONE limit_conn x 65536;", "connection limit must be less 65536"),
        ("ZONE limit_conn x 1; limit_conn x 2;", "\"limit_conn\" directive is duplicate"),
        (
            "ZONE limit_conn_zone $remote_port zone=x:32k;",
            "limit_conn_zone \"x\" is already bound to key \"$remote_addr\"",
        ),
    ] {
        let server = "server { listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:9; }";
        let (sound, said) = fairlead().check(&format!("stream {{ {} {server} }}", text.replace("ZONE", zone)));
        assert!(!sound && said.contains(message), "{text}: {said}");
    }
}
