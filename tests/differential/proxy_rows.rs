//! Rows of the proxy in every value: which header fields of a peer go on, where redirects lead, which
//! failures go to the next peer, and what the logs say of it.

use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

const ROWS: &[(&str, &str)] = &[
    ("/plain/", ""),
    ("/old/", "proxy_http_version 1.0;"),
    ("/unbuffered/", "proxy_buffering off;"),
    (
        "/hide/",
        "proxy_hide_header x-one; proxy_hide_header CONTENT-TYPE; proxy_hide_header ETag; proxy_hide_header Set-Cookie;
        proxy_hide_header Content-Length; proxy_hide_header Location; proxy_hide_header Refresh; proxy_hide_header Vary;
        proxy_hide_header Last-Modified; proxy_hide_header Connection; proxy_hide_header Accept-Ranges;
        proxy_hide_header WWW-Authenticate;",
    ),
    (
        "/pass/",
        "proxy_pass_header server; proxy_pass_header DATE; proxy_pass_header X-Pad; proxy_pass_header x-accel-expires;
        proxy_pass_header X-Accel-Redirect; proxy_pass_header X-Accel-Buffering; proxy_pass_header Connection;",
    ),
    ("/both/", "proxy_pass_header Server; proxy_hide_header Server; proxy_hide_header Date;"),
    (
        "/ignore/",
        "proxy_ignore_headers x-accel-redirect X-ACCEL-EXPIRES; proxy_ignore_headers X-Accel-Limit-Rate Expires
        X-Accel-Buffering X-Accel-Charset Cache-Control Set-Cookie Vary;",
    ),
    ("/intercept/", "proxy_intercept_errors on; error_page 404 500 401 /page; error_page 302 = @named;"),
    ("/intercept_none/", "proxy_intercept_errors on;"),
    ("/next/", "proxy_next_upstream error timeout http_500; proxy_next_upstream http_404;"),
    ("/next_any/", "proxy_next_upstream ERROR HTTP_500 HTTP_502 http_503 http_504 http_403 http_404 http_429 non_idempotent;"),
    ("/next_off/", "proxy_next_upstream http_500; proxy_next_upstream off;"),
    ("/next_twice/", "proxy_next_upstream http_500 http_404; proxy_next_upstream_tries 2;"),
    ("/relative/", "absolute_redirect off; proxy_redirect http://else.test/ /else/;"),
    ("/unredirected/", "proxy_redirect off;"),
    (
        "/redirect/",
        "proxy_redirect default; proxy_redirect http://else.test/ /else/; proxy_redirect ~*^http://(\\w+).OTHER/(.*)$ http://$1.$host/$2;
        proxy_redirect $scheme://$host/ /self/;",
    ),
    ("/close/", "keepalive_timeout 0;"),
    ("/unchunked/", "chunked_transfer_encoding off;"),
    ("/head/", "proxy_method HEAD;"),
    ("/get/", "proxy_method get;"),
    ("/body/", "proxy_set_body \"$request_method $arg_x\";"),
    ("/bodiless/", "proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_set_header Connection close; proxy_set_header X-Answer $http_x_answer;"),
    ("/headerless/", "proxy_pass_request_headers off; proxy_set_header Connection close; proxy_set_header X-Answer $http_x_answer;"),
    (
        "/lengths/",
        "proxy_set_header Content-Length $content_length; proxy_set_header Connection close; proxy_set_header X-Body $proxy_internal_body_length;",
    ),
];

