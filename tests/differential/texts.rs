//! Charsets: what `Content-Type` says, and texts that are recoded on their way.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case, packed};
use crate::recorder::Answers;

const KOI: &[u8] = b"\xf0\xd2\xc9\xd7\xc5\xd4, \xcd\xc9\xd2! \x80\x81\x95 plain\n";

fn answers() -> Answers {
    let length = |head: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
        ([head.as_bytes(), body].concat(), false)
    };
    let utf = "Привет, мир! €•ж\u{2603}\u{1f600} plain\n".as_bytes();
    // Bytes from F8 on begin four of them in 1.22 and none in nginx of today.
    let broken = b"\xd0\x9f\xd0 a\xe2\x82 \xc0\xaf\xf0\x9f\x98\x80\x80 \xd0".as_slice();
    let chunks = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(),
        // On the way to UTF-8 nginx leaves a piece alone in which no character becomes longer.
        b"3\r\n\xd0\x9f\xd1\r\n4\r\n\x80\xd0\xb8\xe2\r\n3\r\n\x82\xac\xd0\r\n0\r\n\r\n",
    ];
    let accel = |charset: &str, kind: &str| {
        length(&format!("200 OK\r\nX-Accel-Charset: {charset}\r\nContent-Type: {kind}\r\nX-End: 1"), KOI)
    };
    Answers::from([
        ("html", length("200 OK\r\nContent-Type: text/html\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\nX-End: 1", KOI)),
        ("css", length("200 OK\r\nContent-Type: text/css", KOI)),
        ("no type", length("200 OK\r\nX-One: 1", KOI)),
        ("upper", length("200 OK\r\nContent-Type: TEXT/HTML", KOI)),
        ("parameter", length("200 OK\r\nContent-Type: text/html; a=b", KOI)),
        ("says koi", length("200 OK\r\nContent-Type: text/html; charset=koi8-r", KOI)),
        ("says win", length("200 OK\r\nContent-Type: text/html;charset=Windows-1251", KOI)),
        ("says utf", length("200 OK\r\nContent-Type: text/html; charset=\"UTF-8\"", utf)),
        ("says latin", length("200 OK\r\nContent-Type: text/plain; charset=iso-8859-1", KOI)),
        ("says behind", length("200 OK\r\nContent-Type: text/html; a=b; charset=koi8-r; c=d", KOI)),
        ("says css", length("200 OK\r\nContent-Type: text/css; charset=koi8-r", KOI)),
        ("utf", length("200 OK\r\nContent-Type: text/plain\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT", utf)),
        ("broken", length("200 OK\r\nContent-Type: text/html", broken)),
        ("chunks", (chunks.concat(), false)),
        ("packed", length("200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip", &packed(KOI))),
        ("moved", length("302 Found\r\nContent-Type: text/html\r\nLocation: http://x/", KOI)),
        ("moved koi", length("301 Moved\r\nContent-Type: text/html; charset=koi8-r\r\nLocation: http://x/", KOI)),
        ("other", length("303 See Other\r\nContent-Type: text/html\r\nLocation: http://x/", KOI)),
        ("404", length("404 Not Found\r\nContent-Type: text/html", KOI)),
        ("304", (b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_vec(), false)),
        ("empty", length("200 OK\r\nContent-Type: text/html", b"")),
        ("accel win", accel("windows-1251", "text/html")),
        ("accel utf", accel("UTF-8", "text/css")),
        ("accel none", accel("nonsense", "text/html")),
        ("accel empty", accel("", "text/html")),
        ("accel said", accel("utf-8", "text/html; charset=koi8-r")),
    ])
}

/// A short text asked for in every way, with and without fields.
fn asked(paths: &[&str], line: &str, fields: &[&str]) -> Vec<Case> {
    let mut names: Vec<&str> = answers().into_keys().collect();
    names.sort_unstable();
    let mut cases = Vec::new();
    for path in paths {
        for name in &names {
            for field in fields {
                let request = line.replace("PATH", path);
                let title: &'static str = format!("{request} {name} {field}").leak();
                cases.push(case(title, format!("{request}\r\nHost: a.test\r\n{field}X-Answer: {name}\r\n\r\n")));
            }
        }
    }
    cases
}

