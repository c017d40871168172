//! `proxy_session_drop`: sessions end when their peer is lost. (NGINX Plus has it.)

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fairlead_harness::{PATIENCE, Proxy, Signal, TcpPeer, connect, read_line, read_to_end};

use crate::fairlead;

/// Answers `PING` while it is healthy, and everything else with its name.
fn switched(name: &'static str) -> (TcpPeer, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = healthy.clone();
    let peer = TcpPeer::start(move |mut stream| {
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let answer = match &buffer[..count] {
                b"PING\n" if switch.load(Ordering::SeqCst) => "PONG",
                b"PING\n" => "OUCH",
                _ => name,
            };
            if writeln!(stream, "{answer}").is_err() {
                return;
            }
        }
    });
    (peer, healthy)
}

fn session(proxy: &Proxy) -> (TcpStream, String) {
    let mut stream = connect(proxy.address());
    writeln!(stream, "who").unwrap();
    let name = read_line(&stream);
    (stream, name)
}

fn still_answers(stream: &mut TcpStream, name: &str) -> bool {
    writeln!(stream, "who").is_ok() && read_line(stream) == name
}

#[test]
fn sessions_of_a_peer_that_fails_its_check_end() {
    let ((a, a_is_healthy), (b, _)) = (switched("a"), switched("b"));
    let proxy = fairlead().workers(1).set("a", a.address()).set("b", b.address()).stream(
        r#"log_format s '$upstream_addr $status'; match pong { send "PING\n"; expect ~ "^PONG"; }
        upstream group { zone group 64k; server {a}; server {b}; }
        server { listen 127.0.0.1:{port}; proxy_pass group; proxy_session_drop on;
            health_check interval=50ms match=pong; access_log {dir}/access.log s; }"#,
    );
    let mut sessions: Vec<_> = (0..6).map(|_| session(&proxy)).collect();
    a_is_healthy.store(false, Ordering::SeqCst);
    let (on_a, on_b): (Vec<_>, Vec<_>) = sessions.drain(..).partition(|(_, name)| name == "a");
    assert_eq!((on_a.len(), on_b.len()), (3, 3));
    for (stream, _) in on_a {
        assert!(read_to_end(&stream).is_empty(), "it ends by itself");
    }
    assert_eq!(proxy.access_lines(3), vec![format!("{} 200", a.address()); 3]);
    proxy.wait_for_error("upstream server is removed or unavailable, session dropped while proxying connection");
    for (mut stream, _) in on_b {
        assert!(still_answers(&mut stream, "b"));
    }
}

#[test]
fn without_it_sessions_stay_with_their_peer() {
    let ((a, a_is_healthy), (b, _)) = (switched("a"), switched("b"));
    let proxy = fairlead().workers(1).set("a", a.address()).set("b", b.address()).stream(
        r#"match pong { send "PING\n"; expect ~ "^PONG"; }
        upstream group { zone group 64k; server {a}; server {b}; }
        server { listen 127.0.0.1:{port}; proxy_pass group; health_check interval=50ms match=pong; }"#,
    );
    let (mut stream, name) = session(&proxy);
    assert_eq!(name, "a");
    a_is_healthy.store(false, Ordering::SeqCst);
    proxy.wait_for_error("unhealthy");
    assert_eq!(session(&proxy).1, "b");
    assert!(still_answers(&mut stream, "a"));
}

#[test]
fn sessions_of_a_peer_that_a_reload_removes_end() {
    let (a, b) = (TcpPeer::named("a"), TcpPeer::named("b"));
    let body = |servers: &str, drop: &str| {
        format!(
            "stream {{ upstream group {{ zone group 64k; {servers} }}
            server {{ listen 127.0.0.1:{{port}}; proxy_pass group; proxy_session_drop {drop}; }} }}"
        )
    };
    let setup = || fairlead().workers(1).set("a", a.address()).set("b", b.address());
    let reload = |proxy: &mut Proxy, body: &str| {
        proxy.rewrite(body);
        proxy.signal(Signal::SIGHUP);
        proxy.wait_for_error("generation 2 is served");
    };
    let mut dropping = setup().start(&body("server {a}; server {b};", "on"));
    let ((first, name), (mut second, _)) = (session(&dropping), session(&dropping));
    assert_eq!(name, "a: who");
    reload(&mut dropping, &body("server {b};", "on"));
    assert!(read_to_end(&first).is_empty());
    assert!(still_answers(&mut second, "b: who"), "its peer is still there");
    let mut keeping = setup().start(&body("server {a}; server {b};", "off"));
    let (mut kept, _) = session(&keeping);
    reload(&mut keeping, &body("server {b};", "off"));
    assert!(still_answers(&mut kept, "a: who"), "a reload ends no session that does not ask for it");
}

/// What the client hears of a peer that a reload has removed, and the proxy.
fn last_words(drop: &str) -> (Proxy, String) {
    let (peer, client) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for socket in [&peer, &client] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let body = |server: &str| {
        format!(
            "stream {{ log_format s '$status $upstream_bytes_received'; upstream group {{ zone group 64k; {server} }}
            server {{ listen 127.0.0.1:{{port}} udp; proxy_pass group; proxy_session_drop {drop};
                access_log {{dir}}/access.log s; }} }}"
        )
    };
    let mut proxy = fairlead().workers(1).start(&body(&format!("server {};", peer.local_addr().unwrap())));
    client.send_to(b"hello", proxy.address()).unwrap();
    let mut buffer = [0; 64];
    let (_, session) = peer.recv_from(&mut buffer).unwrap();
    proxy.rewrite(&body("server 127.0.0.1:9;"));
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error("generation 2 is served");
    peer.send_to(b"still here", session).unwrap();
    if drop == "on" {
        proxy.access_lines(1);
        client.set_nonblocking(true).unwrap();
    }
    let heard = client.recv(&mut buffer).map_or_else(
        |error| format!("{:?}", error.kind()),
        |count| String::from_utf8_lossy(&buffer[..count]).into_owned(),
    );
    (proxy, heard)
}

#[test]
fn a_udp_session_ends_when_its_lost_peer_speaks() {
    let (proxy, heard) = last_words("on");
    assert_eq!((heard.as_str(), proxy.access_log()), ("WouldBlock", vec!["200 0".to_owned()]));
    proxy.wait_for_error("upstream server is removed or unavailable, session dropped while proxying connection");
    assert_eq!(last_words("off").1, "still here");
}
