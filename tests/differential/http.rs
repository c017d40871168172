//! What becomes of a request on its way to an answer: written oddly, aimed oddly, at one of several
//! servers and locations.

use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;
use crate::wire;

/// 1.22 asks its peers in HTTP/1.0 and to close unless told otherwise; newer ones and we ask in
/// HTTP/1.1 and keep the connection. Said aloud, the default does not matter.
pub const PROXY: &str = "proxy_http_version 1.1; proxy_set_header Host $proxy_host; proxy_set_header Connection close;";

fn get(name: &'static str) -> Case {
    get_from(name, "a.test")
}

fn get_from(name: &'static str, host: &str) -> Case {
    case(name, format!("GET {name} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

pub fn gets(targets: &[&'static str]) -> Vec<Case> {
    targets.iter().map(|target| get(target)).collect()
}

/// Targets whose path has to be understood before a location or a file is found.
const ODD_TARGETS: &[&str] = &[
    "/",
    "//",
    "///a",
    "/a//b",
    "/a/./b",
    "/a/../b",
    "/a/b/..",
    "/a/b/../",
    "/a/.",
    "/..",
    "/../a",
    "/a/../../b",
    "/...",
    "/.a",
    "/a.",
    "/./",
    "/a/..b",
    "/%2e%2e/a",
    "/a/%2e%2e/b",
    "/a/%2E/b",
    "/a%2fb",
    "/a%2Fb/../c",
    "/%61",
    "/a%20b",
    "/a+b",
    "/%",
    "/%2",
    "/%zz",
    "/a%00b",
    "/%c3%a9",
    "/%ff",
    "/a%25b",
    "/a%252fb",
    "/a%3fb",
    "/a%23b",
    "/a;b=c",
    "/a?b",
    "/a?",
    "/a??",
    "/a?b?c",
    "/a?b=../..",
    "/a?b=%2e",
    "/a#b",
    "/a?b#c",
    "/a/b?c/d",
    "/?",
    "/?/../",
    "/A/b",
    "/~a",
    "/a:b",
    "/a@b",
    "/a|b",
    "/a\\b",
    "/a\"b",
    "/a<b>",
    "/a{b}",
    "/a^b`",
    "/a%5cb",
    "/a%0d%0ab",
    "/a%09",
];

#[test]
fn wire_on_a_proxy() {
    let http = format!("{PROXY} server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://{{peer}}; }} }}");
    Pair::start("wire on a proxy", &http, Answers::new()).compare(&wire::requests());
}

#[test]
fn wire_on_files() {
    let http = "server { listen 127.0.0.1:{port}; root {files}; }";
    Pair::start("wire on files", http, Answers::new()).compare(&wire::requests());
}

#[test]
fn wire_on_a_return() {
    let http = "server { listen 127.0.0.1:{port}; location / { return 200 \"$request_method $uri $host\\n\"; } }";
    Pair::start("wire on a return", http, Answers::new()).compare(&wire::requests());
}

#[test]
fn targets_through_a_proxy() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}};
            location / {{ proxy_pass http://{{peer}}; }}
        }}"
    );
    Pair::start("targets through a proxy", &http, Answers::new()).compare(&gets(ODD_TARGETS));
}

