//! Whole configurations as people run them, each a file beside this one: single-page applications, gateways,
//! sites that moved, releases for a few. Both must answer every request alike.

use crate::pair::{Case, Pair, case, packed};
use crate::recorder::Answers;

/// What these sites hold beside the usual files.
fn more() -> Vec<(&'static str, Vec<u8>)> {
    let style = "body { color: black; }\n".repeat(60).into_bytes();
    let page = |title: &str| format!("<!DOCTYPE html><title>{title}</title>\n").into_bytes();
    vec![
        ("assets/app.3f2a.js", "console.log('app');\n".repeat(60).into_bytes()),
        ("assets/app.css", style.clone()),
        ("css/site.css", style.clone()),
        ("css/stored.css", style.clone()),
        ("css/stored.css.gz", packed(&style)),
        ("logo.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n".repeat(10)),
        ("photo.png", b"\x89PNG not quite".to_vec()),
        ("404.html", page("Not here")),
        ("50x.html", page("Broken")),
        ("maintenance.html", page("Back soon")),
        ("userContent/readme.txt", b"for everybody\n".to_vec()),
        (".git/config", b"secret\n".to_vec()),
        (".well-known/security.txt", b"Contact: mailto:a@example.com\n".to_vec()),
        ("about/index.html", page("About")),
        ("robots.txt", b"User-agent: *\n".to_vec()),
        ("acme/index.html", page("Acme")),
        ("acme/second.htm", page("Second")),
        ("data/users.db", b"secret\n".to_vec()),
    ]
}

const TYPES: &str = "types { text/html html htm; text/css css; application/javascript js; image/svg+xml svg; \
                     image/png png; text/plain txt; } default_type application/octet-stream;";

/// What the peer says of itself in some of the cases, by name.
fn answers() -> Answers {
    let answer = |head: &str, body: &str| {
        (format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes(), false)
    };
    let json = "{\"text\": \"a line of text that packs well\"}\n".repeat(30);
    Answers::from([
        ("json", answer("200 OK\r\nContent-Type: application/json\r\nAccess-Control-Allow-Origin: null", &json)),
        ("redirect", answer("302 Found\r\nLocation: http://PEER/login?next=1", "")),
        ("cookie", answer("200 OK\r\nSet-Cookie: session=1; Path=/; HttpOnly\r\nContent-Type: text/html", "welcome")),
        ("created", answer("201 Created\r\nLocation: /items/1\r\nContent-Type: application/json", "{}")),
        ("404", answer("404 Not Found\r\nContent-Type: text/plain", "no such thing\n")),
        ("401", answer("401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Type: text/plain", "who?\n")),
        ("500", answer("500 Internal Server Error\r\nContent-Type: text/plain", "oops\n")),
        ("502", answer("502 Bad Gateway\r\nContent-Type: text/plain", "oops\n")),
        ("private", answer("200 OK\r\nContent-Type: application/json\r\nCache-Control: private\r\nETag: \"1\"", &json)),
    ])
}

/// One request a line: method, target, then fields, apart by ` | `; `body=N` at the end is a body of N bytes.
/// The host is the first field's unless it is another.
fn cases(host: &str, lines: &'static str) -> Vec<Case> {
    let request = |line: &'static str| {
        let mut words = line.trim().split(" | ");
        let mut text = format!("{} HTTP/1.1\r\n", words.next().unwrap_or_default());
        let (mut fields, mut body): (Vec<&str>, usize) = (words.collect(), 0);
        if let Some(length) = fields.last().and_then(|last| last.strip_prefix("body=")) {
            body = length.parse().expect("a length is a number");
            fields.pop();
        }
        if !fields.iter().any(|field| field.starts_with("Host: ")) {
            text.push_str(&format!("Host: {host}\r\n"));
        }
        for field in fields {
            text.push_str(&format!("{field}\r\n"));
        }
        if body > 0 {
            text.push_str(&format!("Content-Length: {body}\r\n"));
        }
        case(line.trim(), format!("{text}\r\n{}", "b".repeat(body)))
    };
    lines.lines().filter(|line| !line.trim().is_empty()).map(request).collect()
}

/// The configuration of this name, in the files above.
fn start(name: &'static str, text: &str) -> Pair {
    let more = more();
    let more: Vec<(&str, &[u8])> = more.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    // As nginx 1.22 speaks to peers where nothing else is said.
    Pair::with_files(name, &format!("{TYPES} proxy_http_version 1.0;\n{text}"), answers(), &more)
}

macro_rules! wild {
    ($name:literal) => {
        start($name, include_str!(concat!("in_the_wild/", $name, ".conf")))
    };
}

