//! Files below `root`: index, types, dates, and what is not given away.

use fairlead_harness::{Client, Proxy, Setup, get};

use crate::fairlead;

fn site() -> Setup {
    fairlead()
        .file("site/index.html", "<p>home</p>\n")
        .file("site/style.css", "body {}\n")
        .file("site/data.unknown", "?")
        .file("site/sub/index.html", "sub home\n")
        .file("site/empty/other.txt", "no index here\n")
        .file("site/with space.txt", "spaced\n")
        .file("site/big.bin", vec![b'b'; 3_000_000])
}

fn start(setup: Setup) -> Proxy {
    setup.http(
        "types { text/html html; text/css css; text/plain txt; }
        default_type application/octet-stream;
        server { listen 127.0.0.1:{port}; root {dir}/site; index index.html; }",
    )
}

#[test]
fn a_file_comes_with_its_type_length_and_date() {
    let proxy = start(site());
    let answer = get(proxy.address(), "/style.css");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "body {}\n"));
    assert_eq!(answer.header("content-type"), Some("text/css"));
    assert_eq!(answer.header("content-length"), Some("8"));
    let date = answer.header("last-modified").expect("a file has a date").to_owned();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    assert_eq!(get(proxy.address(), "/data.unknown").header("content-type"), Some("application/octet-stream"));
}

#[test]
fn a_folder_shows_its_index_or_nothing() {
    let proxy = start(site());
    assert_eq!(get(proxy.address(), "/").text(), "<p>home</p>\n");
    assert_eq!(get(proxy.address(), "/").header("content-type"), Some("text/html"));
    assert_eq!(get(proxy.address(), "/sub/").text(), "sub home\n");
    assert_eq!(get(proxy.address(), "/empty/").status(), 403);
}

#[test]
fn a_folder_without_its_slash_is_redirected() {
    let proxy = start(site());
    let answer = get(proxy.address(), "/sub?x=1");
    assert_eq!(answer.status(), 301);
    let expected = format!("http://localhost:{}/sub/?x=1", proxy.address().port());
    assert_eq!(answer.header("location"), Some(expected.as_str()));
}

#[test]
fn what_is_not_there_is_404_and_what_lies_outside_is_unreachable() {
    let proxy = start(site().file("secret", "secret"));
    assert_eq!(get(proxy.address(), "/nothing").status(), 404);
    assert_eq!(get(proxy.address(), "/index.html/").status(), 404);
    for path in ["/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret"] {
        let answer = get(proxy.address(), path);
        assert!(answer.status() >= 400 && !answer.text().contains("secret"), "{path}: {}", answer.head);
    }
}

#[test]
fn head_and_other_methods() {
    let proxy = start(site());
    let mut client = Client::connect(proxy.address());
    let answer = client.request("HEAD /index.html HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((answer.status(), answer.header("content-length")), (200, Some("12")));
    assert_eq!(client.get("/index.html").text(), "<p>home</p>\n");
    let answer = client.request("POST /index.html HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(answer.status_line(), "HTTP/1.1 405 Not Allowed");
}

#[test]
fn escaped_names_and_large_files_arrive() {
    let proxy = start(site());
    assert_eq!(get(proxy.address(), "/with%20space.txt").text(), "spaced\n");
    let answer = get(proxy.address(), "/big.bin");
    assert_eq!(answer.body.len(), 3_000_000);
    assert!(answer.body.iter().all(|byte| *byte == b'b'));
}

#[test]
fn a_file_may_change_between_requests() {
    let proxy = start(site());
    assert_eq!(get(proxy.address(), "/style.css").text(), "body {}\n");
    proxy.directory().write("site/style.css", "body { color: red }\n");
    assert_eq!(get(proxy.address(), "/style.css").text(), "body { color: red }\n");
}

#[test]
fn types_of_a_level_count_together_and_replace_those_around_it() {
    let proxy = fairlead().file("site/a.txt", "a").file("site/a.md", "m").file("site/a.html", "h").http(
        "types { text/plain txt; } types { text/markdown MD; text/css txt; } default_type application/x-none;
         server { listen 127.0.0.1:{port}; root {dir}/site;
            location /none/ { alias {dir}/site/; types { } }
            location /own/ { alias {dir}/site/; types { text/x-own txt; } default_type text/x-default; } }",
    );
    let kind = |path: &str| get(proxy.address(), path).header("content-type").unwrap_or_default().to_owned();
    assert_eq!(["/a.txt", "/a.md", "/a.html"].map(kind), ["text/css", "text/markdown", "application/x-none"]);
    assert_eq!(kind("/none/a.txt"), "application/x-none");
    assert_eq!(["/own/a.txt", "/own/a.md"].map(kind), ["text/x-own", "text/x-default"]);
}
