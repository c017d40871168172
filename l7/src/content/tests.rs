//! Requests that no peer answers, from the search of a location to the reply.

use super::*;
use crate::disk;
use crate::exchange::Exchange;
use crate::reply::{Body, Reply, Tag};
use crate::variables::testing::{exchange, request};
use std::path::PathBuf;

/// A folder with `index.html`, `a.txt` (100 bytes), `sub/` (with an index) and `bare/` (without).
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("fairlead-content-{}-{name}", std::process::id()));
        for sub in ["sub", "bare", "data"] {
            std::fs::create_dir_all(path.join(sub)).unwrap();
        }
        std::fs::write(path.join("index.html"), "top").unwrap();
        std::fs::write(path.join("a.txt"), [b'a'; 100]).unwrap();
        std::fs::write(path.join("sub/index.html"), "sub").unwrap();
        std::fs::write(path.join("data/x.JPG"), "jpeg").unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Routes a request and serves it; `server` may name the folder as FOLDER.
fn serve_in(folder: &Folder, server: &str, line: &str, fields: &[(&str, &str)]) -> (Reply, Exchange) {
    let server = server.replace("FOLDER", folder.0.to_str().unwrap());
    let mut exchange = exchange(&format!("server {{ listen 8080; {server} }}"), request(line, fields));
    exchange.host = b"example.com".to_vec();
    let target = exchange.request.target;
    let text = target.of(&exchange.request.buffer);
    let query = crate::uri::normalize(text, true, &mut exchange.uri).unwrap();
    exchange.args =
        query.map(|start| crate::h1::Slice::new(target.start as usize + start, (target.start + target.len) as usize));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reply = runtime.block_on(async {
        loop {
            if let Err(reply) = crate::rewrite::route(&mut exchange).await {
                return *reply;
            }
            if let Served::Reply(reply) = serve(&mut exchange).await {
                return reply;
            }
        }
    });
    (reply, exchange)
}

fn body(reply: &Reply) -> Vec<u8> {
    match &reply.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::Parts(_) => panic!("several parts"),
        Body::File { file, start, length } => {
            let mut bytes = vec![0; usize::try_from(*length).unwrap()];
            let Ok(disk::Now::Read(read)) = disk::now(file, *start, &mut bytes) else { panic!("not in memory") };
            assert_eq!(read, bytes.len());
            bytes
        }
    }
}

fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let named = reply.headers.iter().find(|(known, _)| known == name);
    named.map(|(_, value)| std::str::from_utf8(value).unwrap())
}

fn text(bytes: Option<&[u8]>) -> Option<&str> {
    bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
}

#[test]
fn files_come_with_type_time_and_tag() {
    let folder = Folder::new("file");
    let (reply, _) = serve_in(&folder, "root FOLDER;", "GET /a.txt HTTP/1.1", &[]);
    assert_eq!((reply.status, body(&reply).len()), (200, 100));
    assert_eq!(text(reply.content_type.as_deref()), Some("text/plain"));
    assert!(reply.takes_ranges);
    let tag = format!("\"{:x}-64\"", reply.last_modified.unwrap());
    assert_eq!(reply.etag.as_ref().map(Tag::text), Some(tag.as_bytes()));
    let (again, _) = serve_in(&folder, "root FOLDER;", "GET /a.txt HTTP/1.1", &[("If-None-Match", &tag)]);
    assert_eq!((again.status, body(&again).len(), again.content_type), (304, 0, None));
    let (failed, _) = serve_in(&folder, "root FOLDER;", "GET /a.txt HTTP/1.1", &[("If-Match", "\"x\"")]);
    assert_eq!(failed.status, 412);
}

#[test]
fn one_range_is_cut_out() {
    let folder = Folder::new("range");
    let ask = |range: &str| serve_in(&folder, "root FOLDER;", "GET /index.html HTTP/1.1", &[("Range", range)]).0;
    let part = ask("bytes=1-");
    assert_eq!(
        (part.status, body(&part).as_slice(), field(&part, "Content-Range")),
        (206, &b"op"[..], Some("bytes 1-2/3"))
    );
    let beyond = ask("bytes=5-");
    assert_eq!((beyond.status, field(&beyond, "Content-Range")), (416, Some("bytes */3")));
    let many = ask("bytes=0-0,2-2");
    assert!(many.status == 206 && matches!(many.body, Body::Parts(_)));
    assert_eq!(ask("bytes=0-1,1-2").status, 200);
}

