//! Sessions end when nobody speaks, and connecting does not take for ever.

use std::io::Write;

use fairlead_harness::{TcpPeer, connect, read_line, read_to_end};

use crate::fairlead;

#[test]
fn a_silent_session_ends_after_proxy_timeout() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead()
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; proxy_timeout 300ms; }");
    let mut stream = connect(proxy.address());
    writeln!(stream, "hi").unwrap();
    assert_eq!(read_line(&stream), "a: hi");
    assert!(read_to_end(&stream).is_empty());
}

#[test]
fn every_byte_starts_the_timeout_anew() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead()
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; proxy_timeout 1s; }");
    let mut stream = connect(proxy.address());
    for round in 0..6 {
        // Three times the timeout in all, in steps well within it.
        std::thread::sleep(std::time::Duration::from_millis(500));
        writeln!(stream, "{round}").unwrap();
        assert_eq!(read_line(&stream), format!("a: {round}"));
    }
}

#[test]
fn a_peer_that_never_accepts_is_left_after_proxy_connect_timeout() {
    // A listener whose backlog is full drops further SYNs: its connections neither succeed nor fail.
    let (full, _held) = full_listener();
    let good = TcpPeer::named("good");
    let proxy = fairlead().workers(1).set("full", full.local_addr().unwrap()).set("good", good.address()).stream(
        "upstream group { server {full}; server {good}; }
        server { listen 127.0.0.1:{port}; proxy_pass group; proxy_connect_timeout 200ms; }",
    );
    for _ in 0..3 {
        let mut stream = connect(proxy.address());
        writeln!(stream, "hi").unwrap();
        assert_eq!(read_line(&stream), "good: hi");
    }
    proxy.wait_for_error("upstream timed out (110: Connection timed out) while connecting to upstream");
}

fn full_listener() -> (std::net::TcpListener, Vec<socket2::Socket>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = std::net::TcpListener::from(socket);
    let address = listener.local_addr().unwrap().into();
    let held = (0..4).map(|_| {
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&address);
        client
    });
    let held = held.collect();
    (listener, held)
}
