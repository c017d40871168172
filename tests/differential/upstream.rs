//! Which peers a request was tried on, and with what outcome: the access logs of both, line by
//! line, for groups in which some peers are dead and some fail.

use std::net::SocketAddr;

use crate::pair::both;
use fairlead_harness::{Answer, Client, HttpPeer, Port, Proxy, Setup, TcpPeer, connect_from, eventually, read_to_end};

/// Groups of an `http` block. `{a}`, `{b}`, `{c}` live, `{x}`, `{y}` are dead, `{f}` answers 500.
const HTTP_GROUPS: &[(&str, &str)] = &[
    ("dead_first", "server {x}; server {a}; server {b};"),
    ("dead_twice", "server {x}; server {y}; server {a};"),
    ("dead_weighted", "server {x} weight=5; server {a} weight=3; server {b};"),
    ("dead_three_fails", "server {x} max_fails=3; server {a}; server {b} weight=2;"),
    ("dead_never_out", "server {x} max_fails=0; server {a};"),
    ("all_dead", "server {x}; server {y};"),
    ("one_dead", "server {x};"),
    ("down", "server {a} down; server {b}; server {c} weight=2;"),
    ("all_down", "server {a} down; server {b} down;"),
    ("backup_unused", "server {a}; server {b} backup;"),
    ("backup_used", "server {x}; server {b} backup; server {c} backup weight=2;"),
    ("backup_for_down", "server {a} down; server {b} backup;"),
    ("backups_dead", "server {x}; server {y} backup;"),
    ("backups_partly_dead", "server {x}; server {y} backup; server {a} backup;"),
    ("failing", "server {f}; server {a}; server {b};"),
    ("failing_only", "server {f};"),
    ("failing_and_dead", "server {f}; server {x}; server {a};"),
    ("failing_backup", "server {x}; server {f} backup; server {a} backup;"),
    ("least_conn_dead", "least_conn; server {x}; server {a}; server {b} weight=2;"),
    ("hash_dead", "hash $arg_k; server {a}; server {x} weight=2; server {b}; server {c};"),
    ("hash_all_dead", "hash $arg_k; server {x}; server {y};"),
    ("ring_dead", "hash $arg_k consistent; server {a}; server {x} weight=2; server {b}; server {c};"),
    ("ring_failing", "hash $arg_k consistent; server {f}; server {a} weight=3; server {b};"),
    ("ring_all_dead", "hash $arg_k consistent; server {x}; server {y};"),
    ("ip_hash_dead", "ip_hash; server {a}; server {x}; server {b} weight=3; server {c};"),
    ("ip_hash_down", "ip_hash; server {a}; server {b} down; server {c};"),
    ("hash_empty_key", "hash $arg_none; server {a}; server {b}; server {x};"),
];

const STREAM_GROUPS: &[(&str, &str)] = &[
    ("dead_first", "server {x}; server {a}; server {b};"),
    ("dead_weighted", "server {x} weight=5 max_fails=2; server {a} weight=3; server {b};"),
    ("all_dead", "server {x}; server {y};"),
    ("backup_used", "server {x}; server {b} backup; server {c} backup weight=2;"),
    ("weighted", "server {a} weight=4; server {b} weight=2; server {c};"),
    ("least_conn", "least_conn; server {a} weight=2; server {b}; server {x};"),
    ("hash_plain", "hash $remote_addr; server {a}; server {b} weight=2; server {c}; server {x};"),
    ("hash_ring", "hash $remote_addr consistent; server {a}; server {b} weight=2; server {c}; server {x};"),
];

const REQUESTS: usize = 40;

