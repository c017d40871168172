//! Texts of other paths around a body.

use std::io::{Read, Write};

use fairlead_harness::{Answer, Client, HttpPeer, TcpPeer, get};

use crate::fairlead;

#[test]
fn other_paths_answer_around_a_body() {
    let peer = HttpPeer::start(|request| match request.target() {
        "/menu?q=1" | "/menu" => Answer::ok("<menu>"),
        _ => Answer::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"x\"\r\nContent-Length: 4\r\n\r\npage".to_vec(),
        ),
    });
    let proxy = fairlead().file("site/foot.txt", "<foot>").set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; add_before_body /menu; add_after_body /foot.txt;
            location / { proxy_pass http://{peer}; }
            location /foot.txt { root {dir}/site; }
            location /text/ { return 200 text; }
            location /all/ { addition_types *; gzip on; gzip_types *; gzip_min_length 1; return 200 text; }
            location /none/ { add_before_body ''; add_after_body ''; proxy_pass http://{peer}; } }",
    );
    let answer = get(proxy.address(), "/page");
    assert_eq!(
        (answer.text().as_str(), answer.header("content-length"), answer.header("etag")),
        ("<menu>page<foot>", None, Some("W/\"x\""))
    );
    assert_eq!(peer.requests().len(), 2);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("/text/").text(), "text", "another type");
    assert_eq!(client.get("/none/").text(), "page");
    assert_eq!(client.request("HEAD /page HTTP/1.1\r\nHost: h\r\n\r\n").header("content-length"), None);
    let mut client = Client::connect(proxy.address());
    let packed = client.request("GET /all/ HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\nRange: bytes=0-1\r\n\r\n");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed.body).read_to_string(&mut text).unwrap();
    assert_eq!(text, "<menu>text<foot>");
    assert_eq!(client.get("/page").text(), "<menu>page<foot>", "the connection goes on");
    assert_eq!(proxy.access_lines(6).len(), 6, "subrequests are not logged");
}

#[test]
fn a_large_text_is_put_in_piece_by_piece() {
    let text = "0123456789abcdef".repeat(2 << 20);
    let proxy = fairlead().file("site/large.txt", &text).http(
        "server { listen 127.0.0.1:{port}; location / { add_before_body /large.txt; add_after_body /large.txt; default_type text/html; return 200 page; }
            location /large.txt { root {dir}/site; } }",
    );
    let most = || proxy.workers().into_iter().map(fairlead_harness::process::peak_resident).max().unwrap();
    let before = most();
    let answer = get(proxy.address(), "/");
    assert!(answer.text() == format!("{text}page{text}"), "{} bytes", answer.body.len());
    assert!(most() < before + (8 << 20), "{before} {}", most());
}

#[test]
fn what_goes_wrong_around_a_body_ends_the_response() {
    let peer = TcpPeer::start(|mut stream| {
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    });
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; default_type text/html;
            location / { add_before_body /cut; return 200 page; }
            location /lost/ { add_after_body /nothing/here; return 200 page; }
            location /nothing/ { return 404; }
            location /cut { proxy_pass http://{peer}; } }",
    );
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let came = String::from_utf8(client.rest()).unwrap();
    assert!(came.contains("short") && !came.contains("page") && !came.ends_with("0\r\n\r\n"), "{came}");
    let lost = get(proxy.address(), "/lost/").text();
    assert!(lost.starts_with("page<html>") && lost.contains("404 Not Found"), "{lost}");
}
