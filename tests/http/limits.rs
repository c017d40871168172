//! Requests that are too long, too slow, or of a kind that is not served.

use fairlead_harness::{Answer, Client, HttpPeer, Proxy};

use crate::fairlead;

fn proxy(http: &str) -> (HttpPeer, Proxy) {
    let peer = HttpPeer::start(|request| Answer::ok(request.body.len().to_string()));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http(&format!("{http} server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://{{peer}}; }} }}"));
    (peer, proxy)
}

#[test]
fn a_body_over_client_max_body_size_is_413() {
    let (peer, proxy) = proxy("client_max_body_size 1k;");
    let mut client = Client::connect(proxy.address());
    let answer = client.request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1025\r\n\r\n");
    assert_eq!(answer.status_line(), "HTTP/1.1 413 Request Entity Too Large");
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n");
    client.send(vec![b'x'; 0x401]);
    client.send("\r\n0\r\n\r\n");
    assert_eq!(client.response().status(), 413);
    let body = "x".repeat(1024);
    let mut client = Client::connect(proxy.address());
    let answer = client.request(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1024\r\n\r\n{body}"));
    assert_eq!(answer.text(), "1024");
    assert_eq!(peer.requests().len(), 1);
    proxy.wait_for_error("client intended to send too large body: 1025 bytes");
}

#[test]
fn long_lines_and_long_headers_are_refused() {
    let (_peer, proxy) = proxy("large_client_header_buffers 2 1k;");
    let ask = |request: String| {
        let mut client = Client::connect(proxy.address());
        let answer = client.request(request);
        client.assert_closed();
        answer.status_line().to_owned()
    };
    let long = "x".repeat(1500);
    assert_eq!(ask(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")), "HTTP/1.1 414 Request-URI Too Large");
    assert_eq!(ask(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Long: {long}\r\n\r\n")), "HTTP/1.1 400 Bad Request");
    let many: String = (0..60).map(|number| format!("X-{number}: {}\r\n", "y".repeat(60))).collect();
    assert_eq!(ask(format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")), "HTTP/1.1 400 Bad Request");
}

#[test]
fn headers_within_the_limits_pass_however_they_arrive() {
    let (peer, proxy) = proxy("large_client_header_buffers 4 8k;");
    let value = "v".repeat(7000);
    let mut client = Client::connect(proxy.address());
    let request = format!("GET /a HTTP/1.1\r\nHost: h\r\nX-One: {value}\r\nX-Two: {value}\r\n\r\n");
    for piece in request.as_bytes().chunks(997) {
        client.send(piece);
        std::thread::yield_now();
    }
    assert_eq!(client.response().status(), 200);
    assert_eq!(peer.last().header("x-two"), Some(value.as_str()));
}

#[test]
fn a_request_that_takes_too_long_ends() {
    let (_peer, proxy) = proxy("client_header_timeout 1s; client_body_timeout 1s;");
    let mut silent = Client::connect(proxy.address());
    let mut half = Client::connect(proxy.address());
    half.send("GET / HTTP/1.1\r\nHo");
    let mut body = Client::connect(proxy.address());
    body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    silent.assert_closed();
    let ended = half.rest();
    assert!(ended.is_empty() || ended.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&ended));
    let ended = body.rest();
    assert!(ended.is_empty() || ended.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&ended));
    let lines = proxy.access_lines(2);
    assert!(lines.iter().filter(|line| line.contains(" 408 ")).count() >= 2, "{lines:?}");
}

#[test]
fn versions_and_codings_that_are_not_spoken_are_named() {
    let (peer, proxy) = proxy("");
    for (request, status) in [
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        ("GET / HTTP/3.7\r\nHost: h\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: bad host\r\n\r\n", 400),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
    ] {
        let answer = Client::connect(proxy.address()).request(request);
        assert_eq!(answer.status(), status, "{request:?}");
    }
    assert!(peer.requests().is_empty());
}

#[test]
fn http_0_9_gets_the_body_alone() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; return 200 bare; }");
    let mut client = Client::connect(proxy.address());
    client.send("GET /\r\n");
    assert_eq!(client.rest(), b"bare");
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let (_peer, proxy) = proxy("");
    let answer = Client::connect(proxy.address()).request("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answer.status(), 200);
}
