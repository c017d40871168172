//! What header a peer and a client see: what is passed, set, dropped, and in which order.

use fairlead_harness::{Answer, Client, HttpPeer, Request};

use crate::fairlead;

fn ask(server: &str, request: &str) -> Request {
    let peer = HttpPeer::start(|_| Answer::ok("x"));
    let proxy = fairlead().set("peer", peer.address()).http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; proxy_http_version 1.1; {server} location / {{ proxy_pass http://{{peer}}; }} }}"
    ));
    let answer = Client::connect(proxy.address()).request(request);
    assert_eq!(answer.status(), 200, "{}", answer.head);
    peer.last()
}

#[test]
fn names_order_and_values_pass_unchanged() {
    let seen = ask(
        "",
        "GET /p HTTP/1.1\r\nHost: client.test\r\nX-One: 1\r\nx-TWO:  spaced  \r\nAccept: a\r\nAccept: b\r\nX-Empty:\r\n\r\n",
    );
    let passed: Vec<_> =
        seen.headers().into_iter().filter(|(name, _)| !["Host", "Connection"].contains(name)).collect();
    assert_eq!(passed, [("X-One", "1"), ("x-TWO", "spaced"), ("Accept", "a"), ("Accept", "b"), ("X-Empty", "")]);
}

#[test]
fn the_peer_gets_the_proxied_host_unless_told_otherwise() {
    let seen = ask("", "GET / HTTP/1.1\r\nHost: client.test\r\n\r\n");
    let host = seen.header("host").unwrap().to_owned();
    assert!(host.starts_with("127.0.0.1:"), "{host}");
    let seen = ask("proxy_set_header Host $host;", "GET / HTTP/1.1\r\nHost: Client.test:81\r\n\r\n");
    assert_eq!(seen.header("host"), Some("client.test"));
    let seen = ask("proxy_set_header Host $http_host;", "GET / HTTP/1.1\r\nHost: Client.test:81\r\n\r\n");
    assert_eq!(seen.header("host"), Some("Client.test:81"));
}

#[test]
fn set_headers_replace_those_of_the_client() {
    let seen = ask(
        "proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
         proxy_set_header X-Scheme $scheme; proxy_set_header X-Gone \"\";",
        "GET / HTTP/1.1\r\nHost: h\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\nX-Gone: here\r\n\r\n",
    );
    let real: Vec<_> = seen.headers().into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-real-ip")).collect();
    assert_eq!(real, [("X-Real-IP", "127.0.0.1")]);
    assert_eq!(seen.header("x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(seen.header("x-scheme"), Some("http"));
    assert_eq!(seen.header("x-gone"), None);
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    let seen = ask(
        "",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nKeep-Alive: 300\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Stay: 1\r\n\r\n",
    );
    for name in ["keep-alive", "upgrade"] {
        assert_eq!(seen.header(name), None, "{}", seen.head);
    }
    assert_ne!(seen.header("connection"), Some("keep-alive"), "the client's own Connection is not passed");
    assert_eq!(seen.header("x-stay"), Some("1"));
}

#[test]
fn a_level_with_its_own_list_inherits_nothing() {
    let peer = HttpPeer::start(|_| Answer::ok("x"));
    let proxy = fairlead().set("peer", peer.address()).http(
        "proxy_set_header X-Level http;
        server {
            listen 127.0.0.1:{port};
            location /inherits { proxy_pass http://{peer}; }
            location /own { proxy_set_header X-Own yes; proxy_pass http://{peer}; }
        }",
    );
    proxy.get("/inherits");
    assert_eq!(peer.last().header("x-level"), Some("http"));
    proxy.get("/own");
    assert_eq!((peer.last().header("x-level"), peer.last().header("x-own")), (None, Some("yes")));
}

#[test]
fn the_answer_keeps_the_peers_headers_but_not_its_connection() {
    let raw = "HTTP/1.1 200 Fine\r\nServer: peer\r\nX-B: 2\r\nx-a: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
               Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nX-Accel-Expires: 0\r\nContent-Length: 2\r\n\r\nok";
    let peer = HttpPeer::start(move |_| Answer::Raw(raw.into()));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_http_version 1.1; } }");
    let answer = proxy.get("/");
    assert_eq!(answer.status_line(), "HTTP/1.1 200 Fine");
    let own: Vec<_> =
        answer.headers().into_iter().filter(|(name, _)| name.len() == 3 || *name == "Set-Cookie").collect();
    assert_eq!(own, [("X-B", "2"), ("x-a", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]);
    assert_eq!(answer.header("connection"), Some("close"));
    for hidden in ["keep-alive", "x-accel-expires"] {
        assert_eq!(answer.header(hidden), None, "{}", answer.head);
    }
    assert_ne!(answer.header("server"), Some("peer"), "the proxy names itself");
    assert!(answer.header("date").is_some());
}
