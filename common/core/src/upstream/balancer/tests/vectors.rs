//! The same picks as Debian's nginx made; see the head of the file for how they were captured.

use super::*;
use std::collections::BTreeMap;

const PICKS: &str = include_str!("nginx-1.22.1.txt");
const SEVEN: [u32; 7] = [5, 1, 3, 2, 8, 1, 4];

/// The lines that start with `kind`, each as its fields after that.
fn lines(kind: &str) -> impl Iterator<Item = Vec<&'static str>> + '_ {
    let fields = PICKS.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.filter(move |fields| fields[0] == kind).map(|fields| fields[1..].to_vec())
}

fn numbers(text: &str) -> Vec<u32> {
    text.split(',').map(|number| number.parse().unwrap()).collect()
}

fn listening(words: &str, weight: u32) -> Peer {
    let address = match words.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Ip(words.replace("localhost", "127.0.0.1").parse().unwrap()),
    };
    Peer { weight, ..Peer::new(address, words) }
}

fn seven(down: Option<usize>) -> Vec<Peer> {
    let peer = |(at, weight): (usize, &u32)| Peer {
        down: down == Some(at),
        ..listening(&format!("127.0.0.1:{}", 28101 + at), *weight)
    };
    SEVEN.iter().enumerate().map(peer).collect()
}

fn balancer(peers: Vec<Peer>, method: Method) -> Rc<Balancer> {
    Balancer::new(Arc::new(Group::new("vectors", peers, method)), 0)
}

fn pick(balancer: &Rc<Balancer>, choice: &Choice<'_>) -> String {
    balancer.pick(choice, &mut Tried::default()).unwrap().index.to_string()
}

#[test]
fn round_robin_gives_nginx_s_sequences() {
    for (kind, method) in [("rr", Method::RoundRobin), ("least_conn", Method::LeastConn)] {
        let mut sequences = 0;
        for fields in lines(kind) {
            let balancer = Balancer::new(group(&numbers(fields[0]), method.clone()), 0);
            let got: Vec<String> = fields[1..].iter().map(|_| pick(&balancer, &at(1))).collect();
            assert_eq!(got, fields[1..], "{kind} {}", fields[0]);
            sequences += 1;
        }
        assert!(sequences > 0);
    }
}

#[test]
fn a_failing_peer_loses_and_regains_weight_as_in_nginx() {
    let fields = lines("dead").next().unwrap();
    let mut peers: Vec<Peer> =
        numbers(fields[0]).iter().enumerate().map(|(at, weight)| Peer { weight: *weight, ..server(at) }).collect();
    (peers[1].max_fails, peers[1].fail_timeout) = (3, 600_000);
    let balancer = balancer(peers, Method::RoundRobin);
    let request = || {
        let (mut tried, mut picks) = (Tried::default(), Vec::new());
        loop {
            let mut lease = balancer.pick(&at(1), &mut tried).unwrap();
            picks.push(lease.index.to_string());
            if lease.index != 1 {
                lease.succeed(Tick(1));
                return picks.join(",");
            }
            lease.fail(Tick(1));
        }
    };
    let got: Vec<String> = fields[1..].iter().map(|_| request()).collect();
    assert_eq!(got, fields[1..]);
}

#[test]
fn keys_belong_to_the_peers_that_nginx_gives_them() {
    let mix = [
        ("127.0.0.1:28101", 3),
        ("127.0.0.2:28102", 1),
        ("[::1]:28103", 2),
        ("unix:/tmp/nginx-vectors.sock", 2),
        ("localhost:28105", 1),
    ];
    let columns = [
        ("hash", balancer(seven(None), hash(Hashing::Modulo))),
        ("hash, one down", balancer(seven(Some(4)), hash(Hashing::Modulo))),
        ("consistent", balancer(seven(None), hash(Hashing::Ring))),
        ("consistent, one down", balancer(seven(Some(4)), hash(Hashing::Ring))),
        ("mix", balancer(mix.iter().map(|(words, weight)| listening(words, *weight)).collect(), hash(Hashing::Ring))),
    ];
    let mut compared = BTreeMap::new();
    for fields in lines("key") {
        for ((name, balancer), expected) in columns.iter().zip(&fields[1..]) {
            let choice = Choice { key: fields[0].as_bytes(), ..at(1) };
            assert_eq!(pick(balancer, &choice), *expected, "{name}: {}", fields[0]);
            *compared.entry(*name).or_insert(0) += 1;
        }
    }
    assert!(compared.len() == columns.len() && compared.values().all(|count| *count > 190), "{compared:?}");
}

#[test]
fn stream_keys_belong_to_the_peers_that_nginx_gives_them() {
    for (kind, table) in [("stream", Hashing::Ring), ("stream_hash", Hashing::Modulo)] {
        let balancer = balancer(seven(None), hash(table));
        let mut compared = 0;
        for fields in lines(kind) {
            let choice = Choice { key: fields[0].as_bytes(), ..at(1) };
            assert_eq!(pick(&balancer, &choice), fields[1], "{kind} {}", fields[0]);
            compared += 1;
        }
        assert!(compared >= 200);
    }
}

#[test]
fn clients_belong_to_the_peers_that_nginx_gives_them() {
    let columns = [balancer(seven(None), Method::IpHash), balancer(seven(Some(4)), Method::IpHash)];
    let mut compared = 0;
    for fields in lines("ip") {
        for (balancer, expected) in columns.iter().zip(&fields[1..]) {
            let choice = Choice { client: Some(fields[0].parse().unwrap()), ..at(1) };
            assert_eq!(pick(balancer, &choice), *expected, "{}", fields[0]);
            compared += 1;
        }
    }
    assert!(compared >= 400);
}
