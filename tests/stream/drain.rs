//! `drain`: a peer keeps the clients that stick to it and gets no other.

use std::io::Write;
use std::net::TcpStream;

use fairlead_harness::{Proxy, Signal, TcpPeer, connect_from, eventually, read_line};

use crate::fairlead;

fn ask(proxy: &Proxy, client: usize) -> String {
    let mut stream = connect_from(&format!("127.7.0.{client}"), proxy.address());
    writeln!(stream, "who").unwrap();
    read_line(&stream).trim_end_matches(": who").to_owned()
}

fn blocks(method: &str, drain: &str, more: &str) -> String {
    format!(
        "stream {{
            upstream group {{ {method} server {{a}} {drain}; server {{b}}; server {{c}}; }}
            server {{ listen 127.0.0.1:{{port}}; proxy_pass group; }}
            {more}
        }}"
    )
}

#[test]
fn a_draining_peer_keeps_its_clients_and_gets_no_new_ones() {
    let peers = ["a", "b", "c"].map(TcpPeer::named);
    let setup = fairlead().set("a", peers[0].address()).set("b", peers[1].address()).set("c", peers[2].address());
    let mut proxy = setup.start(&blocks("sticky source;", "", ""));
    let before: Vec<String> = (1..=30).map(|client| ask(&proxy, client)).collect();
    assert!(before.contains(&"a".to_owned()));
    proxy.rewrite(&blocks("sticky source;", "drain", "server { listen 127.0.0.1:{port_new}; proxy_pass {a}; }"));
    proxy.signal(Signal::SIGHUP);
    eventually("the reload", || TcpStream::connect(proxy.port("port_new")).is_ok());
    let after: Vec<String> = (1..=30).map(|client| ask(&proxy, client)).collect();
    assert_eq!(before, after, "clients stay over the reload, also those of the draining peer");
    let new: Vec<String> = (31..=90).map(|client| ask(&proxy, client)).collect();
    assert!(!new.contains(&"a".to_owned()) && new.contains(&"b".to_owned()) && new.contains(&"c".to_owned()));
}

#[test]
fn without_stickiness_a_draining_peer_gets_nothing() {
    for method in
        ["", "least_conn;", "least_time connect;", "random;", "hash $remote_addr;", "hash $remote_addr maglev;"]
    {
        let peers = ["a", "b", "c"].map(TcpPeer::named);
        let setup = fairlead().set("a", peers[0].address()).set("b", peers[1].address()).set("c", peers[2].address());
        let proxy = setup.start(&blocks(method, "drain", ""));
        let served: Vec<String> = (1..=30).map(|client| ask(&proxy, client)).collect();
        assert!(!served.contains(&"a".to_owned()), "{method}");
    }
}
