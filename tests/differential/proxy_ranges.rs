//! Ranges of what peers answer, cut out here: `proxy_force_ranges`.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

const ANSWERS: &[(&str, &str, bool)] = &[
    (
        "page",
        "200 OK\r\nContent-Type: text/plain\r\nETag: \"x\"\r\nX-End: 1\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz",
        false,
    ),
    (
        "dated",
        "200 OK\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\nAccept-Ranges: none\r\nContent-Length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz",
        false,
    ),
    ("empty", "200 OK\r\nContent-Length: 0\r\n\r\n", false),
    ("chunks", "200 OK\r\nAccept-Ranges: bytes\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false),
    (
        "206",
        "206 Partial Content\r\nAccept-Ranges: bytes\r\nContent-Range: bytes 2-4/26\r\nContent-Length: 3\r\n\r\ncde",
        false,
    ),
    ("404", "404 Not Found\r\nAccept-Ranges: bytes\r\nContent-Length: 3\r\n\r\nabc", false),
];

fn answers() -> Answers {
    let whole = |text: &str| format!("HTTP/1.1 {text}").into_bytes();
    ANSWERS.iter().map(|(name, text, close)| (*name, (whole(text), *close))).collect()
}

fn ask(line: &str, fields: &str, name: &str) -> Case {
    let title: &'static str = format!("{line} {name} {}", fields.trim_end()).leak();
    case(title, format!("{line}\r\nHost: a.test\r\n{fields}X-Answer: {name}\r\n\r\n"))
}

#[test]
fn ranges_are_cut_alike() {
    let http = format!(
        "{PROXY} add_header X-Added $status;
        server {{ listen 127.0.0.1:{{port}};
            proxy_force_ranges on;
            location / {{ proxy_pass http://{{peer}}; }}
            location /unbuffered/ {{ proxy_buffering off; proxy_pass http://{{peer}}; }}
            location /off/ {{ proxy_force_ranges off; proxy_pass http://{{peer}}; }}
            location /none/ {{ max_ranges 0; proxy_pass http://{{peer}}; }}
            location /many/ {{ max_ranges 5; proxy_pass http://{{peer}}; }}
            location /packs/ {{ gzip on; gzip_min_length 0; gzip_types *; proxy_pass http://{{peer}}; }}
            location /sub/ {{ sub_filter c CC; sub_filter_types *; proxy_pass http://{{peer}}; }}
            location /trails/ {{ add_trailer X-Trailer $status; proxy_pass http://{{peer}}; }}
            location /page/ {{ error_page 416 =200 /said; proxy_pass http://{{peer}}; }}
            location /said {{ return 200 said; }}
        }}"
    );
    let mut cases = Vec::new();
    for range in [
        "0-4",
        "3-3",
        "20-",
        "-5",
        "-40",
        "25-99",
        "26-",
        "30-40",
        "4-2",
        "0-1,5-6",
        "0-1,40-",
        "x",
        "-",
        "-0",
        "0-25",
        " 1 - 2 ",
        "99999999999999999999-",
        "0-9223372036854775807",
    ] {
        cases.push(ask("GET / HTTP/1.1", &format!("Range: bytes={range}\r\n"), "page"));
    }
    let range = "Range: bytes=2-4\r\n";
    for (name, ..) in ANSWERS {
        for line in ["GET / HTTP/1.1", "GET / HTTP/1.0", "HEAD / HTTP/1.1", "GET /off/ HTTP/1.1"] {
            cases.push(ask(line, range, name));
        }
        cases.push(ask("GET / HTTP/1.1", "", name));
    }
    for if_range in ["\"x\"", "\"y\"", "W/\"x\"", "Sun, 09 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:41 GMT", "x"]
    {
        for name in ["page", "dated"] {
            cases.push(ask("GET / HTTP/1.1", &format!("{range}If-Range: {if_range}\r\n"), name));
        }
    }
    for place in ["unbuffered", "none", "many", "packs", "sub", "trails"] {
        for fields in [range, "", "Range: lines=2-4\r\n", "Range: bytes=2-4,6-7\r\n"] {
            cases.push(ask(&format!("GET /{place}/ HTTP/1.1"), &format!("{fields}Accept-Encoding: gzip\r\n"), "page"));
        }
    }
    cases.push(ask("GET /page/ HTTP/1.1", "Range: bytes=99-\r\n", "page"));
    cases.push(ask("HEAD / HTTP/1.1", "Range: bytes=99-\r\n", "page"));
    Pair::start("proxy ranges", &http, answers()).compare(&cases);
}
