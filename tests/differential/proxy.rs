//! What becomes of cookies, bodies and errors on their way through a proxy.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

const COOKIES: &[(&str, &str)] = &[
    ("plain", "a=b"),
    ("domain", "a=b; Domain=app.test"),
    ("domain in upper case", "a=b; DOMAIN=APP.TEST; Path=/app/x"),
    ("dotted domain", "a=b; domain=.app.test"),
    ("domain of another", "a=b; domain=xapp.test"),
    ("domain by regex", "a=b; domain=x.shop.test"),
    ("domain as the name", "domain=app.test; path=/"),
    ("path", "a=b; Path=/app/x; HttpOnly"),
    ("path by regex", "a=b; path=/Shop/y"),
    ("path without a value", "a=b; path"),
    ("empty path", "a=b; path=; secure"),
    ("blanks", "a=b ;  path = /app/x ; Secure  ;  x"),
    ("no blanks", "a=b;path=/app/x;secure;samesite=lax"),
    ("semicolons", "a=b;;path=/app/;"),
    ("two paths", "a=b; path=/app/1; path=/app/2"),
    ("flags", "one=1; Secure; HttpOnly; SameSite=None"),
    ("no flags", "one=1; Path=/"),
    ("other flags", "two=2; SameSite=Lax; secure"),
    ("odd flags", "two=2; secure=yes; httponly=; samesite"),
    ("flags in any case", "ONE=1; SECURE; samesite=strict"),
    ("quoted", "a=\"b;c\"; path=/app/q"),
    ("expires", "a=b; expires=Thu, 01-Jan-26 00:00:00 GMT; path=/app/e"),
];

fn requests(answers: &[(&'static str, &str)], path: &str) -> Vec<Case> {
    let request = |name: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nX-Answer: {name}\r\n\r\n");
    answers.iter().map(|(name, _)| case(name, request(name))).collect()
}

#[test]
fn cookies_of_the_peer() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}}; server_name main.test;
            proxy_cookie_domain app.test $host; proxy_cookie_domain ~\\.([a-z]+)\\.test$ $1.example;
            proxy_cookie_path /app/ /; proxy_cookie_path ~*^/(SHOP) /$1/now;
            proxy_cookie_flags one nosecure httponly samesite=lax; proxy_cookie_flags ~^t nosamesite secure nohttponly;
            location / {{ proxy_pass http://{{peer}}; }} }}"
    );
    let answer = |cookie: &str| format!("HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nContent-Length: 0\r\n\r\n");
    let answers: Answers = COOKIES.iter().map(|(name, cookie)| (*name, (answer(cookie).into_bytes(), false))).collect();
    Pair::start("cookies of the peer", &http, answers).compare(&requests(COOKIES, "/"));
}

const ANSWERS: &[(&str, &str)] = &[
    ("404", "HTTP/1.1 404 Nowhere\r\nX-One: 1\r\nContent-Length: 4\r\n\r\ngone"),
    ("500", "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"),
    ("503", "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy"),
    ("401", "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 3\r\n\r\nwho"),
    ("302", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
    ("418", "HTTP/1.1 418 Teapot\r\nContent-Length: 3\r\n\r\npot"),
    ("redirect", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /files/letters.txt\r\nX-One: 1\r\nContent-Length: 3\r\n\r\nabc"),
    (
        "redirect with fields",
        "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /files/a%20b.txt?x=1\r\nContent-Type: text/odd\r\nSet-Cookie: a=b\r\n\
         Content-Disposition: attachment\r\nCache-Control: no-cache\r\nExpires: 0\r\nLast-Modified: x\r\nContent-Length: 0\r\n\r\n",
    ),
    ("redirect to a name", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: @named\r\nContent-Length: 0\r\n\r\n"),
    (
        "redirect to a peer",
        "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /plain/x?y\r\nContent-Type: text/odd\r\nContent-Length: 0\r\n\r\n",
    ),
    ("redirect to nothing", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /files/none\r\nContent-Length: 0\r\n\r\n"),
    ("redirect up", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /files/../x\r\nContent-Length: 0\r\n\r\n"),
    ("redirect of an error", "HTTP/1.1 403 No\r\nX-Accel-Redirect: /files/letters.txt\r\nContent-Length: 0\r\n\r\n"),
    ("redirect nowhere", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: @nobody\r\nContent-Length: 0\r\n\r\n"),
];

#[test]
fn errors_and_redirects_of_the_peer() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}}; server_name main.test; 
            error_page 404 /files/letters.txt; error_page 500 =200 @named; error_page 503 = @named; error_page 401 @named;
            error_page 302 =404 /files/empty.txt; error_page 418 http://other.test/$arg_x;
            location / {{ proxy_pass http://{{peer}}; {PROXY} proxy_set_header X-Answer $http_x_answer; }}
            location /intercepted/ {{ proxy_pass http://{{peer}}; {PROXY} proxy_set_header X-Answer $http_x_answer; proxy_intercept_errors on; }}
            location /ignored/ {{ proxy_pass http://{{peer}}; {PROXY} proxy_set_header X-Answer $http_x_answer; proxy_ignore_headers X-Accel-Redirect; }}
            location /plain/ {{ proxy_pass http://{{peer}}; }}
            location /files/ {{ alias {{files}}/; }}
            location @named {{ return 202 \"$uri $args $request_method\"; }}
            location /own/ {{ return 404; }}
            location /hidden/ {{ internal; return 200; }}
        }}"
    );
    let answers: Answers = ANSWERS.iter().map(|(name, answer)| (*name, (answer.as_bytes().to_vec(), false))).collect();
    let pair = Pair::start("errors and redirects of the peer", &http, answers);
    for path in ["/a?x=1", "/intercepted/a%20b?x=1", "/ignored/a"] {
        pair.compare(&requests(ANSWERS, path));
    }
    pair.compare(&[
        case("own", "GET /own/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("own head", "HEAD /own/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("own post", "POST /own/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        case("own range", "GET /own/ HTTP/1.1\r\nHost: a\r\nRange: bytes=0-2\r\n\r\n"),
        case("own condition", "GET /own/ HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n"),
        case("hidden", "GET /hidden/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("missing", "GET /files/none HTTP/1.1\r\nHost: a\r\n\r\n"),
        case(
            "redirect and post",
            "POST /a HTTP/1.1\r\nHost: a\r\nX-Answer: redirect to a peer\r\nContent-Length: 3\r\n\r\nabc",
        ),
        case("redirect and head", "HEAD /a HTTP/1.1\r\nHost: a\r\nX-Answer: redirect with fields\r\n\r\n"),
    ]);
}
