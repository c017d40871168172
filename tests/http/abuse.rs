//! Clients that want to wear the server down: they send slowly, read slowly, stay, or send too much.
//! Each costs bounded memory, keeps nobody else waiting for ever, and ends in its status.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, Signal, connect, connect_from, eventually, get, process};

use crate::fairlead;

const MIB: u64 = 1 << 20;

fn lines(proxy: &Proxy, status: &str) -> usize {
    let marked = format!("\" {status} ");
    proxy.access_log().iter().filter(|line| line.contains(&marked)).count()
}

/// Ends it gracefully: whatever was counted as going on is over.
#[track_caller]
fn assert_nothing_left(mut proxy: Proxy) {
    proxy.stop_with(Signal::SIGQUIT);
    let log = proxy.error_log();
    let totals = log.lines().find(|line| line.contains("http totals: ")).expect("totals");
    assert!(totals.contains(" reading=0 writing=0 waiting=0 leases=0"), "{totals}");
    assert!(!log.contains("exited on signal"), "{log}");
}

#[test]
fn heads_that_never_end_are_given_up_however_steadily_they_come() {
    let proxy = fairlead().workers(1).http(
        "client_header_timeout 1s; lingering_close off;
         server { listen 127.0.0.1:{port}; location / { return 200 here; } }",
    );
    let mut slow: Vec<TcpStream> = (0..200).map(|_| connect(proxy.address())).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX: ").unwrap();
    }
    // Each byte comes well before the time is over, which counts for the whole head.
    eventually("all are given up", || {
        slow.iter_mut().for_each(|stream| drop(stream.write_all(b"y")));
        assert_eq!(get(proxy.address(), "/").text(), "here");
        lines(&proxy, "408") == 200
    });
    assert_nothing_left(proxy);
}

#[test]
fn unfinished_heads_and_bodies_cost_bounded_memory() {
    let peer = HttpPeer::named("peer");
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        "client_header_timeout 30s; client_body_timeout 30s; client_body_buffer_size 8k;
         server { listen 127.0.0.1:{port}; client_max_body_size 1m;
            location / { proxy_pass http://{peer}; } location /here { return 200 here; } }",
    );
    let worker = proxy.workers()[0];
    assert_eq!(get(proxy.address(), "/").text(), "peer");
    let before = process::resident(worker);
    let mut stuck = Vec::new();
    for _ in 0..300 {
        let mut head = connect(proxy.address());
        let fields = "X: ".to_owned() + &"y".repeat(7000) + "\r\n";
        head.write_all(format!("GET / HTTP/1.1\r\nHost: h\r\n{}", fields.repeat(4)).as_bytes()).unwrap();
        let mut body = connect(proxy.address());
        body.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n").unwrap();
        body.write_all(&[b'x'; 100_000]).unwrap();
        stuck.extend([head, body]);
    }
    assert_eq!(get(proxy.address(), "/here").text(), "here");
    // A head may take 32 KiB, a body one read of the socket and what is on its way to its file.
    let grown = process::resident(worker).saturating_sub(before);
    assert!(grown < 100 * MIB, "{} KiB for 300 heads and 300 bodies", grown >> 10);
    drop(stuck);
    proxy.access_lines(602);
    assert_eq!(lines(&proxy, "400"), 600);
    assert_nothing_left(proxy);
}

#[test]
fn those_who_do_not_read_are_given_up_and_cost_little() {
    let peer = HttpPeer::start(|_| {
        Answer::Talk(Box::new(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            let chunk = [b'x'; 65536];
            while stream.write_all(&chunk).is_ok() {}
        }))
    });
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        "send_timeout 1s; proxy_max_temp_file_size 0;
         server { listen 127.0.0.1:{port};
            location / { proxy_pass http://{peer}; } location /here { return 200 here; } }",
    );
    let worker = proxy.workers()[0];
    assert_eq!(get(proxy.address(), "/here").text(), "here");
    let before = process::resident(worker);
    let idle: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = connect(proxy.address());
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let mut most = 0;
    eventually("all are given up", || {
        most = most.max(process::resident(worker));
        assert_eq!(get(proxy.address(), "/here").text(), "here");
        proxy.access_log().iter().filter(|line| line.contains("\"GET / HTTP/1.1\" 200")).count() == 100
    });
    let grown = most.saturating_sub(before);
    assert!(grown < 60 * MIB, "{} KiB for 100 who do not read", grown >> 10);
    drop(idle);
    assert_nothing_left(proxy);
}

#[test]
fn ten_thousand_that_stay_cost_little_and_outlive_a_reload() {
    const MANY: usize = 10_000;
    fairlead_harness::process::allow_descriptors(MANY + 2000);
    let http = "keepalive_timeout 1h; access_log off;
        server { listen 127.0.0.1:{port} backlog=4096; location / { return 200 here; } }";
    let mut proxy =
        fairlead().main("worker_rlimit_nofile 20000;").events("worker_connections 12000;").workers(1).http(http);
    let worker = proxy.workers()[0];
    assert_eq!(get(proxy.address(), "/").text(), "here");
    let (before, open) = (process::resident(worker), process::descriptors(worker));
    let mut clients: Vec<TcpStream> = Vec::with_capacity(MANY);
    for number in 0..MANY {
        let mut client = connect_from(&format!("127.0.1.{}", number % 200 + 1), proxy.address());
        assert_eq!(ask(&mut client), "200");
        clients.push(client);
    }
    let grown = process::resident(worker).saturating_sub(before);
    assert!(grown < MANY as u64 * 4096, "{} bytes for each", grown / MANY as u64);
    proxy.rewrite(&fairlead_harness::setup::http_block(&http.replace("return 200 here", "return 201 there")));
    proxy.signal(Signal::SIGHUP);
    eventually("the new generation serves", || get(proxy.address(), "/").status() == 201);
    for client in clients.iter_mut().step_by(97) {
        assert_eq!(ask(client), "201");
    }
    drop(clients);
    eventually("all are closed", || process::descriptors(worker) <= open);
    assert_nothing_left(proxy);
}

/// The status of a GET on a connection that stays.
fn ask(client: &mut TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = [0; 1024];
    let count = client.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[9..count.clamp(9, 12)]).into_owned()
}

