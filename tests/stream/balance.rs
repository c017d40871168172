//! Which peer a TCP session gets, and what happens when that peer is not there.

use std::collections::HashMap;
use std::io::Write;

use fairlead_harness::{Port, Proxy, TcpPeer, connect, connect_from, eventually, read_line};

use crate::fairlead;

fn ask(proxy: &Proxy, source: &str) -> String {
    let mut stream = connect_from(source, proxy.address());
    writeln!(stream, "who").unwrap();
    read_line(&stream).trim_end_matches(": who").to_owned()
}

fn count(names: impl Iterator<Item = String>) -> HashMap<String, usize> {
    names.fold(HashMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}

#[test]
fn sessions_go_round_by_weight() {
    let (a, b) = (TcpPeer::named("a"), TcpPeer::named("b"));
    let proxy = fairlead().workers(1).set("a", a.address()).set("b", b.address()).stream(
        "upstream group { server {a} weight=3; server {b}; } server { listen 127.0.0.1:{port}; proxy_pass group; }",
    );
    let counts = count((0..16).map(|_| ask(&proxy, "127.0.0.1")));
    assert_eq!((counts["a"], counts["b"]), (12, 4));
}

#[test]
fn a_peer_that_refuses_costs_no_session() {
    let (nobody, b) = (Port::reserve(), TcpPeer::named("b"));
    let proxy = fairlead()
        .set("a", nobody.address())
        .set("b", b.address())
        .stream("upstream group { server {a}; server {b}; } server { listen 127.0.0.1:{port}; proxy_pass group; }");
    for _ in 0..10 {
        assert_eq!(ask(&proxy, "127.0.0.1"), "b");
    }
    proxy.wait_for_error("connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1");
}

#[test]
fn a_backup_serves_only_while_the_others_cannot() {
    let (first, backup) = (TcpPeer::named("first"), TcpPeer::named("backup"));
    let proxy = fairlead().workers(1).set("a", first.address()).set("b", backup.address()).stream(
        "upstream group { server {a} fail_timeout=1s; server {b} backup; }
        server { listen 127.0.0.1:{port}; proxy_pass group; }",
    );
    assert_eq!(ask(&proxy, "127.0.0.1"), "first");
    let port = first.stop().unwrap();
    assert_eq!(ask(&proxy, "127.0.0.1"), "backup");
    let _first = TcpPeer::named_at("first", port.address());
    eventually("the first peer serves again", || ask(&proxy, "127.0.0.1") == "first");
}

#[test]
fn when_nobody_answers_the_session_is_closed() {
    let nobody = Port::reserve();
    let proxy =
        fairlead().set("peer", nobody.address()).stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; }");
    assert!(fairlead_harness::read_to_end(&connect(proxy.address())).is_empty());
}

#[test]
fn hash_keeps_a_client_on_its_peer() {
    let peers = ["a", "b", "c"].map(TcpPeer::named);
    let proxy =
        fairlead().set("a", peers[0].address()).set("b", peers[1].address()).set("c", peers[2].address()).stream(
            "upstream group { hash $remote_addr consistent; server {a}; server {b}; server {c}; }
            server { listen 127.0.0.1:{port}; proxy_pass group; }",
        );
    let sources: Vec<String> = (1..40).map(|number| format!("127.1.{number}.7")).collect();
    let first: Vec<String> = sources.iter().map(|source| ask(&proxy, source)).collect();
    let again: Vec<String> = sources.iter().map(|source| ask(&proxy, source)).collect();
    assert_eq!(first, again);
    assert_eq!(count(first.into_iter()).len(), 3, "every peer has its share");
}

#[test]
fn ip_hash_takes_the_first_three_octets() {
    if fairlead().is_nginx() {
        return; // nginx has no ip_hash in stream; it is our extension.
    }
    let peers = ["a", "b", "c"].map(TcpPeer::named);
    let proxy =
        fairlead().set("a", peers[0].address()).set("b", peers[1].address()).set("c", peers[2].address()).stream(
            "upstream group { ip_hash; server {a}; server {b}; server {c}; }
            server { listen 127.0.0.1:{port}; proxy_pass group; }",
        );
    for network in 1..20 {
        let one = ask(&proxy, &format!("127.2.{network}.1"));
        assert_eq!(ask(&proxy, &format!("127.2.{network}.200")), one);
    }
    let counts = count((1..60).map(|network| ask(&proxy, &format!("127.3.{network}.1"))));
    assert_eq!(counts.len(), 3, "{counts:?}");
}

#[test]
fn max_conns_sends_the_rest_elsewhere() {
    let (a, b) = (TcpPeer::named("a"), TcpPeer::named("b"));
    let proxy = fairlead().set("a", a.address()).set("b", b.address()).stream(
        "upstream group { zone group 64k; server {a} max_conns=2; server {b}; }
        server { listen 127.0.0.1:{port}; proxy_pass group; }",
    );
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = connect(proxy.address());
        writeln!(stream, "who").unwrap();
        read_line(&stream);
        held.push(stream);
    }
    assert_eq!((a.accepted(), b.accepted()), (2, 8));
    drop(held);
    eventually("released sessions make room", || ask(&proxy, "127.0.0.1") == "a");
}

#[test]
fn random_reaches_everyone_and_two_choices_avoid_the_busy() {
    let peers = ["a", "b", "c"].map(TcpPeer::named);
    let mut setup = fairlead().workers(1);
    for (name, peer) in ["a", "b", "c"].iter().zip(&peers) {
        setup = setup.set(name, peer.address());
    }
    let proxy = setup.stream(
        "upstream any { random; server {a}; server {b}; server {c}; }
         upstream two { random two least_conn; server {a}; server {b}; }
         server { listen 127.0.0.1:{port}; proxy_pass any; }
         server { listen 127.0.0.1:{port_two}; proxy_pass two; }",
    );
    let found = count((0..60).map(|_| ask(&proxy, "127.0.0.1")));
    assert_eq!(found.len(), 3, "{found:?}");
    // Both are drawn each time, and the one with fewer sessions is taken.
    let sessions: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(proxy.port("port_two"));
            writeln!(stream, "hi").unwrap();
            let name = read_line(&stream);
            (stream, name)
        })
        .collect();
    let shares = count(sessions.iter().map(|(_, name)| name.clone()));
    assert!(shares.values().all(|share| *share == 10), "{shares:?}");
}
