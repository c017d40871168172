//! What subrequests do: texts put around bodies, bodies in slices, copies of requests.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case, packed};
use crate::recorder::Answers;

fn answers() -> Answers {
    let length = |head: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
        ([head.as_bytes(), body].concat(), false)
    };
    let page = b"<p>the page itself\n".repeat(30);
    let chunks = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
    Answers::from([
        ("page", length("200 OK\r\nContent-Type: text/html\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\nX-End: 1", &page)),
        ("text", length("200 OK\r\nContent-Type: text/plain", &page)),
        ("packed", length("200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip", &packed(&page))),
        ("empty", length("200 OK\r\nContent-Type: text/html", b"")),
        ("chunks", (chunks.into(), false)),
        ("until the end", (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\nold".to_vec(), true)),
        ("404", length("404 Not Found\r\nContent-Type: text/html", &page)),
        ("201", length("201 Created\r\nContent-Type: text/html", &page)),
        ("koi", length("200 OK\r\nContent-Type: text/html; charset=koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4")),
    ])
}

const NAMES: [&str; 9] = ["page", "text", "packed", "empty", "chunks", "until the end", "404", "201", "koi"];

fn asked(paths: &[&str], line: &str, fields: &[&str]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, name, field) in paths
        .iter()
        .flat_map(|path| NAMES.iter().flat_map(move |name| fields.iter().map(move |field| (path, name, field))))
    {
        let request = line.replace("PATH", path);
        let title: &'static str = format!("{request} {name} {field}").leak();
        cases.push(case(title, format!("{request}\r\nHost: a.test\r\n{field}X-Answer: {name}\r\n\r\n")));
    }
    cases
}

