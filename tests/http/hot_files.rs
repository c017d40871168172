//! Small files that are asked for again and again are not read each time, and nobody can tell: what is
//! on the disk is what is answered.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fairlead_harness::{Client, Proxy, Response, Setup, eventually};

use crate::fairlead;

/// Longer than anything else that a worker reads in the time of a test.
const LENGTH: usize = 40_000;

fn text(byte: u8) -> Vec<u8> {
    vec![byte; LENGTH]
}

fn start(setup: Setup, settings: &str) -> (Proxy, Client) {
    let proxy = setup.workers(1).http(&format!(
        "types {{ text/html html; }} keepalive_requests 1000000; {settings}
        server {{ listen 127.0.0.1:{{port}}; root {{dir}}/site; }}"
    ));
    let client = Client::connect(proxy.address());
    (proxy, client)
}

/// Bytes that the worker process has read, sockets left out.
fn bytes_read(proxy: &Proxy) -> usize {
    let account = fs::read_to_string(format!("/proc/{}/io", proxy.workers()[0])).unwrap();
    account.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// Asks until an answer costs no read of its file: as soon as its last change is some time ago.
fn until_held(proxy: &Proxy, client: &mut Client, path: &str) -> Response {
    let mut answer = None;
    eventually("the file is held", || {
        let before = bytes_read(proxy);
        answer = Some(client.get(path));
        bytes_read(proxy) - before < LENGTH
    });
    answer.unwrap()
}

fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

/// Another file takes the name.
fn replace(path: &Path, text: &[u8]) {
    fs::write(path.with_extension("new"), text).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

#[test]
fn a_file_that_many_ask_for_is_read_now_and_then() {
    let (proxy, mut client) = start(fairlead().file("site/a.html", text(b'a')), "");
    assert_eq!(until_held(&proxy, &mut client, "/a.html").body, text(b'a'));
    let before = bytes_read(&proxy);
    for _ in 0..100 {
        assert_eq!(client.get("/a.html").body, text(b'a'));
    }
    let read = (bytes_read(&proxy) - before) / LENGTH;
    assert!(read < 50, "{read} times");
}

type Change = (&'static str, fn(&Path), u16, Option<(u8, usize)>);

/// What happens to a file, and the answer to the very next request.
const CHANGES: [Change; 9] = [
    ("replaced", |path| replace(path, &text(b'b')), 200, Some((b'b', LENGTH))),
    ("rewritten", |path| fs::write(path, text(b'b')).unwrap(), 200, Some((b'b', LENGTH))),
    ("cut", |path| fs::File::options().write(true).open(path).unwrap().set_len(5).unwrap(), 200, Some((b'a', 5))),
    ("longer", |path| fs::write(path, [text(b'c'), text(b'c')].concat()).unwrap(), 200, Some((b'c', LENGTH * 2))),
    ("removed", |path| fs::remove_file(path).unwrap(), 404, None),
    ("forbidden", forbid, 403, None),
    ("in_a_forbidden_folder", |path| forbid(path.parent().unwrap()), 403, None),
    (
        "a_folder",
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        301,
        None,
    ),
    (
        "a_link",
        |path| {
            fs::write(path.with_extension("else"), text(b'd')).unwrap();
            fs::remove_file(path).unwrap();
            symlink(path.with_extension("else"), path).unwrap();
        },
        200,
        Some((b'd', LENGTH)),
    ),
];

#[test]
fn what_happens_to_a_file_is_seen_at_the_next_request() {
    let named = |name: &str| format!("site/{name}/a.html");
    let setup = CHANGES.iter().fold(fairlead(), |setup, (name, ..)| setup.file(&named(name), text(b'a')));
    let (proxy, mut client) = start(setup, "");
    for (name, change, status, body) in CHANGES {
        let path = proxy.directory().join(&named(name));
        assert_eq!(until_held(&proxy, &mut client, &format!("/{name}/a.html")).body, text(b'a'), "{name}");
        change(&path);
        let answer = client.get(&format!("/{name}/a.html"));
        assert_eq!(answer.status(), status, "{name}");
        if let Some((byte, length)) = body {
            assert_eq!(answer.body, vec![byte; length], "{name}");
        }
        let _ = fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755));
    }
    proxy.wait_for_error(
        "open() \"{dir}/site/removed/a.html\" failed (2: No such file or directory)"
            .replace("{dir}", proxy.directory().path().to_str().unwrap())
            .as_str(),
    );
    proxy.wait_for_error("/site/forbidden/a.html\" failed (13: Permission denied)");
    proxy.wait_for_error("/site/in_a_forbidden_folder/a.html\" failed (13: Permission denied)");
}

#[test]
fn a_file_that_changes_all_the_time_is_never_late() {
    let (proxy, mut client) = start(fairlead().file("site/a.html", text(b'a')), "");
    until_held(&proxy, &mut client, "/a.html");
    let path = proxy.directory().join("site/a.html");
    for round in 0..200_u8 {
        match round % 2 {
            0 => fs::write(&path, vec![round; 100]).unwrap(),
            _ => replace(&path, &[round; 100]),
        }
        for _ in 0..3 {
            assert_eq!(client.get("/a.html").body, [round; 100], "round {round}");
        }
    }
}

/// Two old files that take turns under one name: nothing tells that one of them changed.
#[test]
fn old_files_that_change_places_are_told_apart() {
    let setup = fairlead().file("site/a.html", text(b'a')).file("site/b.html", text(b'b'));
    let (proxy, mut client) = start(setup, "");
    let site = proxy.directory().join("site");
    for round in 0..50 {
        let name = ["a", "b"][round % 2];
        symlink(site.join(format!("{name}.html")), site.join("next")).unwrap();
        fs::rename(site.join("next"), site.join("now.html")).unwrap();
        if round < 2 {
            until_held(&proxy, &mut client, "/now.html");
        }
        for _ in 0..3 {
            assert_eq!(client.get("/now.html").body, text(name.as_bytes()[0]), "round {round}");
        }
    }
}

#[test]
fn answers_are_the_same_to_the_byte() {
    let setup =
        fairlead().file("site/a.html", text(b'a')).file("site/b.html", text(b'b')).file("site/b.html.gz", text(b'z'));
    let (proxy, mut client) = start(setup, "gzip_static on;");
    let asked = [
        ("GET /a.html", ""),
        ("HEAD /a.html", ""),
        ("GET /a.html", "Range: bytes=100-199\r\n"),
        ("GET /a.html", "Range: bytes=-7\r\n"),
        ("GET /a.html", "Range: bytes=90000-\r\n"),
        ("GET /a.html", "If-None-Match: *\r\n"),
        ("GET /a.html", "If-Match: \"x\"\r\n"),
        ("GET /b.html", "Accept-Encoding: gzip\r\n"),
        ("POST /a.html", "Content-Length: 0\r\n"),
    ];
    let ask = |client: &mut Client, (line, fields): (&str, &str)| {
        client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        let answer = if line.starts_with("HEAD") { client.response_without_body() } else { client.response() };
        let head: Vec<_> = answer.headers().into_iter().filter(|(name, _)| *name != "Date").collect();
        format!("{} {head:?} {}", answer.status(), answer.text())
    };
    // The files are as new as can be: these are read.
    let read: Vec<_> = asked.iter().map(|&request| ask(&mut client, request)).collect();
    for (request, read) in asked.into_iter().zip(read) {
        until_held(&proxy, &mut client, "/a.html");
        until_held(&proxy, &mut client, "/b.html.gz");
        assert_eq!(ask(&mut client, request), read, "{request:?}");
    }
}

#[test]
fn no_descriptor_is_kept_for_them() {
    let setup = (0..300).fold(fairlead(), |setup, number| setup.file(&format!("site/{number}"), "x"));
    let (proxy, mut client) = start(setup.file("site/a.html", text(b'a')), "");
    until_held(&proxy, &mut client, "/a.html");
    for _ in 0..3 {
        (0..300).for_each(|number| assert_eq!(client.get(&format!("/{number}")).text(), "x"));
    }
    until_held(&proxy, &mut client, "/a.html");
    let open = fs::read_dir(format!("/proc/{}/fd", proxy.workers()[0])).unwrap();
    let site = proxy.directory().join("site");
    let names: Vec<_> = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(!names.is_empty());
    assert!(names.iter().all(|name| !name.starts_with(&site)), "{names:?}");
}
