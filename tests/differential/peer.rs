//! What the peer gets, and what becomes of what it answers.

use crate::answers;
use crate::http::PROXY;
use crate::pair::{Pair, case};
use crate::recorder::Answers;

#[test]
fn headers_to_the_peer() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}}; server_name main.test;
            location / {{ proxy_pass http://{{peer}}; }}
            location /usual/ {{ proxy_pass http://{{peer}};
                proxy_set_header Host $host;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_set_header X-Host $proxy_host;
                proxy_set_header Connection close;
            }}
            location /empty/ {{ proxy_pass http://{{peer}};
                proxy_set_header Accept-Encoding \"\"; proxy_set_header X-None $http_none; proxy_set_header Connection close; proxy_set_header Cookie \"\";
            }}
            location /kept/ {{ proxy_pass http://{{peer}}; proxy_set_header Connection \"\"; }}
            location /upgrade/ {{ proxy_pass http://{{peer}};
                proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
            location /old/ {{ proxy_pass http://{{peer}}; proxy_http_version 1.0; }}
            location /method/ {{ proxy_pass http://{{peer}}; proxy_method PUT; }}
            location /bodiless/ {{ proxy_pass http://{{peer}}; proxy_pass_request_body off;
                proxy_set_header Content-Length \"\"; proxy_set_header Connection close; }}
            location /headerless/ {{ proxy_pass http://{{peer}}; proxy_pass_request_headers off; }}
            location /length/ {{ proxy_pass http://{{peer}}; proxy_set_header Connection close; proxy_set_header X-Length $content_length; }}
            location /hosts/ {{ proxy_pass http://{{peer}}; proxy_set_header Connection close; proxy_set_header Host $http_host; }}
        }}"
    );
    let fields = "Host: A.test:81\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 9.9.9.9\r\n\
                  X-Host: forged\r\nConnection: keep-alive\r\nx-lower: 1\r\nUpgrade: websocket\r\nKeep-Alive: 3\r\nTE: trailers";
    let folders = [
        "/",
        "/usual/",
        "/empty/",
        "/kept/",
        "/upgrade/",
        "/old/",
        "/method/",
        "/bodiless/",
        "/headerless/",
        "/length/",
        "/hosts/",
    ];
    let mut cases = Vec::new();
    for folder in folders {
        cases.push(case(folder, format!("POST {folder}x HTTP/1.1\r\n{fields}\r\nContent-Length: 4\r\n\r\nbody")));
    }
    cases.extend([
        case("get", format!("GET /usual/ HTTP/1.1\r\n{fields}\r\n\r\n")),
        case(
            "two forwarded-for",
            "GET /usual/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n",
        ),
        case("no forwarded-for", "GET /usual/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("http/1.0 without host", "GET /usual/ HTTP/1.0\r\n\r\n"),
        case("http/1.0 without host, $http_host", "GET /hosts/ HTTP/1.0\r\n\r\n"),
        case(
            "chunked to an old peer",
            "POST /old/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        case("chunked", "POST /length/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        case("head", "HEAD /usual/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("absolute target", "GET http://b.test/usual/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]);
    Pair::start("headers to the peer", &http, Answers::new()).compare(&cases);
}

#[test]
fn answers_of_the_peer() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}}; server_name main.test;
            location / {{ proxy_pass http://{{peer}}; }}
            location /old/ {{ proxy_pass http://{{peer}}; proxy_http_version 1.0; }}
            location /unbuffered/ {{ proxy_pass http://{{peer}}; proxy_buffering off; }}
            location /hidden/ {{ proxy_pass http://{{peer}}; proxy_hide_header X-One; proxy_pass_header Server; proxy_pass_header Date; }}
            location /mapped/ {{ proxy_pass http://{{peer}}/inner/; }}
            location /unredirected/ {{ proxy_pass http://{{peer}}/inner/; proxy_redirect off; }}
        }}"
    );
    Pair::start("answers of the peer", &http, answers::answers()).compare(&answers::requests());
}
