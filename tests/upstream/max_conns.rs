//! `max_conns`: a peer that is full gets nothing more, and is free again when a request ends.

use fairlead_harness::{Answer, Client, HttpPeer, eventually};

use crate::fairlead;

#[test]
fn the_surplus_goes_elsewhere_and_comes_back() {
    let limited =
        HttpPeer::start(|request| if request.target() == "/hold" { Answer::silence() } else { Answer::ok("limited") });
    let other =
        HttpPeer::start(|request| if request.target() == "/hold" { Answer::silence() } else { Answer::ok("other") });
    let proxy = fairlead().set("limited", limited.address()).set("other", other.address()).http(
        "upstream group { zone group 64k; server {limited} max_conns=2; server {other}; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; } }",
    );
    let held: Vec<Client> = (0..10)
        .map(|number| {
            let mut client = Client::connect(proxy.address());
            client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
            eventually("it arrives", || limited.requests().len() + other.requests().len() > number);
            client
        })
        .collect();
    assert_eq!((limited.requests().len(), other.requests().len()), (2, 8));
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "other");
    }
    drop(held);
    eventually("the limited peer is free again", || proxy.get("/").text() == "limited");
}

#[test]
fn when_everyone_is_full_the_client_is_told() {
    let peer =
        HttpPeer::start(|request| if request.target() == "/hold" { Answer::silence() } else { Answer::ok("free") });
    let proxy = fairlead().set("peer", peer.address()).http(
        "upstream group { zone group 64k; server {peer} max_conns=1; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; } }",
    );
    let mut held = Client::connect(proxy.address());
    held.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it arrives", || peer.requests().len() == 1);
    assert_eq!(proxy.get("/").status(), 502);
    proxy.wait_for_error("no live upstreams while connecting to upstream");
    drop(held);
    eventually("the peer is free again", || proxy.get("/").text() == "free");
}
