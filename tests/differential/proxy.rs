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