#[test]
fn an_application_below_a_path() {
    wild!("grafana").compare(&cases(
        "h.test",
        "GET /grafana
         GET /grafana?orgId=1
         GET /grafana/
         GET /grafana/d/abc/dash?from=now-6h&to=now
         GET /grafana/public/img%20x.png
         GET /grafana//double
         GET /grafana/api/live/ws | Sec-WebSocket-Version: 13
         GET /grafana/api/live/ws | Connection: Upgrade | Upgrade: websocket | Sec-WebSocket-Key: x | X-Answer: 404
         GET /grafana/api/live
         GET /grafana/login | X-Answer: redirect
         GET /grafana/login | X-Answer: cookie
         POST /grafana/api/ds/query | Content-Type: application/json | X-Answer: json | body=300
         GET /grafanax
         GET /",
    ));
}

#[test]
fn a_build_server() {
    wild!("jenkins").compare(&cases(
        "jenkins.test",
        "GET /
         GET /job/x/1/console?a=b%20c | Connection: keep-alive
         GET /static/1234abcd/css/site.css
         GET /static/1234abcd/none.css
         GET /static/12/css/site.css
         GET /userContent/readme.txt
         GET /userContent/none.txt?a=1
         GET /userContent
         GET /job | X_Odd: 1 | X.Dot: 2
         GET /job | X-Forwarded-For: 10.1.1.1 | X-Real-IP: 1.1.1.1
         GET /login | X-Answer: redirect
         POST /job/x/build | Content-Type: application/x-www-form-urlencoded | body=50
         POST /job/x/build | Content-Length: 99999999
         GET /wsecho/ | Connection: Upgrade | Upgrade: websocket | X-Answer: 404
         HEAD /cli | Host: other.test:8080",
    ));
}

#[test]
fn a_forge() {
    wild!("gitea").compare(&cases(
        "code.test",
        "GET /git
         GET /git/
         GET /git/ann/repo/src/branch/main/a%20b.txt?display=source
         GET /git/ann/repo/raw/caf%C3%A9
         GET /git/ann/a%2Fb
         GET /git//ann
         GET /v2/
         GET /v2/ann/image/manifests/latest
         GET /gitx
         POST /git/ann/repo.git/git-upload-pack | Content-Type: application/x-git-upload-pack-request | body=400
         GET /git/user | Connection: keep-alive
         GET /plain/user/login | X-Answer: cookie
         GET /plain/user | X-Answer: redirect
         GET /plain
         GET /plain/a/../b",
    ));
}

#[test]
fn a_gateway_for_programs() {
    wild!("api-gateway").compare(&cases(
        "api.test",
        "GET /
         GET /api/warehouse/
         GET /api/warehouse/inventory
         GET /api/warehouse/inventory/7?x=1
         POST /api/warehouse/inventory | body=5
         HEAD /api/warehouse/inventory
         GET /api/warehouse/pricing/item
         GET /api/warehouse/pricing/item | X-Api-Key: wrong
         GET /api/warehouse/pricing/item | X-Api-Key: KrtQ8zEe
         GET /api/warehouse/pricing/item | X-Api-Key: KrtQ8zEe | X-Answer: 404
         GET /api/warehouse/pricing/item | X-Api-Key: KrtQ8zEe | X-Answer: 401
         GET /api/warehouse/pricing/item/more | X-Api-Key: KrtQ8zEe
         GET /_validate_key | X-Api-Key: KrtQ8zEe
         GET /api/warehouse/limited | X-Turn: 1
         GET /api/warehouse/limited | X-Turn: 2
         GET /api/warehouse/limited | X-Turn: 3
         GET /api/warehouse/limited | X-Turn: 4
         GET /api/warehouse/limited | X-Turn: 5 | X-Api-Key: KrtQ8zEe
         GET /api/warehouse/limited | X-Turn: 6 | X-Api-Key: 7B5zIqmR
         GET /api/warehouse/limited | X-Turn: 7
         DELETE /api/warehouse/limited | body=3",
    ));
}

#[test]
fn two_editions_of_a_page() {
    let mut asked = cases(
        "h.test",
        "GET /a?b=c
         GET /a | Cookie: edition=new
         GET /a | Cookie: x=1; edition=old; y=2
         GET /a | Cookie: edition=other
         GET /page
         GET /page | Cookie: edition=new
         GET /page?x=1 | Cookie: edition=old
         GET /folder/
         GET /index.html
         GET /a%20b
         GET /a | X-Answer: cookie
         GET /a | X-Answer: 404",
    );
    for number in 0..30 {
        let name: &'static str = format!("visitor {number}").leak();
        asked.push(case(name, format!("GET /v HTTP/1.1\r\nHost: h\r\nUser-Agent: visitor/{number}\r\n\r\n")));
    }
    wild!("ab-test").compare(&asked);
}

