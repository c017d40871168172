//! The parameters of `health_check` and the tests of `match`, one by one. (NGINX Plus has them and
//! Debian's nginx does not.)

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fairlead_harness::{Answer, HttpPeer, Proxy, Request, Signal, eventually};

use crate::fairlead;

/// Answers checks with what the switch says, and everything else with its name.
fn checked(name: &'static str, check: &'static str, answer: &str) -> (HttpPeer, Arc<Mutex<String>>) {
    let said = Arc::new(Mutex::new(answer.to_owned()));
    let now = said.clone();
    let peer = HttpPeer::start(move |request| match request.target() {
        target if target == check => Answer::Raw(now.lock().unwrap().clone().into_bytes()),
        _ => Answer::ok(name),
    });
    (peer, said)
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nX-State: good\r\nContent-Length: 4\r\n\r\nfine";
const BAD: &str = "HTTP/1.1 503 Ill\r\nContent-Length: 3\r\n\r\nill";

/// `{a}` is checked beside a peer that always passes.
fn start(a: &HttpPeer, more: &str, parameters: &str) -> (Proxy, HttpPeer) {
    let other = HttpPeer::named("other");
    let proxy =
        fairlead().workers(1).set("a", a.address()).set("other", other.address()).http(&blocks(more, parameters));
    (proxy, other)
}

fn blocks(more: &str, parameters: &str) -> String {
    format!(
        "{more}
        upstream group {{ zone group 64k; server {{a}}; server {{other}}; }}
        server {{ listen 127.0.0.1:{{port}}; server_name app.test;
            location / {{ proxy_pass http://group; proxy_set_header Host checked.test; proxy_set_header X-Name $host;
                proxy_set_header X-Client $remote_addr; health_check {parameters}; }} }}"
    )
}

fn serves(proxy: &Proxy, name: &str) -> bool {
    (0..4).any(|_| proxy.get("/").text() == name)
}

fn checks(peer: &HttpPeer, target: &str) -> Vec<Request> {
    peer.requests().into_iter().filter(|request| request.target() == target).collect()
}

#[test]
fn uri_says_what_is_asked_for_and_the_fields_are_the_locations() {
    let (a, _) = checked("a", "/state?full=1", GOOD);
    let (_proxy, _other) = start(&a, "", "interval=50ms uri=/state?full=1");
    eventually("it is checked", || checks(&a, "/state?full=1").len() >= 3);
    let check = checks(&a, "/state?full=1").pop().unwrap();
    assert_eq!(check.header("host"), Some("checked.test"));
    assert_eq!((check.header("x-name"), check.header("x-client")), (Some("app.test"), Some("127.0.0.1")));
    assert!(check.header("user-agent").unwrap().contains("health check"));
}

#[test]
fn port_says_where() {
    let (a, aside) = (HttpPeer::named("a"), HttpPeer::start(|_| Answer::status("503 Ill", "")));
    let (proxy, _other) = start(&a, "", &format!("interval=50ms port={}", aside.address().port()));
    eventually("it is left out", || !serves(&proxy, "a"));
    assert!(aside.requests().len() >= 2 && a.requests().iter().all(|request| request.header("x-client").is_some()));
}

#[test]
fn fails_and_passes_say_how_many_in_a_row() {
    let (a, said) = checked("a", "/state", GOOD);
    let (proxy, _other) = start(&a, "", "interval=300ms uri=/state fails=3 passes=2");
    eventually("it is checked", || !checks(&a, "/state").is_empty());
    *said.lock().unwrap() = BAD.to_owned();
    let before = checks(&a, "/state").len();
    eventually("it is left out", || !serves(&proxy, "a"));
    assert!(checks(&a, "/state").len() - before >= 3, "not before the third");
    *said.lock().unwrap() = GOOD.to_owned();
    let before = checks(&a, "/state").len();
    eventually("it serves again", || serves(&proxy, "a"));
    assert!(checks(&a, "/state").len() - before >= 2, "not before the second");
    proxy.wait_for_error("peer is unhealthy while checking status code");
    proxy.wait_for_error("peer is healthy");
}

#[test]
fn interval_and_jitter_say_how_often() {
    let (a, b) = (HttpPeer::named("a"), HttpPeer::named("b"));
    let proxy = fairlead().set("a", a.address()).set("b", b.address()).http(
        "upstream often { zone often 64k; server {a}; } upstream seldom { zone seldom 64k; server {b}; }
        server { listen 127.0.0.1:{port};
            location /a { proxy_pass http://often; health_check interval=100ms; }
            location /b { proxy_pass http://seldom; health_check interval=100ms jitter=1500ms; } }",
    );
    let start = Instant::now();
    eventually("twenty checks", || a.requests().len() >= 20);
    assert!(start.elapsed() >= Duration::from_millis(1700), "{:?}", start.elapsed());
    assert!(b.requests().len() <= 10, "{} checks with jitter", b.requests().len());
    drop(proxy);
}

#[test]
fn mandatory_waits_for_the_first_check_and_persistent_only_once() {
    for persistent in [false, true] {
        let (a, said) = checked("a", "/state", GOOD);
        let parameters = format!("interval=200ms uri=/state mandatory{}", if persistent { " persistent" } else { "" });
        let (mut proxy, other) = start(&a, "", &parameters);
        eventually("both have passed", || serves(&proxy, "a") && serves(&proxy, "other"));
        // From now on no check is answered.
        *said.lock().unwrap() = String::new();
        let more = "server { listen 127.0.0.1:{port_new}; return 204; }";
        proxy.rewrite(&format!("http {{ {} }}", blocks(more, &parameters.replace("interval=200ms", "interval=60s"))));
        proxy.signal(Signal::SIGHUP);
        let reached = || fairlead_harness::Client::try_connect(proxy.port("port_new")).is_ok();
        eventually("the new configuration serves", reached);
        eventually("the old one does so no longer", || serves(&proxy, "a") == persistent);
        drop(other);
    }
}

#[test]
fn keepalive_time_says_how_long_one_connection_serves() {
    let (a, _) = checked("a", "/state", GOOD);
    let (proxy, _other) = start(&a, "", "interval=20ms uri=/state keepalive_time=10m");
    eventually("twenty checks", || checks(&a, "/state").len() >= 20);
    let mut connections: Vec<usize> = checks(&a, "/state").iter().map(|check| check.connection).collect();
    connections.dedup();
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert!(checks(&a, "/state")[0].header("connection").is_none());
    // It is closed by the peer while nobody uses it: that is no failure.
    let address = a.address();
    let port = a.stop();
    let a = HttpPeer::start_at(address, |_| Answer::Last(GOOD.as_bytes().to_vec()));
    eventually("it is checked again", || a.requests().len() >= 5);
    drop((proxy, port));
}

#[test]
fn a_match_asks_for_status_header_body_and_variables() {
    let cases = [
        ("status 200;", GOOD, BAD),
        ("status ! 503;", GOOD, BAD),
        ("status 200-299 503; status ! 503;", GOOD, BAD),
        ("header X-State = good;", GOOD, BAD),
        ("header X-State != bad;", GOOD, BAD),
        ("header X-State ~ ^go;", GOOD, BAD),
        ("status 200-599; header ! X-State;", BAD, GOOD),
        ("body ~ fin; status 200-599;", GOOD, BAD),
        ("body !~* FINE; status 200-599;", BAD, GOOD),
        ("require $upstream_http_x_state;", GOOD, BAD),
        ("status 200-599; require $good_status $upstream_http_x_state;", GOOD, BAD),
        ("status 200-599; require $bad_status $short;", BAD, GOOD),
    ];
    for (tests, good, bad) in cases {
        let (a, said) = checked("a", "/state", good);
        let more = format!(
            "map $upstream_status $good_status {{ 200 1; default 0; }} map $upstream_status $bad_status {{ 503 1; }}
            map $upstream_response_length $short {{ 3 yes; }} match test {{ {tests} }}"
        );
        let (proxy, _other) = start(&a, &more, "interval=30ms uri=/state match=test");
        eventually(&format!("{tests} is asked"), || checks(&a, "/state").len() >= 2);
        assert!(serves(&proxy, "a"), "{tests} passes");
        *said.lock().unwrap() = bad.to_owned();
        eventually(&format!("{tests} fails"), || !serves(&proxy, "a"));
        *said.lock().unwrap() = good.to_owned();
        eventually(&format!("{tests} passes again"), || serves(&proxy, "a"));
    }
}

#[test]
fn what_is_wrong_is_told() {
    let check = |more: &str, parameters: &str| {
        let blocks = format!(
            "http {{ {more} upstream u {{ zone u 64k; server 127.0.0.1:1; }}
            server {{ location / {{ proxy_pass http://u; health_check {parameters}; }} }} }}"
        );
        fairlead().check(&blocks)
    };
    for (more, parameters, said) in [
        ("", "match=none", "match \"none\" is not found"),
        ("", "uri=state", "invalid parameter \"uri=state\""),
        ("", "persistent", "\"persistent\" requires \"mandatory\""),
        ("", "type=grpc", "\"type=grpc\" is known to nginx, not built in fairlead"),
        ("", "uri=/x type=grpc grpc_status=12", "main.conf:9:76\n"),
        ("", "type=grpc", "checks of gRPC services need HTTP/2 to the peers"),
        ("match m { require good; }", "match=m", "invalid variable name \"good\""),
        ("match m { require $good; }", "match=m", "unknown \"good\" variable"),
    ] {
        let (fine, shown) = check(more, parameters);
        assert!(!fine && shown.contains(said), "{parameters}: {shown}");
    }
}
