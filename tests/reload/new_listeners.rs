//! Listeners come and go with the configuration; connections outlive theirs.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

use fairlead_harness::{Client, Signal, TcpPeer, connect, eventually, process, read_line, read_to_end};

use crate::fairlead;

#[test]
fn a_new_port_serves_and_an_old_one_closes() {
    let mut proxy = fairlead().start("http { server { listen 127.0.0.1:{port}; return 200 a; } }");
    proxy.rewrite("http { server { listen 127.0.0.1:{port_two}; return 200 b; } }");
    proxy.signal(Signal::SIGHUP);
    eventually("the new port listens", || process::tcp_listens(proxy.port("port_two")));
    assert_eq!(fairlead_harness::get(proxy.port("port_two"), "/").text(), "b");
    eventually("the old port is closed", || !process::tcp_listens(proxy.address()));
}

#[test]
fn a_session_outlives_its_listener() {
    let peer = TcpPeer::named("a");
    let mut proxy = fairlead()
        .set("peer", peer.address())
        .start("stream { server { listen 127.0.0.1:{port}; proxy_pass {peer}; } }");
    let mut session = connect(proxy.address());
    writeln!(session, "before").unwrap();
    assert_eq!(read_line(&session), "a: before");
    proxy.rewrite("stream { server { listen 127.0.0.1:{port_two}; proxy_pass {peer}; } }");
    proxy.signal(Signal::SIGHUP);
    eventually("the old port is closed", || !process::tcp_listens(proxy.address()));
    writeln!(session, "after").unwrap();
    assert_eq!(read_line(&session), "a: after");
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn connections_waiting_to_be_accepted_survive() {
    let blocks = "http { server { listen 127.0.0.1:{port}; return 200 '{text}'; } }";
    let mut proxy = fairlead().set("text", 0).start(blocks);
    for generation in 1..=10 {
        let mut waiting: Vec<Client> = (0..20).map(|_| Client::connect(proxy.address())).collect();
        proxy.set("text", generation);
        proxy.rewrite(blocks);
        proxy.signal(Signal::SIGHUP);
        for client in &mut waiting {
            let answer = client.request("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            assert_eq!(answer.status(), 200);
        }
        eventually("the new generation answers", || proxy.get("/").text() == generation.to_string());
    }
}

#[test]
fn ipv6only_follows_the_configuration_both_ways() {
    let mut proxy = fairlead().workers(2).start("stream { server { listen [::]:{port}; return 0; } }");
    let port = proxy.address().port();
    let by_ipv4 = || TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    assert!(by_ipv4().is_err());
    for (generation, only) in ["off", "on", "off", "on"].into_iter().enumerate() {
        let text = (generation + 1).to_string();
        proxy.set("text", &text);
        proxy.set("only", only);
        proxy.rewrite("stream { server { listen [::]:{port} ipv6only={only}; return {text}; } }");
        proxy.signal(Signal::SIGHUP);
        proxy.wait_for_error(&format!("generation {} is served", generation + 2));
        let answer = read_to_end(&TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap());
        assert_eq!(String::from_utf8(answer).unwrap(), text);
        match only {
            "off" => assert_eq!(read_to_end(&by_ipv4().unwrap()), text.as_bytes()),
            _ => eventually("IPv4 is refused", || by_ipv4().is_err()),
        }
    }
}
