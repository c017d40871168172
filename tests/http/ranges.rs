//! Parts of files, and answers that depend on what the client has.

use fairlead_harness::{Client, Proxy, Response};

use crate::fairlead;

fn start(inside: &str) -> (Proxy, Client) {
    let proxy = fairlead()
        .file("site/letters.txt", "abcdefghijklmnopqrstuvwxyz")
        .file("site/large.bin", (0..1_000_000_u32).map(|number| (number % 253) as u8).collect::<Vec<u8>>())
        .http(&format!(
            "types {{ text/plain txt; }} server {{ listen 127.0.0.1:{{port}}; root {{dir}}/site; {inside} }}"
        ));
    let client = Client::connect(proxy.address());
    (proxy, client)
}

fn ask(client: &mut Client, path: &str, fields: &str) -> Response {
    client.request(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n"))
}

#[test]
fn one_range_is_cut_out() {
    let (_proxy, mut client) = start("");
    for (range, status, text, told) in [
        ("0-3", 206, "abcd", Some("bytes 0-3/26")),
        ("20-", 206, "uvwxyz", Some("bytes 20-25/26")),
        ("-2", 206, "yz", Some("bytes 24-25/26")),
        ("24-99", 206, "yz", Some("bytes 24-25/26")),
    ] {
        let answer = ask(&mut client, "/letters.txt", &format!("Range: bytes={range}"));
        assert_eq!((answer.status(), answer.text().as_str()), (status, text), "{range}");
        assert_eq!(answer.header("content-range"), told, "{range}");
    }
    let outside = ask(&mut client, "/letters.txt", "Range: bytes=26-");
    assert_eq!((outside.status(), outside.header("content-range")), (416, Some("bytes */26")));
}

#[test]
fn several_ranges_come_in_parts() {
    let (_proxy, mut client) = start("");
    let answer = ask(&mut client, "/letters.txt", "Range: bytes=0-1,-2");
    assert_eq!(answer.status(), 206);
    let kind = answer.header("content-type").unwrap().to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("parts have a boundary");
    let expected = format!(
        "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/26\r\n\r\nab\
         \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 24-25/26\r\n\r\nyz\r\n--{boundary}--\r\n"
    );
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("content-length"), Some(expected.len().to_string().as_str()));
    let large = ask(&mut client, "/large.bin", "Range: bytes=0-299999,500000-999999");
    assert_eq!(large.header("content-length"), Some(large.body.len().to_string().as_str()));
    assert!(large.body.len() > 800_000);
    assert_eq!(client.get("/letters.txt").status(), 200);
}

#[test]
fn more_than_there_is_or_is_allowed_is_the_whole_file() {
    let (_proxy, mut client) = start(
        "location /one/ { alias {dir}/site/; max_ranges 1; } location /none/ { alias {dir}/site/; max_ranges 0; }",
    );
    for (path, range, status) in [
        ("/letters.txt", "0-20,5-25", 200),
        ("/letters.txt", "0-0,1-1,2-2,3-3", 206),
        ("/one/letters.txt", "0-0,1-1", 200),
        ("/one/letters.txt", "0-0", 206),
        ("/none/letters.txt", "0-0", 200),
    ] {
        let answer = ask(&mut client, path, &format!("Range: bytes={range}"));
        assert_eq!(answer.status(), status, "{path} {range}");
    }
    assert_eq!(client.get("/none/letters.txt").header("accept-ranges"), None);
    assert_eq!(client.get("/one/letters.txt").header("accept-ranges"), Some("bytes"));
}

#[test]
fn a_range_of_another_version_is_the_whole_file() {
    let (_proxy, mut client) = start("");
    let tag = client.get("/letters.txt").header("etag").unwrap().to_owned();
    let same = ask(&mut client, "/letters.txt", &format!("Range: bytes=0-1\r\nIf-Range: {tag}"));
    assert_eq!(same.status(), 206);
    let other = ask(&mut client, "/letters.txt", "Range: bytes=0-1\r\nIf-Range: \"other\"");
    assert_eq!(other.status(), 200);
}

#[test]
fn conditions_spare_the_client_what_it_has() {
    let (_proxy, mut client) = start(
        "location /off/ { alias {dir}/site/; if_modified_since off; etag off; }
        location /before/ { alias {dir}/site/; if_modified_since before; } location /text { return 200 text; }",
    );
    let whole = client.get("/letters.txt");
    let (tag, date) = (whole.header("etag").unwrap().to_owned(), whole.header("last-modified").unwrap().to_owned());
    let late = "Fri, 01 Jan 2100 00:00:00 GMT";
    for (path, field, status) in [
        ("/letters.txt", format!("If-None-Match: {tag}"), 304),
        ("/letters.txt", format!("If-None-Match: \"x\", W/{tag}"), 304),
        ("/letters.txt", format!("If-Modified-Since: {date}"), 304),
        ("/letters.txt", format!("If-Modified-Since: {late}"), 200),
        ("/before/letters.txt", format!("If-Modified-Since: {late}"), 304),
        ("/off/letters.txt", format!("If-Modified-Since: {date}"), 200),
        ("/letters.txt", format!("If-Match: {tag}"), 200),
        ("/letters.txt", "If-Match: \"x\"".into(), 412),
        ("/letters.txt", "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT".into(), 412),
        ("/letters.txt", format!("If-Unmodified-Since: {date}"), 200),
        ("/text", "If-None-Match: *".into(), 304),
        ("/text", "If-Match: \"x\"".into(), 412),
    ] {
        let answer = ask(&mut client, path, &field);
        assert_eq!(answer.status(), status, "{path} {field}");
    }
    assert_eq!(client.get("/off/letters.txt").header("etag"), None);
}