fn plain(targets: &[&str], fields: &[&str]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (target, field) in targets.iter().flat_map(|target| fields.iter().map(move |field| (target, field))) {
        let title: &'static str = format!("{target} {field}").leak();
        cases.push(case(title, format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{field}\r\n")));
    }
    cases
}

#[test]
fn bodies_have_texts_around_them() {
    let http = format!(
        "{PROXY} include /etc/nginx/koi-utf; gzip_min_length 0; add_before_body /head; add_after_body /foot;
        server {{ listen 127.0.0.1:{{port}}; root {{files}}; types {{ text/html html; text/plain txt; }}
            location = /head {{ return 200 \"head of $uri $request_uri $args|\"; }}
            location = /foot {{ return 200 \"|foot\"; }}
            location = /file {{ alias {{files}}/letters.txt; }}
            location = /koi {{ default_type \"text/html\"; charset koi8-r; source_charset koi8-r; return 200 '\u{43f}\u{440}'; }}
            location = /none {{ return 404; }}
            location = /gone {{ alias {{files}}/nothing; }}
            location = /peer {{ proxy_pass http://{{peer}}/inner; sub_filter page sheet; sub_filter_types *; }}
            location = /folder/ {{ alias {{files}}/folder/; }}
            location = /moved {{ rewrite ^ /foot last; }}
            location = /unpacked {{ gunzip on; proxy_pass http://{{peer}}; }}
            location / {{ proxy_pass http://{{peer}}; }}
            location /before/ {{ add_after_body ''; proxy_pass http://{{peer}}; }}
            location /all/ {{ addition_types *; proxy_pass http://{{peer}}; }}
            location /packs/ {{ gzip on; sub_filter page words; sub_filter_once off; proxy_pass http://{{peer}}; }}
            location /files/ {{ addition_types text/plain; alias {{files}}/; }}
            location /texts/ {{ default_type text/html; add_before_body /file; add_after_body /none; return 200 text; }}
            location /peers/ {{ default_type text/html; add_before_body /peer; return 200 text; }}
            location /sub/ {{ add_before_body /moved; add_after_body /folder/; proxy_pass http://{{peer}}; }}
            location /lost/ {{ default_type text/html; add_after_body /gone; expires 0; return 200 text; }}
            location /utf/ {{ default_type text/html; charset utf-8; override_charset on; source_charset utf-8;
                add_before_body /koi; add_after_body /unpacked; proxy_pass http://{{peer}}; }}
            location /off/ {{ add_before_body ''; add_after_body ''; proxy_pass http://{{peer}}; }}
        }}"
    );
    const GZIP: &str = "Accept-Encoding: gzip\r\n";
    let mut cases =
        asked(&["/", "/before/", "/all/", "/packs/", "/sub/", "/utf/"], "GET PATH?q=1 HTTP/1.1", &["", GZIP]);
    cases.extend(asked(&["/", "/packs/", "/sub/", "/off/"], "GET PATH HTTP/1.0", &[""]));
    cases.extend(asked(&["/", "/packs/"], "HEAD PATH HTTP/1.1", &[""]));
    cases.extend(asked(&["/peers/"], "GET PATH HTTP/1.1", &["", "Range: bytes=0-3\r\n"]));
    let targets = ["/texts/", "/lost/", "/files/letters.txt", "/files/empty.txt", "/files/index.html", "/files/none"];
    cases.extend(plain(&targets, &["", GZIP, "Range: bytes=0-3\r\n", "If-None-Match: W/\"3b9aca00-1a\"\r\n"]));
    Pair::start("additions", &http, answers()).compare(&cases);
}

#[test]
fn bodies_come_in_slices() {
    let http = "proxy_http_version 1.1; proxy_set_header Connection ''; log_format slices '$http_range $status';
        server { listen 127.0.0.1:{port_files}; root {files}; access_log {dir}/slices.log slices; types { text/html html; text/plain txt; } }
        server { listen 127.0.0.1:{port}; slice 10; proxy_set_header Range $slice_range; proxy_set_header Connection '';
            access_log {dir}/asked.log slices;
            location / { proxy_pass http://127.0.0.1:{port_files}; }
            location /large/ { slice 100k; proxy_pass http://127.0.0.1:{port_files}/; }
            location /packs/ { slice 3k; gzip on; gzip_types *; gzip_min_length 0; proxy_pass http://127.0.0.1:{port_files}/; }
            location /subs/ { sub_filter_types *; sub_filter c XX; sub_filter z ''; proxy_pass http://127.0.0.1:{port_files}/; }
            location /around/ { addition_types *; add_after_body /empty.txt; proxy_pass http://127.0.0.1:{port_files}/; }
            location /args/ { proxy_pass http://127.0.0.1:{port_files}/letters.txt?$args; }
            location /off/ { slice 0; proxy_pass http://127.0.0.1:{port_files}/; }
        }";
    let ranges = [
        "",
        "Range: bytes=0-3\r\n",
        "Range: bytes=3-\r\n",
        "Range: bytes=12-15\r\n",
        "Range: bytes=8-21\r\n",
        "Range: bytes=-5\r\n",
        "Range: bytes=25-\r\n",
        "Range: bytes=26-\r\n",
        "Range: bytes=29-\r\n",
        "Range: bytes=200-\r\n",
        "Range: bytes=1-2,4-5\r\n",
        "Range: bytes=x\r\n",
        "Range: bytes=20-19\r\n",
        "Range: items=1-2\r\n",
        "Range: bytes=20-25\r\nIf-Range: \"3b9aca00-1a\"\r\n",
        "Range: bytes=20-25\r\nIf-Range: \"other\"\r\n",
        "Range: bytes=20-25\r\nIf-Range: Sun, 09 Sep 2001 01:46:40 GMT\r\n",
        "If-None-Match: \"3b9aca00-1a\"\r\n",
        "Accept-Encoding: gzip\r\n",
    ];
    let targets = [
        "/letters.txt",
        "/empty.txt",
        "/none",
        "/large/big.bin",
        "/packs/big.bin",
        "/packs/letters.txt",
        "/subs/letters.txt",
        "/around/letters.txt",
        "/args/?x=1",
        "/off/letters.txt",
    ];
    let mut cases = plain(&targets, &ranges);
    // What other filters make longer or shorter nginx sends as a whole and yet cuts each slice.
    let cut =
        |name: &str| (name.starts_with("/subs/") || name.starts_with("/around/")) && name.contains("Range: bytes=");
    cases.retain(|case| !cut(case.name));
    let pair = Pair::start("slices", http, Answers::default());
    pair.compare(&cases);
    pair.compare_lines("slices.log", 1027, |line| Some(line.into()));
}

#[test]
fn copies_go_to_mirrors() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}}; root {{files}}; mirror /copy;
            location = /copy {{ internal; proxy_set_header X-Uri $request_uri; proxy_set_header X-Method $request_method; proxy_set_header Connection close; proxy_pass http://{{peer}}/copied; }}
            location = /args {{ internal; proxy_pass http://{{peer}}$uri?$args; }}
            location = /same {{ internal; proxy_pass http://{{peer}}$request_uri; }}
            location = /bare {{ internal; proxy_pass_request_body off; proxy_set_header Content-Length ''; proxy_set_header Connection close; proxy_pass http://{{peer}}; }}
            location = /get {{ internal; proxy_method GET; proxy_pass http://{{peer}}; }}
            location = /wrong {{ internal; return 500; }}
            location = /lost {{ internal; proxy_pass http://127.0.0.1:1; }}
            location / {{ proxy_pass http://{{peer}}; }}
            location /two/ {{ mirror /copy; mirror /args; mirror /wrong; mirror /lost; proxy_pass http://{{peer}}; }}
            location /off/ {{ mirror off; proxy_pass http://{{peer}}; }}
            location /bare/ {{ mirror /bare; mirror_request_body off; proxy_pass http://{{peer}}; }}
            location /get/ {{ mirror /get; proxy_pass http://{{peer}}; }}
            location /same/ {{ mirror /same; proxy_pass http://{{peer}}; }}
            location /text/ {{ mirror /same; alias {{files}}/; }}
            location /set/ {{ set $kept $arg_a; mirror /args; proxy_pass http://{{peer}}; }}
            location /refused/ {{ deny all; proxy_pass http://{{peer}}; }}
        }}"
    );
    let bodies = [
        ("GET", ""),
        ("HEAD", ""),
        ("DELETE", ""),
        ("POST", "Content-Length: 0\r\n\r\n"),
        ("POST", "Content-Length: 5\r\n\r\nhello"),
        ("PUT", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        ("PATCH", "Content-Length: 12\r\nX-Extra: 1\r\nCookie: a=b\r\n\r\ntwelve bytes"),
    ];
    let paths = [
        ("/", 2),
        ("/a%20b?q=1&r", 2),
        ("/two/?x=y", 3),
        ("/off/", 1),
        ("/bare/", 2),
        ("/get/", 2),
        ("/same/?z", 2),
        ("/set/?a=1", 2),
    ];
    let pair = Pair::start("mirrors", &http, answers());
    for (path, requests) in paths {
        let mut cases = Vec::new();
        for (method, rest) in bodies {
            let title: &'static str = format!("{method} {path} {rest}").leak();
            let rest = if rest.is_empty() { "\r\n" } else { rest };
            cases.push(case(
                title,
                format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-One: 1\r\n{rest}"),
            ));
        }
        pair.compare_at_peer(&cases, requests);
    }
    let small = |path: &str, requests| {
        let title: &'static str = format!("GET {path}").leak();
        pair.compare_at_peer(
            &[case(title, format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"))],
            requests,
        );
    };
    small("/text/letters.txt", 1);
    small("/text/none", 1);
    small("/refused/", 0);
}