#[test]
fn targets_replaced_by_a_proxy() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}};
            location / {{ proxy_pass http://{{peer}}/; }}
            location /a/ {{ proxy_pass http://{{peer}}/new/; }}
            location /a {{ proxy_pass http://{{peer}}/short; }}
            location /slashless {{ proxy_pass http://{{peer}}/with/; }}
            location /blank/ {{ proxy_pass http://{{peer}}/x%20y/; }}
            location = /exact {{ proxy_pass http://{{peer}}/other?fixed=1; }}
            location /variable/ {{ proxy_pass http://{{peer}}$request_uri; }}
            location /uri/ {{ proxy_pass http://{{peer}}$uri; }}
            location /arguments/ {{ proxy_pass http://{{peer}}/z?$args; }}
            location ~ ^/regex/(.*)$ {{ proxy_pass http://{{peer}}/got/$1; }}
        }}"
    );
    let mut cases = gets(ODD_TARGETS);
    cases.extend(gets(&[
        "/slashless/x",
        "/slashlessx",
        "/slashless",
        "/blank/",
        "/blank/a b".split(' ').next().unwrap_or(""),
        "/blank/a%20b",
        "/blank/%C3%A9?q=%20",
        "/exact",
        "/exact?x=1",
        "/variable/a/../b",
        "/variable/%41?x",
        "/uri/%41/x",
        "/uri/a%20b",
        "/uri/a?b",
        "/arguments/?a=1&b=2",
        "/arguments/",
        "/regex/abc",
        "/regex/a%20b",
        "/regex/a%3fb",
        "/regex/a?b",
        "/a/?b=c",
        "/a/%2525",
        "/new%0ax",
        "/a/x y".split(' ').next().unwrap_or(""),
        "/a/%20/%25/%3f/%23",
    ]));
    Pair::start("targets replaced by a proxy", &http, Answers::new()).compare(&unique(cases));
}

#[test]
fn locations() {
    let http = "server { listen 127.0.0.1:{port};
        location / { return 200 \"root $uri\\n\"; }
        location = / { return 200 \"exact root\\n\"; }
        location /a { return 200 \"a $uri\\n\"; }
        location /a/ { return 200 \"a/ $uri\\n\"; }
        location /a/b { return 200 \"a/b $uri\\n\"; }
        location = /a/b/c { return 200 \"exact a/b/c\\n\"; }
        location ^~ /still/ { return 200 \"still $uri\\n\"; }
        location ~ \\.php$ { return 200 \"php $uri\\n\"; }
        location ~* \\.(gif|jpg)$ { return 200 \"picture $1 $uri\\n\"; }
        location ~ ^/user/(?<name>[a-z]+)/(\\d+)$ { return 200 \"user $name $2\\n\"; }
        location /nested/ {
            location /nested/deep/ { return 200 \"deep\\n\"; }
            location ~ x$ { return 200 \"nested x\\n\"; }
            location = /nested/exact { return 200 \"nested exact\\n\"; }
            return 200 \"nested\\n\";
        }
        location /%41bc { return 200 \"percent\\n\"; }
        location \"/with space\" { return 200 \"space\\n\"; }
    }";
    let mut cases = gets(ODD_TARGETS);
    cases.extend(gets(&[
        "/a/b/c",
        "/a/b/c/",
        "/a/bc",
        "/ab",
        "/still/x.php",
        "/still",
        "/x.php",
        "/a/x.php",
        "/x.PHP",
        "/x.gif",
        "/x.JPG",
        "/a/x.Gif",
        "/user/joe/12",
        "/user/joe/12/",
        "/user/Joe/12",
        "/nested/",
        "/nested/deep/",
        "/nested/deep/x",
        "/nested/exact",
        "/nested/ax",
        "/nested/a.php",
        "/nested",
        "/Abc",
        "/%41bc",
        "/%2541bc",
        "/with%20space",
        "/@named",
        "/x.php/y",
        "/x.php?y",
        "/x?y.php",
        "/x%2ephp",
        "/x.php%00",
        "/a%2fb",
        "//a/b",
        "/a//b/./c",
    ]));
    Pair::start("locations", http, Answers::new()).compare(&unique(cases));
}

#[test]
fn slashes_that_are_not_merged() {
    let http = "server { listen 127.0.0.1:{port}; merge_slashes off;
        location / { return 200 \"root $uri\\n\"; }
        location /a/ { return 200 \"a $uri\\n\"; }
        location ^~ //a/ { return 200 \"double $uri\\n\"; }
    }";
    Pair::start("slashes that are not merged", http, Answers::new()).compare(&gets(ODD_TARGETS));
}

const RETURNS: &str = "server { listen 127.0.0.1:{port}; server_name main.test;
        location = /200 { return 200; }
        location = /200text { return 200 \"text\"; }
        location = /200empty { return 200 \"\"; }
        location = /html { default_type text/html; return 200 \"<p>\"; }
        location = /type.css { types { text/css css; } return 200 \"c\"; }
        location = /201 { return 201 \"made\"; }
        location = /204 { return 204; }
        location = /204text { return 204 \"text\"; }
        location = /301 { return 301 /new; }
        location = /301full { return 301 https://other.test$request_uri; }
        location = /301text { return 301 relative; }
        location = /301empty { return 301 \"\"; }
        location = /302 { return 302 /new?x=1; }
        location = /303 { return 303 /new; }
        location = /304 { return 304; }
        location = /307 { return 307 /new; }
        location = /308 { return 308 /new; }
        location = /url { return http://other.test/x; }
        location = /scheme { return $scheme://$host/x; }
        location = /relative { absolute_redirect off; return 301 /new; }
        location = /named { server_name_in_redirect on; return 301 /new; }
        location = /portless { port_in_redirect off; return 301 /new; }
        location = /400 { return 400; }
        location = /400text { return 400 text; }
        location = /401 { return 401; }
        location = /402 { return 402; }
        location = /403 { return 403; }
        location = /404 { return 404; }
        location = /404text { return 404 \"not here\"; }
        location = /405 { return 405; }
        location = /406 { return 406; }
        location = /408 { return 408; }
        location = /409 { return 409; }
        location = /410 { return 410; }
        location = /411 { return 411; }
        location = /412 { return 412; }
        location = /413 { return 413; }
        location = /414 { return 414; }
        location = /415 { return 415; }
        location = /416 { return 416; }
        location = /418 { return 418; }
        location = /418text { return 418 teapot; }
        location = /421 { return 421; }
        location = /426 { return 426; }
        location = /429 { return 429; }
        location = /444 { return 444; }
        location = /451 { return 451; }
        location = /494 { return 494; }
        location = /495 { return 495; }
        location = /497 { return 497; }
        location = /499 { return 499; }
        location = /500 { return 500; }
        location = /500text { return 500 broken; }
        location = /501 { return 501; }
        location = /502 { return 502; }
        location = /503 { return 503; }
        location = /504 { return 504; }
        location = /505 { return 505; }
        location = /507 { return 507; }
        location = /599 { return 599; }
        location = /700 { return 700; }
        location = /999 { return 999; }
        location = /variables { return 200 \"$request_method|$request_uri|$uri|$args|$is_args|$host|$http_host|$server_name|$server_port|$scheme|$server_protocol|$arg_a|$http_x_test|$content_length|$content_type|$cookie_c|$remote_user|$document_uri|$query_string|$request|$http_user_agent|$arg_none|${arg_b}x\"; }
    }";

#[test]
fn returns() {
    let codes = [
        "/200",
        "/200text",
        "/200empty",
        "/html",
        "/type.css",
        "/201",
        "/204",
        "/204text",
        "/301",
        "/301full",
        "/301text",
        "/301empty",
        "/302",
        "/303",
        "/304",
        "/307",
        "/308",
        "/url",
        "/scheme",
        "/relative",
        "/named",
        "/portless",
        "/400",
        "/400text",
        "/401",
        "/402",
        "/403",
        "/404",
        "/404text",
        "/405",
        "/406",
        "/408",
        "/409",
        "/410",
        "/411",
        "/412",
        "/413",
        "/414",
        "/415",
        "/416",
        "/418",
        "/418text",
        "/421",
        "/426",
        "/429",
        "/444",
        "/451",
        "/494",
        "/495",
        "/497",
        "/499",
        "/500",
        "/500text",
        "/501",
        "/502",
        "/503",
        "/504",
        "/505",
        "/507",
        "/599",
        "/700",
        "/999",
        "/301?x",
        "/variables",
        "/variables?a=1&b=2",
        "/variables?A=1&a=%20",
    ];
    let mut cases = gets(&codes);
    cases.extend([
        case("head of a page", "HEAD /404 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("head of a text", "HEAD /200text HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("head of a redirect", "HEAD /301 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("http/1.0 redirect", "GET /301 HTTP/1.0\r\n\r\n"),
        case("http/0.9 page", "GET /404\r\n"),
        case("redirect with a port in the host", "GET /301 HTTP/1.1\r\nHost: a.test:99\r\n\r\n"),
        case("redirect from an empty host", "GET /301 HTTP/1.1\r\nHost:\r\n\r\n"),
        case("redirect of a post", "POST /301 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case("page after a body", "POST /404 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case("text after a body", "POST /200text HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case(
            "variables of a post",
            "POST /variables?a=b HTTP/1.1\r\nHost: A.Test:80\r\nX-Test: 1\r\nx-test: 2\r\nContent-Type: t/t\r\nContent-Length: 2\r\n\
             Cookie: b=1; c=2; d=3\r\nAuthorization: Basic dTpw\r\nUser-Agent: me\r\n\r\nhi",
        ),
        case("ranges of a text", "GET /200text HTTP/1.1\r\nHost: a.test\r\nRange: bytes=1-2\r\n\r\n"),
    ]);
    Pair::start("returns", RETURNS, Answers::new()).compare(&cases);
}

#[test]
fn server_names() {
    let http = "
        server { listen 127.0.0.1:{port}; server_name first.test; return 200 \"first $server_name $host\\n\"; }
        server { listen 127.0.0.1:{port} default_server; server_name _; return 200 \"default $server_name $host\\n\"; }
        server { listen 127.0.0.1:{port}; server_name exact.test www.exact.test; return 200 \"exact $server_name $host\\n\"; }
        server { listen 127.0.0.1:{port}; server_name *.wild.test; return 200 \"wild $server_name $host\\n\"; }
        server { listen 127.0.0.1:{port}; server_name *.deep.wild.test; return 200 \"deep $server_name $host\\n\"; }
        server { listen 127.0.0.1:{port}; server_name .dot.test; return 200 \"dot $server_name $host\\n\"; }
        server { listen 127.0.0.1:{port}; server_name mail.*; return 200 \"mail $server_name $host\\n\"; }
        server { listen 127.0.0.1:{port}; server_name mail.long.*; return 200 \"mail long $server_name $host\\n\"; }
        server { listen 127.0.0.1:{port}; server_name ~^(?<user>[a-z]+)\\.users\\.test$; return 200 \"user $user $server_name\\n\"; }
        server { listen 127.0.0.1:{port}; server_name ~^n(\\d+)\\.; return 200 \"number $1\\n\"; }
        server { listen 127.0.0.1:{port}; server_name ~^N; return 200 \"never\\n\"; }
        server { listen 127.0.0.1:{port}; server_name \"\"; return 200 \"nameless\\n\"; }
        server { listen 127.0.0.1:{port}; server_name 127.0.0.1; return 200 \"address\\n\"; }
        server { listen 127.0.0.1:{port}; server_name UPPER.test; return 200 \"upper $server_name\\n\"; }
    ";
    let hosts = [
        "first.test",
        "unknown.test",
        "exact.test",
        "www.exact.test",
        "a.exact.test",
        "EXACT.test",
        "exact.test:80",
        "exact.test.",
        "exact.test.:80",
        "a.wild.test",
        "a.b.wild.test",
        "wild.test",
        ".wild.test",
        "a.deep.wild.test",
        "deep.wild.test",
        "dot.test",
        "a.dot.test",
        "a.b.dot.test",
        "adot.test",
        "mail.com",
        "mail.co.uk",
        "mail.",
        "mail",
        "mail.long.x",
        "mail.long",
        "mail.dot.test",
        "mail.wild.test",
        "joe.users.test",
        "Joe.users.test",
        "1.users.test",
        "n42.x",
        "N42.x",
        "127.0.0.1",
        "127.0.0.1:80",
        "upper.test",
        "UPPER.TEST",
        "_",
        "*.wild.test",
        "users.test",
    ];
    let mut cases: Vec<Case> =
        hosts.into_iter().map(|host| case(host, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))).collect();
    cases.extend([
        case("an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        case("no host in http/1.0", "GET / HTTP/1.0\r\n\r\n"),
        case("http/0.9", "GET /\r\n"),
        case("absolute target wins", "GET http://exact.test/ HTTP/1.1\r\nHost: first.test\r\n\r\n"),
    ]);
    Pair::start("server names", http, Answers::new()).compare(&cases);
}

/// Two tables of targets may share some.
fn unique(mut cases: Vec<Case>) -> Vec<Case> {
    let mut seen = std::collections::HashSet::new();
    cases.retain(|case| seen.insert(case.name));
    cases
}