#[test]
fn a_flood_of_pipelined_requests_keeps_nobody_else_waiting() {
    let proxy = fairlead()
        .workers(1)
        .http("keepalive_requests 100000000; access_log off; server { listen 127.0.0.1:{port}; location / { return 200 here; } }");
    let worker = proxy.workers()[0];
    assert_eq!(get(proxy.address(), "/").text(), "here");
    let before = process::resident(worker);
    let stop = AtomicBool::new(false);
    let stopped = &stop;
    std::thread::scope(|scope| {
        let flood = connect(proxy.address());
        let (mut writer, mut reader) = (flood.try_clone().unwrap(), flood.try_clone().unwrap());
        scope.spawn(move || {
            let many = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
            while !stopped.load(Ordering::Relaxed) && writer.write_all(&many).is_ok() {}
            let _ = flood.shutdown(std::net::Shutdown::Both);
        });
        scope.spawn(move || {
            let mut chunk = [0; 65536];
            while matches!(reader.read(&mut chunk), Ok(count) if count > 0) {}
        });
        for _ in 0..50 {
            assert_eq!(get(proxy.address(), "/").text(), "here");
        }
        stopped.store(true, Ordering::Relaxed);
    });
    // One who sends and never reads is not read from, either.
    let mut deaf = connect(proxy.address());
    deaf.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let many = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
    while deaf.write_all(&many).is_ok() {}
    assert_eq!(get(proxy.address(), "/").text(), "here");
    let grown = process::resident(worker).saturating_sub(before);
    assert!(grown < 20 * MIB, "{} KiB", grown >> 10);
    drop(deaf);
    assert_nothing_left(proxy);
}

#[test]
fn a_thousand_ranges_are_answered_with_the_file_once() {
    let proxy = fairlead()
        .file("files/letters", "abcdefghijklmnopqrstuvwxyz".repeat(100))
        .http("server { listen 127.0.0.1:{port}; root {dir}/files; }");
    for list in ["0-,".repeat(1000) + "0-", "0-2599,".repeat(500) + "-2600", "1-,".repeat(2000) + "0-"] {
        let mut client = Client::connect(proxy.address());
        let answer = client.request(format!("GET /letters HTTP/1.1\r\nHost: h\r\nRange: bytes={list}\r\n\r\n"));
        assert_eq!((answer.status(), answer.body.len()), (200, 2600));
        assert_eq!(client.get("/letters").status(), 200);
    }
}

#[test]
fn all_of_it_at_once_and_a_reload_in_between() {
    let peer = HttpPeer::named("peer");
    let http = "client_header_timeout 1s; client_body_timeout 1s; send_timeout 1s; keepalive_timeout 1s;
        lingering_timeout 500ms; server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }";
    let mut proxy = fairlead().set("peer", peer.address()).http(http);
    let address = proxy.address();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    misuse(address, number)
                }
            });
        }
        for _ in 0..5 {
            for _ in 0..20 {
                assert_eq!(get(address, "/").text(), "peer");
            }
            proxy.rewrite(&fairlead_harness::setup::http_block(http));
            proxy.signal(Signal::SIGHUP);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(get(address, "/").text(), "peer");
    assert_nothing_left(proxy);
}

/// One client of each kind.
fn misuse(address: SocketAddr, kind: usize) {
    let Ok(mut client) = Client::try_connect(address) else { return };
    match kind {
        0 => client.send("GET / HT"),
        1 => client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello"),
        2 => client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        3 => client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(2000))),
        4 => client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(500)),
        5 => client.send(format!("GET /{}", "a".repeat(20_000))),
        6 => fairlead_harness::reset(client.stream()),
        _ => client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    }
    // Half of them see what comes of it, for as long as it takes.
    if kind.is_multiple_of(2) {
        let _ = client.try_rest();
    }
}
