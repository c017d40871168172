//! The same key picks the same peer as in nginx, bit for bit.

use std::collections::HashMap;
use std::io::Read;

use fairlead_harness::{Client, HttpPeer, Proxy, Setup, TcpPeer, connect_from};

use crate::fairlead;

const WEIGHTS: [usize; 7] = [1, 2, 3, 1, 5, 2, 1];
const KEYS: usize = 10_000;

fn servers(addresses: impl Iterator<Item = std::net::SocketAddr>) -> String {
    addresses.zip(WEIGHTS).map(|(address, weight)| format!("server {address} weight={weight};")).collect()
}

fn http_group(setup: Setup, peers: &[HttpPeer], method: &str) -> Proxy {
    setup.http(&format!(
        "keepalive_requests 100000; access_log off;
        upstream group {{ {method} {} keepalive 16; }}
        server {{ listen 127.0.0.1:{{port}}; location / {{
            proxy_pass http://group; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}",
        servers(peers.iter().map(HttpPeer::address))
    ))
}

fn seven() -> Vec<HttpPeer> {
    (0..7).map(|number| HttpPeer::named(&number.to_string())).collect()
}

/// The peer of each key; requests are sent in batches, since the peer's order is the answer's order.
fn answers(proxy: &Proxy, keys: &[String]) -> Vec<String> {
    let mut client = Client::connect(proxy.address());
    let mut answers = Vec::with_capacity(keys.len());
    for batch in keys.chunks(50) {
        let requests: String = batch.iter().map(|key| format!("GET {key} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
        client.send(requests);
        answers.extend(batch.iter().map(|_| client.response().text()));
    }
    answers
}

#[track_caller]
fn assert_same(keys: &[String], ours: &[String], nginx: &[String]) {
    let different: Vec<_> = keys.iter().zip(ours.iter().zip(nginx)).filter(|(_, (one, two))| one != two).collect();
    assert!(
        different.is_empty(),
        "{} of {} differ: {:?}",
        different.len(),
        keys.len(),
        &different[..5.min(different.len())]
    );
    let mut counts: HashMap<&String, usize> = HashMap::new();
    for answer in ours {
        *counts.entry(answer).or_default() += 1;
    }
    assert_eq!(counts.len(), 7, "every peer has its share: {counts:?}");
}

#[test]
fn consistent_hash_in_http_picks_nginxs_peer_for_every_key() {
    let peers = seven();
    let keys: Vec<String> = (0..KEYS).map(|number| format!("/key/{}", number * 7919)).collect();
    for method in ["hash $request_uri consistent;", "hash $request_uri;"] {
        let ours = answers(&http_group(fairlead(), &peers, method), &keys);
        let nginx = answers(&http_group(Setup::nginx(), &peers, method), &keys);
        assert_same(&keys, &ours, &nginx);
    }
}

#[test]
fn ip_hash_in_http_picks_nginxs_peer_for_every_address() {
    let peers = seven();
    let (ours, nginx) = (http_group(fairlead(), &peers, "ip_hash;"), http_group(Setup::nginx(), &peers, "ip_hash;"));
    let sources: Vec<String> =
        (0..400_u32).map(|number| format!("127.{}.{}.{}", number % 251, number * 13 % 251, 1 + number % 200)).collect();
    let ask = |proxy: &Proxy| -> Vec<String> {
        sources.iter().map(|source| Client::connect_from(source, proxy.address()).get("/").text()).collect()
    };
    assert_same(&sources, &ask(&ours), &ask(&nginx));
}

/// The address is the key: 10,000 of them are 10,000 loopback addresses.
#[test]
fn consistent_hash_in_stream_picks_nginxs_peer_for_every_address() {
    let peers: Vec<TcpPeer> = (0..7_u8)
        .map(|number| {
            TcpPeer::start(move |mut stream| {
                let _ = std::io::Write::write_all(&mut stream, &[b'0' + number]);
            })
        })
        .collect();
    let start = |setup: Setup| {
        setup.stream(&format!(
            "upstream group {{ hash $remote_addr consistent; {} }}
            server {{ listen 127.0.0.1:{{port}}; proxy_pass group; }}",
            servers(peers.iter().map(TcpPeer::address))
        ))
    };
    let sources: Vec<String> = (0..KEYS)
        .map(|number| format!("127.{}.{}.{}", 1 + number / 2500, number / 250 % 10, 1 + number % 250))
        .collect();
    let ask = |proxy: &Proxy| -> Vec<String> {
        let one = |source: &String| {
            let mut answer = String::new();
            connect_from(source, proxy.address()).read_to_string(&mut answer).unwrap();
            answer
        };
        sources.iter().map(one).collect()
    };
    assert_same(&sources, &ask(&start(fairlead())), &ask(&start(Setup::nginx())));
}

#[test]
fn a_key_moves_only_when_its_own_peer_is_gone() {
    let mut peers = seven();
    let keys: Vec<String> = (0..2000).map(|number| format!("/key/{number}")).collect();
    let proxy = http_group(fairlead(), &peers, "hash $request_uri consistent;");
    let before = answers(&proxy, &keys);
    let port = peers.remove(3).stop();
    let after = answers(&proxy, &keys);
    for ((key, before), after) in keys.iter().zip(&before).zip(&after) {
        assert!(before == after || before == "3", "{key} moved from {before} to {after}");
        assert_ne!(after, "3", "{key}");
    }
    drop(port);
}
