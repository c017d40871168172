//! Long bodies that nothing has to look at: they go on uncopied, and arrive as they left.

use std::io::{Read, Write};

use fairlead_harness::{Answer, Client, HttpPeer};

use crate::fairlead;

const SERVER: &str = "upstream group { server {peer}; keepalive 8; }
    server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; proxy_http_version 1.1;
        proxy_set_header Connection ''; } }";

/// Different from page to page and from answer to answer.
fn pattern(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|at| ((at + seed) % 251) as u8).collect()
}

#[test]
fn long_and_short_answers_take_turns_on_one_connection() {
    let peer = HttpPeer::start(|request| {
        let (size, seed) = request.target()[1..].split_once('/').expect("/size/seed");
        Answer::ok(pattern(size.parse().unwrap(), seed.parse().unwrap()))
    });
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    let sizes = [40_000, 3_000_000, 100, 70_000, 4096, 20_480, 1_000_000, 65_536, 0, 32_768];
    for (seed, size) in sizes.into_iter().cycle().take(30).enumerate() {
        let answer = client.get(&format!("/{size}/{seed}"));
        assert!(answer.body == pattern(size, seed), "answer {seed} of {size} bytes");
    }
    assert_eq!(peer.connections(), 1, "it is kept");
}

#[test]
fn a_slow_reader_gets_every_byte() {
    const SIZE: usize = 20 << 20;
    let peer = HttpPeer::start(|_| Answer::ok(pattern(SIZE, 0)));
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(SERVER);
    for _ in 0..2 {
        let mut client = Client::connect(proxy.address());
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let (mut got, mut buffer) = (Vec::new(), vec![0; 100_000]);
        loop {
            // At first in morsels, so that the sockets in between fill up.
            let most = if got.len() < 1 << 20 { 1000 } else { buffer.len() };
            match client.stream().read(&mut buffer[..most]) {
                Ok(count @ 1..) => got.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
        assert!(got.ends_with(&pattern(SIZE, 0)), "{} bytes came", got.len());
    }
}

#[test]
fn a_head_does_not_wait_for_a_body_that_is_late() {
    // The first answer tells that long ones are to be expected here.
    let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
    let gone = std::sync::Mutex::new(Some(gone));
    let peer = HttpPeer::start(move |request| {
        if request.target() == "/first" {
            return Answer::ok(pattern(100_000, 0));
        }
        let gone = gone.lock().unwrap().take().expect("asked once");
        Answer::Talk(Box::new(move |stream| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nX-Pad: ";
            let pad = "p".repeat(4096 - head.len() - 4);
            let _ = stream.write_all(format!("{head}{pad}\r\n\r\n").as_bytes());
            let _ = gone.recv();
            let _ = stream.write_all(&pattern(100_000, 1));
        }))
    });
    // Buffered, it waits for its body, so that another peer may be asked if none comes.
    let unbuffered = SERVER.replace("proxy_http_version", "proxy_buffering off; proxy_http_version");
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(&unbuffered);
    let mut client = Client::connect(proxy.address());
    assert!(client.get("/first").body == pattern(100_000, 0));
    client.send("GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.bytes(15), b"HTTP/1.1 200 OK");
    go.send(()).unwrap();
    let rest = client.bytes(100_000);
    assert!(!rest.is_empty());
}

#[test]
fn a_long_body_cut_short_is_not_passed_off_as_whole() {
    let peer = HttpPeer::start(|request| match request.target() {
        "/first" => Answer::ok(pattern(100_000, 0)),
        _ => Answer::Last([b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", &pattern(150_000, 0)[..]].concat()),
    });
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("/first").status(), 200);
    client.send("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.try_response().is_err(), "the client must see that the body is incomplete");
    proxy.wait_for_error("upstream prematurely closed connection while reading upstream");
}
