//! Requests that are taken elsewhere once their own location lets them in; connections that a worker
//! keeps for a while when it ends.

use std::time::{Duration, Instant};

use fairlead_harness::{Client, HttpPeer, Signal, get};

use crate::fairlead;

#[test]
fn a_request_moves_on_once_it_was_let_in() {
    let peer = HttpPeer::named("peer");
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; location / { internal_redirect @inner; return 200 never; }
            location /in/ { internal_redirect @inner; }
            location /path/ { internal_redirect /file?$args; }
            location /some/ { internal_redirect $arg_to; alias {dir}/site/; }
            location /denied/ { deny all; internal_redirect @inner; }
            location /loop/ { internal_redirect /loop/x; }
            location @inner { proxy_pass http://{peer}; }
            location = /file { internal; return 200 'file $args $request_method'; } }",
    );
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("/in/a").text(), "peer");
    assert_eq!(peer.last().target(), "/in/a");
    let posted = client.request("POST /path/?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert!(posted.text().starts_with("file x=1"), "{}", posted.text());
    assert_eq!(client.get("/some/?to=/file").text(), "file  GET");
    assert_eq!(client.get("/some/none").status(), 404, "an empty value leaves it here");
    assert_eq!(get(proxy.address(), "/denied/").status(), 403);
    assert_eq!(get(proxy.address(), "/loop/").status(), 500);
    proxy.wait_for_error("rewrite or internal redirection cycle");
}

#[test]
fn an_idle_connection_outlives_a_graceful_end_for_a_while() {
    let mut proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; keepalive_min_timeout 3s; location / { return 200 text; }
            location /short/ { keepalive_min_timeout 0; return 200 text; } }",
    );
    let (mut kept, mut closed) = (Client::connect(proxy.address()), Client::connect(proxy.address()));
    closed.get("/short/");
    kept.get("/");
    let began = Instant::now();
    proxy.signal(Signal::SIGQUIT);
    closed.assert_closed();
    let answer = kept.get("/");
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("text", Some("keep-alive")));
    kept.assert_closed();
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(proxy.wait_for_exit().success());
}
