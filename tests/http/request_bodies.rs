//! A request's body is taken in before a peer is asked: in memory, in a file, and gone in the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fairlead_harness::{Answer, Client, HttpPeer, Port, Proxy, Request, Setup, Signal, eventually};

use crate::fairlead;

/// More than is ever held in memory.
const LONG: usize = 3 << 20;

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn post(body: &[u8]) -> Vec<u8> {
    [format!("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(10_000) {
        bytes.extend(format!("{:x}\r\n", part.len()).bytes());
        bytes.extend_from_slice(part);
        bytes.extend(b"\r\n");
    }
    [&bytes, &b"0\r\n\r\n"[..]].concat()
}

fn start(peer: &HttpPeer, rows: &str) -> Proxy {
    with(fairlead().workers(1), peer, rows)
}

fn with(setup: Setup, peer: &HttpPeer, rows: &str) -> Proxy {
    setup.set("peer", peer.address()).http(&format!(
        "log_format body '$status|$request_body|$request_body_file'; client_max_body_size 8m;
        server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/body.log body;
            location / {{ client_body_temp_path {{dir}}/bodies 1 2; {rows}
                proxy_pass http://{{peer}}; proxy_set_header X-File $request_body_file; }} }}"
    ))
}

fn logged(proxy: &Proxy, line: impl Fn(&str) -> bool) {
    eventually("the request is in the log", || proxy.directory().read("body.log").lines().any(&line));
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn echo() -> HttpPeer {
    HttpPeer::start(|request| Answer::ok(&request.body))
}

#[test]
fn a_long_body_waits_in_a_file_that_nobody_sees() {
    let peer = echo();
    let proxy = start(&peer, "");
    let body = pattern(LONG);
    let mut client = Client::connect(proxy.address());
    for request in [post(&body), in_chunks(&body)] {
        assert!(client.request(request).body == body);
        let request = peer.last();
        assert_eq!(request.header("content-length"), Some(LONG.to_string().as_str()), "also of a chunked one");
        assert_eq!(request.header("transfer-encoding"), None);
    }
    assert_eq!(files(&proxy.directory().join("bodies")), Vec::<PathBuf>::new());
    let name = format!("{}/bodies/1/00/0000000001", proxy.directory().path().display());
    logged(&proxy, |line| line == format!("200|-|{name}"));
    proxy.wait_for_error("temporary file");
    let log = proxy.error_log();
    let line = log.lines().find(|line| line.contains("temporary file")).expect("it is told");
    assert!(line.contains("[warn] "), "{line}");
    assert!(
        line.contains(&format!("a client request body is buffered to a temporary file {name}, client: ")),
        "{line}"
    );
}

#[test]
fn a_short_body_stays_in_memory_and_may_be_shown() {
    let peer = echo();
    let proxy = start(&peer, "client_body_buffer_size 1k; client_body_in_single_buffer on;");
    let mut client = Client::connect(proxy.address());
    client.request(post(b"short"));
    logged(&proxy, |line| line == "200|short|-");
    // A quarter more than the buffer, and one byte beyond that.
    client.request(post(&[b'a'; 1280]));
    logged(&proxy, |line| line == format!("200|{}|-", "a".repeat(1280)));
    client.request(post(&[b'b'; 1281]));
    client.request(in_chunks(&[b'c'; 1025]));
    client.request(in_chunks(&[b'd'; 1024]));
    logged(&proxy, |line| line == format!("200|{}|-", "d".repeat(1024)));
    let log = proxy.directory().read("body.log");
    assert_eq!(log.lines().filter(|line| *line == "200|-|-").count(), 2, "{log}");
    assert!(!log.contains("bodies"), "half a megabyte is no reason to write to a disk: {log}");
}

#[test]
fn bodies_in_files_only_are_there_for_the_peer_and_then_gone_or_kept() {
    let peer = HttpPeer::start(|request: &Request| match request.header("x-file") {
        Some(name) => Answer::ok(fs::read(name).expect("the file is there")),
        None => Answer::status("404 None", "no file"),
    });
    for (mode, left) in [("clean", 0), ("on", 3)] {
        let proxy = start(&peer, &format!("client_body_in_file_only {mode};"));
        let mut client = Client::connect(proxy.address());
        for size in [1, 20_000, LONG] {
            let body = pattern(size);
            assert!(client.request(post(&body)).body == body, "{mode}: {size}");
            assert!(peer.last().body == body, "{mode}: {size}");
        }
        assert_eq!(client.get("/").status(), 404, "without a body there is no file");
        let folder = proxy.directory().join("bodies");
        eventually("files of the past are gone", || files(&folder).len() == left);
        proxy.wait_for_error("a client request body is buffered to a temporary file");
    }
}

#[test]
fn the_file_goes_with_a_client_that_leaves_and_with_the_process() {
    let peer = echo();
    let mut proxy = start(&peer, "client_body_in_file_only clean;");
    let folder = proxy.directory().join("bodies");
    let begin = || {
        let mut client = Client::connect(proxy.address());
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
        client.send(pattern(500_000));
        eventually("the file is there", || files(&folder).len() == 1);
        client
    };
    drop(begin());
    eventually("it is gone", || files(&folder).is_empty());
    logged(&proxy, |line| line.starts_with("400|-|"));
    let client = begin();
    proxy.stop_with(Signal::SIGTERM);
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    drop(client);
}

/// A small disk of its own; gone with this.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: PathBuf, size: &str) -> Disk {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", size, "none"]).arg(&folder).status();
        assert!(mount.expect("mount can be run").success(), "root mounts what it likes");
        Disk(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// One line says what failed, and who needs no disk hears nothing of it.
#[track_caller]
fn assert_refused(proxy: &Proxy, words: &str) {
    assert_eq!(Client::connect(proxy.address()).request(post(&pattern(LONG))).status(), 500);
    proxy.wait_for_error("failed (");
    let log = proxy.error_log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("failed (")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("[crit] ") && lines[0].contains(words), "{log}");
    assert_eq!(Client::connect(proxy.address()).request(post(b"short")).text(), "short");
}

#[test]
fn a_full_disk_is_500_for_who_needs_it_and_nothing_for_the_others() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("not tried: only root has a disk to spare");
        return;
    }
    let peer = echo();
    let proxy = start(&peer, "");
    let folder = proxy.directory().join("bodies");
    let disk = Disk::mount(folder.clone(), "size=1m,mode=777");
    assert_refused(&proxy, "/bodies/1/00/0000000001\" failed (28: No space left on device), client: ");
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    assert_eq!(peer.requests().len(), 1);
    drop(disk);
}

#[test]
fn a_lost_folder_is_500_likewise() {
    let peer = echo();
    let proxy = start(&peer, "");
    let folder = proxy.directory().join("bodies");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "no folder").unwrap();
    assert_refused(&proxy, "open() \"");
}

#[test]
fn too_long_a_body_is_refused_before_a_peer_hears_of_it() {
    let peer = echo();
    let proxy = start(&peer, "client_max_body_size 100k;");
    assert_eq!(Client::connect(proxy.address()).request(post(&pattern(102_401))).status(), 413);
    let mut client = Client::connect(proxy.address());
    client.send(in_chunks(&pattern(102_401)));
    assert_eq!(client.response().status(), 413);
    assert!(peer.requests().is_empty());
    assert_eq!(Client::connect(proxy.address()).request(in_chunks(&pattern(102_400))).status(), 200);
}

#[test]
fn a_client_that_stops_in_its_body_is_let_go_and_no_peer_waited() {
    let peer = echo();
    let proxy = start(&peer, "client_body_timeout 100ms;");
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    client.assert_closed();
    logged(&proxy, |line| line == "408|-|-");
    assert_eq!(peer.connections(), 0);
}

#[test]
fn the_next_peer_gets_all_of_it() {
    let (bad, good, nobody) = (HttpPeer::start(|_| Answer::nothing()), echo(), Port::reserve());
    let setup = fairlead().workers(1).set("bad", bad.address()).set("nobody", nobody.address());
    let proxy = setup.set("good", good.address()).http(
        "upstream group { server {nobody} max_fails=0; server {bad} max_fails=0; server {good} backup; }
        server { listen 127.0.0.1:{port}; client_max_body_size 8m; client_body_buffer_size 1k; proxy_pass_request_body on;
            location / { client_body_temp_path {dir}/bodies; proxy_next_upstream error non_idempotent; proxy_pass http://group; } }",
    );
    for size in [1, 1000, 100_000, LONG] {
        let body = pattern(size);
        assert!(Client::connect(proxy.address()).request(post(&body)).body == body, "{size}");
        assert!(bad.last().body == body && good.last().body == body, "{size}");
    }
}

#[test]
fn without_buffering_each_piece_goes_on_as_it_comes() {
    let peer = HttpPeer::start(|request| Answer::ok(&request.body));
    let proxy = start(&peer, "proxy_request_buffering off;");
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    eventually("the peer is asked before the body is whole", || peer.connections() == 1);
    client.send("6\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "hello world");
    assert_eq!(peer.last().header("transfer-encoding"), Some("chunked"));
    let old = start(&peer, "proxy_request_buffering off; proxy_http_version 1.0;");
    assert_eq!(Client::connect(old.address()).request(in_chunks(&pattern(50_000))).body.len(), 50_000);
    assert_eq!(peer.last().header("content-length"), Some("50000"), "HTTP/1.0 knows no chunks");
    let buffered = start(&peer, "");
    let mut client = Client::connect(buffered.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    let connections = peer.connections();
    client.send("other");
    assert_eq!((client.response().text(), connections), ("halfother".into(), peer.connections() - 1));
}

#[test]
fn the_folder_is_made_and_a_wrong_one_refused() {
    let (good, said) =
        fairlead().check("http { client_body_temp_path {dir}/new; server { listen 127.0.0.1:{port}; } }");
    assert!(good, "{said}");
    for (path, words) in [
        ("{dir}/a/b", "/a/b\" failed (2: No such file or directory)"),
        ("{dir}/b 0", "client_body_temp_path"),
        ("{dir}/b 9 2", "ten digits"),
    ] {
        let http = format!("http {{ client_body_temp_path {path}; server {{ listen 127.0.0.1:{{port}}; }} }}");
        let (good, said) = fairlead().check(&http);
        assert!(!good && said.contains(words), "{path}: {said}");
    }
}
