//! `slow_start`: a peer that is there again gets its share by and by.

use std::io::Write;
use std::time::Duration;

use fairlead_harness::{Proxy, TcpPeer, connect, eventually, eventually_within, read_line};

use crate::fairlead;

fn ask(proxy: &Proxy) -> String {
    let mut stream = connect(proxy.address());
    writeln!(stream, "who").unwrap();
    read_line(&stream)
}

/// How many of `sessions` go to the first peer.
fn share(proxy: &Proxy, sessions: usize) -> usize {
    (0..sessions).filter(|_| ask(proxy) == "a: who").count()
}

#[test]
fn a_peer_that_failed_gets_its_share_by_and_by() {
    let (a, b) = (TcpPeer::named("a"), TcpPeer::named("b"));
    let proxy = fairlead().workers(1).set("a", a.address()).set("b", b.address()).stream(
        "upstream group { server {a} fail_timeout=1s slow_start=6s; server {b}; }
        server { listen 127.0.0.1:{port}; proxy_pass group; }",
    );
    assert_eq!(share(&proxy, 40), 20, "whole from the start");
    let port = a.stop().unwrap();
    assert_eq!(share(&proxy, 10), 0);
    let _a = TcpPeer::named_at("a", port.address());
    eventually("the trial", || ask(&proxy) == "a: who");
    let first = share(&proxy, 40);
    assert!(first <= 10, "{first} of 40 at once");
    eventually_within(Duration::from_secs(20), "its whole share", || share(&proxy, 20) == 10);
}

#[test]
fn methods_without_turns_refuse_it() {
    for method in ["hash $remote_addr", "hash $remote_addr maglev", "ip_hash", "random", "random two"] {
        let (fine, said) = fairlead().check(&format!(
            "stream {{ upstream group {{ {method}; server 127.0.0.1:1 slow_start=5s; server 127.0.0.1:2; }} }}"
        ));
        assert!(!fine && said.contains("balancing method does not support parameter \"slow_start\""), "{said}");
    }
    let (fine, said) =
        fairlead().check("stream { upstream group { server 127.0.0.1:1 slow_start=5s; server 127.0.0.1:2; random; } }");
    assert!(fine && said.contains("\"slow_start\" has no effect with this balancing method"), "{said}");
}
