//! How a peer is reached and what it gets: `proxy_bind`, `proxy_allow_upstream`, `proxy_set_body` and their kin.

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, TcpPeer};
use std::io::{Read, Write};

use crate::fairlead;

/// A peer that answers with the address its client connects from.
fn mirror() -> TcpPeer {
    TcpPeer::start(|mut stream| {
        let from = stream.peer_addr().unwrap().ip().to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{from}", from.len());
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    })
}

fn behind(peer: &TcpPeer, location: &str) -> Proxy {
    fairlead().set("peer", peer.address()).http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://{{peer}}; {location} }} }}"
    ))
}

#[test]
fn connections_start_from_proxy_bind() {
    let peer = mirror();
    assert_eq!(behind(&peer, "proxy_bind 127.0.0.9;").get("/").text(), "127.0.0.9");
    assert_eq!(behind(&peer, "proxy_bind off;").get("/").text(), "127.0.0.1");
    let proxy = behind(
        &peer,
        "proxy_bind $arg_from; proxy_socket_keepalive on; proxy_socket_rcvbuf 64k; proxy_socket_sndbuf 64k;",
    );
    for from in ["127.0.0.7", "127.0.0.8", "127.0.0.7"] {
        assert_eq!(proxy.get(&format!("/?from={from}")).text(), from);
    }
    assert_eq!(proxy.get("/").text(), "127.0.0.1", "an empty value leaves it to the kernel");
    assert_eq!(proxy.get("/?from=nonsense").text(), "127.0.0.1");
    proxy.wait_for_error("invalid local address \"nonsense\"");
}

#[test]
fn an_address_of_somebody_else_is_our_own_failure() {
    let peer = mirror();
    let proxy = behind(&peer, "proxy_bind 192.0.2.77;");
    assert_eq!(proxy.get("/").status(), 500);
    proxy.wait_for_error("[crit]");
    proxy.wait_for_error("bind(192.0.2.77) failed (99: Cannot assign requested address) while connecting to upstream");
}

#[test]
fn a_kept_connection_is_not_lent_to_another_address() {
    let peer = HttpPeer::named("kept");
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        "upstream group { server {peer}; keepalive 4; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; proxy_bind $arg_from; } }",
    );
    for number in 0..3 {
        assert_eq!(proxy.get(&format!("/?from=127.0.0.{}", 5 + number % 2)).status(), 200);
    }
    assert_eq!(peer.connections(), 3);
}

fn two(first: &HttpPeer, second: &HttpPeer, location: &str) -> Proxy {
    fairlead().workers(1).set("first", first.address()).set("second", second.address()).http(&format!(
        "map $upstream_last_addr $allowed {{ volatile; default 0; {{second}} 1; }}
        upstream group {{ server {{first}} max_fails=0; server {{second}}; }}
        log_format tried '$upstream_status';
        server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/tried.log tried;
            location / {{ proxy_pass http://group; {location} }} }}"
    ))
}

#[test]
fn a_peer_that_is_not_allowed_is_not_asked() {
    let (first, second) = (HttpPeer::named("first"), HttpPeer::named("second"));
    let proxy = two(&first, &second, "proxy_allow_upstream 1 $allowed;");
    let mut seen: Vec<u16> = (0..4).map(|_| proxy.get("/").status()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [200, 200, 502, 502]);
    proxy.wait_for_error("access to upstream denied while connecting to upstream");
    let proxy = two(&first, &second, "proxy_allow_upstream $allowed; proxy_next_upstream denied;");
    assert_eq!((0..4).map(|_| proxy.get("/").text()).collect::<Vec<_>>(), ["second"; 4]);
    assert_eq!(first.requests().len(), 0);
}

#[test]
fn a_dynamic_request_names_the_peer_it_goes_to() {
    let first = HttpPeer::start(|_| Answer::nothing());
    let second = HttpPeer::named("second");
    let proxy = two(&first, &second, "proxy_request_dynamic on; proxy_set_header X-Peer $upstream_last_addr;");
    let post = "PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";
    for _ in 0..2 {
        assert_eq!(Client::connect(proxy.address()).request(post).text(), "second");
    }
    for peer in [&first, &second] {
        let last = peer.last();
        assert_eq!(last.header("x-peer"), Some(peer.address().to_string().as_str()));
        assert_eq!(last.body, b"body");
    }
}

#[test]
fn a_body_of_ours_takes_the_place_of_the_clients() {
    let peer = HttpPeer::named("x");
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port};
            location / { proxy_pass http://{peer}; proxy_set_body 'id=$arg_id'; }
            location /none/ { proxy_pass http://{peer}; proxy_set_body ''; }
            location /forged/ { proxy_pass http://{peer}; proxy_set_header Content-Length 1; } }",
    );
    let post = |path: &str| {
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let mut client = Client::connect(proxy.address());
        assert_eq!((client.request(&request).status(), client.request(&request).status()), (200, 200));
        peer.last()
    };
    let seen = post("/?id=7");
    assert_eq!((seen.body.as_slice(), seen.header("content-length")), (&b"id=7"[..], Some("4")));
    assert_eq!((post("/none/").body.as_slice(), post("/none/").header("content-length")), (&b""[..], Some("0")));
    let seen = post("/forged/");
    assert_eq!((seen.body.as_slice(), seen.header("content-length")), (&b"abc"[..], Some("3")));
    proxy.get("/?id=8");
    assert_eq!((peer.last().line(), peer.last().body.as_slice()), ("GET /?id=8 HTTP/1.1", &b"id=8"[..]));
}
