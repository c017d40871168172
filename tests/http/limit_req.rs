//! `limit_req`: how fast requests of one key may come, over all workers and reloads.

use std::time::{Duration, Instant};

use fairlead_harness::{Client, HttpPeer, Proxy, Signal, get};

use crate::fairlead;

const LOG: &str = "log_format s '$status $limit_req_status';";

/// A proxied location behind `limits`, whose zone `one` counts clients at `rate`.
fn start(peer: &HttpPeer, rate: &str, limits: &str) -> Proxy {
    fairlead().workers(2).set("peer", peer.address()).http(&format!(
        "limit_req_zone $remote_addr zone=one:1m rate={rate}; {LOG}
         server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log s; {limits} location / {{ proxy_pass http://{{peer}}; }} }}"
    ))
}

fn statuses(proxy: &Proxy, count: usize) -> Vec<u16> {
    (0..count).map(|_| get(proxy.address(), "/").status()).collect()
}

#[test]
fn what_comes_too_early_is_turned_away() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer, "1r/m", "limit_req zone=one; limit_req_status 429;");
    assert_eq!(statuses(&proxy, 3), [200, 429, 429], "workers count together");
    assert_eq!(Client::connect_from("127.0.0.2", proxy.address()).get("/").status(), 200, "a bucket for each client");
    let mut log = proxy.access_lines(4);
    log.sort(); // Two workers write it.
    assert_eq!(log, ["200 PASSED", "200 PASSED", "429 REJECTED", "429 REJECTED"]);
    assert_eq!(peer.requests().len(), 2);
    let line = "limiting requests, excess: ";
    proxy.wait_for_error(line);
    let log = proxy.error_log();
    let line = log.lines().find(|found| found.contains(line)).unwrap();
    assert!(
        line.contains("[error]") && line.contains(" by zone \"one\", client: 127.0.0.1, server: , request: \"GET /"),
        "{line}"
    );
}

#[test]
fn a_burst_waits_its_turn() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer, "10r/s", "limit_req zone=one burst=5;");
    let started = Instant::now();
    assert_eq!(statuses(&proxy, 4), [200; 4]);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(280) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(proxy.access_lines(4).iter().filter(|line| *line == "200 DELAYED").count(), 3);
    proxy.wait_for_error("delaying request, excess: ");
    assert!(
        proxy.error_log().lines().any(|line| line.contains("[warn]") && line.contains(", by zone \"one\", client"))
    );
}

#[test]
fn nodelay_and_delay_let_some_of_the_burst_through_at_once() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer, "1r/m", "limit_req zone=one burst=2 nodelay;");
    assert_eq!(statuses(&proxy, 4), [200, 200, 200, 503]);
    assert_eq!(proxy.access_lines(4).iter().filter(|line| *line == "200 PASSED").count(), 3);
    let proxy = start(&peer, "5r/s", "limit_req zone=one burst=4 delay=2;");
    let started = Instant::now();
    assert_eq!(statuses(&proxy, 4), [200; 4]);
    assert!(started.elapsed() >= Duration::from_millis(180));
    assert_eq!(proxy.access_lines(4).iter().filter(|line| *line == "200 DELAYED").count(), 1);
}

#[test]
fn a_client_that_does_not_wait_is_not_answered() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer, "2r/m", "limit_req zone=one burst=5;");
    statuses(&proxy, 1);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_for_error("delaying request");
    drop(client);
    assert!(proxy.access_lines(2).contains(&"499 DELAYED".to_owned()));
    proxy.wait_for_error("client prematurely closed connection");
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn a_dry_run_tells_and_lets_through() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer, "1r/m", "limit_req zone=one burst=1; limit_req_dry_run on; limit_req_log_level notice;");
    assert_eq!(statuses(&proxy, 3), [200; 3]);
    let mut log = proxy.access_lines(3);
    log.sort();
    assert_eq!(log, ["200 DELAYED_DRY_RUN", "200 PASSED", "200 REJECTED_DRY_RUN"]);
    proxy.wait_for_error("limiting requests, dry run, excess: ");
    proxy.wait_for_error("delaying request, dry run, excess: ");
    let log = proxy.error_log();
    assert!(log.lines().any(|line| line.contains("[notice]") && line.contains("limiting")));
    assert!(log.lines().any(|line| line.contains("[info]") && line.contains("delaying")));
}

#[test]
fn several_zones_all_have_their_say_and_count_together() {
    let peer = HttpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).http(&format!(
        "limit_req_zone $remote_addr zone=clients:1m rate=1r/m; limit_req_zone $server_name zone=servers:1m rate=1r/m;
         limit_req_zone $arg_none zone=nobody:1m rate=1r/m; {LOG}
         server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log s; server_name s; limit_req zone=nobody; limit_req zone=clients nodelay burst=1;
           limit_req zone=servers burst=2 nodelay; location / {{ proxy_pass http://{{peer}}; }} }}"
    ));
    let from = |source: &str| Client::connect_from(source, proxy.address()).get("/").status();
    assert_eq!([from("127.0.0.1"), from("127.0.0.1"), from("127.0.0.1")], [200, 200, 503]);
    proxy.wait_for_error("by zone \"clients\"");
    // What one zone refused is not in the other.
    assert_eq!([from("127.0.0.2"), from("127.0.0.3")], [200, 503]);
    proxy.wait_for_error("by zone \"servers\"");
}

#[test]
fn buckets_survive_a_reload_and_take_its_new_rate() {
    let peer = HttpPeer::named("a");
    if fairlead().is_nginx() {
        return; // It says otherwise when a reload is done.
    }
    let proxy = start(&peer, "1r/m", "limit_req zone=one;");
    assert_eq!(statuses(&proxy, 2), [200, 503]);
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error("generation 2 is served");
    assert_eq!(statuses(&proxy, 1), [503]);
}

#[test]
fn what_is_wrong_is_told_in_nginxs_words() {
    for (http, message) in [
        ("limit_req_zone $host zone=a:1m rate=0r/s;", "invalid rate \"rate=0r/s\""),
        ("limit_req_zone $host zone=a:1k rate=1r/s;", "zone \"zone=a:1k\" is too small"),
        ("limit_req_zone $host zone=a rate=1r/s;", "invalid zone size \"zone=a\""),
        ("limit_req_zone $host rate=1r/s rate=1r/s;", "\"limit_req_zone\" must have \"zone\" parameter"),
        ("limit_req zone=none;", "zero size shared memory zone \"none\""),
        ("limit_req burst=5;", "\"limit_req\" must have \"zone\" parameter"),
        ("limit_req_zone $host zone=a:1m rate=1r/s; limit_req zone=a burst=0;", "invalid burst value \"burst=0\""),
        ("limit_req_zone $host zone=a:1m rate=1r/s; limit_req zone=a odd;", "invalid parameter \"odd\""),
    ] {
        let (accepted, printed) =
            fairlead().check(&format!("http {{ {http} server {{ listen 127.0.0.1:{{port}}; }} }}"));
        assert!(!accepted && printed.contains(message), "{http}: {printed}");
    }
}
