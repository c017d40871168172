//! Strings in bodies that become others on their way.

use std::io::Write;

use fairlead_harness::{Answer, HttpPeer, get};

use crate::fairlead;

#[test]
fn strings_are_found_across_pieces_of_a_body() {
    let peer = HttpPeer::start(|_| {
        Answer::Talk(Box::new(|stream| {
            let _ = stream.set_nodelay(true);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n");
            for byte in "see http://Inner.test/a and HTTP://inner.test/b".bytes() {
                let _ = stream.write_all(&[byte]);
                let _ = stream.flush();
            }
        }))
    });
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer};
            sub_filter http://inner.test https://$host; sub_filter_once off; } }",
    );
    assert_eq!(get(proxy.address(), "/").text(), "see https://localhost/a and https://localhost/b");
}

#[test]
fn a_large_file_is_rewritten_and_packed() {
    let text = "one two three\n".repeat(100_000);
    let proxy = fairlead().file("site/index.html", &text).http(
        "server { listen 127.0.0.1:{port}; root {dir}/site; gzip on; sub_filter two 2; sub_filter $arg_x X; sub_filter_once off; }",
    );
    let expected = text.replace("two", "2").replace("three", "X");
    assert!(get(proxy.address(), "/?x=three").text() == expected);
    assert!(get(proxy.address(), "/").text() == text.replace("two", "2"), "an empty string is not searched");
    let mut client = fairlead_harness::Client::connect(proxy.address());
    let answer = client.request("GET /?x=three HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*answer.body), &mut unpacked).unwrap();
    assert!(unpacked == expected);
}
