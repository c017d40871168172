//! Folders: their index file, any file of theirs, or what is in them.

use fairlead_harness::{Client, Proxy, get};
use std::collections::HashSet;

use crate::fairlead;

fn start(inside: &str) -> Proxy {
    fairlead()
        .file("site/list/a&b.txt", "a\n")
        .file("site/list/large.bin", vec![0; 20_000])
        .file("site/list/.hidden", "hidden\n")
        .file("site/list/sub/x", "x\n")
        .file("site/docs/start.html", "start\n")
        .file("site/docs/second.html", "second\n")
        .http(&format!("server {{ listen 127.0.0.1:{{port}}; root {{dir}}/site; {inside} }}"))
}

#[test]
fn a_folder_without_an_index_is_listed() {
    let proxy = start(
        "autoindex on; location /docs/ { index start.html; } location /off/ { alias {dir}/site/list/; autoindex off; }",
    );
    let answer = get(proxy.address(), "/list/");
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("text/html")));
    let text = answer.text();
    assert!(text.starts_with("<html>\r\n<head><title>Index of /list/</title></head>\r\n"), "{text}");
    assert!(text.contains("<a href=\"a%26b.txt\">a&amp;b.txt</a>"), "{text}");
    assert!(text.contains("               20000\r\n") && !text.contains("hidden"), "{text}");
    assert!(text.find("sub/").unwrap() < text.find("large.bin").unwrap(), "folders come first: {text}");
    assert_eq!(get(proxy.address(), "/docs/").text(), "start\n");
    assert_eq!(get(proxy.address(), "/off/").status(), 403);
    assert_eq!(get(proxy.address(), "/none/").status(), 404);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.request("POST /list/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").status(), 403);
    proxy.wait_for_error("is forbidden");
}

#[test]
fn listings_have_formats() {
    let proxy = start(
        "autoindex on; autoindex_exact_size off;
        location /json/ { alias {dir}/site/list/; autoindex_format json; }
        location /jsonp/ { alias {dir}/site/list/; autoindex_format jsonp; }
        location /xml/ { alias {dir}/site/list/; autoindex_format xml; }
        location /local/ { alias {dir}/site/list/; autoindex_localtime on; }",
    );
    let json = get(proxy.address(), "/json/");
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert!(json.text().contains("{ \"name\":\"sub\", \"type\":\"directory\", \"mtime\":\""), "{}", json.text());
    assert!(json.text().contains("\", \"size\":20000 }"), "{}", json.text());
    let called = get(proxy.address(), "/jsonp/?callback=my.call");
    assert_eq!(called.header("content-type"), Some("application/javascript"));
    assert!(
        called.text().starts_with("/* callback */\r\nmy.call([") && called.text().ends_with("]);"),
        "{}",
        called.text()
    );
    assert_eq!(get(proxy.address(), "/jsonp/?callback=alert(1)").status(), 400);
    let xml = get(proxy.address(), "/xml/");
    assert_eq!(xml.header("content-type"), Some("text/xml; charset=utf-8"));
    assert!(xml.text().contains(" size=\"2\">a&amp;b.txt</file>\r\n"), "{}", xml.text());
    assert!(get(proxy.address(), "/list/").text().contains("    20K\r\n"));
    assert!(get(proxy.address(), "/local/").text().contains("sub/</a>"));
}

#[test]
fn index_files_are_tried_in_turn() {
    let proxy = start(
        "index $arg_i second.html /fallback; location /fallback { return 200 \"$uri?$args\"; }
        location ~ start { return 200 \"rules of $uri\"; }",
    );
    assert_eq!(get(proxy.address(), "/docs/?i=none").text(), "second\n");
    assert_eq!(get(proxy.address(), "/docs/?i=start.html").text(), "rules of /docs/start.html");
    assert_eq!(get(proxy.address(), "/list/?i=none").text(), "/fallback?i=none");
    assert_eq!(get(proxy.address(), "/nowhere/?i=x").status(), 404);
}

#[test]
fn any_file_of_a_folder_answers_for_it() {
    let proxy =
        start("location /docs/ { random_index on; index start.html; } location /list/sub/ { random_index on; }");
    let mut client = Client::connect(proxy.address());
    let answers: HashSet<String> = (0..64).map(|_| client.get("/docs/").text()).collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(client.get("/list/sub/").text(), "x\n");
    assert_eq!(client.get("/list/").status(), 403);
}
