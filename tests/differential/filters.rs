//! Filters: added fields, compressed and decompressed bodies.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case, packed};
use crate::recorder::Answers;

/// The same answers in every configuration of this file.
fn answers() -> Answers {
    let length = |head: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
        ([head.as_bytes(), body].concat(), false)
    };
    let text = "a line of text that packs well\n".repeat(40);
    let page = "200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\nX-End: 1";
    let plain = text.as_bytes();
    Answers::from([
        ("page", length(page, plain)),
        ("weak", length("200 OK\r\nContent-Type: text/html\r\nETag: W/\"x\"", plain)),
        ("odd tag", length("200 OK\r\nContent-Type: text/html\r\nETag: x", plain)),
        ("short", length("200 OK\r\nContent-Type: text/html", b"short")),
        ("image", length("200 OK\r\nContent-Type: image/png", plain)),
        ("packed", length("200 OK\r\nContent-Type: text/html\r\nETag: \"x\"\r\nContent-Encoding: gzip\r\nX-End: 1", &packed(plain))),
        ("packed 404", length("404 Not Found\r\nContent-Type: text/html\r\nContent-Encoding: gzip", &packed(plain))),
        ("identity", length("200 OK\r\nContent-Type: text/html\r\nContent-Encoding: identity", plain)),
        ("404", length("404 Not Found\r\nContent-Type: text/html", plain)),
        ("500", length("500 Oops\r\nContent-Type: text/html", plain)),
        ("206", length("206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-9/99", plain)),
        ("304", (b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_vec(), false)),
        ("expired", length("200 OK\r\nContent-Type: text/html\r\nExpires: Thu, 01 Jan 1970 00:00:01 GMT\r\nX-End: 1", plain)),
        ("private", length("200 OK\r\nContent-Type: text/html\r\nCache-Control: private\r\nX-End: 1", plain)),
        ("two controls", length("200 OK\r\nContent-Type: text/html\r\nCache-Control: no-cache\r\nX-Mid: 1\r\nCache-Control: max-age=9\r\nX-End: 1", plain)),
        ("modified", length("200 OK\r\nContent-Type: text/html\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\nX-End: 1", plain)),
        ("chunks", (format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n", text.len()).into_bytes(), false)),
        ("until the end", (format!("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n{text}").into_bytes(), true)),
    ])
}

const NAMES: &[&str] = &[
    "page",
    "weak",
    "odd tag",
    "short",
    "image",
    "packed",
    "packed 404",
    "identity",
    "404",
    "500",
    "206",
    "304",
    "expired",
    "private",
    "two controls",
    "modified",
    "chunks",
    "until the end",
];

/// Every answer of the peer under each path, for a client that sends `fields`.
fn asked(paths: &[&str], line: &str, fields: &[&str]) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in paths {
        for name in NAMES {
            for field in fields {
                let request = line.replace("PATH", path);
                let title: &'static str = format!("{request} {name} {field}").leak();
                cases.push(case(title, format!("{request}\r\nHost: a.test\r\n{field}X-Answer: {name}\r\n\r\n")));
            }
        }
    }
    cases
}