const ANSWERS: &[(&str, &str)] = &[
    ("usual", "200 OK\r\nX-One: 1\r\nContent-Length: 3\r\n\r\nabc"),
    ("empty", "200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("chunks", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    (
        "301",
        "301 Away\r\nLocation: http://PEER/in/x?y=%20\r\nRefresh: 3; url=http://PEER/in/z\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "302 elsewhere",
        "302 Found\r\nLocation: http://else.test/x\r\nRefresh: 1; URL=http://else.test/\r\nContent-Length: 0\r\n\r\n",
    ),
    ("302 by regex", "302 Found\r\nlocation: http://one.other/x/y?z\r\nContent-Length: 0\r\n\r\n"),
    ("302 to itself", "302 Found\r\nLocation: http://a.test/x\r\nContent-Length: 0\r\n\r\n"),
    ("201", "201 Created\r\nLocation: /in/new\r\nContent-Length: 0\r\n\r\n"),
    ("204", "204 Nothing\r\nContent-Type: t/t\r\nX-One: 1\r\n\r\n"),
    ("304", "304 Same\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n"),
    ("206", "206 Part\r\nContent-Range: bytes 0-2/9\r\nAccept-Ranges: bytes\r\nContent-Length: 3\r\n\r\nabc"),
    ("401", "401 Who\r\nWWW-Authenticate: Basic realm=a\r\nWWW-Authenticate: Digest\r\nContent-Length: 3\r\n\r\nwho"),
    ("403", "403 No\r\nContent-Length: 2\r\n\r\nno"),
    ("404", "404 Nowhere\r\nX-One: 1\r\nContent-Length: 4\r\n\r\ngone"),
    ("429", "429 Slow\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nslow"),
    ("500", "500 Oops\r\nContent-Length: 4\r\n\r\noops"),
    ("502", "502 Bad\r\nContent-Length: 3\r\n\r\nbad"),
    ("503", "503 Busy\r\nContent-Length: 4\r\n\r\nbusy"),
    ("504", "504 Late\r\nContent-Length: 4\r\n\r\nlate"),
    (
        "own fields",
        "200 OK\r\nServer: mine\r\nDate: then\r\nX-Pad: p\r\nX-Accel-Expires: 3\r\nX-Accel-Other: 4\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "hops",
        "200 OK\r\nKeep-Alive: 5\r\nConnection: X-One\r\nX-One: 1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nTrailer: t\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "order",
        "200 OK\r\nZ: 1\r\nContent-Type: t/t\r\nA: 2\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\nETag: \"e\"\r\nSet-Cookie: c=1\r\nx-one: 3\r\nExpires: 0\r\n\
         Set-Cookie: d=2\r\nCache-Control: no-cache\r\nAccept-Ranges: bytes\r\nContent-Encoding: br\r\nVary: v\r\nLink: l\r\nContent-Length: 3\r\n\r\nabc",
    ),
    ("no type", "200 OK\r\nContent-Type:\r\nContent-Length: 3\r\n\r\nabc"),
    ("unbuffered", "200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 3\r\n\r\nabc"),
    (
        "sent to a file",
        "200 OK\r\nX-Accel-Redirect: /files/letters.txt\r\nAccept-Ranges: bytes\r\nContent-Type: a/b\r\nX-One: 1\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "sent to a name",
        "404 No\r\nx-accel-redirect: @named\r\nAccept-Ranges: none\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    ),
    ("more than its length", "200 OK\r\nContent-Length: 2\r\n\r\nabc"),
];

const METHODS: &[&str] = &["GET", "POST", "HEAD", "PATCH"];

fn answers() -> Answers {
    ANSWERS.iter().map(|(name, answer)| (*name, (format!("HTTP/1.1 {answer}").into_bytes(), false))).collect()
}

fn requests(place: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, _) in ANSWERS {
        for method in METHODS {
            // What has a body all the same is no answer to HEAD, and one without is none to anything else.
            let bodiless = place == "/head/" || *name == "empty";
            if (*method == "HEAD" && !bodiless) || (*method != "HEAD" && place == "/head/") {
                continue;
            }
            let body = if matches!(*method, "POST" | "PATCH") { "Content-Length: 4\r\n\r\nbody" } else { "\r\n" };
            let line = format!("{method} {place}t?x=1 HTTP/1.1");
            let title = format!("{line}, {name}").leak();
            let fields = "Host: a.test\r\nReferer: http://r.test/\r\n";
            cases.push(case(title, format!("{line}\r\n{fields}X-Answer: {name}\r\n{body}")));
        }
    }
    cases
}