#[test]
fn http_tries_the_peers_nginx_tries() {
    let peers = ["a", "b", "c"].map(|name| (name, HttpPeer::named(name)));
    let failing = HttpPeer::start(|_| Answer::status("500 No", "no"));
    let (x, y) = (Port::reserve(), Port::reserve());
    let mut addresses: Vec<(&str, SocketAddr)> = peers.iter().map(|(name, peer)| (*name, peer.address())).collect();
    addresses.extend([("f", failing.address()), ("x", x.address()), ("y", y.address())]);
    let upstreams: String =
        HTTP_GROUPS.iter().map(|(name, servers)| format!("upstream {name} {{ {servers} }}\n")).collect();
    let http = format!(
        "{upstreams} log_format tries '$request_method $uri $status: $upstream_addr: $upstream_status';
        server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/tries.log tries; keepalive_requests 10000;
            proxy_http_version 1.1; proxy_next_upstream error timeout http_500;
            {} }}",
        HTTP_GROUPS
            .iter()
            .map(|(name, _)| format!("location /{name} {{ proxy_pass http://{name}; }}\n"))
            .collect::<String>()
    );
    let run = |setup: Setup| {
        let proxy = with(setup, &addresses).workers(1).http(&http);
        for (name, _) in HTTP_GROUPS {
            ask(&proxy, name);
        }
        lines(&proxy, HTTP_GROUPS.len() * REQUESTS, &addresses)
    };
    let [ours, nginx] = both::<fn() -> Setup, _>(&[fairlead, Setup::nginx], |setup| run(setup()));
    assert_same(&ours, &nginx);
}

/// GETs with different keys; each eighth is a POST, which is not repeated once it was sent.
fn ask(proxy: &Proxy, group: &str) {
    let mut client = Client::connect_from("127.7.8.9", proxy.address());
    for number in 0..REQUESTS {
        let method = if number % 8 == 7 { "POST" } else { "GET" };
        client.request(format!("{method} /{group}?k={number} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
    }
}

#[test]
fn stream_tries_the_peers_nginx_tries() {
    let peers = ["a", "b", "c"].map(|name| (name, TcpPeer::start(|_| {})));
    let (x, y) = (Port::reserve(), Port::reserve());
    let mut addresses: Vec<(&str, SocketAddr)> = peers.iter().map(|(name, peer)| (*name, peer.address())).collect();
    addresses.extend([("x", x.address()), ("y", y.address())]);
    let groups: String = STREAM_GROUPS
        .iter()
        .map(|(name, servers)| {
            format!(
                "upstream {name} {{ {servers} }} server {{ listen 127.0.0.1:{{port_{name}}}; proxy_pass {name}; }}\n"
            )
        })
        .collect();
    let stream = format!("log_format tries '$status: $upstream_addr'; access_log {{dir}}/tries.log tries;\n{groups}");
    let run = |setup: Setup| {
        let proxy = with(setup, &addresses).workers(1).stream(&stream);
        let mut all = Vec::new();
        for (name, _) in STREAM_GROUPS {
            for number in 0..REQUESTS {
                let client = connect_from(&format!("127.1.{number}.1"), proxy.port(&format!("port_{name}")));
                read_to_end(&client);
                all = lines(&proxy, all.len() + 1, &addresses);
            }
        }
        all
    };
    let [ours, nginx] = both::<fn() -> Setup, _>(&[fairlead, Setup::nginx], |setup| run(setup()));
    assert_same(&ours, &nginx);
}

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead"))
}

fn with(setup: Setup, addresses: &[(&str, SocketAddr)]) -> Setup {
    addresses.iter().fold(setup, |setup, (name, address)| setup.set(name, address))
}

/// The log once it has this many lines, with the peers' names for their addresses.
fn lines(proxy: &Proxy, count: usize, addresses: &[(&str, SocketAddr)]) -> Vec<String> {
    let read = || proxy.directory().read("tries.log");
    eventually("every request is in the log", || read().lines().count() >= count);
    let mut log = read();
    for (name, address) in addresses {
        log = log.replace(&address.to_string(), name);
    }
    log.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_same(ours: &[String], nginx: &[String]) {
    let different: Vec<String> = ours
        .iter()
        .zip(nginx)
        .enumerate()
        .filter(|(_, (ours, nginx))| ours != nginx)
        .map(|(line, (ours, nginx))| format!("{line}: nginx {nginx:?}, fairlead {ours:?}"))
        .collect();
    assert!(different.is_empty(), "{} differ\n{}", different.len(), different.join("\n"));
    assert_eq!(ours.len(), nginx.len());
}
