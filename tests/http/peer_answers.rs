//! Answers of a peer that cannot be trusted end in 502; odd ones that are clear pass.

use fairlead_harness::{Answer, Client, HttpPeer, Response};

use crate::fairlead;

fn through(raw: &'static [u8], request: &str) -> Result<Response, String> {
    let peer = HttpPeer::start(move |_| Answer::Last(raw.to_vec()));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_http_version 1.1; } }");
    let mut client = Client::connect(proxy.address());
    if request.starts_with("HEAD") {
        return Ok(client.request(request));
    }
    client.send(request);
    client.try_response()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn answers_that_two_parsers_could_read_differently_are_502() {
    for raw in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nBroken\x01Name: x\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nab",
        b"not HTTP at all\r\n\r\n",
    ] {
        let status = through(raw, GET).map(|answer| answer.status());
        assert_eq!(status, Ok(502), "{:?}", String::from_utf8_lossy(raw));
    }
}

#[test]
fn a_broken_chunk_ends_the_answer_visibly() {
    let raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n";
    // Either nothing was sent yet and it is a 502, or the client sees the body break off.
    let answer = through(raw, GET).map(|answer| answer.status());
    assert!(answer.is_err() || answer == Ok(502), "{answer:?}");
}

#[test]
fn a_status_without_words_passes() {
    let answer = through(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", GET).unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
}

#[test]
fn bodiless_statuses_have_no_body() {
    let answer = through(b"HTTP/1.1 204 No Content\r\n\r\n", GET).unwrap();
    assert_eq!(answer.status(), 204);
    let answer = through(b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", GET).unwrap();
    assert_eq!((answer.status(), answer.header("etag")), (304, Some("\"x\"")));
    let head =
        through(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(head.header("content-length"), Some("500"));
}

#[test]
fn interim_answers_are_not_the_answer() {
    let raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let answer = through(raw, GET).unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
}

#[test]
fn more_than_the_announced_body_is_cut() {
    let answer = through(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", GET).unwrap();
    assert_eq!(answer.text(), "ok");
}

#[test]
fn a_header_larger_than_the_buffer_is_502() {
    let peer = HttpPeer::start(|request| {
        let length: usize = request.target().trim_start_matches('/').parse().unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Big: \r\n\r\n";
        Answer::Raw(head.replace("Big: ", &format!("Big: {}", "x".repeat(length - head.len()))).into())
    });
    for (rows, most) in [("", 4096), ("proxy_buffer_size 5k;", 5120), ("proxy_buffering off;", 4096)] {
        let proxy = fairlead().set("peer", peer.address()).http(&format!(
            "server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://{{peer}}; {rows} }} }}"
        ));
        assert_eq!(proxy.get(&format!("/{most}")).status(), 200, "{rows}");
        assert_eq!(proxy.get(&format!("/{}", most + 1)).status(), 502, "{rows}");
        proxy.wait_for_error("upstream sent too big header while reading response header from upstream");
    }
}
