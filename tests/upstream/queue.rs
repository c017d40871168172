//! `queue`: requests wait for a server below its `max_conns`. (NGINX Plus has it and Debian's nginx
//! does not.)

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fairlead_harness::{Answer, Client, HttpPeer, Load, Proxy, Signal, eventually};

use crate::fairlead;

/// A server that answers a request of `/hold…` when it is told to.
struct Gate {
    peer: HttpPeer,
    open: Sender<()>,
}

impl Gate {
    fn new(name: &'static str) -> Gate {
        let (open, opened): (_, Receiver<()>) = channel();
        let opened = Arc::new(Mutex::new(opened));
        let peer = HttpPeer::start(move |request| {
            if request.target().starts_with("/hold") {
                let opened = opened.clone();
                return Answer::Talk(Box::new(move |stream| {
                    let _ = opened.lock().unwrap().recv();
                    let _ = std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld");
                }));
            }
            Answer::ok(name)
        });
        Gate { peer, open }
    }

    /// One of those that are held is answered.
    fn open(&self) {
        self.open.send(()).unwrap();
    }
}

fn start(gate: &Gate, queue: &str, servers: &str, workers: usize) -> Proxy {
    fairlead().workers(workers).set("gate", gate.peer.address()).http(&blocks(queue, servers))
}

