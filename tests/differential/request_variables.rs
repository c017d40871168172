//! Every variable of a request that nginx 1.22 has too: one log line of each program tells all of them
//! for thousands of requests, hostile ones included, and the lines must be equal. So must what rules
//! and a peer are told of them before the answer is there.

use fairlead_core::dice::Dice;
use std::collections::HashMap;

use crate::http::PROXY;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

/// What must agree to the letter.
const EQUAL: &[&str] = &[
    "arg_a",
    "arg_B",
    "args",
    "binary_remote_addr",
    "connection_requests",
    "content_length",
    "content_type",
    "cookie_c",
    "cookie_D",
    "document_root",
    "document_uri",
    "host",
    "hostname",
    "http_cookie",
    "http_host",
    "http_x_one",
    "http_user_agent",
    "https",
    "is_args",
    "pipe",
    "proxy_add_x_forwarded_for",
    "proxy_host",
    "proxy_port",
    "query_string",
    "realpath_root",
    "remote_addr",
    "remote_user",
    "request",
    "request_completion",
    "request_filename",
    "request_length",
    "request_method",
    "request_uri",
    "scheme",
    "sent_http_content_type",
    "sent_http_etag",
    "sent_http_last_modified",
    "sent_http_location",
    "sent_http_transfer_encoding",
    "sent_http_x_own",
    "sent_http_x_peer",
    "server_addr",
    "server_name",
    "server_port",
    "server_protocol",
    "status",
    "upstream_addr",
    "upstream_http_x_peer",
    "upstream_response_length",
    "upstream_status",
    "uri",
];

/// What differs from one request to the next: every run of digits is taken for one.
const ALIKE: &[&str] = &[
    "connection",
    "connection_time",
    "msec",
    "pid",
    "remote_port",
    "request_time",
    "tcpinfo_rcv_space",
    "tcpinfo_rtt",
    "tcpinfo_rttvar",
    "tcpinfo_snd_cwnd",
    "time_iso8601",
    "time_local",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_response_time",
];

/// What is worked out before it is compared.
const WORKED_OUT: &[&str] =
    &["body_bytes_sent", "bytes_sent", "request_id", "sent_http_content_length", "sent_http_server"];

fn format() -> String {
    // nginx takes no word of more than 4096 bytes, but any number of words.
    let names = EQUAL.iter().chain(ALIKE).chain(WORKED_OUT);
    names.map(|name| format!("'{name}=${name}\t' ")).collect()
}

/// The line with what may differ taken out of it.
fn shown(line: &str) -> Option<String> {
    let fields: HashMap<&str, &str> = line.split('\t').filter_map(|field| field.split_once('=')).collect();
    let value = |name: &str| fields.get(name).copied().unwrap_or("none");
    let number = |name: &str| value(name).parse::<i64>().unwrap_or(-1);
    let mut shown: Vec<String> = EQUAL.iter().map(|name| format!("{name}={}", value(name))).collect();
    shown.extend(ALIKE.iter().map(|name| format!("{name}={}", digits_as_one(value(name)))));
    // Both names are as long, but for the own one: nginx has no variable for the field it writes itself.
    let server = if value("sent_http_server") == "fairlead" { "fairlead".len() } else { "nginx".len() } as i64;
    let is_page = value("status").starts_with(['3', '4', '5']) && value("sent_http_content_type") == "text/html";
    let of_page = |bytes: i64| if is_page && bytes > 0 { bytes - server } else { bytes };
    let body = number("body_bytes_sent");
    shown.push(format!("body_bytes_sent={}", of_page(body)));
    let head = number("bytes_sent") - body;
    shown.push(format!("head_bytes_sent={}", if head > 0 { head - server } else { head }));
    let id = value("request_id");
    let sound = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    shown.push(format!("request_id={sound}"));
    let length = number("sent_http_content_length");
    shown.push(format!("length={}", if is_page && length > 0 { length - server } else { length }));
    Some(shown.join("\n"))
}

fn digits_as_one(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out
}

