//! A slow client does not hold its peer: what it has not taken of a response waits in memory and in a file.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fairlead_harness::{Answer, Client, HttpPeer, PATIENCE, Proxy, eventually};

use crate::fairlead;

/// Much more than sockets hold.
const LONG: usize = 48 << 20;

/// How the peer says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Chunked,
    Close,
}

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// Answers with `LONG` bytes, and counts those that it could write.
fn peer(framing: Framing, fields: &'static str) -> (HttpPeer, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let peer = HttpPeer::start(move |_| {
        let count = count.clone();
        Answer::Talk(Box::new(move |stream| {
            let _ = answer(stream, framing, fields, &count);
        }))
    });
    (peer, written)
}

fn answer(stream: &mut TcpStream, framing: Framing, fields: &str, count: &AtomicUsize) -> std::io::Result<()> {
    count.store(0, Ordering::SeqCst);
    let length = match framing {
        Framing::Length => format!("Content-Length: {LONG}\r\n"),
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".into(),
        Framing::Close => String::new(),
    };
    write!(stream, "HTTP/1.1 200 OK\r\n{length}{fields}Content-Type: text/plain\r\n\r\n")?;
    let mut at = 0;
    while at < LONG {
        let part: Vec<u8> = (at..(at + 100_000).min(LONG)).map(byte).collect();
        if framing == Framing::Chunked {
            write!(stream, "{:x}\r\n", part.len())?;
        }
        stream.write_all(&part)?;
        if framing == Framing::Chunked {
            stream.write_all(b"\r\n")?;
        }
        at += part.len();
        count.store(at, Ordering::SeqCst);
    }
    if framing == Framing::Chunked { stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
}

fn start(peer: &HttpPeer, rows: &str) -> Proxy {
    fairlead().workers(1).set("peer", peer.address()).http(&format!(
        "proxy_temp_path {{dir}}/temp 1;
        server {{ listen 127.0.0.1:{{port}}; location / {{ {rows} proxy_pass http://{{peer}}; }} }}"
    ))
}

/// A client that has asked and not read yet.
fn ask(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    client
}

#[track_caller]
fn assert_whole(body: &[u8]) {
    assert_eq!(body.len(), LONG);
    assert!(body.iter().enumerate().all(|(at, given)| *given == byte(at)), "the bytes are those of the peer");
}

#[test]
fn the_peer_is_free_before_the_client_has_read_a_byte() {
    for framing in [Framing::Length, Framing::Chunked, Framing::Close] {
        let (peer, written) = peer(framing, "");
        let proxy = start(&peer, "");
        let mut client = ask(&proxy);
        eventually("the peer could write all of it", || written.load(Ordering::SeqCst) == LONG);
        proxy.wait_for_error("[warn] ");
        proxy.wait_for_error("an upstream response is buffered to a temporary file ");
        assert_eq!(fs::read_dir(proxy.directory().join("temp/1")).unwrap().count(), 0, "it has no name");
        let answer = client.response();
        assert_eq!(answer.status(), 200, "{framing:?}");
        assert_whole(&answer.body);
    }
}

#[test]
fn filters_get_what_waited_too() {
    let (peer, written) = peer(Framing::Length, "");
    let proxy = start(&peer, "sub_filter nothing-like-this x; sub_filter_once off;");
    let mut client = ask(&proxy);
    eventually("the peer could write all of it", || written.load(Ordering::SeqCst) == LONG);
    assert_whole(&client.response().body);
}

/// The peer stops writing long before its end, and goes on when the client reads.
#[track_caller]
fn assert_waits(fields: &'static str, rows: &str) {
    let (peer, written) = peer(Framing::Length, fields);
    let proxy = start(&peer, rows);
    let mut client = ask(&proxy);
    let (mut seen, mut since) = (0, Instant::now());
    eventually("the peer has stopped writing", || {
        let now = written.load(Ordering::SeqCst);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        now > 0 && since.elapsed() > Duration::from_millis(400)
    });
    assert!(seen < LONG, "{rows} {fields}: all of it was read ahead");
    assert_whole(&client.response().body);
    assert!(!proxy.error_log().contains("temporary file"));
}

#[test]
fn the_peer_waits_where_nothing_is_to_be_buffered() {
    assert_waits("", "proxy_max_temp_file_size 0;");
    assert_waits("", "proxy_buffering off;");
    assert_waits("X-Accel-Buffering: no\r\n", "");
}

#[test]
fn the_peer_may_say_so_unless_it_is_ignored() {
    for (fields, rows) in [
        ("X-Accel-Buffering: yes\r\n", "proxy_buffering off;"),
        ("X-Accel-Buffering: no\r\n", "proxy_ignore_headers X-Accel-Buffering;"),
    ] {
        let (peer, written) = peer(Framing::Length, fields);
        let proxy = start(&peer, rows);
        let mut client = ask(&proxy);
        eventually("the peer could write all of it", || written.load(Ordering::SeqCst) == LONG);
        let answer = client.response();
        assert_eq!(answer.header("x-accel-buffering"), None);
        assert_whole(&answer.body);
    }
}

#[test]
fn a_file_that_is_full_makes_the_peer_wait_and_nothing_is_lost() {
    let (peer, written) = peer(Framing::Chunked, "");
    let proxy = start(&peer, "proxy_max_temp_file_size 1m; proxy_temp_file_write_size 100k; proxy_buffers 4 16k;");
    let mut client = ask(&proxy);
    proxy.wait_for_error("an upstream response is buffered to a temporary file ");
    assert_whole(&client.response().body);
    assert_eq!(written.load(Ordering::SeqCst), LONG);
}

#[test]
fn a_disk_that_fails_makes_the_peer_wait_and_nothing_is_lost() {
    let (peer, _) = peer(Framing::Length, "");
    let proxy = start(&peer, "");
    let folder = proxy.directory().join("temp");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "no folder").unwrap();
    let mut client = ask(&proxy);
    proxy.wait_for_error("[crit] ");
    assert_whole(&client.response().body);
    let log = proxy.error_log();
    assert_eq!(log.matches("open() \"").count(), 1, "{log}");
}

#[test]
fn an_answer_cut_short_arrives_as_far_as_it_came() {
    let peer = HttpPeer::start(|_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n");
        Answer::Last([head.as_bytes(), &vec![b'x'; LONG / 2]].concat())
    });
    let proxy = start(&peer, "");
    let client = ask(&proxy);
    proxy.wait_for_error("an upstream response is buffered to a temporary file ");
    let mut came = Vec::new();
    client.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = client.stream().read_to_end(&mut came);
    assert!(came.ends_with(&vec![b'x'; LONG / 2]), "{} of {}", came.len(), LONG / 2);
    proxy.wait_for_error("upstream prematurely closed connection while reading upstream");
}

#[test]
fn its_connection_serves_others_meanwhile() {
    let peer = HttpPeer::start(|request| {
        let length = if request.target() == "/" { LONG } else { 1 };
        Answer::ok((0..length).map(byte).collect::<Vec<u8>>())
    });
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        "log_format at '$uri $upstream_response_time $status'; upstream group { server {peer}; keepalive 4; }
        server { listen 127.0.0.1:{port}; access_log {dir}/at.log at; proxy_temp_path {dir}/temp;
            location / { proxy_pass http://group; proxy_http_version 1.1; proxy_set_header Connection ''; } }",
    );
    let mut slow = ask(&proxy);
    eventually("others get the connection back", || {
        let before = peer.connections();
        assert_eq!(proxy.get("/other").body, [0]);
        peer.connections() == before
    });
    assert_whole(&slow.response().body);
    eventually("both are in the log", || proxy.directory().read("at.log").contains("/ "));
}

#[test]
fn a_peer_is_read_at_the_rate_it_is_given() {
    let peer = HttpPeer::start(|_| Answer::ok(vec![b'p'; 150_000]));
    let proxy = start(&peer, "proxy_limit_rate $arg_rate; proxy_read_timeout 300ms;");
    let took = |path: &str| {
        let begun = Instant::now();
        assert_eq!(proxy.get(path).body.len(), 150_000, "{path}");
        begun.elapsed()
    };
    assert!(took("/?rate=100k") >= Duration::from_millis(400));
    assert_eq!(proxy.get("/").body.len(), 150_000);
    let off = start(&peer, "proxy_limit_rate 1; proxy_buffering off;");
    assert_eq!(off.get("/").body.len(), 150_000, "only what is buffered has a rate");
}
