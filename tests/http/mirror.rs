//! Copies of requests that nobody waits for.

use std::time::Duration;

use fairlead_harness::{Answer, Client, HttpPeer, TcpPeer, eventually, get};

use crate::fairlead;

#[test]
fn another_peer_gets_a_copy_of_each_request() {
    let (peer, mirror) = (HttpPeer::named("peer"), HttpPeer::named("mirror"));
    let proxy = fairlead().set("peer", peer.address()).set("mirror", mirror.address()).http(
        "server { listen 127.0.0.1:{port}; location / { mirror /copy; client_body_buffer_size 1k; proxy_pass http://{peer}; }
            location /bare/ { mirror /copy; mirror_request_body off; proxy_pass http://{peer}; }
            location /off/ { location /off/in/ { mirror off; proxy_pass http://{peer}; } mirror /copy; proxy_pass http://{peer}; }
            location = /copy { internal; proxy_pass http://{mirror}$request_uri; } }",
    );
    let body = "x".repeat(100_000);
    let mut client = Client::connect(proxy.address());
    let answer = client
        .request(format!("POST /a?b HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    assert_eq!(answer.text(), "peer");
    eventually("a copy", || mirror.requests().len() == 1);
    let copy = mirror.last();
    assert_eq!((copy.line(), copy.header("x-one")), ("POST /a?b HTTP/1.1", Some("1")));
    assert!(copy.body == body.as_bytes() && peer.last().body == copy.body);
    client.request("PUT /bare/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    eventually("a copy without its body", || mirror.requests().len() == 2);
    assert_eq!((mirror.last().line(), mirror.last().body.len()), ("PUT /bare/ HTTP/1.1", 0));
    assert_eq!(peer.last().body, b"body");
    client.get("/off/in/");
    assert_eq!(client.get("/copy").status(), 404, "it is not for clients");
    client.get("/off/");
    eventually("a copy where they are on", || mirror.requests().len() == 3);
    assert_eq!(mirror.last().target(), "/off/");
}

#[test]
fn a_client_does_not_wait_for_a_mirror() {
    let peer = HttpPeer::named("peer");
    let silent = HttpPeer::start(|_| Answer::silence());
    let proxy = fairlead().set("peer", peer.address()).set("silent", silent.address()).http(
        "server { listen 127.0.0.1:{port}; mirror /copy; location / { proxy_pass http://{peer}; }
            location = /copy { internal; proxy_read_timeout 1h; proxy_pass http://{silent}; } }",
    );
    let mut client = Client::connect(proxy.address());
    client.stream().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "peer");
    }
    eventually("all copies", || silent.requests().len() == 20);
    assert_eq!(proxy.access_lines(20).len(), 20);
}

#[test]
fn a_mirror_that_fails_does_not_show() {
    let peer = HttpPeer::named("peer");
    let broken = TcpPeer::start(drop);
    let proxy = fairlead().set("peer", peer.address()).set("broken", broken.address()).http(
        "server { listen 127.0.0.1:{port}; mirror /refused; mirror /broken; mirror /none; mirror /moved;
            location / { proxy_pass http://{peer}; }
            location = /refused { internal; proxy_pass http://127.0.0.1:1; }
            location = /broken { internal; proxy_pass http://{broken}; }
            location = /none { internal; deny all; return 404; }
            location = /moved { internal; return 301 /elsewhere; } }",
    );
    let mut client = Client::connect(proxy.address());
    for _ in 0..5 {
        let answer = client.get("/");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "peer"));
    }
    proxy.wait_for_error("upstream prematurely closed connection");
    assert_eq!(get(proxy.address(), "/").text(), "peer");
}

#[test]
fn subrequests_have_lines_in_the_log_when_asked_for() {
    let peer = HttpPeer::named("peer");
    let proxy = fairlead().set("peer", peer.address()).http(
        "log_format short '$uri $status';
        server { listen 127.0.0.1:{port}; access_log {dir}/access.log short;
            location / { mirror /copy; auth_request /asked; proxy_pass http://{peer}; }
            location /silent/ { mirror /off; proxy_pass http://{peer}; }
            location = /copy { log_subrequest on; proxy_pass http://{peer}; }
            location = /off { proxy_pass http://{peer}; }
            location = /asked { log_subrequest on; return 204; } }",
    );
    assert_eq!(get(proxy.address(), "/silent/").status(), 200);
    get(proxy.address(), "/");
    let mut lines = proxy.access_lines(4);
    lines.sort();
    assert_eq!(lines, ["/ 200", "/asked 204", "/copy 200", "/silent/ 200"]);
}

#[test]
fn what_is_no_mirror_is_refused() {
    for (text, words) in [
        ("mirror /a; mirror off;", "\"mirror\" directive is duplicate"),
        ("mirror off; mirror /a;", "\"mirror\" directive is duplicate"),
        ("mirror_request_body maybe;", "mirror_request_body"),
        ("log_subrequest maybe;", "log_subrequest"),
        ("subrequest_output_buffer_size x;", "subrequest_output_buffer_size"),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {text} }}"));
        assert!(!fine && said.contains(words), "{text}: {said}");
    }
}
