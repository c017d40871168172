//! `sticky source`: a client's address keeps the peer it had last.

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fairlead_harness::{Proxy, Setup, Signal, TcpPeer, UdpClient, UdpPeer, connect_from, eventually, read_line};

use crate::{fairlead, quit};

fn ask(proxy: &Proxy, client: usize) -> String {
    let mut stream = connect_from(&format!("127.8.0.{client}"), proxy.address());
    writeln!(stream, "who").unwrap();
    read_line(&stream).trim_end_matches(": who").to_owned()
}

fn ask_all(proxy: &Proxy) -> Vec<String> {
    (1..=24).map(|client| ask(proxy, client)).collect()
}

fn peers() -> ([TcpPeer; 3], Setup) {
    let peers = ["a", "b", "c"].map(TcpPeer::named);
    let setup = fairlead().set("a", peers[0].address()).set("b", peers[1].address()).set("c", peers[2].address());
    (peers, setup)
}

fn blocks(sticky: &str, servers: &str, more: &str) -> String {
    format!(
        "stream {{
            upstream group {{ {sticky}; {servers} }}
            server {{ listen 127.0.0.1:{{port}}; proxy_pass group; }}
            {more}
        }}"
    )
}

#[test]
fn a_client_keeps_its_peer_whichever_worker_serves_it() {
    let (_peers, setup) = peers();
    let proxy = setup.workers(3).start(&blocks(
        "sticky source timeout=1h zone=clients:64k",
        "server {a}; server {b}; server {c};",
        "",
    ));
    let first = ask_all(&proxy);
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 3, "all peers are in use");
    for _ in 0..4 {
        assert_eq!(ask_all(&proxy), first);
    }
}

#[test]
fn clients_are_remembered_over_a_reload() {
    let (_peers, setup) = peers();
    let mut proxy = setup.start(&blocks("sticky source zone=clients:64k", "server {a}; server {b}; server {c};", ""));
    let before = ask_all(&proxy);
    for (zone, port) in [("64k", "one"), ("128k", "two")] {
        proxy.rewrite(&blocks(
            &format!("least_conn; sticky source zone=clients:{zone}"),
            "server {c} weight=9; server {b}; server {a};",
            &format!("server {{ listen 127.0.0.1:{{port_{port}}}; proxy_pass {{a}}; }}"),
        ));
        proxy.signal(Signal::SIGHUP);
        let port = proxy.port(&format!("port_{port}"));
        eventually("the reload", || TcpStream::connect(port).is_ok());
        assert_eq!(ask_all(&proxy), before, "a zone of {zone}");
    }
}

#[test]
fn a_client_whose_peer_is_gone_gets_another_and_stays_there() {
    let (peers, setup) = peers();
    let proxy = setup.start(&blocks("sticky source", "server {a} fail_timeout=1s; server {b}; server {c};", ""));
    let before = ask_all(&proxy);
    let [a, _b, _c] = peers;
    let port = a.stop().unwrap();
    let moved = ask_all(&proxy);
    for (before, moved) in before.iter().zip(&moved) {
        assert!(if before == "a" { moved != "a" } else { moved == before }, "{before}, then {moved}");
    }
    let _a = TcpPeer::named_at("a", port.address());
    let waiting = Instant::now();
    eventually("fail_timeout has passed", || waiting.elapsed() > Duration::from_millis(1500));
    assert!((30..120).any(|stranger| ask(&proxy, stranger) == "a"), "it is back");
    assert_eq!(ask_all(&proxy), moved, "nobody moves back");
}

#[test]
fn a_client_that_stays_away_is_forgotten() {
    for (timeout, stays) in [("500ms", false), ("1h", true)] {
        let (_peers, setup) = peers();
        let sticky = format!("sticky source timeout={timeout}");
        let proxy = setup.workers(1).start(&blocks(&sticky, "server {a}; server {b};", ""));
        let first: Vec<String> = (1..=3).map(|client| ask(&proxy, client)).collect();
        let away = Instant::now();
        eventually("the time is over", || away.elapsed() > Duration::from_millis(700));
        // Three took their turns before: the next turn is the other peer's.
        let again: Vec<String> = (1..=3).map(|client| ask(&proxy, client)).collect();
        assert_eq!(first == again, stays, "{timeout}: {first:?}, then {again:?}");
    }
}

#[test]
fn a_full_zone_forgets_who_was_away_longest() {
    let (_peers, setup) = peers();
    let mut proxy = setup.workers(1).start(&blocks("sticky source zone=clients:32k", "server {a}; server {b};", ""));
    for client in 0..600 {
        let mut stream = connect_from(&format!("127.10.{}.{}", client / 200, 1 + client % 200), proxy.address());
        writeln!(stream, "who").unwrap();
        read_line(&stream);
    }
    // 64 bytes each, in two shards that need not be equally full.
    let forgotten = quit(&mut proxy)["forgotten"];
    assert!((88..300).contains(&forgotten), "{forgotten}");
}

#[test]
fn every_datagram_session_of_a_client_goes_to_one_peer() {
    let (a, b) = (UdpPeer::named("a"), UdpPeer::named("b"));
    let proxy = fairlead().set("a", a.address()).set("b", b.address()).stream(
        "upstream group { sticky source; server {a}; server {b}; }
        server { listen 127.0.0.1:{port} udp; proxy_responses 1; proxy_pass group; }",
    );
    let ask = |client: usize| UdpClient::connect_from(&format!("127.9.0.{client}"), proxy.address()).ask("who");
    let first: Vec<String> = (1..=10).map(ask).collect();
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 2);
    for _ in 0..5 {
        assert_eq!((1..=10).map(ask).collect::<Vec<_>>(), first);
    }
}

#[test]
fn mistakes_are_named() {
    let upstream = |name: &str, sticky: &str| format!("upstream {name} {{ {sticky}; server 127.0.0.1:1; }}");
    for (blocks, problem) in [
        (upstream("a", "sticky source zone=clients"), "zone size is not specified"),
        (upstream("a", "sticky source zone=clients:4k"), "zone \"clients:4k\" is too small"),
        (upstream("a", "sticky source timeout=soon"), "timeout=soon"),
        (upstream("a", "sticky cookie srv"), "cookie"),
        (
            upstream("a", "sticky source zone=z:64k") + &upstream("b", "sticky source zone=z:64k"),
            "duplicate zone \"z\"",
        ),
    ] {
        let (fine, said) = fairlead().check(&format!("stream {{ {blocks} }}"));
        assert!(!fine && said.contains(problem), "{blocks}: {said}");
    }
}
