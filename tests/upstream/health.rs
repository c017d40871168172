//! Active health checks in both planes. (NGINX Plus has them and Debian's nginx does not.)

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fairlead_harness::{Answer, HttpPeer, TcpPeer, connect, eventually, read_line};

use crate::fairlead;

/// Answers its name; its health page says what the switch says.
fn switched(name: &'static str) -> (HttpPeer, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = healthy.clone();
    let peer = HttpPeer::start(move |request| match request.target() {
        "/health" if switch.load(Ordering::SeqCst) => Answer::status("200 OK", "status: fine"),
        "/health" => Answer::status("503 Ill", "status: ill"),
        _ => Answer::ok(name),
    });
    (peer, healthy)
}

#[test]
fn an_ill_http_peer_gets_nothing_until_it_has_recovered() {
    let ((a, a_is_healthy), (b, _b_is_healthy)) = (switched("a"), switched("b"));
    let proxy = fairlead().set("a", a.address()).set("b", b.address()).http(
        r#"match fine { status 200; body ~ "fine"; }
        upstream group { zone group 64k; server {a}; server {b}; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group;
            health_check interval=100ms fails=2 passes=2 uri=/health match=fine; } }"#,
    );
    let serves = |name: &str| (0..4).any(|_| proxy.get("/").text() == name);
    eventually("both serve", || serves("a") && serves("b"));
    a_is_healthy.store(false, Ordering::SeqCst);
    eventually("a is left out", || !serves("a"));
    for _ in 0..20 {
        assert_eq!(proxy.get("/").text(), "b");
    }
    a_is_healthy.store(true, Ordering::SeqCst);
    eventually("a serves again", || serves("a"));
    let probe = a.requests().into_iter().find(|request| request.target() == "/health").unwrap();
    assert!(probe.header("connection").is_none_or(|value| value.eq_ignore_ascii_case("close")), "{}", probe.head);
}

#[test]
fn a_mandatory_check_comes_before_the_first_request() {
    let ((a, a_is_healthy), (b, _)) = (switched("a"), switched("b"));
    a_is_healthy.store(false, Ordering::SeqCst);
    let proxy = fairlead().set("a", a.address()).set("b", b.address()).http(
        "upstream group { zone group 64k; server {a}; server {b}; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group;
            health_check interval=100ms mandatory uri=/health; } }",
    );
    eventually("b has passed", || proxy.get("/").text() == "b");
    for _ in 0..20 {
        assert_eq!(proxy.get("/").text(), "b");
    }
}

#[test]
fn a_tcp_peer_is_judged_by_what_it_says() {
    let healthy = Arc::new(AtomicBool::new(true));
    let speaker = |name: &'static str, healthy: Arc<AtomicBool>| {
        TcpPeer::start(move |mut stream| {
            let mut buffer = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let answer = match &buffer[..count] {
                    b"PING\n" if healthy.load(Ordering::SeqCst) => "PONG\n".to_owned(),
                    b"PING\n" => "OUCH\n".to_owned(),
                    _ => format!("{name}\n"),
                };
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        })
    };
    let (a, b) = (speaker("a", healthy.clone()), speaker("b", Arc::new(AtomicBool::new(true))));
    let proxy = fairlead().set("a", a.address()).set("b", b.address()).stream(
        r#"match pong { send "PING\n"; expect ~ "^PONG"; }
        upstream group { zone group 64k; server {a}; server {b}; }
        server { listen 127.0.0.1:{port}; proxy_pass group; health_check interval=100ms match=pong; }"#,
    );
    let ask = || {
        let mut stream = connect(proxy.address());
        writeln!(stream, "who").unwrap();
        read_line(&stream)
    };
    let serves = |name: &str| (0..4).any(|_| ask() == name);
    eventually("both serve", || serves("a") && serves("b"));
    healthy.store(false, Ordering::SeqCst);
    eventually("a is left out", || !serves("a"));
    healthy.store(true, Ordering::SeqCst);
    eventually("a serves again", || serves("a"));
}

#[test]
fn a_peer_that_does_not_listen_is_found_out_before_a_client_is() {
    let (a, b) = (TcpPeer::named("a"), TcpPeer::named("b"));
    let proxy = fairlead().set("a", a.address()).set("b", b.address()).stream(
        "log_format tried '$upstream_addr';
        upstream group { zone group 64k; server {a}; server {b}; }
        server { listen 127.0.0.1:{port}; proxy_pass group; health_check interval=100ms; access_log {dir}/access.log tried; }",
    );
    let dead = a.address();
    let _port = a.stop();
    proxy.wait_for_error("unhealthy");
    for _ in 0..10 {
        let mut stream = connect(proxy.address());
        writeln!(stream, "x").unwrap();
        assert_eq!(read_line(&stream), "b: x");
    }
    let lines = proxy.access_lines(10);
    assert!(!lines.iter().any(|line| line.contains(&dead.to_string())), "{lines:?}");
}
