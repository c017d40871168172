//! `limit_conn`: how many requests of one key may be in progress at once.

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, Signal, eventually};
use std::io::Read;

use crate::fairlead;

/// A peer that answers `/slow` only when the other side gives up.
fn slow_peer() -> HttpPeer {
    HttpPeer::start(|request| match request.target() {
        "/slow" => Answer::Talk(Box::new(|stream| {
            let _ = stream.read(&mut [0; 1]);
        })),
        _ => Answer::ok("a"),
    })
}

fn hold(proxy: &Proxy, peer: &HttpPeer) -> Client {
    let before = peer.requests().len();
    let mut client = Client::connect(proxy.address());
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the peer has it", || peer.requests().len() > before);
    client
}

fn status_from(proxy: &Proxy, source: &str) -> u16 {
    Client::connect_from(source, proxy.address()).get("/").status()
}

const ZONE: &str = "limit_conn_zone $binary_remote_addr zone=clients:1m;
    log_format s '$status [$limit_conn_status]';";

#[test]
fn a_client_has_no_more_requests_than_its_limit() {
    let peer = slow_peer();
    let proxy = fairlead().workers(2).set("peer", peer.address()).http(&format!(
        "{ZONE} server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log s; limit_conn clients 2; limit_conn_status 429;
           location / {{ proxy_pass http://{{peer}}; }} }}"
    ));
    let held = [hold(&proxy, &peer), hold(&proxy, &peer)];
    assert_eq!(status_from(&proxy, "127.0.0.1"), 429);
    assert_eq!(status_from(&proxy, "127.0.0.2"), 200, "another client has a limit of its own");
    proxy.wait_for_error(
        "limiting connections by zone \"clients\", client: 127.0.0.1, server: , request: \"GET / HTTP/1.1\"",
    );
    let mut log = proxy.access_lines(2);
    log.sort(); // Two workers write it.
    assert_eq!(log, ["200 [PASSED]", "429 [REJECTED]"]);
    drop(held);
    eventually("their ends make room", || status_from(&proxy, "127.0.0.1") == 200);
}

#[test]
fn an_idle_connection_counts_for_nobody() {
    let peer = slow_peer();
    let proxy = fairlead().set("peer", peer.address()).http(&format!(
        "{ZONE} server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log s; limit_conn clients 1; location / {{ proxy_pass http://{{peer}}; }} }}"
    ));
    let mut idle = Client::connect(proxy.address());
    assert_eq!(idle.get("/").status(), 200);
    eventually("it is over", || Client::connect(proxy.address()).get("/").status() == 200);
    assert_eq!(idle.get("/").status(), 200);
}

#[test]
fn a_dry_run_tells_and_lets_in() {
    let peer = slow_peer();
    let proxy = fairlead().set("peer", peer.address()).http(&format!(
        "{ZONE} limit_conn_dry_run on; limit_conn_log_level notice;
         server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log s; limit_conn clients 1; location / {{ proxy_pass http://{{peer}}; }} }}"
    ));
    let _held = hold(&proxy, &peer);
    assert_eq!(status_from(&proxy, "127.0.0.1"), 200);
    assert_eq!(proxy.access_lines(1), ["200 [REJECTED_DRY_RUN]"]);
    proxy.wait_for_error("limiting connections, dry run, by zone \"clients\"");
    assert!(proxy.error_log().lines().any(|line| line.contains("[notice]") && line.contains("dry run")));
}

#[test]
fn counts_survive_a_reload() {
    if fairlead().is_nginx() {
        return; // It says otherwise when a reload is done.
    }
    let peer = slow_peer();
    let proxy = fairlead().set("peer", peer.address()).http(&format!(
        "{ZONE} server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log s; limit_conn clients 1; location / {{ proxy_pass http://{{peer}}; }} }}"
    ));
    let held = hold(&proxy, &peer);
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error("generation 2 is served");
    assert_eq!(status_from(&proxy, "127.0.0.1"), 503);
    drop(held);
    eventually("its end makes room", || status_from(&proxy, "127.0.0.1") == 200);
}

#[test]
fn an_unknown_zone_is_refused_by_name() {
    let (accepted, printed) = fairlead().check("http { server { listen 127.0.0.1:{port}; limit_conn nobody 1; } }");
    assert!(!accepted && printed.contains("zero size shared memory zone \"nobody\""), "{printed}");
}