fn blocks(queue: &str, servers: &str) -> String {
    format!(
        "log_format queued '$uri $status $upstream_status $upstream_queue_time $upstream_addr';
        upstream group {{ zone group 64k; server {{gate}} max_conns=1; {servers} {queue} }}
        server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log queued;
            location / {{ proxy_pass http://group; }} }}"
    )
}

fn send(proxy: &Proxy, path: &str) -> Client {
    let mut client = Client::connect(proxy.address());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    client
}

/// Occupies the only connection.
fn hold(proxy: &Proxy, gate: &Gate) -> Client {
    let before = gate.peer.requests().len();
    let client = send(proxy, "/hold");
    eventually("it arrives", || gate.peer.requests().len() > before);
    client
}

/// Waits until so many requests have joined the queue since the start.
fn joined(proxy: &Proxy, count: usize) {
    eventually(&format!("{count} wait"), || proxy.error_log().matches("waits in the queue").count() == count);
}

/// The fields of the log line of a path.
fn logged(proxy: &Proxy, path: &str) -> Vec<String> {
    let mut found = None;
    eventually(&format!("{path} is logged"), || {
        found = proxy.access_log().into_iter().find(|line| line.starts_with(&format!("{path} ")));
        found.is_some()
    });
    found.unwrap().split(' ').map(str::to_owned).collect()
}

#[test]
fn a_request_waits_until_there_is_room() {
    let gate = Gate::new("gate");
    let proxy = start(&gate, "queue 10;", "", 2);
    let mut held = hold(&proxy, &gate);
    let mut waiting = send(&proxy, "/waits");
    joined(&proxy, 1);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(gate.peer.requests().len(), 1, "it is not sent on yet");
    gate.open();
    assert_eq!((held.response().status(), waiting.response().text()), (200, "gate".to_owned()));
    let line = logged(&proxy, "/waits");
    let waited: f64 = line[3].parse().unwrap();
    assert!(line[1] == "200" && waited >= 0.09, "{line:?}");
    assert_eq!(logged(&proxy, "/hold")[3], "-", "who did not wait has no such time");
}

#[test]
fn who_came_first_goes_first_whatever_worker_has_it() {
    let gate = Gate::new("gate");
    let proxy = start(&gate, "queue 20;", "", 4);
    let mut held = vec![hold(&proxy, &gate)];
    for number in 0..12 {
        held.push(send(&proxy, &format!("/hold{number}")));
        joined(&proxy, number + 1);
    }
    assert_eq!(gate.peer.requests().len(), 1);
    for number in 0..13 {
        gate.open();
        eventually("the next one arrives", || gate.peer.requests().len() > (number + 1).min(12));
    }
    let order: Vec<String> = gate.peer.requests().iter().map(|request| request.target().to_owned()).collect();
    let expected: Vec<String> =
        std::iter::once("/hold".to_owned()).chain((0..12).map(|n| format!("/hold{n}"))).collect();
    assert_eq!(order, expected);
    assert!(held.iter_mut().all(|client| client.response().status() == 200));
}

#[test]
fn a_full_queue_and_a_long_wait_are_502() {
    let gate = Gate::new("gate");
    let proxy = start(&gate, "queue 2 timeout=2s;", "", 1);
    let mut held = hold(&proxy, &gate);
    let began = Instant::now();
    let mut waiting = [send(&proxy, "/first"), send(&proxy, "/second")];
    joined(&proxy, 2);
    assert_eq!(send(&proxy, "/third").response().status(), 502);
    proxy.wait_for_error("upstream queue of \"group\" is full");
    assert!(waiting.iter_mut().all(|client| client.response().status() == 502));
    assert!(began.elapsed() >= Duration::from_millis(1990), "after their time");
    proxy.wait_for_error("upstream queue timed out");
    let line = logged(&proxy, "/first");
    assert_eq!((&*line[2], &*line[4]), ("502", "group"));
    assert!(line[3].parse::<f64>().unwrap() >= 1.99, "{line:?}");
    gate.open();
    assert_eq!(held.response().status(), 200);
    assert_eq!(send(&proxy, "/again").response().text(), "gate");
    assert_eq!(gate.peer.requests().len(), 2);
}

#[test]
fn who_goes_away_leaves_his_place() {
    let gate = Gate::new("gate");
    let proxy = start(&gate, "queue 1;", "", 2);
    let mut held = hold(&proxy, &gate);
    let leaving = send(&proxy, "/leaves");
    joined(&proxy, 1);
    drop(leaving);
    let line = logged(&proxy, "/leaves");
    assert_eq!((&*line[1], &*line[2]), ("499", "-"), "{line:?}");
    let mut next = send(&proxy, "/next");
    joined(&proxy, 2);
    gate.open();
    assert_eq!((held.response().status(), next.response().status()), (200, 200));
    assert!(gate.peer.requests().iter().all(|request| request.target() != "/leaves"));
}

#[test]
fn only_room_is_waited_for() {
    let gate = Gate::new("gate");
    let proxy = start(&gate, "queue 10;", "server 127.0.0.1:1 down;", 1);
    let port = gate.peer.stop();
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(send(&proxy, "/").response().status(), 502);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    proxy.wait_for_error("no live upstreams while connecting to upstream");
    drop(port);
}

#[test]
fn a_server_that_comes_back_takes_those_who_wait() {
    let gate = Gate::new("gate");
    let other = HttpPeer::named("other");
    let servers = format!("server {} fail_timeout=2s;", other.address());
    let proxy = start(&gate, "queue 10;", &servers, 1);
    let address = other.address();
    let port = other.stop();
    assert!((0..2).all(|_| proxy.get("/").text() == "gate"));
    proxy.wait_for_error("upstream server temporarily disabled");
    let other = HttpPeer::named_at("other", address);
    let held = hold(&proxy, &gate);
    let mut waiting = send(&proxy, "/waits");
    joined(&proxy, 1);
    assert_eq!(waiting.response().text(), "other", "when it may be tried again");
    assert_eq!(other.requests().len(), 1);
    drop((held, port));
}

#[test]
fn a_reload_keeps_those_who_wait() {
    let gate = Gate::new("gate");
    let mut proxy = start(&gate, "queue 10;", "", 2);
    let mut held = hold(&proxy, &gate);
    let mut waiting = send(&proxy, "/waits");
    joined(&proxy, 1);
    let body = blocks("queue 5 timeout=30s;", "");
    proxy.rewrite(&format!("http {{ {body} server {{ listen 127.0.0.1:{{port_new}}; return 204; }} }}"));
    proxy.signal(Signal::SIGHUP);
    eventually("the new configuration serves", || {
        fairlead_harness::client::Client::try_connect(proxy.port("port_new")).is_ok()
    });
    let mut behind = send(&proxy, "/behind");
    joined(&proxy, 2);
    assert_eq!(gate.peer.requests().len(), 1, "the server is still full");
    gate.open();
    assert!([&mut held, &mut waiting, &mut behind].into_iter().all(|client| client.response().status() == 200));
    assert_eq!(gate.peer.requests()[1].target(), "/waits");
}

#[test]
fn nobody_is_forgotten_while_many_wait_on_several_workers() {
    let (a, b) = (HttpPeer::named("a"), HttpPeer::named("b"));
    let proxy = fairlead().workers(4).set("a", a.address()).set("b", b.address()).http(
        "upstream group { zone group 64k; server {a} max_conns=1; server {b} max_conns=1; queue 100 timeout=15s; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; } }",
    );
    let (kept, new) = (Load::keepalive(proxy.address(), "/", 12), Load::new_connections(proxy.address(), "/", 4));
    kept.advance(1500);
    new.advance(100);
    for report in [kept.stop(), new.stop()] {
        assert!(report.errors.is_empty() && report.requests >= 100, "{report:?}");
    }
    assert!(proxy.error_log().contains("waits in the queue"), "some had to wait");
    assert!(!proxy.error_log().contains("queue timed out"), "nobody waited in vain");
}
