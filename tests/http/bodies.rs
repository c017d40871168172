//! Request and response bodies: sizes, framings, and memory that does not grow with them.

use std::io::{Read, Write};

use fairlead_harness::{Answer, Client, HttpPeer, process};

use crate::fairlead;

const SERVER: &str = "client_max_body_size 0;
    server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_http_version 1.1; } }";

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn chunked(body: &[u8], chunk: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in body.chunks(chunk) {
        bytes.extend(format!("{:x}\r\n", part.len()).bytes());
        bytes.extend_from_slice(part);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

#[test]
fn bodies_of_every_size_arrive_whole_both_ways() {
    let peer = HttpPeer::start(|request| Answer::ok(&request.body));
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    for size in [0, 1, 127, 4095, 4096, 8192, 16_384, 65_537, 1_000_003] {
        let body = pattern(size);
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n");
        let answer = client.request([head.as_bytes(), &body].concat());
        assert!(answer.body == body, "{size} bytes came back as {}", answer.body.len());
        assert_eq!(peer.last().body.len(), size);
    }
}

#[test]
fn chunked_requests_arrive_whole() {
    let peer = HttpPeer::start(|request| Answer::ok(&request.body));
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    for (size, chunk) in [(0, 1), (1, 1), (5000, 7), (70_000, 4096), (500_000, 33_333)] {
        let body = pattern(size);
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = client.request([&head[..], &chunked(&body, chunk)].concat());
        assert!(answer.body == body, "{size} bytes in chunks of {chunk} came back as {}", answer.body.len());
    }
}

#[test]
fn chunked_answers_arrive_whole_and_suit_old_clients() {
    let body = pattern(300_000);
    let mut raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    raw.extend(chunked(&body, 10_000));
    let peer = HttpPeer::start(move |_| Answer::Raw(raw.clone()));
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert!(answer.body == body);
    }
    let answer = Client::connect(proxy.address()).request("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!(answer.header("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
    assert!(answer.body == body);
}

#[test]
fn an_answer_that_ends_with_the_connection_arrives_whole() {
    let body = pattern(200_000);
    let raw = [b"HTTP/1.0 200 OK\r\n\r\n", &body[..]].concat();
    let peer = HttpPeer::start(move |_| Answer::Last(raw.clone()));
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    assert!(Client::connect(proxy.address()).get("/").body == body);
}

#[test]
fn an_answer_cut_short_is_not_passed_off_as_whole() {
    let peer = HttpPeer::start(|_| Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort".to_vec()));
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.try_response().is_err(), "the client must see that the body is incomplete");
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let peer = HttpPeer::start(|request| Answer::ok(&request.body));
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.response().status_line(), "HTTP/1.1 100 Continue");
    client.send("hello");
    assert_eq!(client.response().text(), "hello");
}

#[test]
fn a_large_download_to_a_slow_client_needs_little_memory() {
    const SIZE: usize = 64 << 20;
    let peer = HttpPeer::start(|_| {
        Answer::Talk(Box::new(|stream| {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
            let block = vec![b'x'; 65536];
            for _ in 0..SIZE / block.len() {
                if stream.write_all(&block).is_err() {
                    return;
                }
            }
        }))
    });
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_max_temp_file_size 0; } }",
    );
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let (mut buffer, mut received) = (vec![0; 16384], 0);
    while let Ok(count @ 1..) = client.stream().read(&mut buffer) {
        received += count;
    }
    assert!(received > SIZE, "all of it came: {received}");
    let peak = process::peak_resident(proxy.workers()[0]);
    assert!(peak < SIZE as u64 / 2, "{peak} bytes of memory for {SIZE} that passed");
}

#[test]
fn a_large_upload_needs_little_memory() {
    const SIZE: usize = 64 << 20;
    let peer = HttpPeer::start(|request| Answer::ok(request.body.len().to_string()));
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n\r\n"));
    let block = vec![b'x'; 65536];
    for _ in 0..SIZE / block.len() {
        client.send(&block);
    }
    assert_eq!(client.response().text(), SIZE.to_string());
    let peak = process::peak_resident(proxy.workers()[0]);
    assert!(peak < SIZE as u64 / 2, "{peak} bytes of memory for {SIZE} that passed");
}
