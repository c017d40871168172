//! Long responses in slices.

use std::sync::Arc;

use fairlead_harness::{Answer, Client, HttpPeer, Request, get};

use crate::fairlead;

const WHOLE: &str = "abcdefghijklmnopqrstuvwxyz";

/// What a server of files would say.
fn part(request: &Request) -> Answer {
    let range = request.header("range").unwrap().strip_prefix("bytes=").unwrap().to_owned();
    let (start, end) = range.split_once('-').unwrap();
    let (start, end) = (start.parse::<usize>().unwrap(), (end.parse::<usize>().unwrap() + 1).min(WHOLE.len()));
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\n\
         Content-Range: bytes {start}-{}/26\r\nContent-Length: {}\r\n\r\n",
        end - 1,
        end - start
    );
    Answer::Raw([head.as_bytes(), &WHOLE.as_bytes()[start..end]].concat())
}

#[test]
fn a_peer_is_asked_for_slices_only_as_far_as_needed() {
    let peer = HttpPeer::start(part);
    let proxy = fairlead().set("peer", peer.address()).http(
        "upstream peers { server {peer}; keepalive 4; }
        server { listen 127.0.0.1:{port}; slice 10; proxy_set_header Range $slice_range; proxy_set_header Connection '';
            location / { proxy_pass http://peers; }
            location /sub/ { sub_filter_types *; sub_filter c CC; proxy_pass http://peers; } }",
    );
    let asked =
        || peer.requests().iter().map(|request| request.header("range").unwrap().to_owned()).collect::<Vec<_>>();
    let whole = get(proxy.address(), "/");
    assert_eq!((whole.status(), whole.text().as_str(), whole.header("content-range")), (200, WHOLE, None));
    assert_eq!((whole.header("content-length"), whole.header("accept-ranges")), (Some("26"), Some("bytes")));
    assert_eq!(asked(), ["bytes=0-9", "bytes=10-19", "bytes=20-29"]);
    assert_eq!(peer.connections(), 1, "slices come over one connection");
    let mut client = Client::connect(proxy.address());
    let ask = |client: &mut Client, path: &str, range: &str| {
        client.request(format!("GET {path} HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\n\r\n"))
    };
    let answer = ask(&mut client, "/", "12-15");
    assert_eq!(
        (answer.status(), answer.text().as_str(), answer.header("content-range")),
        (206, "mnop", Some("bytes 12-15/26"))
    );
    assert_eq!(asked()[3..], ["bytes=10-19"]);
    assert_eq!(ask(&mut client, "/", "8-").text(), "ijklmnopqrstuvwxyz");
    assert_eq!(ask(&mut client, "/", "27-").status(), 416);
    let changed = ask(&mut client, "/sub/", "22-23");
    assert_eq!(
        (changed.status(), changed.text().as_str()),
        (200, "abCCdefghijklmnopqrstuvwxyz"),
        "what is no range is whole"
    );
    let head = client.request("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(head.status(), 200);
}

#[test]
fn slices_that_do_not_fit_end_the_response() {
    for (after, words) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "unexpected status code 200 in slice response"),
        (
            "HTTP/1.1 206 OK\r\nETag: \"y\"\r\nContent-Range: bytes 10-19/26\r\nContent-Length: 10\r\n\r\nklmnopqrst",
            "etag mismatch in slice response",
        ),
        ("HTTP/1.1 206 OK\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\nklmnopqrst", "invalid range in slice response"),
        (
            "HTTP/1.1 206 OK\r\nETag: \"x\"\r\nContent-Range: bytes 10-19/*\r\nContent-Length: 10\r\n\r\nklmnopqrst",
            "no complete length in slice response",
        ),
        (
            "HTTP/1.1 206 OK\r\nETag: \"x\"\r\nContent-Range: bytes 9-18/26\r\nContent-Length: 10\r\n\r\njklmnopqrs",
            "unexpected range in slice response: 9-19, expected: 10-19",
        ),
        ("no http at all", "unexpected status code 502 in slice response"),
    ] {
        let after: Arc<str> = after.into();
        let peer = HttpPeer::start(move |request| match request.header("range") {
            Some("bytes=0-9") => part(request),
            _ => Answer::Raw(after.as_bytes().to_vec()),
        });
        let proxy = fairlead().set("peer", peer.address()).http(
            "server { listen 127.0.0.1:{port}; slice 10; location / { proxy_set_header Range $slice_range; proxy_pass http://{peer}; } }",
        );
        let mut client = Client::connect(proxy.address());
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let came = String::from_utf8(client.rest()).unwrap();
        assert!(came.contains("Content-Length: 26\r\n") && came.ends_with("\r\n\r\nabcdefghij"), "{came}");
        proxy.wait_for_error(words);
    }
}

#[test]
fn an_answer_that_is_no_slice_passes_as_it_is() {
    let peer = HttpPeer::start(|_| Answer::ok("all at once"));
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; slice 4; location / { proxy_set_header Range $slice_range; proxy_pass http://{peer}; } }",
    );
    assert_eq!(get(proxy.address(), "/").text(), "all at once");
    assert_eq!(peer.requests().len(), 1);
}
