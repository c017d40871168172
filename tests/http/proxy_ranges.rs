//! `proxy_force_ranges`: a part of what a peer answers whole.

use std::io::Write;

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, Response};

use crate::fairlead;

/// More than one read and than `proxy_buffers`.
const LONG: usize = 3 << 20;

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// Answers all of it, and knows of no ranges.
fn peer() -> HttpPeer {
    HttpPeer::start(|_| {
        let body: Vec<u8> = (0..LONG).map(byte).collect();
        Answer::Raw(
            [format!("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: {LONG}\r\n\r\n").as_bytes(), &body].concat(),
        )
    })
}

fn start(peer: &HttpPeer, rows: &str) -> Proxy {
    fairlead().set("peer", peer.address()).http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; proxy_temp_path {{dir}}/temp 1; {rows} location / {{ proxy_pass http://{{peer}}; }}
            location /off/ {{ proxy_force_ranges off; proxy_pass http://{{peer}}; }} }}"
    ))
}

fn ask(client: &mut Client, path: &str, range: &str) -> Response {
    client.request(format!("GET {path} HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\n\r\n"))
}

#[test]
fn the_part_that_is_asked_for_is_cut_out_of_the_whole() {
    let peer = peer();
    for rows in ["proxy_force_ranges on;", "proxy_force_ranges on; proxy_buffering off;"] {
        let proxy = start(&peer, rows);
        let mut client = Client::connect(proxy.address());
        for (range, from, to) in [
            ("5-9", 5, 10),
            ("1000000-2000000", 1_000_000, 2_000_001),
            ("-7", LONG - 7, LONG),
            ("70000-", 70_000, LONG),
        ] {
            let answer = ask(&mut client, "/", range);
            assert_eq!(answer.status(), 206, "{range}");
            assert_eq!(answer.header("content-range"), Some(&*format!("bytes {from}-{}/{LONG}", to - 1)));
            assert!(answer.body == (from..to).map(byte).collect::<Vec<u8>>(), "{range}: other bytes");
        }
        let none = ask(&mut client, "/", &format!("{LONG}-"));
        assert_eq!((none.status(), none.header("content-range")), (416, Some(&*format!("bytes */{LONG}"))));
        let several = ask(&mut client, "/", "0-1,5-6");
        assert_eq!((several.status(), several.header("accept-ranges"), several.body.len()), (200, Some("bytes"), LONG));
    }
}

#[test]
fn trailers_stand_behind_a_part_too() {
    let peer = peer();
    let proxy = start(&peer, "proxy_force_ranges on; add_trailer X-Status $status;");
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=5-9\r\nConnection: close\r\n\r\n");
    let came = client.rest();
    let head = String::from_utf8_lossy(&came);
    assert!(
        head.starts_with("HTTP/1.1 206 ") && head.contains(&format!("Content-Range: bytes 5-9/{LONG}\r\n")),
        "{head}"
    );
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && !head.contains("Content-Length"), "{head}");
    assert!(came.ends_with(b"\r\n\r\n5\r\n\x05\x06\x07\x08\x09\r\n0\r\nX-Status: 206\r\n\r\n"), "{head}");
    let none = ask(&mut Client::connect(proxy.address()), "/", &format!("{LONG}-"));
    assert_eq!(none.status(), 416);
}

#[test]
fn only_where_it_is_on() {
    let peer = peer();
    let proxy = start(&peer, "proxy_force_ranges on;");
    let mut client = Client::connect(proxy.address());
    assert_eq!(ask(&mut client, "/off/", "0-1").status(), 200);
    let proxy = start(&peer, "");
    let mut client = Client::connect(proxy.address());
    let answer = ask(&mut client, "/", "0-1");
    assert_eq!((answer.status(), answer.header("accept-ranges"), answer.body.len()), (200, None, LONG));
}

#[test]
fn an_answer_cut_short_before_its_part_is_told_by_the_end_of_the_connection() {
    let peer = HttpPeer::start(|_| {
        Answer::Talk(Box::new(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
        }))
    });
    let proxy = start(&peer, "proxy_force_ranges on;");
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=8-20\r\n\r\n");
    let came = String::from_utf8(client.rest()).unwrap();
    assert!(came.starts_with("HTTP/1.1 206 ") && came.contains("\r\nContent-Length: 13\r\n"), "{came}");
    assert!(came.ends_with("\r\n\r\n89"), "{came}");
}
