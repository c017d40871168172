//! Requests that two parsers could read differently are answered 400, end the connection, and
//! never reach a peer (RFC 9112, sections 2.2, 5, 6 and 11.2). Stricter than nginx where it is lenient.

use std::time::Duration;

use fairlead_harness::{Answer, Client, HttpPeer};

use crate::fairlead;

/// What follows the doubtful request on the same connection: a second one, which must not be served.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

const MATRIX: &[(&str, &str)] = &[
    ("bare LF after the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n"),
    ("bare LF after a field", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
    ("bare LF as the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\n"),
    ("bare CR in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"),
    ("bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("folded field", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
    ("field folded by a tab", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n"),
    ("space before the first field", "GET / HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n"),
    ("space before the colon", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello"),
    ("tab before the colon", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    ("field without a colon", "GET / HTTP/1.1\r\nHost: h\r\nNonsense\r\n\r\n"),
    ("field without a name", "GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n"),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"),
    ("NUL in a name", "GET / HTTP/1.1\r\nHost: h\r\nX\0: a\r\n\r\n"),
    ("control character in a name", "GET / HTTP/1.1\r\nHost: h\r\nX\x01Y: a\r\n\r\n"),
    ("control character in the target", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n"),
    (
        "length and coding",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding and length",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("the same length twice", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("a signed length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello"),
    ("a hexadecimal length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello"),
    ("an empty length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nhello"),
    ("coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    ("no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    ("two spaces in the request line", "GET  / HTTP/1.1 x\r\nHost: h\r\n\r\n"),
    (
        "chunk size with a sign",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    ),
    ("chunk size with 0x", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("no chunk size", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
    ("chunk size too large", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx"),
    (
        "chunk longer than its size",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "bare LF after a chunk size",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    ),
    ("bare LF after a chunk", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
];

#[test]
fn every_doubtful_request_is_refused() {
    let peer = HttpPeer::start(|_| Answer::ok("served"));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_http_version 1.1; } }");
    let mut wrong = Vec::new();
    for (name, request) in MATRIX {
        let mut client = Client::connect(proxy.address());
        client.send([request.as_bytes(), SMUGGLED.as_bytes()].concat());
        client.stream().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let answer = match client.try_rest() {
            Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Err(error) => {
                wrong.push(format!("{name}: not closed: {error}"));
                continue;
            }
        };
        if !answer.starts_with("HTTP/1.1 400 ") {
            wrong.push(format!("{name}: {:?}", answer.lines().next().unwrap_or("closed without an answer")));
        } else if answer.matches("HTTP/1.1 ").count() > 1 {
            wrong.push(format!("{name}: the next request was served too"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let reached: Vec<_> = peer.requests().into_iter().map(|request| request.head).collect();
    assert!(reached.is_empty(), "{reached:#?}");
}

#[test]
fn what_is_unusual_but_clear_is_served() {
    let peer = HttpPeer::start(|request| Answer::ok(&request.body));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_http_version 1.1; } }");
    for request in [
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;name=value\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost:h\r\nContent-Length:   005  \r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nX-Utf8: \u{e9}\r\n\r\nhello",
    ] {
        let answer = Client::connect(proxy.address()).request(request);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"), "{request:?}");
    }
}
