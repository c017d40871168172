//! What a peer answers becomes a file, whole or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, eventually};

use crate::fairlead;

const LONG: usize = 12 << 20;

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn peer() -> HttpPeer {
    HttpPeer::start(|request| {
        let with = |fields: &str, body: &[u8]| {
            let length = body.len();
            [format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n").as_bytes(), body].concat()
        };
        match request.target().split('?').next().unwrap_or_default() {
            "/none" => Answer::status("404 None", "none"),
            "/cut" => Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec()),
            "/long" => Answer::Raw(with("", &pattern(LONG))),
            "/chunks" => Answer::Raw(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec(),
            ),
            "/empty" => Answer::Raw(with("", b"")),
            _ => Answer::Raw(with("Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\n", b"stored")),
        }
    })
}

fn start(peer: &HttpPeer) -> Proxy {
    let setup = fairlead().workers(1).set("peer", peer.address());
    let folder = setup.folder().join("data");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    setup.http(
        "proxy_temp_path {dir}/temp;
        server { listen 127.0.0.1:{port}; root {dir}/data;
            location / { error_page 404 = @fetch; log_not_found off; }
            location @fetch { proxy_pass http://{peer}; proxy_store on; proxy_store_access group:r all:r; }
            location /named/ { proxy_pass http://{peer}/; proxy_store {dir}/data/by-name/$arg_name; }
            location /off/ { proxy_pass http://{peer}; proxy_store $document_root$uri; proxy_buffering off; } }",
    )
}

#[test]
fn a_stored_answer_is_there_for_the_next_client() {
    let peer = peer();
    let proxy = start(&peer);
    let file = proxy.directory().join("data/a/b/page");
    assert_eq!(proxy.get("/a/b/page").text(), "stored");
    eventually("it is stored", || file.exists());
    let about = fs::metadata(&file).unwrap();
    assert_eq!(about.modified().unwrap(), UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    assert_eq!(about.permissions().mode() & 0o777, 0o644);
    let folder = fs::metadata(proxy.directory().join("data/a")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o755);
    assert_eq!(proxy.get("/a/b/page").text(), "stored");
    assert_eq!(peer.requests().len(), 1, "the second answer came from the file");
}

#[test]
fn a_name_may_be_made_of_variables_and_bodies_of_every_framing_are_stored() {
    let peer = peer();
    let proxy = start(&peer);
    for (path, body) in [("long", pattern(LONG)), ("chunks", b"abcde".to_vec()), ("empty", Vec::new())] {
        assert!(proxy.get(&format!("/named/{path}?name={path}")).body == body);
        let file = proxy.directory().join("data/by-name").join(path);
        eventually("it is stored", || file.exists());
        assert!(fs::read(&file).unwrap() == body, "{path}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_is_no_whole_answer_is_not_stored() {
    let peer = peer();
    let proxy = start(&peer);
    assert_eq!(proxy.get("/none").status(), 404);
    let mut client = Client::connect(proxy.address());
    client.send("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.try_response().is_err());
    let mut client = Client::connect(proxy.address());
    client.send("HEAD /page HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response_without_body().status(), 200);
    assert_eq!(proxy.get("/off/x").text(), "stored");
    assert_eq!(fs::read_dir(proxy.directory().join("data")).unwrap().count(), 0);
    eventually("nothing is left of it", || fs::read_dir(proxy.directory().join("temp")).unwrap().count() == 0);
}

#[test]
fn a_client_that_leaves_does_not_stop_it() {
    let peer = peer();
    let proxy = start(&peer);
    let mut client = Client::connect(proxy.address());
    client.send("GET /long HTTP/1.1\r\nHost: h\r\n\r\n");
    client.bytes(1000);
    drop(client);
    let file = proxy.directory().join("data/long");
    eventually("it is stored", || file.exists());
    assert!(fs::read(&file).unwrap() == pattern(LONG));
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_the_client_served() {
    let peer = peer();
    let proxy = start(&peer);
    fs::write(proxy.directory().join("data/by-name"), "no folder").unwrap();
    assert_eq!(proxy.get("/named/page?name=x").text(), "stored");
    proxy.wait_for_error("[crit] ");
    proxy.wait_for_error("/data/by-name\" failed (");
}

#[test]
fn what_is_no_access_is_refused() {
    for (rows, words) in [
        ("proxy_store_access all;", "invalid value \"all\""),
        ("proxy_store_access all:x;", "invalid value \"all:x\""),
        ("proxy_store a b;", "invalid number of arguments in \"proxy_store\" directive"),
        ("proxy_store $nothing;", "unknown \"nothing\" variable"),
    ] {
        let (good, said) = fairlead().check(&format!("http {{ server {{ listen 127.0.0.1:{{port}}; {rows} }} }}"));
        assert!(!good && said.contains(words), "{rows}: {said}");
    }
}
