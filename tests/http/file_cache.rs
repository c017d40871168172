//! `open_file_cache`: what is known of files is kept for a while; and what is told of missing ones.

use fairlead_harness::{Client, Proxy};

use crate::fairlead;

fn start(settings: &str) -> (Proxy, Client) {
    let proxy = fairlead()
        .workers(1)
        .file("site/a.txt", "old\n")
        .file("site/b.txt", "b\n")
        .file("site/folder/index.html", "index\n")
        .http(&format!("{settings} server {{ listen 127.0.0.1:{{port}}; root {{dir}}/site; }}"));
    let client = Client::connect(proxy.address());
    (proxy, client)
}

/// Another file takes the name.
fn replace(proxy: &Proxy, text: &str) {
    let site = proxy.directory().join("site");
    std::fs::write(site.join("new"), text).unwrap();
    std::fs::rename(site.join("new"), site.join("a.txt")).unwrap();
}

#[test]
fn a_file_stays_open_while_it_is_valid() {
    let (proxy, mut client) = start("open_file_cache max=10 inactive=60s; open_file_cache_valid 60s;");
    assert_eq!([client.get("/a.txt").text(), client.get("/a.txt").text()], ["old\n", "old\n"]);
    replace(&proxy, "new\n");
    assert_eq!(client.get("/a.txt").text(), "old\n");
    assert_eq!(client.get("/folder/").text(), "index\n");
}

#[test]
fn it_is_opened_anew_when_it_is_not_kept() {
    for settings in [
        "",
        "open_file_cache off;",
        "open_file_cache max=10; open_file_cache_valid 0;",
        "open_file_cache max=10; open_file_cache_min_uses 9;",
    ] {
        let (proxy, mut client) = start(settings);
        assert_eq!(client.get("/a.txt").text(), "old\n", "{settings}");
        replace(&proxy, "new\n");
        assert_eq!(client.get("/a.txt").text(), "new\n", "{settings}");
    }
    let (proxy, mut client) = start("open_file_cache max=1;");
    client.get("/a.txt");
    replace(&proxy, "new\n");
    client.get("/b.txt");
    assert_eq!(client.get("/a.txt").text(), "new\n", "b.txt took its place");
}

#[test]
fn failures_are_kept_when_asked() {
    for (settings, status) in
        [("open_file_cache max=10;", 200), ("open_file_cache max=10; open_file_cache_errors on;", 404)]
    {
        let (proxy, mut client) = start(settings);
        assert_eq!(client.get("/c.txt").status(), 404);
        proxy.directory().write("site/c.txt", "c\n");
        assert_eq!(client.get("/c.txt").status(), status, "{settings}");
    }
}

#[test]
fn what_is_missing_is_told_unless_unwanted() {
    let (proxy, mut client) = start("log_not_found off;");
    assert_eq!(client.get("/quiet").status(), 404);
    let (loud, mut other) = start("");
    assert_eq!(other.get("/loud").status(), 404);
    loud.wait_for_error("site/loud\" failed (2: No such file or directory)");
    assert!(!proxy.error_log().contains("quiet"));
}

#[test]
fn what_is_no_cache_is_refused() {
    for line in
        ["open_file_cache on;", "open_file_cache inactive=1s;", "open_file_cache max=0;", "open_file_cache_min_uses 0;"]
    {
        let (fine, said) = fairlead().check(&format!("http {{ {line} }}"));
        assert!(!fine && said.contains("open_file_cache"), "{line}: {said}");
    }
}
