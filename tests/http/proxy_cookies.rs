//! A peer's cookies on their way to the client: `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`.

use fairlead_harness::{Answer, HttpPeer};

use crate::fairlead;

const COOKIES: &str = "Set-Cookie: id=1; Domain=app.internal; Path=/app/x; Secure\r\n\
    Set-Cookie: plain=2\r\nset-cookie: other=3;  Path=/other ;HttpOnly\r\n";

/// The cookies a client of `location` gets.
fn cookies(server: &str, location: &str) -> Vec<String> {
    let answer = format!("HTTP/1.1 200 OK\r\n{COOKIES}Content-Length: 0\r\n\r\n");
    let peer = HttpPeer::start(move |_| Answer::Raw(answer.clone().into()));
    let proxy = fairlead().set("peer", peer.address()).http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; {server} location / {{ proxy_pass http://{{peer}}; {location} }} }}"
    ));
    let answer = proxy.get("/");
    let named = answer.headers().into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    named.map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn domain_and_path_become_those_the_client_knows() {
    let seen = cookies("", "proxy_cookie_domain app.internal $host; proxy_cookie_path /app/ /;");
    assert_eq!(seen, ["id=1; Domain=localhost; Path=/x; Secure", "plain=2", "other=3;  Path=/other ;HttpOnly"]);
    let seen =
        cookies("", "proxy_cookie_domain ~\\.(internal)$ $1.example; proxy_cookie_path ~*^/OTHER$ /$request_method;");
    assert_eq!(seen[0], "id=1; Domain=internal.example; Path=/app/x; Secure");
    assert_eq!(seen[2], "other=3; Path=/GET; HttpOnly");
}

#[test]
fn flags_are_added_and_taken_away_by_name() {
    let seen = cookies("", "proxy_cookie_flags id nosecure samesite=strict; proxy_cookie_flags ~ httponly $arg_none;");
    assert_eq!(seen[0], "id=1; Domain=app.internal; Path=/app/x; SameSite=Strict");
    assert_eq!(seen[1], "plain=2; HttpOnly");
    assert_eq!(seen[2], "other=3; Path=/other; HttpOnly");
}

#[test]
fn rules_are_inherited_until_a_block_has_its_own() {
    let server = "proxy_cookie_path /app/ /; proxy_cookie_flags ~ secure;";
    assert_eq!(cookies(server, "")[0], "id=1; Domain=app.internal; Path=/x; Secure");
    assert_eq!(cookies(server, "proxy_cookie_path /none/ /;")[0], "id=1; Domain=app.internal; Path=/app/x; Secure");
    assert_eq!(cookies(server, "proxy_cookie_path off; proxy_cookie_flags off;")[1], "plain=2");
}

#[test]
fn what_is_no_rule_is_refused() {
    for (rule, words) in [
        ("proxy_cookie_path on;", "invalid parameter \"on\""),
        ("proxy_cookie_domain x;", "invalid parameter \"x\""),
        ("proxy_cookie_flags id lax;", "invalid parameter \"lax\""),
        ("proxy_cookie_path ~( /;", "invalid regular expression \"(\""),
    ] {
        let http = format!(
            "http {{ server {{ listen 127.0.0.1:1; location / {{ proxy_pass http://127.0.0.1:9; {rule} }} }} }}"
        );
        let (good, said) = fairlead().check(&http);
        assert!(!good && said.contains(words), "{rule}: {said}");
    }
}
