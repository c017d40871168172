//! Passive failure detection: `max_fails` failures within `fail_timeout` leave a peer out for as
//! long, then one request tries it again.

use std::time::Instant;

use fairlead_harness::{Answer, HttpPeer, Proxy, eventually};

use crate::fairlead;

fn start(bad: &HttpPeer, good: &HttpPeer, parameters: &str) -> Proxy {
    fairlead().workers(1).set("bad", bad.address()).set("good", good.address()).http(&format!(
        "upstream group {{ zone group 64k; server {{bad}} {parameters}; server {{good}}; }}
        server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://group; proxy_next_upstream error timeout http_500; }} }}"
    ))
}

fn failing() -> HttpPeer {
    HttpPeer::start(|_| Answer::status("500 No", "no"))
}

fn ask(proxy: &Proxy, count: usize) {
    for _ in 0..count {
        assert_eq!(proxy.get("/").status(), 200);
    }
}

#[test]
fn one_failure_is_enough_by_default() {
    let (bad, good) = (failing(), HttpPeer::named("good"));
    let proxy = start(&bad, &good, "");
    ask(&proxy, 20);
    assert_eq!(bad.requests().len(), 1);
    proxy.wait_for_error("upstream server temporarily disabled");
}

#[test]
fn max_fails_says_how_many() {
    let (bad, good) = (failing(), HttpPeer::named("good"));
    let proxy = start(&bad, &good, "max_fails=3 fail_timeout=60s");
    ask(&proxy, 40);
    assert_eq!(bad.requests().len(), 3);
}

#[test]
fn max_fails_zero_never_leaves_a_peer_out() {
    let (bad, good) = (failing(), HttpPeer::named("good"));
    let proxy = start(&bad, &good, "max_fails=0");
    ask(&proxy, 40);
    assert_eq!(bad.requests().len(), 20);
}

#[test]
fn after_fail_timeout_one_request_tries_it_again() {
    let (bad, good) = (failing(), HttpPeer::named("good"));
    let proxy = start(&bad, &good, "fail_timeout=1s");
    ask(&proxy, 4);
    assert_eq!(bad.requests().len(), 1);
    let start = Instant::now();
    eventually("it is tried again", || {
        ask(&proxy, 1);
        bad.requests().len() == 2
    });
    assert!(start.elapsed().as_millis() > 500, "not at once");
    ask(&proxy, 10);
    assert_eq!(bad.requests().len(), 2, "it failed again and is left out again");
}

#[test]
fn a_peer_that_came_back_gets_its_share_again() {
    let (first, second) = (HttpPeer::named("first"), HttpPeer::named("second"));
    let proxy = start(&first, &second, "fail_timeout=1s");
    ask(&proxy, 4);
    let port = first.stop().unwrap();
    ask(&proxy, 10);
    let first = HttpPeer::named_at("first", port.address());
    eventually("it is tried again", || {
        ask(&proxy, 1);
        !first.requests().is_empty()
    });
    let before = first.requests().len();
    ask(&proxy, 20);
    let share = first.requests().len() - before;
    assert!((8..=12).contains(&share), "{share} of 20");
}

#[test]
fn the_only_peer_is_never_left_out() {
    let bad = failing();
    let proxy = fairlead().set("bad", bad.address()).http(
        "upstream group { server {bad}; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; proxy_next_upstream http_500; } }",
    );
    for _ in 0..5 {
        assert_eq!(proxy.get("/").status(), 500);
    }
    assert_eq!(bad.requests().len(), 5);
}

#[test]
fn backups_wait_for_their_turn() {
    let (first, backup) = (HttpPeer::named("first"), HttpPeer::named("backup"));
    let proxy = fairlead().workers(1).set("first", first.address()).set("backup", backup.address()).http(
        "upstream group { zone group 64k; server {first} fail_timeout=1s; server {backup} backup; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; } }",
    );
    ask(&proxy, 10);
    assert_eq!(backup.requests().len(), 0);
    let port = first.stop().unwrap();
    ask(&proxy, 10);
    assert_eq!(backup.requests().len(), 10);
    let first = HttpPeer::named_at("first", port.address());
    eventually("the first serves again", || {
        ask(&proxy, 1);
        !first.requests().is_empty()
    });
    ask(&proxy, 5);
    assert!(first.requests().len() >= 6, "{}", first.requests().len());
}
