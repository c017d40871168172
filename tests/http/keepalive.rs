//! Connections that carry more than one request, on both sides.

use fairlead_harness::{Answer, Client, HttpPeer};

use crate::fairlead;

#[test]
fn idle_connections_to_peers_are_used_again() {
    let peer = HttpPeer::start(|_| Answer::ok("x"));
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        r#"upstream group { server {peer}; keepalive 8; }
        server { listen 127.0.0.1:{port}; location / {
            proxy_pass http://group; proxy_http_version 1.1; proxy_set_header Connection "";
        } }"#,
    );
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert_eq!((peer.requests().len(), peer.connections()), (20, 1));
    assert_eq!(peer.last().header("connection"), None);
}

#[test]
fn keepalive_requests_limits_the_use_of_one() {
    let peer = HttpPeer::start(|_| Answer::ok("x"));
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        r#"upstream group { server {peer}; keepalive 8; keepalive_requests 5; }
        server { listen 127.0.0.1:{port}; location / {
            proxy_pass http://group; proxy_http_version 1.1; proxy_set_header Connection "";
        } }"#,
    );
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert_eq!(peer.connections(), 4);
}

#[test]
fn a_peer_that_closes_an_idle_connection_costs_no_request() {
    let peer = HttpPeer::start(|_| Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".to_vec()));
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        r#"upstream group { server {peer}; keepalive 8; }
        server { listen 127.0.0.1:{port}; location / {
            proxy_pass http://group; proxy_http_version 1.1; proxy_set_header Connection "";
        } }"#,
    );
    for _ in 0..50 {
        assert_eq!(proxy.get("/").status(), 200);
    }
}

#[test]
fn a_client_connection_carries_many_requests() {
    let peer = HttpPeer::start(|request| Answer::ok(request.target()));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }");
    let mut client = Client::connect(proxy.address());
    for number in 0..30 {
        let answer = client.get(&format!("/{number}"));
        assert_eq!(answer.text(), format!("/{number}"));
        assert_ne!(answer.header("connection"), Some("close"));
    }
}

#[test]
fn the_client_may_close_and_the_server_says_that_it_will() {
    let proxy =
        fairlead().http("keepalive_requests 3; server { listen 127.0.0.1:{port}; location / { return 200 x; } }");
    let mut client = Client::connect(proxy.address());
    let answers: Vec<_> = (0..3).map(|_| client.get("/")).collect();
    assert_eq!(answers[1].header("connection"), Some("keep-alive"));
    assert_eq!(answers[2].header("connection"), Some("close"), "the last one of keepalive_requests");
    client.assert_closed();
    let mut client = Client::connect(proxy.address());
    let answer = client.request("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.header("connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn http_1_0_closes_unless_it_asks_to_stay() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; location / { return 200 x; } }");
    let mut client = Client::connect(proxy.address());
    let answer = client.request("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    client.assert_closed();
    let mut client = Client::connect(proxy.address());
    for _ in 0..2 {
        let answer = client.request("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("x", Some("keep-alive")));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let peer = HttpPeer::start(|request| Answer::ok(format!("{}{}", request.target(), request.body.len())));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } location /own { return 200 own; } }");
    let mut client = Client::connect(proxy.address());
    let mut bytes = Vec::new();
    for number in 0..20 {
        bytes.extend(format!("GET /{number}- HTTP/1.1\r\nHost: h\r\n\r\n").bytes());
        bytes.extend(format!("POST /p{number}- HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody").bytes());
        bytes.extend(b"POST /c- HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        bytes.extend(b"GET /own HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    client.send(bytes);
    for number in 0..20 {
        assert_eq!(client.response().text(), format!("/{number}-0"));
        assert_eq!(client.response().text(), format!("/p{number}-4"));
        assert_eq!(client.response().text(), "/c-3");
        assert_eq!(client.response().text(), "own");
    }
}

#[test]
fn an_idle_connection_ends_after_keepalive_timeout() {
    let proxy =
        fairlead().http("keepalive_timeout 1s; server { listen 127.0.0.1:{port}; location / { return 200 x; } }");
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("/").status(), 200);
    client.assert_closed();
    let proxy =
        fairlead().http("keepalive_timeout 0; server { listen 127.0.0.1:{port}; location / { return 200 x; } }");
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("/").header("connection"), Some("close"));
    client.assert_closed();
}

/// A group whose connections to the peer follow these rules, and how many of them so many requests took.
fn connections(peer: &HttpPeer, rules: &str, ask: impl Fn(&fairlead_harness::Proxy)) -> usize {
    let before = peer.connections();
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(&format!(
        "upstream group {{ server {{peer}}; {rules} }}
        server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://group; }} }}"
    ));
    ask(&proxy);
    peer.connections() - before
}

#[test]
fn idle_connections_to_peers_end_with_their_time() {
    let peer = HttpPeer::named("x");
    let twice = |proxy: &fairlead_harness::Proxy| {
        assert_eq!(proxy.get("/").status(), 200);
        std::thread::sleep(std::time::Duration::from_millis(2500));
        assert_eq!(proxy.get("/").status(), 200);
    };
    assert_eq!(connections(&peer, "keepalive_timeout 60s;", twice), 1);
    assert_eq!(connections(&peer, "keepalive_timeout 1s;", twice), 2);
    assert_eq!(
        connections(&peer, "keepalive_time 1s;", |proxy| {
            twice(proxy);
            assert_eq!(proxy.get("/").status(), 200);
        }),
        2,
        "it is closed behind the request that finds it too old"
    );
}

#[test]
fn no_more_connections_to_peers_are_kept_than_asked_for() {
    let peer = HttpPeer::start(|request| {
        // Those that are asked together are answered together.
        if request.target() == "/slow" {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        Answer::ok("x")
    });
    let burst = |proxy: &fairlead_harness::Proxy| {
        for _ in 0..2 {
            let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(proxy.address())).collect();
            for client in &mut clients {
                client.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
            }
            assert!(clients.iter_mut().all(|client| client.response().status() == 200));
        }
    };
    assert_eq!(connections(&peer, "keepalive 2;", burst), 10);
    assert_eq!(connections(&peer, "keepalive 0;", burst), 12);
    assert_eq!(connections(&peer, "", burst), 6, "32 unless it is written");
}

#[test]
fn locations_share_connections_to_peers_unless_they_are_local() {
    for (rules, used) in [("", 2), ("keepalive 8 local;", 2), ("keepalive 8;", 1)] {
        let peer = HttpPeer::named("x");
        let proxy = fairlead().workers(1).set("peer", peer.address()).http(&format!(
            "upstream group {{ server {{peer}}; {rules} }}
            server {{ listen 127.0.0.1:{{port}};
                location /one {{ proxy_pass http://group; }} location /other {{ proxy_pass http://group; }} }}"
        ));
        for path in ["/one", "/other", "/one", "/other", "/one"] {
            assert_eq!(proxy.get(path).status(), 200);
        }
        assert_eq!(peer.connections(), used, "{rules}");
    }
}
