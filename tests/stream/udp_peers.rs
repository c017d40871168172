//! UDP sessions and their peers: one that is removed, ill or dead is left with the next datagram,
//! and nothing else moves a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fairlead_harness::{Proxy, Signal, UdpClient, UdpPeer, eventually};

use crate::fairlead;

fn blocks(servers: &str, server: &str) -> String {
    format!(
        "stream {{
            log_format s '$status $upstream_addr $upstream_bytes_sent/$upstream_bytes_received';
            upstream group {{ zone group 64k; {servers} }}
            server {{ listen 127.0.0.1:{{port}} udp; proxy_pass group; {server} access_log {{dir}}/access.log s; }}
        }}"
    )
}

fn start(a: &UdpPeer, b: &UdpPeer, server: &str) -> Proxy {
    let setup = fairlead().workers(1).set("a", a.address()).set("b", b.address());
    setup.start(&blocks("server {a}; server {b};", server))
}

/// Clients until one is served by `name`.
fn served_by(proxy: &Proxy, name: &str) -> UdpClient {
    let mut clients = (0..10).map(|_| UdpClient::connect(proxy.address()));
    clients.find(|client| client.ask("1") == format!("{name}: 1")).expect("both peers are used")
}

#[test]
fn a_reload_that_removes_a_peer_moves_its_sessions_and_no_other() {
    let (a, b) = (UdpPeer::named("a"), UdpPeer::named("b"));
    let mut proxy = start(&a, &b, "");
    let (of_a, of_b) = (served_by(&proxy, "a"), served_by(&proxy, "b"));
    let flows = b.flows();
    proxy.rewrite(&blocks("server {b};", ""));
    proxy.signal(Signal::SIGHUP);
    eventually("the session moves", || of_a.ask("2") == "b: 2");
    assert_eq!(of_a.ask("3"), "b: 3");
    assert_eq!(of_b.ask("2"), "b: 2");
    assert_eq!(b.flows(), flows + 1, "the other session is where it was");
    let line = proxy.access_lines(1).remove(0);
    assert!(line.starts_with(&format!("200 {} ", a.address())), "{line}");
}

#[test]
fn reloads_lose_no_datagram_of_a_session() {
    let (a, b) = (UdpPeer::named("a"), UdpPeer::named("b"));
    let proxy = start(&a, &b, "");
    let client = UdpClient::connect(proxy.address());
    let first = client.ask("0");
    let name = first.split(':').next().unwrap().to_owned();
    for number in 0..200 {
        if number % 20 == 0 {
            proxy.signal(Signal::SIGHUP);
        }
        // Each is sent once: a loss would be noticed.
        assert_eq!(client.ask(format!("{number}")), format!("{name}: {number}"));
    }
    assert_eq!(a.flows() + b.flows(), 1);
}

#[test]
fn an_active_health_check_that_fails_moves_sessions() {
    let well = Arc::new(AtomicBool::new(true));
    let health = well.clone();
    let a = UdpPeer::start(move |datagram| match datagram {
        b"ping" if !health.load(Ordering::SeqCst) => vec![b"ill".to_vec()],
        b"ping" => vec![b"pong".to_vec()],
        other => vec![[b"a: ", other].concat()],
    });
    let b = UdpPeer::start(|datagram| match datagram {
        b"ping" => vec![b"pong".to_vec()],
        other => vec![[b"b: ", other].concat()],
    });
    let setup = fairlead().workers(1).set("a", a.address()).set("b", b.address());
    let text = blocks("server {a}; server {b};", "health_check udp interval=100ms match=pong;");
    let proxy = setup.start(&text.replace("stream {", "stream { match pong { send ping; expect ~ ^pong; }"));
    let client = served_by(&proxy, "a");
    assert_eq!(client.ask("2"), "a: 2");
    well.store(false, Ordering::SeqCst);
    eventually("the session moves to the peer that is well", || client.ask("3") == "b: 3");
}

#[test]
fn sessions_of_a_dead_peer_move_once_one_of_them_has_found_it_dead() {
    let (a, b) = (UdpPeer::named("a"), UdpPeer::named("b"));
    let proxy = start(&a, &b, "");
    let (first, second) = (served_by(&proxy, "a"), served_by(&proxy, "a"));
    let address = a.address();
    let _port = a.stop();
    // Lost, and ICMP says so; nginx goes on with the dead peer until proxy_timeout.
    first.send("lost");
    proxy.wait_for_error("recv() failed (111: Connection refused) while proxying and reading from upstream");
    assert_eq!(second.ask("2"), "b: 2", "without a loss of its own");
    assert_eq!(first.ask("3"), "b: 3");
    let lines = proxy.access_lines(2);
    assert!(lines.contains(&format!("502 {address} 5/4")), "{lines:?}");
    assert!(lines.contains(&format!("200 {address} 1/4")), "{lines:?}");
}

#[test]
fn one_peer_alone_is_kept_whatever_happens_to_it() {
    let a = UdpPeer::named("a");
    let proxy = fairlead().workers(1).set("a", a.address()).start(&blocks("server {a};", ""));
    let client = UdpClient::connect(proxy.address());
    assert_eq!(client.ask("1"), "a: 1");
    let (address, port) = (a.address(), a.stop());
    client.send("lost");
    proxy.access_lines(1);
    drop(port);
    let again = UdpPeer::start_at(address, |datagram| vec![[b"again: ", datagram].concat()]);
    assert_eq!(client.ask("2"), "again: 2");
    assert_eq!(again.flows(), 1);
}
