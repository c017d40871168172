//! `allow`, `deny`, `satisfy` and `limit_except`: who may have what.

use fairlead_harness::{Client, HttpPeer, Proxy, get};

use crate::fairlead;

/// The status a client at `source` gets.
fn status_from(proxy: &Proxy, source: &str, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    Client::connect_from(source, proxy.address()).request(request).status()
}

fn status_of(proxy: &Proxy, method: &str, path: &str, fields: &str) -> u16 {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    Client::connect(proxy.address()).request(request).status()
}

#[test]
fn the_first_rule_that_fits_decides_and_levels_inherit() {
    let peer = HttpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).http(
        "deny 127.0.0.9;
         server { listen 127.0.0.1:{port};
           location / { proxy_pass http://{peer}; }
           location /own { allow 127.0.0.2; deny 127.0.0.0/30; allow 127.0.0.1; proxy_pass http://{peer}; }
           location /all { allow 127.0.0.2; deny all; proxy_pass http://{peer}; }
           location /six { deny ::1; proxy_pass http://{peer}; } }",
    );
    let from = |source, path| status_from(&proxy, source, path);
    assert_eq!([from("127.0.0.1", "/"), from("127.0.0.9", "/")], [200, 403]);
    assert_eq!(
        ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"].map(|source| from(source, "/own")),
        [403, 200, 403, 200]
    );
    assert_eq!(["127.0.0.1", "127.0.0.2"].map(|source| from(source, "/all")), [403, 200]);
    assert_eq!(from("127.0.0.9", "/six"), 200, "rules of one's own inherit none");
    proxy.wait_for_error(
        "access forbidden by rule, client: 127.0.0.9, server: , request: \"GET / HTTP/1.1\", host: \"a\"",
    );
    assert_eq!(peer.requests().len(), 5, "who is refused reaches nobody");
}

#[test]
fn a_return_comes_before_the_rules_and_files_behind_them() {
    let proxy = fairlead().file("www/a.txt", "text").http(
        "server { listen 127.0.0.1:{port}; deny all; root {dir}/www;
           location /said { return 200 said; } location / { } location /in { allow all; alias {dir}/www/; } }",
    );
    assert_eq!(["/said", "/a.txt", "/in/a.txt"].map(|path| get(proxy.address(), path).status()), [200, 403, 200]);
    assert!(get(proxy.address(), "/a.txt").text().contains("<h1>403 Forbidden</h1>"));
}

#[test]
fn limit_except_holds_for_all_other_methods() {
    let peer = HttpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).file("users", "joe:{PLAIN}secret\n").http(
        "server { listen 127.0.0.1:{port};
           location / { proxy_pass http://{peer}; limit_except GET { deny all; } }
           location /post { proxy_pass http://{peer}; limit_except post { allow 127.0.0.2; deny all; } }
           location /asked { proxy_pass http://{peer};
             limit_except GET { auth_basic \"who\"; auth_basic_user_file {dir}/users; } }
           location /said { return 200 said; limit_except GET { deny all; } } }",
    );
    let ask = |method, path| status_of(&proxy, method, path, "");
    assert_eq!([ask("GET", "/"), ask("HEAD", "/"), ask("DELETE", "/"), ask("ODD", "/")], [200, 200, 403, 403]);
    assert_eq!([ask("POST", "/post"), ask("GET", "/post")], [200, 403]);
    assert_eq!(status_from(&proxy, "127.0.0.2", "/post"), 200);
    assert_eq!([ask("GET", "/asked"), ask("PUT", "/asked")], [200, 401]);
    assert_eq!(status_of(&proxy, "PUT", "/asked", "Authorization: Basic am9lOnNlY3JldA==\r\n"), 200);
    assert_eq!([ask("GET", "/said"), ask("PUT", "/said")], [200, 403], "a return is not for them");
    assert!(peer.last().line().starts_with("PUT /asked HTTP/1."));
}

#[test]
fn satisfy_any_is_satisfied_by_one() {
    let peer = HttpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).file("users", "joe:{PLAIN}secret\n").http(
        "server { listen 127.0.0.1:{port}; auth_basic \"who\"; auth_basic_user_file {dir}/users;
           location /any { satisfy any; allow 127.0.0.2; deny all; proxy_pass http://{peer}; }
           location /all { satisfy all; allow 127.0.0.2; deny all; proxy_pass http://{peer}; }
           location /none { satisfy any; deny all; auth_basic off; proxy_pass http://{peer}; } }",
    );
    let joe = "Authorization: Basic am9lOnNlY3JldA==\r\n";
    assert_eq!([status_of(&proxy, "GET", "/any", ""), status_of(&proxy, "GET", "/any", joe)], [401, 200]);
    assert_eq!(status_from(&proxy, "127.0.0.2", "/any"), 200);
    assert_eq!([status_of(&proxy, "GET", "/all", joe), status_from(&proxy, "127.0.0.2", "/all")], [403, 401]);
    assert_eq!(status_of(&proxy, "GET", "/none", joe), 403);
    proxy.wait_for_error("access forbidden by rule, client: 127.0.0.1, server: , request: \"GET /none");
}

#[test]
fn what_is_wrong_is_told_in_nginxs_words() {
    for (line, message) in [
        ("deny nonsense;", "invalid parameter \"nonsense\""),
        ("limit_except GOT { }", "invalid method \"GOT\""),
        ("satisfy some;", "invalid value \"some\""),
        ("limit_except GET { return 200; }", "\"return\" directive is not allowed here"),
    ] {
        let (accepted, printed) =
            fairlead().check(&format!("http {{ server {{ listen 127.0.0.1:{{port}}; location / {{ {line} }} }} }}"));
        assert!(!accepted && printed.contains(message), "{line}: {printed}");
    }
}