fn plain(targets: &[&str], fields: &[&str]) -> Vec<Case> {
    let of = |(target, field): (&&str, &&str)| {
        let title: &'static str = format!("{target} {field}").leak();
        case(title, format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{field}\r\n"))
    };
    targets.iter().flat_map(|target| fields.iter().map(move |field| (target, field))).map(of).collect()
}

#[test]
fn headers() {
    let http = format!(
        "{PROXY} add_header X-Outer \"$host $status\"; add_header X-All all always; map $arg_e $e {{ default $arg_e; }}
        server {{ listen 127.0.0.1:{{port}}; root {{files}}; types {{ text/html html; text/plain txt; }}
            location / {{ proxy_pass http://{{peer}}; }}
            location /own/ {{ add_header X-Own \"$sent_http_content_type|$upstream_http_etag\"; add_header X-Empty \"\"; proxy_pass http://{{peer}}; }}
            location /special/ {{ add_header Cache-Control no-transform; add_header ETag '\"new\"'; add_header Last-Modified \"\";
                add_header Link a; add_header link b; add_header Content-Language c always; proxy_pass http://{{peer}}; }}
            location /hour/ {{ expires 1h; proxy_pass http://{{peer}}; }}
            location /past/ {{ expires -1; proxy_pass http://{{peer}}; }}
            location /now/ {{ expires 0; proxy_pass http://{{peer}}; }}
            location /epoch/ {{ expires epoch; add_header X-After 1; proxy_pass http://{{peer}}; }}
            location /max/ {{ expires max; add_header Cache-Control public; proxy_pass http://{{peer}}; }}
            location /variable/ {{ expires $e; return 200 text; }}
            location /old/ {{ expires modified 0; alias {{files}}/; }}
            location /ages/ {{ expires modified +1d; alias {{files}}/; }}
            location /files/ {{ expires max; alias {{files}}/; }}
            location /off/ {{ expires 1d; location /off/in/ {{ expires off; return 200 off; }} return 200 on; }}
            location /return/ {{ add_header X-Own 1; return 201 text; }}
            location /moved/ {{ add_header X-Own 1; return 302 /x; }}
            location /gone/ {{ add_header X-Own 1; add_header X-Gone 1 always; expires 1h; return 410; }}
            location /if/ {{ add_header X-Own 1; if ($arg_if) {{ add_header X-If $arg_if; }} return 200 text; }}
            location /empty/ {{ add_header X-Own 1; return 204; }}
        }}"
    );
    let paths = ["/", "/own/", "/special/", "/hour/", "/past/", "/now/", "/epoch/", "/max/"];
    let mut cases = asked(&paths, "GET PATH HTTP/1.1", &[""]);
    cases.extend(asked(&["/own/", "/max/"], "HEAD PATH HTTP/1.1", &[""]));
    cases.extend(asked(&["/own/"], "GET PATH HTTP/1.0", &[""]));
    cases.extend(plain(
        &[
            "/variable/?e=1h",
            "/variable/?e=max",
            "/variable/?e=epoch",
            "/variable/?e=off",
            "/variable/?e=-1",
            "/variable/?e=nonsense",
            "/variable/",
            "/old/letters.txt",
            "/ages/letters.txt",
            "/files/letters.txt",
            "/files/none",
            "/files/folder",
            "/off/",
            "/off/in/",
            "/return/",
            "/moved/",
            "/gone/",
            "/if/",
            "/if/?if=1",
            "/empty/",
        ],
        &["", "Range: bytes=0-3\r\n"],
    ));
    let files = ["/old/letters.txt", "/ages/letters.txt", "/files/letters.txt"];
    cases.extend(plain(&files, &["If-None-Match: *\r\n"]));
    Pair::start("filters headers", &http, answers()).compare(&cases);
}

#[test]
fn gzip() {
    let http = format!(
        "{PROXY} gzip on; gzip_vary on;
        server {{ listen 127.0.0.1:{{port}}; root {{files}}; types {{ text/html html; text/plain txt; }}
            location / {{ proxy_pass http://{{peer}}; }}
            location /any/ {{ gzip_types *; gzip_comp_level 9; gzip_min_length 0; proxy_pass http://{{peer}}; }}
            location /old/ {{ gzip_http_version 1.0; gzip_vary off; proxy_pass http://{{peer}}; }}
            location /via/ {{ gzip_proxied expired private no_etag; proxy_pass http://{{peer}}; }}
            location /later/ {{ gzip_proxied no_last_modified auth no-cache; expires -1; proxy_pass http://{{peer}}; }}
            location /unpack/ {{ gunzip on; gzip off; proxy_pass http://{{peer}}; }}
            location /both/ {{ gunzip on; proxy_pass http://{{peer}}; }}
            location /no/ {{ gzip_disable msie6 \"curl/[67]\"; proxy_pass http://{{peer}}; }}
            location /file/ {{ gzip_types text/plain; gzip_min_length 10; alias {{files}}/; }}
            location /stored/ {{ gzip_static on; alias {{files}}/; }}
            location /silent/ {{ gzip_static on; gzip_vary off; alias {{files}}/; }}
            location /always/ {{ gzip_static always; gzip off; alias {{files}}/; }}
            location /kept/ {{ gzip_static always; gunzip on; alias {{files}}/; }}
            location /text/ {{ default_type text/html; return 200 \"a text that is longer than twenty bytes\"; }}
            location /none/ {{ return 404; }}
        }}"
    );
    const GZIP: &str = "Accept-Encoding: gzip\r\n";
    let some = ["", GZIP, "Accept-Encoding: gzip;q=0\r\n"];
    let mut cases = asked(&["/", "/any/", "/unpack/", "/both/"], "GET PATH HTTP/1.1", &some);
    cases.extend(asked(&["/", "/old/", "/both/"], "GET PATH HTTP/1.0", &[GZIP]));
    cases.extend(asked(&["/", "/unpack/"], "HEAD PATH HTTP/1.1", &["", GZIP]));
    let via =
        ["Via: 1.1 x\r\nAccept-Encoding: gzip\r\n", "Via: 1.1 x\r\nAuthorization: x\r\nAccept-Encoding: gzip\r\n"];
    cases.extend(asked(&["/", "/via/", "/later/"], "GET PATH HTTP/1.1", &via));
    let agent = |agent: &str| -> &'static str { format!("Accept-Encoding: gzip\r\nUser-Agent: {agent}\r\n").leak() };
    cases.extend(plain(
        &["/no/"],
        &[agent("curl/7.1"), agent("CURL/6"), agent("curl/8"), agent("x (MSIE 6.0; x)"), agent("x (MSIE 6.0; SV1)")],
    ));
    let encodings = [
        "gzip",
        "GZIP",
        "gzip,deflate",
        "deflate, gzip",
        "deflate,gzip",
        "x-gzip",
        "gzipped",
        "gzip;q=1",
        "gzip;q=0.001",
        "gzip; q=0.5",
        "gzip;q=0.0",
        "gzip;q=1.1",
        "gzip;q=2",
        "gzip;q=0.1234",
        "gzip;q=",
        "gzip;q=x",
        "gzip;",
        "gzip;x",
        "*",
        "identity",
        "gzip ;q=1",
        "br, gzip;q=0.8, *;q=0",
        "gzi",
        "gzip\r\nAccept-Encoding: identity",
    ];
    let fields: Vec<&str> = encodings.iter().map(|text| &*format!("Accept-Encoding: {text}\r\n").leak()).collect();
    cases.extend(plain(&["/text/"], &fields));
    cases.extend(plain(
        &[
            "/file/letters.txt",
            "/file/empty.txt",
            "/file/index.html",
            "/file/big.bin",
            "/file/none",
            "/stored/stored.txt",
            "/stored/letters.txt",
            "/silent/stored.txt",
            "/always/stored.txt",
            "/kept/stored.txt",
            "/stored/",
            "/stored/folder",
            "/none/",
            "/stored/stored.txt.gz",
        ],
        &[
            "",
            GZIP,
            "Range: bytes=0-3\r\n",
            "Range: bytes=0-3\r\nAccept-Encoding: gzip\r\n",
            "If-None-Match: W/\"3b9aca00-1a\"\r\nAccept-Encoding: gzip\r\n",
        ],
    ));
    Pair::start("filters gzip", &http, answers()).compare(&cases);
}

#[test]
fn sub_filter() {
    let http = format!(
        "{PROXY} sub_filter LINE row; sub_filter_types image/png;
        server {{ listen 127.0.0.1:{{port}}; root {{files}}; types {{ text/html html; text/plain txt; }}
            location / {{ proxy_pass http://{{peer}}; }}
            location /all/ {{ sub_filter_once off; sub_filter_last_modified on; sub_filter_types *; proxy_pass http://{{peer}}; }}
            location /own/ {{ sub_filter text $uri; sub_filter \"of $arg_word\" \"\"; sub_filter_once off; proxy_pass http://{{peer}}; }}
            location /packs/ {{ gunzip on; gzip on; sub_filter Text words; proxy_pass http://{{peer}}; }}
            location /files/ {{ sub_filter_types *; sub_filter b x; sub_filter t ''; alias {{files}}/; }}
            location /return/ {{ default_type text/html; return 200 \"A line, a line\"; }}
        }}"
    );
    let mut cases = asked(&["/", "/all/", "/own/?word=text", "/own/", "/packs/"], "GET PATH HTTP/1.1", &[""]);
    cases.extend(asked(&["/packs/"], "GET PATH HTTP/1.1", &["Accept-Encoding: gzip\r\n"]));
    cases.extend(asked(&["/", "/all/"], "GET PATH HTTP/1.0", &[""]));
    cases.extend(asked(&["/all/"], "HEAD PATH HTTP/1.1", &[""]));
    let targets =
        ["/return/", "/files/letters.txt", "/files/empty.txt", "/files/index.html", "/files/none", "/files/folder"];
    cases.extend(plain(&targets, &["", "Range: bytes=0-3\r\n", "If-None-Match: *\r\n"]));
    cases.retain(|case| !case.name.starts_with("/return/ If-None"));
    Pair::start("filters sub", &http, answers()).compare(&cases);
}
