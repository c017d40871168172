//! Reloads lose nothing: not a request, not a connection, not a session, not a flow.

use std::io::Write;
use std::time::{Duration, Instant};

use fairlead_harness::{Answer, HttpPeer, Load, Signal, TcpPeer, UdpClient, UdpPeer, WebSocket};
use fairlead_harness::{connect, eventually, read_line};

use crate::fairlead;

const RELOADS: usize = 50;
const SHORTEST: Duration = Duration::from_secs(10);

const BLOCKS: &str = r#"
stream {
    upstream lines { server {tcp}; }
    server { listen 127.0.0.1:{port_tcp}; proxy_pass lines; }
    server { listen 127.0.0.1:{port_udp} udp; proxy_pass {udp}; }
}
http {
    access_log {dir}/access.log;
    keepalive_requests 1000000;
    upstream group { server {http}; keepalive 16; }
    server {
        listen 127.0.0.1:{port};
        location = /generation { return 200 "generation {generation}"; }
        location /socket { proxy_pass http://{websocket}; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }
        location / { proxy_pass http://group; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }
}"#;

#[test]
fn fifty_reloads_under_load_lose_nothing() {
    let (http, websocket) =
        (HttpPeer::start(|_| Answer::ok("x".repeat(500))), HttpPeer::start(|_| Answer::websocket()));
    let (tcp, udp) = (TcpPeer::named("a"), UdpPeer::named("b"));
    let mut proxy = fairlead()
        .set("http", http.address())
        .set("websocket", websocket.address())
        .set("tcp", tcp.address())
        .set("udp", udp.address())
        .set("generation", 0)
        .start(BLOCKS);
    let mut session = connect(proxy.port("port_tcp"));
    let mut socket = WebSocket::connect(proxy.address(), "/socket");
    let flow = UdpClient::connect(proxy.port("port_udp"));
    let keepalive = Load::keepalive(proxy.address(), "/k", 16);
    let fresh = Load::new_connections(proxy.address(), "/n", 4);

    let start = Instant::now();
    for generation in 1..=RELOADS {
        proxy.set("generation", generation);
        proxy.rewrite(BLOCKS);
        proxy.signal(Signal::SIGHUP);
        let wanted = format!("generation {generation}");
        eventually(&wanted, || proxy.get("/generation").text() == wanted);
        writeln!(session, "{generation}").unwrap();
        assert_eq!(read_line(&session), format!("a: {generation}"));
        assert_eq!(socket.ask(&wanted), wanted);
        assert_eq!(flow.ask(&wanted), format!("b: {wanted}"));
        let share = SHORTEST * generation as u32 / RELOADS as u32;
        eventually("the load keeps its pace", || start.elapsed() >= share);
    }
    keepalive.advance(50);
    let (keepalive, fresh) = (keepalive.stop(), fresh.stop());
    assert!(
        keepalive.errors.is_empty(),
        "keepalive: {} of {}: {:?}",
        keepalive.errors.len(),
        keepalive.requests,
        &keepalive.errors[0]
    );
    assert!(
        fresh.errors.is_empty(),
        "new connections: {} of {}: {:?}",
        fresh.errors.len(),
        fresh.requests,
        &fresh.errors[0]
    );
    assert!(keepalive.requests > 1000 && fresh.requests > 500, "{} and {}", keepalive.requests, fresh.requests);
    assert_eq!((tcp.accepted(), udp.flows(), websocket.connections()), (1, 1, 1), "the same session, flow and socket");
}

#[test]
fn what_a_connection_began_with_is_what_it_ends_with() {
    let peer = HttpPeer::named("peer");
    let blocks = "http { server { listen 127.0.0.1:{port}; location / { return 200 '{text}'; }
        location /peer { proxy_pass http://{peer}; } } }";
    let mut proxy = fairlead().set("peer", peer.address()).set("text", "old").start(blocks);
    let mut old = fairlead_harness::Client::connect(proxy.address());
    assert_eq!(old.get("/").text(), "old");
    proxy.set("text", "new");
    proxy.rewrite(blocks);
    proxy.signal(Signal::SIGHUP);
    eventually("the new generation answers", || proxy.get("/").text() == "new");
    assert_eq!(old.get("/peer").status(), 200, "the old connection still works");
}
