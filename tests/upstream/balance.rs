//! The order of peers is nginx's own, weight for weight.

use fairlead_harness::{Client, HttpPeer, Proxy, Setup};

use crate::fairlead;

/// Start with these `server` parameters, one peer for each.
fn start(setup: Setup, peers: &[HttpPeer], parameters: &[&str], group: &str) -> Proxy {
    let servers: String = peers
        .iter()
        .zip(parameters)
        .map(|(peer, parameters)| format!("server {} {parameters};", peer.address()))
        .collect();
    setup.workers(1).http(&format!(
        "upstream group {{ {group} {servers} }}
        server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://group; }} }}"
    ))
}

fn peers(count: usize) -> Vec<HttpPeer> {
    (0..count).map(|number| HttpPeer::named(&number.to_string())).collect()
}

fn sequence(proxy: &Proxy, count: usize) -> String {
    let mut client = Client::connect(proxy.address());
    (0..count).map(|_| client.get("/").text()).collect::<Vec<_>>().join(" ")
}

#[test]
fn weighted_round_robin_gives_nginxs_sequence() {
    for weights in [
        &["", ""][..],
        &["weight=5", "weight=1", "weight=1"],
        &["weight=1", "weight=2", "weight=3", "weight=4"],
        &["weight=7", "weight=3", "weight=7", "weight=1", "weight=2"],
        &["weight=100", "weight=1", "weight=50"],
        &["", "down", "weight=2", "weight=3"],
    ] {
        let peers = peers(weights.len());
        let ours = sequence(&start(fairlead(), &peers, weights, ""), 160);
        let nginx = sequence(&start(Setup::nginx(), &peers, weights, ""), 160);
        assert_eq!(ours, nginx, "{weights:?}");
    }
}

#[test]
fn idle_least_conn_gives_nginxs_sequence() {
    let weights = ["weight=3", "weight=1", "weight=2"];
    let peers = peers(weights.len());
    let ours = sequence(&start(fairlead(), &peers, &weights, "least_conn;"), 60);
    let nginx = sequence(&start(Setup::nginx(), &peers, &weights, "least_conn;"), 60);
    assert_eq!(ours, nginx);
}

#[test]
fn the_sequence_continues_past_a_peer_that_failed_as_nginxs_does() {
    let weights = ["weight=4", "weight=2 max_fails=1 fail_timeout=60s", "weight=3"];
    let run = |setup: Setup| {
        let mut peers = peers(weights.len());
        let proxy = start(setup, &peers, &weights, "");
        let before = sequence(&proxy, 20);
        let port = peers.remove(1).stop();
        let after = sequence(&proxy, 60);
        drop(port);
        before + " | " + &after
    };
    assert_eq!(run(fairlead()), run(Setup::nginx()));
}

#[test]
fn least_conn_prefers_who_has_fewest_requests() {
    let slow = HttpPeer::start(|_| fairlead_harness::Answer::silence());
    let quick = HttpPeer::named("quick");
    let proxy = fairlead().workers(1).set("slow", slow.address()).set("quick", quick.address()).http(
        "upstream group { zone group 64k; least_conn; server {slow}; server {quick}; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; } }",
    );
    let mut stuck = Client::connect(proxy.address());
    stuck.send("GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n");
    fairlead_harness::eventually("one request is stuck", || slow.requests().len() + quick.requests().len() == 1);
    if slow.requests().is_empty() {
        stuck.send("GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n");
        fairlead_harness::eventually("one request is stuck", || slow.requests().len() == 1);
    }
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), "quick");
    }
}

#[test]
fn random_reaches_everyone_in_proportion() {
    let peers = peers(3);
    let weights = ["weight=2", "", ""];
    for method in ["random;", "random two;", "random two least_conn;"] {
        let proxy = start(fairlead(), &peers, &weights, method);
        let answers = sequence(&proxy, 800);
        let counts = ["0", "1", "2"].map(|name| answers.split(' ').filter(|answer| *answer == name).count());
        assert!(counts.iter().all(|count| *count > 100), "{method} {counts:?}");
        if method == "random;" {
            // 400 expected with a standard deviation of 14.
            assert!((330..470).contains(&counts[0]), "{counts:?}");
        }
    }
}