fn configuration() -> String {
    format!(
        "{PROXY} server_tokens off; keepalive_timeout 60s 55s; log_format all {};
         access_log {{dir}}/all.log all;
         server {{ listen 127.0.0.1:{{port}}; server_name first.test *.first.test; root {{files}};
            location /peer/ {{ proxy_pass http://{{peer}}/on/; }}
            location /texts {{ add_header X-Own \"$request_method\"; return 200 \"$uri?$args\\n\"; }}
            location /gone {{ return 404; }}
            location /away {{ return 302 /texts$is_args$args; }}
            location /old {{ rewrite ^/old(.*)$ /texts$1?made=1&$args last; }}
            location /other {{ alias {{files}}/folder; }}
            location = /page {{ error_page 404 =200 /folder/index.html; return 404; }}
            location /late {{ error_page 404 @late; return 404; }}
            location @late {{ return 200 \"late $uri\"; }}
         }}
         server {{ listen 127.0.0.1:{{port}}; server_name .second.test \"~^re(\\d+)\\.test$\"; root /nowhere/;
            location / {{ return 200 \"$server_name $1\\n\"; }} location /f {{ }} }}
         server {{ listen 127.0.0.1:{{port}}; server_name \"\"; root {{files}}; }}",
        format()
    )
}

fn get(target: &'static str) -> Case {
    case(target, format!("GET {target} HTTP/1.1\r\nHost: first.test\r\n\r\n"))
}

fn with(name: &'static str, fields: &str) -> Case {
    case(name, format!("GET /texts?{} HTTP/1.1\r\nHost: first.test\r\n{fields}\r\n", name.replace(' ', "_")))
}

fn written() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "/",
        "/letters.txt",
        "/letters.txt?a=1",
        "/none",
        "/folder",
        "/folder/",
        "/folder/second.htm?a=%41&b=2&A=3",
        "/texts",
        "/texts?",
        "/texts?a",
        "/texts?a=",
        "/texts?a=1&a=2",
        "/texts?A=1",
        "/texts?xa=1&a=2",
        "/texts?a=1;b=2",
        "/texts?b=x&&a==",
        "/texts?%61=1",
        "/texts?a=%22%5c",
        "/texts?a=\"\\\x7f",
        "/texts?a=1#b=2",
        "/texts%22%0a%09%ff",
        "/t%65xts//../texts",
        "/peer/x?y=z",
        "/peer/%41%20b",
        "/gone",
        "/gone?a=1",
        "/away?a=1&b=2",
        "/old/x?a=2",
        "/old",
        "/other/second.htm",
        "/other",
        "/other/",
        "/page?a=1",
        "/late",
        "/late/x%20y?z",
        "/folder/../letters.txt",
        "/a%20b.txt",
        "/100%25.txt",
        "/UPPER.TXT",
        "/\u{e9}\u{20ac}",
        "/texts?a='b'&b=<c>",
        "/texts?a=\u{e9}",
        "/texts/{}|^`",
        "/bare/file",
        "/big.bin",
        "/empty.txt",
    ]
    .into_iter()
    .map(get)
    .collect();
    cases.extend([
        with("cookies", "Cookie: c=1; d=2\r\n"),
        with("cookies in two lines", "Cookie: c=1\r\nCookie: d=2\r\n"),
        with("cookies oddly", "Cookie: xc=0;c = 1 ;D=2;c=3\r\n"),
        with("cookies with commas", "Cookie: a=1,c=2, d=3\r\n"),
        with("cookies quoted", "Cookie: c=\"1; 2\"; d=\\\"\r\n"),
        with("cookie without value", "Cookie: c; d=; c=1\r\n"),
        with("field with an underscore", "X-One: 1\r\nX_One: 3\r\n"),
        with("field with controls", "X-One: a\tb\r\nUser-Agent: \"quoted\" \\ back\r\n"),
        with("field with high bytes", "X-One: \u{e9}\u{1f600}\r\nUser-Agent: \r\n"),
        with("forwarded", "X-Forwarded-For: 10.0.0.1\r\n"),
        with("forwarded twice", "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n"),
        with("basic", "Authorization: Basic am9lOnNlY3JldA==\r\n"),
        with("basic with escapes", "Authorization: basic ImpvZSJcCjpwYXNz\r\n"),
        with("basic without password", "Authorization: Basic am9l\r\n"),
        with("basic without user", "Authorization: Basic OnNlY3JldA==\r\n"),
        with("bearer", "Authorization: Bearer am9lOnNlY3JldA==\r\n"),
        with("typed", "Content-Type: text/x; y=z\r\nContent-Length: 0\r\n"),
        with("close", "Connection: close\r\n"),
        case("post", "POST /texts HTTP/1.1\r\nHost: first.test\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello"),
        case("post to a peer", "POST /peer/ HTTP/1.1\r\nHost: first.test\r\nContent-Length: 5\r\n\r\nhello"),
        case(
            "chunks to a peer",
            "POST /peer/ HTTP/1.1\r\nHost: first.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        case(
            "chunks for nobody",
            "POST /texts HTTP/1.1\r\nHost: first.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        case("bad field", "GET /texts HTTP/1.1\r\nHost: first.test\r\nX-One: 1\r\nX One: 2\r\nX-Two: 3\r\n\r\n"),
        case("no host", "GET /texts HTTP/1.1\r\nX-One: 1\r\n\r\n"),
        case("nonsense", "\x01\x02\"\\ \r\n\r\n"),
        case("empty lines first", "\r\n\r\nGET /texts HTTP/1.1\r\nHost: first.test\r\n\r\n"),
        case("head", "HEAD /letters.txt HTTP/1.1\r\nHost: first.test\r\n\r\n"),
        case("head of a text", "HEAD /texts HTTP/1.1\r\nHost: first.test\r\n\r\n"),
        case("head of a page", "HEAD /gone HTTP/1.1\r\nHost: first.test\r\n\r\n"),
        case("put", "PUT /letters.txt HTTP/1.1\r\nHost: first.test\r\nContent-Length: 1\r\n\r\nx"),
        case("odd method", "M-SEARCH /texts HTTP/1.1\r\nHost: first.test\r\n\r\n"),
        case("range", "GET /letters.txt HTTP/1.1\r\nHost: first.test\r\nRange: bytes=1-3\r\n\r\n"),
        case(
            "not modified",
            "GET /letters.txt HTTP/1.1\r\nHost: first.test\r\nIf-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n\r\n",
        ),
        case("http/1.0", "GET /texts HTTP/1.0\r\n\r\n"),
        case("http/1.0 that stays", "GET /folder/ HTTP/1.0\r\nHost: first.test\r\nConnection: keep-alive\r\n\r\n"),
        case(
            "pipelined",
            "GET /texts HTTP/1.1\r\nHost: first.test\r\n\r\nGET /letters.txt HTTP/1.1\r\nHost: first.test\r\n\r\n",
        ),
        case("absolute", "GET http://www.second.test:8080/x?y HTTP/1.1\r\nHost: first.test:90\r\n\r\n"),
        case("absolute without path", "GET http://first.test?a=1 HTTP/1.1\r\nHost: x\r\n\r\n"),
        case("host with port", "GET /texts HTTP/1.1\r\nHost: FIRST.Test:8080\r\n\r\n"),
        case("host with dot", "GET /texts HTTP/1.1\r\nHost: a.first.test.\r\n\r\n"),
        case("host of a pattern", "GET /texts HTTP/1.1\r\nHost: re42.test\r\n\r\n"),
        case("host of nobody", "GET /texts?a=1 HTTP/1.1\r\nHost: nobody\r\n\r\n"),
        case("host that is an address", "GET /texts HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
        case("folder that is not there", "GET /f/x HTTP/1.1\r\nHost: second.test\r\n\r\n"),
        case("expect", "POST /peer/ HTTP/1.1\r\nHost: first.test\r\nExpect: nothing\r\nContent-Length: 1\r\n\r\nx"),
    ]);
    cases
}

/// What a generated request is made of.
const PATHS: &[&str] = &[
    "/texts",
    "/letters.txt",
    "/folder/",
    "/gone",
    "/old/",
    "/peer/",
    "/other/",
    "/none",
    "/page",
    "/late",
    "/away",
    "/",
];
const PIECES: &[&str] = &[
    "a", "b", "=", "&", "%41", "%22", "%5C", "%20", "+", "x", "/", ".", "1", "\"", "\\", "'", "<", ";", ",", "\u{e9}",
    "c", "~", ":", "@",
];
const FIELDS: &[&str] = &["X-One", "Cookie", "User-Agent", "Referer", "X-Forwarded-For", "Content-Type", "X-Other"];
const VALUES: &[&str] =
    &["c=1", "; ", "d=", "\"", "\\", "\t", "a", "10.0.0.1", ", ", "\u{e9}", " ", "=", "\\x22", "%", "text/html"];

fn generated(seed: u64) -> Case {
    let mut dice = Dice::new(seed);
    let pieces = |dice: &mut Dice, from: &[&str], most: u64| -> String {
        (0..dice.roll(most)).map(|_| from[dice.roll(from.len() as u64) as usize]).collect()
    };
    let mut target = PATHS[dice.roll(PATHS.len() as u64) as usize].to_owned();
    if dice.roll(3) > 0 {
        target += &format!("?{}", pieces(&mut dice, PIECES, 12));
    }
    let hosts = ["first.test", "x.first.test", "second.test", "re7.test", "else.test"];
    let host = hosts[dice.roll(hosts.len() as u64) as usize];
    let method = ["GET", "GET", "GET", "HEAD", "POST"][dice.roll(5) as usize];
    // The peer answers HEAD with a body, which is no answer to compare.
    let method = if method == "HEAD" && target.starts_with("/peer") { "GET" } else { method };
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
    for _ in 0..dice.roll(4) {
        let field = FIELDS[dice.roll(FIELDS.len() as u64) as usize];
        // 1.22 takes the first of several fields of one name, newer ones and we join them.
        if text.contains(&format!("\n{field}: ")) {
            continue;
        }
        text += &format!("{field}: {}\r\n", pieces(&mut dice, VALUES, 6).trim());
    }
    if method == "POST" {
        text += "Content-Length: 3\r\n\r\nabc";
    } else {
        text += "\r\n";
    }
    // The name of a case lives as long as the test.
    let name: &'static str = format!("seed {seed}").leak();
    case(name, text)
}

#[test]
fn every_variable_is_logged_alike() {
    let pair = Pair::start("request variables", &configuration(), Answers::new());
    let cases: Vec<Case> = written().into_iter().chain((0..1000).map(generated)).collect();
    pair.compare(&cases);
    pair.compare_lines("all.log", cases.len(), shown);
}