#[test]
fn charsets() {
    let http = format!(
        "{PROXY} include /etc/nginx/koi-win; include /etc/nginx/koi-utf; include /etc/nginx/win-utf;
        charset_map other _ {{ }} map $arg_c $c {{ default utf-8; koi koi8-r; odd nonsense; own other; }}
        server {{ listen 127.0.0.1:{{port}}; root {{files}}; types {{ text/html html; text/plain txt; }}
            location / {{ proxy_pass http://{{peer}}; }}
            location /says/ {{ charset utf-8; proxy_pass http://{{peer}}; }}
            location /over/ {{ charset utf-8; override_charset on; proxy_pass http://{{peer}}; }}
            location /win/ {{ charset windows-1251; source_charset koi8-r; charset_types *; proxy_pass http://{{peer}}; }}
            location /to/ {{ charset UTF-8; source_charset KOI8-R; charset_types text/css; proxy_pass http://{{peer}}; }}
            location /from/ {{ charset koi8-r; source_charset utf-8; override_charset on; proxy_pass http://{{peer}}; }}
            location /all/ {{ charset windows-1251; source_charset utf-8; override_charset on; gzip on; gzip_min_length 0;
                sub_filter plain words; add_header X-Type $sent_http_content_type; proxy_pass http://{{peer}}; }}
            location /variable/ {{ charset $c; source_charset koi8-r; proxy_pass http://{{peer}}; }}
            location /source/ {{ charset utf-8; source_charset $c; proxy_pass http://{{peer}}; }}
            location /deaf/ {{ charset utf-8; proxy_ignore_headers X-Accel-Charset; proxy_pass http://{{peer}}; }}
            location /if/ {{ charset utf-8; if ($arg_if) {{ charset koi8-r; source_charset koi8-r; }} return 200 text; }}
            location /off/ {{ charset utf-8; location /off/in/ {{ charset off; return 200 text; }} return 200 text; }}
            location /moved/ {{ charset utf-8; return 301 /x; }}
            location /none/ {{ charset utf-8; return 404; }}
            location /empty/ {{ charset utf-8; return 204; }}
            location /files/ {{ charset utf-8; alias {{files}}/; }}
            location /bytes/ {{ charset windows-1251; source_charset koi8-r; alias {{files}}/; }}
            location /longer/ {{ charset utf-8; source_charset koi8-r; gzip on; gzip_min_length 0; gzip_types *; alias {{files}}/; }}
        }}"
    );
    let paths = ["/", "/says/", "/over/", "/win/", "/to/", "/from/", "/all/", "/deaf/"];
    let mut cases = asked(&paths, "GET PATH HTTP/1.1", &[""]);
    cases.extend(asked(&["/all/"], "GET PATH HTTP/1.1", &["Accept-Encoding: gzip\r\n"]));
    cases.extend(asked(&["/to/"], "HEAD PATH HTTP/1.1", &[""]));
    cases.extend(asked(&["/to/", "/all/"], "GET PATH HTTP/1.0", &[""]));
    let variable = ["/variable/?c=koi", "/variable/?c=odd", "/variable/?c=own", "/variable/", "/source/?c=koi"];
    cases.extend(asked(&variable, "GET PATH HTTP/1.1", &[""]));
    let targets = [
        "/if/",
        "/if/?if=1",
        "/off/",
        "/off/in/",
        "/moved/",
        "/none/",
        "/empty/",
        "/files/letters.txt",
        "/files/big.bin",
        "/files/none",
        "/files/folder",
        "/bytes/letters.txt",
        "/longer/letters.txt",
        "/longer/folder/",
    ];
    for target in targets {
        for field in [
            "",
            "Range: bytes=0-3\r\n",
            "Range: bytes=0-3,6-8\r\n",
            "If-None-Match: W/\"3b9aca00-1a\"\r\n",
            "Accept-Encoding: gzip\r\n",
        ] {
            let title: &'static str = format!("{target} {field}").leak();
            cases.push(case(title, format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{field}\r\n")));
        }
    }
    Pair::start("charsets", &http, answers()).compare(&cases);
}
