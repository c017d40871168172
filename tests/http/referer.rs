//! `valid_referers`: which sites may lead clients here.

use fairlead_harness::{Client, Proxy};

use crate::fairlead;

fn start() -> Proxy {
    fairlead().http(
        "server { listen 127.0.0.1:{port}; server_name own.test *.own.test; valid_referers none server_names;
           location / { if ($invalid_referer) { return 403; } return 200 ok; }
           location /hosts { valid_referers blocked example.com *.example.org/a ~google\\.;
             valid_referers .dot.test; return 200 \"[$invalid_referer]\"; } }",
    )
}

fn ask(proxy: &Proxy, path: &str, referer: Option<&str>) -> String {
    let field = referer.map(|referer| format!("Referer: {referer}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: own.test\r\nConnection: close\r\n{field}\r\n");
    Client::connect(proxy.address()).request(request).text()
}

#[test]
fn other_sites_may_not_lead_here() {
    let proxy = start();
    for (referer, taken) in [
        (None, true),
        (Some("http://own.test/page"), true),
        (Some("https://www.OWN.test:8080/"), true),
        (Some("http://evil.test/own.test"), false),
        (Some("nonsense"), false),
    ] {
        assert_eq!(ask(&proxy, "/", referer) == "ok", taken, "{referer:?}");
    }
}

#[test]
fn hosts_paths_and_patterns_are_taken_and_a_level_speaks_for_itself() {
    let proxy = start();
    for (referer, taken) in [
        (None, false),
        (Some("nonsense"), true),
        (Some("http://example.com"), true),
        (Some("http://x.example.org/ab"), true),
        (Some("http://x.example.org/b"), false),
        (Some("https://www.google.de/search"), true),
        (Some("http://a.dot.test/"), true),
        (Some("http://own.test/"), false),
    ] {
        assert_eq!(ask(&proxy, "/hosts", referer), if taken { "[]" } else { "[1]" }, "{referer:?}");
    }
}

#[test]
fn what_is_wrong_is_told_in_nginxs_words() {
    for (line, message) in [
        ("valid_referers a.*.b;", "invalid hostname or wildcard \"a.*.b\""),
        ("valid_referers a.test a.test/x;", "conflicting parameter \"a.test\""),
        ("valid_referers \"\";", "invalid referer \"\""),
    ] {
        let (accepted, printed) =
            fairlead().check(&format!("http {{ server {{ listen 127.0.0.1:{{port}}; {line} }} }}"));
        assert!(!accepted && printed.contains(message), "{line}: {printed}");
    }
}
