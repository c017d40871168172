//! How long peers are waited for, whom they are left for, and what becomes of them when a client leaves.

use std::io::Read;
use std::net::Shutdown;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlead_harness::{Answer, Client, HttpPeer, Port, TcpPeer, eventually};

use crate::fairlead;

#[test]
fn a_peer_may_finish_although_its_client_is_gone() {
    for (rows, line) in [("", "499 -"), ("proxy_ignore_client_abort on;", "200 200")] {
        let (asked, released) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (asks, waiting) = (asked.clone(), released.clone());
        let peer = HttpPeer::start(move |_| {
            asks.store(true, Ordering::SeqCst);
            while !waiting.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Answer::ok("late")
        });
        let proxy = fairlead().set("peer", peer.address()).http(&format!(
            "log_format own '$status $upstream_status'; access_log {{dir}}/own.log own;
             server {{ listen 127.0.0.1:{{port}}; location / {{ {rows} proxy_pass http://{{peer}}; }} }}"
        ));
        let mut client = Client::connect(proxy.address());
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("the peer is asked", || asked.load(Ordering::SeqCst));
        client.stream().shutdown(Shutdown::Both).unwrap();
        drop(client);
        if rows.is_empty() {
            eventually("it is not waited for", || proxy.directory().read("own.log") == format!("{line}\n"));
        }
        released.store(true, Ordering::SeqCst);
        eventually("its line", || proxy.directory().read("own.log") == format!("{line}\n"));
    }
}

#[test]
fn a_request_that_took_too_long_is_not_taken_to_another_peer() {
    let (silent, good) = (HttpPeer::start(|_| Answer::silence()), HttpPeer::start(|_| Answer::ok("good")));
    let ask = |timeout: &str| {
        let setup = fairlead().workers(1).set("silent", silent.address()).set("good", good.address());
        let proxy = setup.http(&format!(
            "upstream group {{ server {{silent}}; server {{good}} backup; }}
             server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://group; proxy_read_timeout 300ms;
                proxy_next_upstream_timeout {timeout}; }} }}"
        ));
        proxy.get("/").status()
    };
    assert_eq!(ask("100ms"), 504);
    assert_eq!(ask("10s"), 200);
    assert_eq!(ask("0"), 200, "any time");
}

#[test]
fn a_peer_that_reads_nothing_is_left_after_proxy_send_timeout() {
    let done = Arc::new(AtomicBool::new(false));
    let waiting = done.clone();
    let peer = TcpPeer::start(move |_stream| {
        while !waiting.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let proxy = fairlead().set("peer", peer.address()).http(
        "client_max_body_size 0; server { listen 127.0.0.1:{port};
            location / { proxy_send_timeout 500ms; proxy_pass http://{peer}; } }",
    );
    let begun = Instant::now();
    let mut client = Client::connect(proxy.address());
    let body = vec![b'x'; 20_000_000];
    client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert_eq!(client.response().status(), 504);
    assert!(begun.elapsed() > Duration::from_millis(400), "{:?}", begun.elapsed());
    done.store(true, Ordering::SeqCst);
}

#[test]
fn the_address_to_start_from_may_change_with_the_peer() {
    let dead = Port::reserve();
    let peer = TcpPeer::start(|mut stream| {
        let from = stream.peer_addr().unwrap().ip().to_string();
        let _ = stream.read(&mut [0; 4096]);
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{from}", from.len());
        let _ = std::io::Write::write_all(&mut stream, head.as_bytes());
    });
    let ask = |dynamic: &str| {
        let setup = fairlead().workers(1).set("dead", dead.address()).set("peer", peer.address());
        let proxy = setup.http(&format!(
            "map $upstream_addr $from {{ volatile; ~, 127.0.0.8; default 127.0.0.7; }}
             upstream group {{ server {{dead}}; server {{peer}} backup; }}
             server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_bind $from; proxy_bind_dynamic {dynamic};
                proxy_pass http://group; }} }}"
        ));
        proxy.get("/").text()
    };
    assert_eq!((ask("off"), ask("on")), ("127.0.0.7".into(), "127.0.0.8".into()));
}

/// Options of the connection that a process has to a port, looked at from outside.
const LOOK: &str = r#"
import ctypes, os, socket, sys
pid, port = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
handle = os.pidfd_open(pid)
for name in os.listdir(f"/proc/{pid}/fd"):
    try:
        if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"): continue
        s = socket.socket(fileno=libc.syscall(438, handle, int(name), 0))
        if s.family == socket.AF_INET and s.getpeername()[1] == port:
            print(*[s.getsockopt(socket.SOL_SOCKET, o) for o in (socket.SO_KEEPALIVE, socket.SO_RCVBUF, socket.SO_SNDBUF)])
    except OSError: pass
"#;

#[test]
fn options_reach_the_socket_to_the_peer() {
    let peer = HttpPeer::start(|_| Answer::ok("x"));
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        "upstream group { server {peer}; keepalive 1; }
         server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; proxy_http_version 1.1;
            proxy_set_header Connection ''; proxy_socket_keepalive on; proxy_socket_rcvbuf 64k; proxy_socket_sndbuf 32k; } }",
    );
    assert_eq!(proxy.get("/").text(), "x");
    let (pid, port) = (proxy.workers()[0].to_string(), peer.address().port().to_string());
    let output = Command::new("python3").args(["-c", LOOK, &pid, &port]).output().expect("python3 is installed");
    // The kernel counts twice what is asked for.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 131072 65536\n", "{output:?}");
}

#[test]
fn a_peer_may_be_told_what_body_comes() {
    let peer = HttpPeer::start(|_| Answer::ok("x"));
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_http_version 1.1;
            proxy_request_buffering off; proxy_set_header X-Length $proxy_internal_body_length;
            proxy_set_header X-Chunked $proxy_internal_chunked; } }",
    );
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    eventually("the peer is asked before the end has come", || peer.connections() == 1);
    client.send("0\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    let got = peer.last();
    assert_eq!((got.header("x-length"), got.header("x-chunked")), (None, Some("chunked")));
    client.request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    let got = peer.last();
    assert_eq!((got.header("x-length"), got.header("x-chunked")), (Some("5"), None));
}