#[test]
fn rows_in_every_value() {
    let place = |(place, rows): &(&str, &str)| {
        let to = if place.starts_with("/next") { "group/in/" } else { "{peer}/in/" };
        format!("location {place} {{ proxy_pass http://{to}; {rows} }}\n")
    };
    let places: String = ROWS.iter().map(place).collect();
    let http = format!(
        "log_format rows '$request $status $body_bytes_sent $upstream_addr $upstream_status $upstream_bytes_sent $proxy_host $proxy_port';
        proxy_http_version 1.1; proxy_set_header Host $proxy_host; proxy_set_header Connection close;
        upstream group {{ server {{peer}} max_fails=0; server {{peer}} max_fails=0; server {{peer}} backup max_fails=0; }}
        server {{ listen 127.0.0.1:{{port}}; server_name main.test; error_log {{dir}}/rows_error.log info;
            access_log {{dir}}/rows.log rows;
            {places}
            location = /page {{ return 200 \"page $status $upstream_status\\n\"; }}
            location @named {{ return 202 \"named $uri $request_method\\n\"; }}
            location /files/ {{ alias {{files}}/; }}
            location / {{ access_log off; return 204; }}
        }}"
    );
    let pair = Pair::start("rows in every value", &http, answers());
    let requests: Vec<Case> = ROWS.iter().flat_map(|(place, _)| requests(place)).collect();
    pair.compare(&requests);
    pair.compare_lines("rows.log", requests.len(), |line| Some(line.to_owned()));
}

const FAILURES: &[(&str, &str)] = &[
    ("/dead/", "proxy_pass http://127.0.0.1:1/in/;"),
    ("/dead_plain/", "proxy_pass http://127.0.0.1:1;"),
    ("/dead_variable/", "set $to 127.0.0.1:1; proxy_pass http://$to/v;"),
    ("/dead_both/", "proxy_pass http://dead/y/;"),
    ("/dead_first/", "proxy_pass http://dead_first/z/;"),
    ("/down/", "proxy_pass http://down;"),
    ("/off/", "proxy_pass http://dead_first; proxy_next_upstream off;"),
    ("/socket/", "proxy_pass http://unix:/nowhere/none.sock:/u/;"),
    ("/socket_plain/", "proxy_pass http://unix:/nowhere/none.sock;"),
    ("/socket_variable/", "set $to unix:/nowhere/none.sock; proxy_pass http://$to:/v;"),
    ("/unresolved/", "set $to nobody.test; proxy_pass http://$to/x;"),
    ("/nothing/", "set $to ''; proxy_pass http://$to/x;"),
    ("/scheme/", "set $to ftp://x; proxy_pass $to;"),
    ("/port/", "set $to http://127.0.0.1:99999/; proxy_pass $to;"),
    ("/no_host/", "set $to http://:80/; proxy_pass $to;"),
    ("/no_path/", "set $to http://unix:; proxy_pass $to;"),
    ("/bracket/", "set $to http://[::1; proxy_pass $to;"),
    ("/paged/", "proxy_pass http://127.0.0.1:1; error_page 502 = /page;"),
    ("/small/", "proxy_pass http://{peer}; proxy_buffer_size 1k;"),
    ("/peer/", "proxy_pass http://{peer}/in/;"),
];

const WRONG: &[(&str, &str, bool)] = &[
    ("nothing", "", true),
    ("cut", "HTTP/1.1 200 OK\r\nConte", true),
    ("blank in a name", "HTTP/1.1 200 OK\r\nX One: 1\r\n\r\n", true),
    ("blank before the colon", "HTTP/1.1 200 OK\r\nX-One : 1\r\n\r\n", true),
    ("folded", "HTTP/1.1 200 OK\r\nX-One: 1\r\n more\r\n\r\n", true),
    ("no name", "HTTP/1.1 200 OK\r\n: 1\r\n\r\n", true),
    ("zero", "HTTP/1.1 200 OK\r\nX-One: a\0b\r\n\r\n", true),
    ("return", "HTTP/1.1 200 OK\r\nX-One: a\rb\r\n\r\n", true),
    ("short body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", true),
    ("long body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", false),
    ("behind the chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nmore", false),
    ("cut in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", true),
    ("climbing", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /a/../b\r\nContent-Length: 0\r\n\r\n", false),
    ("nowhere", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: @nobody\r\nContent-Length: 0\r\n\r\n", false),
];

#[test]
fn what_goes_wrong_is_told_alike() {
    let places: String = FAILURES.iter().map(|(place, rows)| format!("location {place} {{ {rows} }}\n")).collect();
    let http = format!(
        "log_format failures '$request $status $upstream_addr $upstream_status $upstream_response_length';
        proxy_http_version 1.1; proxy_set_header Host $proxy_host; proxy_set_header Connection close;
        upstream dead {{ server 127.0.0.1:1 max_fails=0; server 127.0.0.1:1 backup max_fails=0; }}
        upstream dead_first {{ server 127.0.0.1:1 max_fails=0; server {{peer}} backup; }}
        upstream down {{ server 127.0.0.1:1 down; }}
        server {{ listen 127.0.0.1:{{port}}; server_name main.test; error_log {{dir}}/failures_error.log info;
            access_log {{dir}}/failures.log failures;
            {places}
            location = /page {{ return 202 \"page $upstream_status\\n\"; }}
            location / {{ access_log off; return 204; }}
        }}"
    );
    let mut answers: Answers =
        WRONG.iter().map(|(name, answer, ends)| (*name, (answer.as_bytes().to_vec(), *ends))).collect();
    let head = "x".repeat(1500);
    answers.insert("long head", (format!("HTTP/1.1 200 OK\r\nX: {head}\r\nContent-Length: 0\r\n\r\n").into(), true));
    let pair = Pair::start("what goes wrong", &http, answers);
    let fields = "Host: a.test\r\nReferer: http://r.test/\"q\"";
    let mut requests = Vec::new();
    for (place, _) in FAILURES.iter().filter(|(place, _)| !matches!(*place, "/small/" | "/peer/")) {
        requests.push(case(place, format!("GET {place}a%20b?x=1 HTTP/1.1\r\n{fields}\r\n\r\n")));
        let title = format!("POST {place}").leak();
        requests.push(case(title, format!("POST {place} HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")));
    }
    for (name, ..) in WRONG {
        requests.push(case(name, format!("GET /peer/x HTTP/1.1\r\n{fields}\r\nX-Answer: {name}\r\n\r\n")));
    }
    requests.push(case("long head", format!("GET /small/ HTTP/1.1\r\n{fields}\r\nX-Answer: long head\r\n\r\n")));
    pair.compare(&requests);
    pair.compare_lines("failures.log", requests.len(), |line| Some(line.to_owned()));
    pair.compare_lines("failures_error.log", requests.len(), |line| {
        // What comes behind the time, the process and the connection.
        let (_, level) = line.split_once('[')?;
        let (level, rest) = level.split_once("] ")?;
        let (_, message) = rest.split_once(": *")?.1.split_once(' ')?;
        message.contains("upstream").then(|| format!("[{level}] {message}"))
    });
}
