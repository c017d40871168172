//! What a client may not do, or not for so long, or not so much of.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

#[test]
fn limits() {
    let http = format!(
        "{PROXY} client_header_timeout 300ms; client_body_timeout 300ms; lingering_timeout 300ms; client_max_body_size 10;
        large_client_header_buffers 2 512; client_header_buffer_size 256; keepalive_requests 3; keepalive_timeout 5s 4s;
        underscores_in_headers on; server_tokens off;
        server {{ listen 127.0.0.1:{{port}};
            location / {{ proxy_pass http://{{peer}}; }}
            location /unlimited/ {{ client_max_body_size 0; proxy_pass http://{{peer}}; }}
            location /unkept/ {{ keepalive_timeout 0; return 200 x; }}
            location /page/ {{ return 404; }}
            location /redirect/ {{ return 301 /x; }}
        }}"
    );
    let long = |count: usize| "x".repeat(count);
    let get = "GET /page/ HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let finish = |case: Case| Case { finish: true, ..case };
    let post = |name, length: usize| {
        case(name, format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{}", long(length)))
    };
    Pair::start("limits", &http, Answers::new()).compare(&[
        post("body at the limit", 10),
        post("body over the limit", 11),
        post("body far over the limit", 1_000_000),
        case("body over the limit, announced only", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99\r\n\r\n"),
        case(
            "body over the limit, expected",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n",
        ),
        case(
            "chunks over the limit",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n",
        ),
        case(
            "chunks at the limit",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n4\r\nabcd\r\n0\r\n\r\n",
        ),
        case("no limit", format!("POST /unlimited/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99\r\n\r\n{}", long(99))),
        case("request line at the limit", format!("GET /page/{} HTTP/1.1\r\nHost: a.test\r\n\r\n", long(512 - 21))),
        case("request line over the limit", format!("GET /page/{} HTTP/1.1\r\nHost: a.test\r\n\r\n", long(520))),
        case("field over the limit", format!("GET /page/ HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", long(520))),
        case("too many long fields", format!("GET /page/ HTTP/1.1\r\nHost: a.test\r\n{}\r\n", format!("X: {}\r\n", long(400)).repeat(4))),
        case("more requests than allowed", get.repeat(5)),
        case("no keepalive here", "GET /unkept/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("underscore allowed", "GET / HTTP/1.1\r\nHost: a.test\r\nX_Y: 1\r\n\r\n"),
        case("page without version", get),
        case("redirect without version", "GET /redirect/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        finish(case("request line without end, client gone", "GET / HTTP/1.1")),
        case("request line that never ends", "GET / HTTP/1.1"),
        case("field that never ends", "GET / HTTP/1.1\r\nHost: a.test\r\nX"),
        case("silence", ""),
        case("body that never ends", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nab"),
        case(
            "chunk that never ends",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ),
    ]);
}

#[test]
fn strange_names_refused() {
    let http = format!(
        "{PROXY} ignore_invalid_headers off; server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://{{peer}}; }} }}"
    );
    let field =
        |name: &'static str, line: &str| case(name, format!("GET / HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n"));
    Pair::start("strange names refused", &http, Answers::new()).compare(&[
        field("usual", "X-Test: 1"),
        field("underscore", "X_Test: 1"),
        field("dot", "X.Test: 1"),
        field("exclamation mark", "X!Test: 1"),
        field("slash", "X/Test: 1"),
        field("blank", "X Test: 1"),
        field("high byte", "X\u{e9}: 1"),
    ]);
}
