//! Compressed bodies: for whom, in which framing, and that they come while the peer still speaks.

use std::io::Read;

use fairlead_harness::{Answer, Client, HttpPeer, Response};
use flate2::read::GzDecoder;

use crate::fairlead;

fn unpacked(answer: &Response) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding"), Some("gzip"), "{}", answer.head);
    let mut data = Vec::new();
    GzDecoder::new(&*answer.body).read_to_end(&mut data).unwrap();
    data
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::default()).read_to_end(&mut data).unwrap();
    data
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";

#[test]
fn a_large_file_is_packed_and_the_ratio_is_logged() {
    let text: Vec<u8> = (0..300_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let proxy = fairlead().file("site/index.html", &text).http(
        "log_format ratio '$gzip_ratio'; gzip on;
        server { listen 127.0.0.1:{port}; root {dir}/site; access_log {dir}/access.log ratio; }",
    );
    let mut client = Client::connect(proxy.address());
    let answer = client.request(ASK);
    assert!(unpacked(&answer) == text);
    assert_eq!((answer.header("content-length"), answer.header("accept-ranges")), (None, None));
    assert!(answer.header("etag").unwrap().starts_with("W/\""));
    assert!(client.get("/").body == text, "the connection lives, and this client takes no gzip");
    let lines = proxy.access_lines(2);
    let ratio: f64 = lines[0].parse().unwrap_or_else(|_| panic!("{lines:?}"));
    let real = text.len() as f64 / answer.body.len() as f64;
    assert!((ratio - real).abs() < 0.02, "{ratio} {real}");
    assert_eq!(lines[1], "-");
}

#[test]
fn what_an_unbuffered_peer_says_is_not_held_back() {
    use std::io::Write;
    let peer = HttpPeer::start(|_| {
        Answer::Talk(Box::new(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nfirst");
            let _ = stream.read(&mut [0; 1]);
        }))
    });
    let proxy = fairlead().set("peer", peer.address()).http(
        "gzip on; server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_buffering off; } }",
    );
    let mut client = Client::connect(proxy.address());
    client.send(ASK);
    let mut came = Vec::new();
    while !came.ends_with(b"\r\n\r\n") {
        came.extend(client.bytes(1));
    }
    let (mut data, mut text) = (Vec::new(), Vec::new());
    while text != b"first" {
        // Blocks, and fails the test, when the rest is held back.
        data.extend(chunk(&mut client));
        text.clear();
        let _ = GzDecoder::new(&*data).read_to_end(&mut text);
    }
}

fn chunk(client: &mut Client) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.bytes(1));
    }
    let size = usize::from_str_radix(String::from_utf8(line).unwrap().trim(), 16).unwrap();
    let mut data = client.bytes(size + 2);
    data.truncate(size);
    data
}

#[test]
fn a_bomb_is_unpacked_as_the_client_reads_it() {
    let zeros = packed(&vec![0; 24 << 20]);
    let peer = HttpPeer::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", zeros.len());
        Answer::Raw([head.as_bytes(), &zeros].concat())
    });
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("gunzip on; server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }");
    let most = || proxy.workers().into_iter().map(fairlead_harness::process::peak_resident).max().unwrap();
    let before = most();
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client.bytes(1 << 10);
    let rest = client.rest();
    let after = most();
    assert!(after < before + (6 << 20), "{before} bytes before, {after} after");
    assert!(rest.len() > 23 << 20 && rest.ends_with(b"\r\n0\r\n\r\n"), "{}", rest.len());
}

#[test]
fn a_broken_body_ends_the_connection_and_is_told() {
    let mut broken = packed(&b"text that is going to break".repeat(20));
    let middle = broken.len() / 2;
    broken.truncate(middle);
    let peer = HttpPeer::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", broken.len());
        Answer::Raw([head.as_bytes(), &broken].concat())
    });
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("gunzip on; server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }");
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let came = client.rest();
    assert!(!came.ends_with(b"0\r\n\r\n"), "an end that is none");
    proxy.wait_for_error("inflate()");
}

#[test]
fn values_out_of_range_are_refused() {
    for (directive, words) in [
        ("gzip_comp_level 10;", "gzip_comp_level"),
        ("gzip_http_version 2;", "gzip_http_version"),
        ("gzip_proxied sometimes;", "sometimes"),
        ("gzip_disable \"(\";", "gzip_disable"),
        ("gzip_buffers 0 4k;", "gzip_buffers"),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {directive} }}"));
        assert!(!fine && said.contains(words), "{directive}: {said}");
    }
}