#[test]
fn a_page_while_the_site_is_worked_on() {
    let lines = "GET /
         GET /?a=b
         POST / | body=4
         HEAD /
         GET / | X-Forwarded-For: 10.1.2.3
         GET / | X-Forwarded-For: 10.1.2.3, 203.0.113.9
         GET /app/x | X-Forwarded-For: 192.0.2.7
         GET /app/x
         GET /css/site.css
         GET /none.css
         GET /none
         GET /404.html
         GET /folder
         GET / | If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT
         GET / | Range: bytes=0-3";
    wild!("maintenance").compare(&cases("site.test", lines));
    let mut more = more();
    more.push(("closed.flag", Vec::new()));
    let more: Vec<(&str, &[u8])> = more.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let text = format!("{TYPES} proxy_http_version 1.0;\n{}", include_str!("in_the_wild/maintenance.conf"));
    Pair::with_files("maintenance, closed", &text, answers(), &more).compare(&cases("site.test", lines));
}

#[test]
fn an_interface_for_scripts_of_other_sites() {
    wild!("cors").compare(&cases(
        "h.test",
        "OPTIONS /api/x | Origin: https://shop.example.com | Access-Control-Request-Method: PUT
         OPTIONS /api/x | Origin: https://evil.test
         OPTIONS /api/x
         GET /api/x | Origin: http://localhost:3000
         GET /api/x | Origin: http://127.0.0.1
         GET /api/x | Origin: https://shop.example.com.evil.test
         GET /api/x | Origin: https://shop.example.com | X-Answer: json
         GET /api/x | Origin: https://shop.example.com | X-Answer: 500
         GET /api/x | Origin: https://shop.example.com | X-Answer: 401
         POST /api/x | Origin: https://shop.example.com | body=10
         GET /logo.svg | Origin: https://evil.test
         GET /css/site.css
         GET /css/none.css
         OPTIONS /css/site.css",
    ));
}

#[test]
fn the_next_release_for_a_few() {
    wild!("canary").compare(&cases(
        "h.test",
        "GET /a
         GET /a | X-Canary: always
         GET /a | X-Canary: never | Cookie: release=next
         GET /a | Cookie: release=next
         GET /a | Cookie: release=other
         GET /a | X-Canary: what | Cookie: release=next
         GET /v2/users?x=1
         GET /v2/a%20b | Cookie: release=next
         POST /a | X-Canary: always | body=12
         GET /a | X-Answer: 500
         GET /a | X-Answer: 502
         GET /a | X-Answer: redirect",
    ));
}

#[test]
fn files_for_browsers() {
    wild!("static").compare(&cases(
        "static.test",
        "GET /
         GET / | Host: other.test
         GET / | Host: www.static.test
         GET /index.html | If-None-Match: W/\"3b9aca00-9\"
         GET /css/site.css
         GET /css/site.css | Accept-Encoding: gzip
         GET /css/stored.css | Accept-Encoding: gzip
         GET /css/stored.css
         GET /css/none.css
         GET /assets/app.3f2a.js | Accept-Encoding: gzip
         GET /logo.svg | Accept-Encoding: gzip
         GET /photo.png
         GET /photo.png | Range: bytes=1-3
         GET /letters.txt
         GET /favicon.ico
         GET /.git/config
         GET /.well-known/security.txt
         GET /folder/.hidden
         GET /none
         POST /index.html | body=3
         GET /downloads/index.html
         GET /downloads/
         GET /downloads/none
         GET /old/letters.htm
         GET /old/folder/a.htm?x=1
         GET /old/other
         HEAD /big.bin
         GET /big.bin | Range: bytes=-10
         GET /UPPER.TXT
         GET /folder
         GET /50x.html",
    ));
}

#[test]
fn large_bodies_where_they_are_expected() {
    wild!("uploads").compare(&cases(
        "h.test",
        "POST / | body=100
         POST / | body=101
         POST /a | Content-Type: text/plain | body=64
         GET /
         PUT /upload/a.bin?x=1 | Content-Type: image/png | body=2048
         POST /upload/b | body=2049
         PUT /upload/c | Content-Type: a/b | body=1500
         GET /upload/a.bin
         DELETE /upload/a.bin
         POST /any/thing | body=20000
         POST /never/ | body=10
         POST /never/ | body=11
         HEAD /upload/a",
    ));
}

