//! UDP: one flow for each client address, replies from the address the client asked, and the
//! numbers of requests and responses after which a flow is over.

use std::time::Duration;

use fairlead_harness::{Proxy, UdpClient, UdpPeer, eventually};

use crate::fairlead;

fn start(peer: &UdpPeer, server: &str) -> Proxy {
    fairlead()
        .set("peer", peer.address())
        .stream(&format!("server {{ listen 127.0.0.1:{{port}} udp; proxy_pass {{peer}}; {server} }}"))
}

#[test]
fn a_reply_comes_from_the_address_that_was_asked() {
    let peer = UdpPeer::named("a");
    let proxy = start(&peer, "");
    // Connected sockets: the kernel would drop a reply from any other address.
    for number in 0..50 {
        assert_eq!(UdpClient::connect(proxy.address()).ask(format!("{number}")), format!("a: {number}"));
    }
}

#[test]
fn a_listener_on_every_address_answers_from_the_right_one() {
    let peer = UdpPeer::named("a");
    let proxy =
        fairlead().set("peer", peer.address()).stream("server { listen 0.0.0.0:{port_any} udp; proxy_pass {peer}; }");
    let port = proxy.port("port_any").port();
    for host in ["127.0.0.1", "127.0.0.9", "127.44.3.2"] {
        let address = std::net::SocketAddr::new(host.parse().unwrap(), port);
        assert_eq!(UdpClient::connect(address).ask("hi"), "a: hi", "{host}");
    }
}

#[test]
fn each_client_has_a_flow_of_its_own_and_keeps_it() {
    let peer = UdpPeer::named("a");
    let proxy = start(&peer, "");
    let clients: Vec<UdpClient> = (0..20).map(|_| UdpClient::connect(proxy.address())).collect();
    for round in 0..10 {
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(client.ask(format!("{round}/{number}")), format!("a: {round}/{number}"));
        }
    }
    assert_eq!(peer.flows(), 20);
}

#[test]
fn datagrams_of_every_size_pass_whole() {
    let peer = UdpPeer::start(|datagram| vec![datagram.to_vec()]);
    let proxy = start(&peer, "");
    let client = UdpClient::connect(proxy.address());
    // nginx cuts a reply at proxy_buffer_size; a datagram has no second part, so it passes whole here.
    let largest = if fairlead().is_nginx() { 16_384 } else { 65_507 };
    for size in [1, 2, 511, 512, 1472, 1473, 9000, 16_384, largest] {
        let datagram: Vec<u8> = (0..size).map(|at| (at % 253) as u8).collect();
        client.send(&datagram);
        assert!(client.receive() == datagram, "{size}");
    }
}

#[test]
fn proxy_requests_ends_a_flow_after_so_many() {
    let peer = UdpPeer::named("a");
    let proxy = start(&peer, "proxy_requests 2; proxy_responses 2;");
    let client = UdpClient::connect(proxy.address());
    for number in 0..6 {
        assert_eq!(client.ask(format!("{number}")), format!("a: {number}"));
    }
    assert_eq!(peer.flows(), 3);
}

#[test]
fn proxy_responses_zero_expects_no_answer() {
    let peer = UdpPeer::named("a");
    let proxy = start(&peer, "proxy_responses 0;");
    let client = UdpClient::connect(proxy.address());
    client.send("log line");
    eventually("the peer gets it", || peer.seen().len() == 1);
    assert!(!client.hears_within(Duration::from_millis(200)), "the answer is not passed on");
}

#[test]
fn several_replies_to_one_datagram_all_pass() {
    let peer = UdpPeer::start(|_| (0..5).map(|number| format!("reply {number}").into_bytes()).collect());
    let proxy = start(&peer, "proxy_responses 5;");
    let client = UdpClient::connect(proxy.address());
    client.send("ask");
    for number in 0..5 {
        assert_eq!(client.receive(), format!("reply {number}").into_bytes());
    }
}

#[test]
fn a_silent_flow_ends_after_proxy_timeout() {
    let peer = UdpPeer::named("a");
    let proxy = start(&peer, "proxy_timeout 200ms;");
    let client = UdpClient::connect(proxy.address());
    client.ask("one");
    eventually("a new flow after the old one ended", || {
        std::thread::sleep(Duration::from_millis(300));
        client.ask("two") == "a: two" && peer.flows() > 1
    });
}

#[test]
fn flows_are_balanced_and_a_dead_peer_is_left() {
    let (a, b) = (UdpPeer::named("a"), UdpPeer::named("b"));
    let proxy = fairlead().workers(1).set("a", a.address()).set("b", b.address()).stream(
        "upstream group { server {a}; server {b}; }
        server { listen 127.0.0.1:{port} udp; proxy_pass group; proxy_responses 1; proxy_timeout 500ms; }",
    );
    let ask = || UdpClient::connect(proxy.address()).ask("who");
    let mut names: Vec<String> = (0..8).map(|_| ask()).collect();
    names.sort();
    assert_eq!(names[..4], ["a: who"; 4].map(str::to_owned));
    let _port = a.stop();
    // The first flows to the dead peer learn of it by ICMP or by silence; then none goes there.
    eventually("only b is asked", || {
        let client = UdpClient::connect(proxy.address());
        client.send("who");
        client.hears_within(Duration::from_millis(700))
    });
    for _ in 0..5 {
        assert_eq!(ask(), "b: who");
    }
}