#[test]
fn folders_lead_to_their_index_or_nowhere() {
    let folder = Folder::new("index");
    let (top, after) = serve_in(&folder, "root FOLDER; index nope.html index.html;", "GET / HTTP/1.1", &[]);
    assert_eq!((top.status, body(&top).as_slice(), after.uri.as_slice()), (200, &b"top"[..], &b"/index.html"[..]));
    assert_eq!(serve_in(&folder, "root FOLDER;", "GET /bare/ HTTP/1.1", &[]).0.status, 403);
    assert_eq!(serve_in(&folder, "root FOLDER;", "GET /none/ HTTP/1.1", &[]).0.status, 404);
    assert_eq!(serve_in(&folder, "root FOLDER;", "GET /none HTTP/1.1", &[]).0.status, 404);
    let (moved, _) = serve_in(&folder, "root FOLDER;", "GET /sub?x=1 HTTP/1.1", &[]);
    assert_eq!((moved.status, text(moved.location.as_deref())), (301, Some("http://example.com:8080/sub/?x=1")));
}

#[test]
fn an_index_goes_through_the_locations_again() {
    let folder = Folder::new("again");
    let server = "root FOLDER; location ~ \\.html$ { return 418 $uri; }";
    let (reply, _) = serve_in(&folder, server, "GET /sub/ HTTP/1.1", &[]);
    assert_eq!((reply.status, body(&reply).as_slice()), (418, &b"/sub/index.html"[..]));
}

#[test]
fn alias_replaces_the_prefix_and_holds_its_folder() {
    let folder = Folder::new("alias");
    let server =
        "types { image/jpeg jpg; } location /i { alias FOLDER/data/; } location ~ ^/r/(.+)$ { alias FOLDER/data/$1; }";
    let (file, _) = serve_in(&folder, server, "GET /i/x.JPG HTTP/1.1", &[]);
    assert_eq!((file.status, text(file.content_type.as_deref())), (200, Some("image/jpeg")));
    assert_eq!(serve_in(&folder, server, "GET /r/x.JPG HTTP/1.1", &[]).0.status, 200);
    assert_eq!(serve_in(&folder, server, "GET /i../a.txt HTTP/1.1", &[]).0.status, 404);
    assert_eq!(serve_in(&folder, server, "GET /i/..%2fa.txt HTTP/1.1", &[]).0.status, 404);
}

#[test]
fn only_get_and_head_read_files() {
    let folder = Folder::new("methods");
    for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405), ("PUT", 405), ("DELETE", 405)] {
        assert_eq!(
            serve_in(&folder, "root FOLDER;", &format!("{method} /a.txt HTTP/1.1"), &[]).0.status,
            status,
            "{method}"
        );
    }
}

#[test]
fn pipes_and_sockets_are_not_read() {
    let folder = Folder::new("pipe");
    nix::unistd::mkfifo(&folder.0.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("socket")).unwrap();
    for path in ["/pipe", "/socket"] {
        assert_eq!(serve_in(&folder, "root FOLDER;", &format!("GET {path} HTTP/1.1"), &[]).0.status, 404, "{path}");
    }
}

#[test]
fn return_answers_texts_redirects_and_pages() {
    let folder = Folder::new("return");
    let said = |server: &str| serve_in(&folder, &format!("location / {{ {server} }}"), "GET /x.html?q HTTP/1.1", &[]).0;
    let reply = said("return 200 'hello $arg_q$args';");
    assert_eq!((reply.status, body(&reply).as_slice()), (200, &b"hello q"[..]));
    assert_eq!(text(reply.content_type.as_deref()), Some("text/html"));
    let reply = said("return 301 /new$request_uri;");
    assert_eq!(text(reply.location.as_deref()), Some("http://example.com:8080/new/x.html?q"));
    let reply = said("return 302 /y; port_in_redirect off; server_name_in_redirect on;");
    assert_eq!(text(reply.location.as_deref()), Some("http://example.com/y"));
    let reply = said("return 302 /y; absolute_redirect off;");
    assert_eq!((reply.location.as_deref(), field(&reply, "Location")), (None, Some("/y")));
    let reply = said("return https://other$request_uri;");
    assert_eq!((reply.status, field(&reply, "Location")), (302, Some("https://other/x.html?q")));
    let reply = said("return 404;");
    assert!(reply.status == 404 && body(&reply).starts_with(b"<html>"));
    let reply = said("return 204;");
    assert_eq!((reply.status, reply.content_type.is_none(), body(&reply).is_empty()), (204, true, true));
}