#[test]
fn a_site_that_moved() {
    wild!("redirects").compare(&cases(
        "www.example.test",
        "GET / | Host: example.test
         GET /a%20b?x=%20y | Host: old.example.org
         POST /form | Host: example.test | body=4
         GET /
         GET /about.php?a=1
         GET /about.php
         GET /contact.html
         GET /blog/2019/first-post.html
         GET /blog/2019/First.html
         GET /shop/ITEM-12
         GET /Shop/item-12/more
         GET /index.php?id=12
         GET /index.php?id=12&x
         GET /a/index.html
         GET /a/b/index.htm?x=1
         GET /no-slash
         GET /no-slash?a=b
         GET /with.dot
         GET /dot.
         GET /out?to=https://www.example.com/a
         GET /out/
         GET /temporary/x
         GET /kept/y?z=1
         GET /caf%C3%A9
         GET /a%0d%0ab
         HEAD /about.php",
    ));
}

#[test]
fn a_name_for_each_customer() {
    wild!("tenants").compare(&cases(
        "acme.app.test",
        "GET /
         GET /second.htm
         GET / | Host: ACME.app.test
         GET / | Host: folder.app.test:8080
         GET / | Host: none.app.test
         GET / | Host: a.b.app.test
         GET / | Host: ..app.test
         GET / | Host: app.test
         GET /api/users?x=1
         GET /api/a%20b/../c
         GET /u/ann
         GET /u/ann/photos/1%2F2?size=2
         GET /u/ann-b
         GET /u/
         POST /api/items | Content-Type: application/json | body=7",
    ));
}

#[test]
fn a_log_for_programs() {
    let asked = cases(
        "h.test",
        "GET /a?x=1&y=%22 | User-Agent: say \"hi\" \\ | Referer: http://a/\tb
         GET /caf%C3%A9 | X-Request-ID: é | Cookie: session=abc; x=1
         GET /files/letters.txt | Range: bytes=0-3
         GET /files/none
         GET /health
         GET /health?x=1
         POST /a | body=30
         GET /a | X-Answer: 500
         HEAD /files/letters.txt
         DELETE /closed-not
         GET /<script>",
    );
    let pair = wild!("json-log");
    pair.compare(&asked);
    // How long our page of an error is depends on our name.
    pair.compare_lines("json.log", 20, |line| Some(line.replace("\"sent\":155", "\"sent\":153")));
}
#[test]
fn a_single_page_application() {
    wild!("spa").compare(&cases(
        "app.test",
        "GET /
         HEAD /
         GET /index.html
         GET /settings/profile
         GET /settings/profile?tab=2 | Accept: text/html
         GET /folder
         GET /folder/
         GET /about
         GET /about/
         GET /letters.txt
         GET /letters.txt | Range: bytes=0-3
         GET /assets/app.3f2a.js
         GET /assets/app.3f2a.js | Accept-Encoding: gzip, br
         GET /assets/app.css | Accept-Encoding: gzip
         HEAD /assets/app.css | Accept-Encoding: gzip
         GET /assets/none.js
         GET /assets/
         GET /assets
         GET /api/users?page=2
         GET /api/users%2F1
         GET /api/
         GET /api
         GET /api/a | X-Answer: json | Accept-Encoding: gzip
         GET /api/a | X-Answer: redirect
         POST /api/items | Content-Type: application/json | X-Answer: created | body=20
         DELETE /api/items/1 | X-Answer: 404
         POST / | body=3
         GET /../etc/passwd
         GET /assets/../index.html
         GET /index.html | If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT
         GET / | If-None-Match: \"3b9aca00-9\"",
    ));
}

#[test]
fn a_cloud_for_files() {
    wild!("cloud").compare(&cases(
        "cloud.test",
        "GET /
         GET / | User-Agent: DavClnt/1
         GET /?a=b | User-Agent: DavClnt/1
         GET /robots.txt
         GET /.well-known/carddav
         GET /.well-known/caldav?x=1
         GET /.well-known/acme-challenge/token
         GET /.well-known/webfinger?resource=acct:a
         GET /data/users.db
         GET /data
         GET /datax
         GET /.git/config
         GET /occ
         GET /index.php
         GET /index.php/apps/files/?dir=/a
         GET /remote.php/dav/files/ann/a%20b.txt
         PROPFIND /remote.php/dav/ | Depth: 1
         PUT /remote.php/dav/files/a.txt | Content-Type: text/plain | body=100
         GET /other.php/x?y=1
         GET /css/site.css?v=123 | Accept-Encoding: gzip
         GET /css/site.css
         GET /css/none.css?v=1
         GET /logo.svg | Accept-Encoding: gzip
         GET /remote/x
         GET /remote
         GET /folder/
         GET /folder
         GET /apps/files
         GET /ocs/v2.php/cloud | X-Answer: private | Accept-Encoding: gzip
         GET /ocs/v2.php/cloud | X-Answer: json | Accept-Encoding: gzip",
    ));
}
