//! How connections end: after how long, how many requests, and in what manner.

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, eventually};
use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::fairlead;

const CLOSE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn a_connection_that_is_old_carries_one_more_request() {
    let proxy = fairlead()
        .http("keepalive_time 1s; keepalive_requests 1000000; server { listen 127.0.0.1:{port}; return 200 x; }");
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("/").header("connection"), Some("keep-alive"));
    let (begun, mut answers) = (Instant::now(), 0);
    while client.get("/").header("connection") == Some("keep-alive") {
        answers += 1;
        assert!(begun.elapsed() < Duration::from_secs(20), "it never ends");
    }
    client.assert_closed();
    assert!(answers > 0 && begun.elapsed() > Duration::from_millis(800), "{:?}", begun.elapsed());
}

#[test]
fn a_second_time_is_told_to_clients() {
    let proxy = fairlead().http("keepalive_timeout 75s 20s; server { listen 127.0.0.1:{port}; return 200 x; }");
    let answer = proxy.get("/");
    assert_eq!(answer.header("keep-alive"), None, "this connection is to be closed");
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.request("GET / HTTP/1.1\r\nHost: h\r\n\r\n").header("keep-alive"), Some("timeout=20"));
}

/// A connection whose answer has been read to its end.
fn answered(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.address());
    client.send(CLOSE);
    assert!(client.rest().ends_with(b"x"));
    client
}

/// How long more can be sent before the other side is gone.
fn lingers(client: &Client) -> Duration {
    let begun = Instant::now();
    let mut stream = client.stream();
    while stream.write_all(b"more").is_ok() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

#[test]
fn what_still_comes_is_read_for_a_while() {
    let rows = |rows: &str| fairlead().http(&format!("{rows} server {{ listen 127.0.0.1:{{port}}; return 200 x; }}"));
    let proxy = rows("lingering_close always; lingering_time 1s; lingering_timeout 10s;");
    let time = lingers(&answered(&proxy));
    assert!((800..10_000).contains(&time.as_millis()), "as long as lingering_time: {time:?}");
    for none in ["lingering_close off;", "lingering_close on;"] {
        let time = lingers(&answered(&rows(none)));
        assert!(time < Duration::from_millis(800), "{none} nothing was to be expected: {time:?}");
    }
    let proxy = rows("lingering_close always; lingering_time 60s; lingering_timeout 300ms;");
    let mut silence = Duration::from_millis(50);
    loop {
        let client = answered(&proxy);
        std::thread::sleep(silence);
        if lingers_not(&client) {
            break;
        }
        silence += Duration::from_millis(150);
        assert!(silence < Duration::from_secs(5), "lingering_timeout does not end it");
    }
    assert!(silence > Duration::from_millis(200), "{silence:?}");
}

/// Two writes: the first one is answered with a reset when nobody is there.
fn lingers_not(client: &Client) -> bool {
    let mut stream = client.stream();
    let first = stream.write_all(b"more").is_err();
    std::thread::sleep(Duration::from_millis(20));
    first || stream.write_all(b"more").is_err()
}

#[test]
fn a_refused_body_does_not_take_the_answer_along() {
    let proxy = fairlead().http(
        "client_max_body_size 1k; server { listen 127.0.0.1:{port}; location / { proxy_pass http://127.0.0.1:1; } }",
    );
    let mut client = Client::connect(proxy.address());
    let mut stream = client.stream();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n").unwrap();
    for _ in 0..40 {
        // A connection that was reset would take no more, and the answer would be lost.
        if stream.write_all(&[b'x'; 100_000]).is_err() {
            break;
        }
    }
    assert_eq!(client.response().status(), 413);
}

#[test]
fn a_reset_leaves_nothing_behind() {
    let ended = |rows: &str| {
        let proxy = fairlead()
            .http(&format!("{rows} client_header_timeout 1s; server {{ listen 127.0.0.1:{{port}}; return 444; }}"));
        ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHo"].map(|sent| {
            let client = Client::connect(proxy.address());
            client.stream().write_all(sent.as_bytes()).unwrap();
            client.stream().read(&mut [0; 100]).map_err(|error| error.kind())
        })
    };
    assert_eq!(ended("reset_timedout_connection on;"), [Err(ErrorKind::ConnectionReset); 2]);
    assert_eq!(ended("reset_timedout_connection off;"), [Ok(0), Ok(0)]);
}

#[test]
fn a_client_that_reads_nothing_is_left() {
    let proxy = fairlead().file("large", vec![b'x'; 20_000_000]).http(
        "log_format own '$uri $status $request_completion.'; send_timeout 1s; access_log {dir}/own.log own;
         server { listen 127.0.0.1:{port}; root {dir}; }",
    );
    let mut client = Client::connect(proxy.address());
    client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is logged", || proxy.directory().read("own.log") == "/large 200 .\n");
    assert!(client.try_rest().map_or(true, |rest| rest.len() < 20_000_000));
}

#[test]
fn without_chunks_the_end_of_the_connection_ends_the_body() {
    let peer = HttpPeer::start(|_| {
        Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec())
    });
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; }
            location /off { chunked_transfer_encoding off; proxy_pass http://{peer}; } }",
    );
    let mut client = Client::connect(proxy.address());
    let answer = client.get("/");
    assert_eq!((answer.header("transfer-encoding"), answer.text().as_str()), (Some("chunked"), "abc"));
    let answer = client.get("/off");
    assert_eq!((answer.header("transfer-encoding"), answer.header("connection")), (None, Some("close")));
    assert_eq!(answer.text(), "abc");
}

/// `TCP_NODELAY` of the one client connection of a process, looked at from outside.
const LOOK: &str = r#"
import ctypes, os, socket, sys
pid, port = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
handle = os.pidfd_open(pid)
for name in os.listdir(f"/proc/{pid}/fd"):
    try:
        if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"): continue
        s = socket.socket(fileno=libc.syscall(438, handle, int(name), 0))
        if s.family == socket.AF_INET and s.getsockname()[1] == port and s.getpeername():
            print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    except OSError: pass
"#;

#[test]
fn small_writes_leave_at_once_unless_told_otherwise() {
    for (rows, expected) in [("", "1\n"), ("tcp_nodelay off;", "0\n")] {
        let proxy =
            fairlead().workers(1).http(&format!("{rows} server {{ listen 127.0.0.1:{{port}}; return 200 x; }}"));
        let mut client = Client::connect(proxy.address());
        client.get("/");
        let (pid, port) = (proxy.workers()[0].to_string(), proxy.address().port().to_string());
        let output = Command::new("python3").args(["-c", LOOK, &pid, &port]).output().expect("python3 is installed");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{rows} {output:?}");
    }
}
