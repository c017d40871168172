use crate::harness::{Plane, exchange, free_port, run, udp_client, udp_peer};
use std::time::Duration;
use tokio::net::UdpSocket;

#[test]
fn datagrams_of_one_client_are_one_session() {
    run(|| async {
        let (port, peer) = (free_port(), udp_peer("a", 1).await);
        let mut plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port} udp; proxy_pass {peer}; }}"));
        let client = udp_client(("127.0.0.1", port)).await;
        assert_eq!(exchange(&client, b"one").await, "a:one");
        assert_eq!(exchange(&client, b"").await, "a:");
        assert_eq!(plane.active(), 1);
        plane.close().await;
        assert_eq!(plane.access(1).await, [format!("UDP 200 3/7 {peer} 3/7")]);
        assert_eq!(plane.active(), 0);
    });
}

#[test]
fn the_expected_replies_end_a_session() {
    run(|| async {
        let (port, peer) = (free_port(), udp_peer("a", 2).await);
        let plane =
            Plane::start(&format!("server {{ listen 127.0.0.1:{port} udp; proxy_pass {peer}; proxy_responses 2; }}"));
        let client = udp_client(("127.0.0.1", port)).await;
        for count in 1..=3 {
            assert_eq!(exchange(&client, b"x").await, "a:x");
            assert_eq!(client.recv(&mut [0; 9]).await.expect("the second reply"), 3);
            assert_eq!(plane.access(count).await[count - 1], format!("UDP 200 1/6 {peer} 1/6"));
        }
        assert_eq!(plane.active(), 0);
    });
}

#[test]
fn the_longest_datagram_comes_through() {
    run(|| async {
        let (port, peer) = (free_port(), udp_peer("a", 1).await);
        let _plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port} udp; proxy_pass {peer}; }}"));
        let client = udp_client(("127.0.0.1", port)).await;
        let long = "y".repeat(65_505);
        assert_eq!(exchange(&client, long.as_bytes()).await.len(), 65_507);
    });
}

#[test]
fn replies_come_from_the_address_the_client_used() {
    run(|| async {
        let (port, peer) = (free_port(), udp_peer("a", 1).await);
        let _plane = Plane::start(&format!("server {{ listen {port} udp; proxy_pass {peer}; }}"));
        for address in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
            // A connected socket takes nothing from any other address.
            assert_eq!(exchange(&udp_client((address, port)).await, b"x").await, "a:x");
        }
    });
}

#[test]
fn a_refused_datagram_moves_the_client_to_another_peer() {
    run(|| async {
        let (port, dead, peer) = (free_port(), free_port(), udp_peer("a", 1).await);
        let plane = Plane::start(&format!(
            "upstream both {{ server 127.0.0.1:{dead}; server {peer}; }}
             server {{ listen 127.0.0.1:{port} udp; proxy_pass both; }}"
        ));
        let client = udp_client(("127.0.0.1", port)).await;
        client.send(b"lost").await.expect("sends");
        assert_eq!(plane.access(1).await, [format!("UDP 502 4/0 127.0.0.1:{dead} 4/0")]);
        assert_eq!(exchange(&client, b"next").await, "a:next");
        let place = format!(
            "udp client: 127.0.0.1, server: 127.0.0.1:{port}, upstream: \"127.0.0.1:{dead}\", \
             bytes from/to client:4/0, bytes from/to upstream:0/4"
        );
        assert_eq!(
            plane.errors()[0],
            format!("recv() failed (111: Connection refused) while proxying and reading from upstream, {place}")
        );
    });
}

#[test]
fn without_any_peer_a_datagram_is_a_bad_gateway() {
    run(|| async {
        let (port, dead) = (free_port(), free_port());
        let plane = Plane::start(&format!(
            "upstream one {{ server 127.0.0.1:{dead} down; server 127.0.0.1:{dead} down; }}
             server {{ listen 127.0.0.1:{port} udp; proxy_pass one; }}"
        ));
        udp_client(("127.0.0.1", port)).await.send(b"x").await.expect("sends");
        assert_eq!(plane.access(1).await, ["UDP 502 1/0 one 0/0"]);
        assert!(plane.errors()[0].starts_with("no live upstreams while connecting to upstream, udp client: 127.0.0.1"));
    });
}

#[test]
fn silence_ends_a_session_and_blames_who_owes_a_reply() {
    run(|| async {
        let (quiet, owing) = (free_port(), free_port());
        let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let peer = silent.local_addr().expect("its address");
        let plane = Plane::start(&format!(
            "proxy_timeout 50ms;
             server {{ listen 127.0.0.1:{quiet} udp; proxy_pass {peer}; }}
             server {{ listen 127.0.0.1:{owing} udp; proxy_pass {peer}; proxy_responses 1; }}"
        ));
        udp_client(("127.0.0.1", quiet)).await.send(b"x").await.expect("sends");
        assert_eq!(plane.access(1).await, [format!("UDP 200 1/0 {peer} 1/0")]);
        udp_client(("127.0.0.1", owing)).await.send(b"x").await.expect("sends");
        assert_eq!(plane.access(2).await[1], format!("UDP 502 1/0 {peer} 1/0"));
        assert!(plane.errors()[0].starts_with(
            "upstream timed out (110: Connection timed out) while proxying connection, udp client: 127.0.0.1"
        ));
    });
}

#[test]
fn a_reload_does_not_touch_a_flow() {
    run(|| async {
        let (port, old, new) = (free_port(), udp_peer("old", 1).await, udp_peer("new", 1).await);
        let plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port} udp; proxy_pass {old}; }}"));
        let client = udp_client(("127.0.0.1", port)).await;
        assert_eq!(exchange(&client, b"1").await, "old:1");
        plane.reload(&format!("server {{ listen 127.0.0.1:{port} udp; proxy_pass {new}; }}"));
        assert_eq!(exchange(&client, b"2").await, "old:2");
        assert_eq!(exchange(&udp_client(("127.0.0.1", port)).await, b"3").await, "new:3");
    });
}

#[test]
fn a_reply_on_its_way_survives_the_listener() {
    run(|| async {
        let port = free_port();
        let slow = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let peer = slow.local_addr().expect("its address");
        let mut plane =
            Plane::start(&format!("server {{ listen 127.0.0.1:{port} udp; proxy_pass {peer}; proxy_responses 1; }}"));
        let client = udp_client(("127.0.0.1", port)).await;
        client.send(b"q").await.expect("sends");
        let mut buffer = [0; 16];
        let (_, from) = slow.recv_from(&mut buffer).await.expect("the question");
        plane.close().await;
        slow.send_to(b"answer", from).await.expect("answers");
        let read = client.recv(&mut buffer).await.expect("the answer");
        assert_eq!(&buffer[..read], b"answer");
        assert_eq!(plane.access(1).await, [format!("UDP 200 1/6 {peer} 1/6")]);
        tokio::time::sleep(Duration::from_millis(1)).await;
        UdpSocket::bind(("127.0.0.1", port)).await.expect("the address is free again");
    });
}

#[test]
fn a_full_worker_drops_and_counts() {
    run(|| async {
        let (port, peer) = (free_port(), udp_peer("a", 1).await);
        let plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port} udp; proxy_pass {peer}; }}"));
        plane.limit(1);
        let first = udp_client(("127.0.0.1", port)).await;
        assert_eq!(exchange(&first, b"x").await, "a:x");
        udp_client(("127.0.0.1", port)).await.send(b"y").await.expect("sends");
        assert_eq!(exchange(&first, b"z").await, "a:z", "the first goes on");
        assert_eq!(plane.errors(), ["1 worker_connections are not enough, 1 turned away so far"]);
        assert_eq!(plane.plan().outcomes().map(|(_, outcomes)| outcomes.overflows.load()).sum::<u64>(), 1);
    });
}

#[test]
fn the_first_datagram_carries_the_proxy_header() {
    run(|| async {
        let (port, peer) = (free_port(), udp_peer("a", 1).await);
        let _plane =
            Plane::start(&format!("server {{ listen 127.0.0.1:{port} udp; proxy_pass {peer}; proxy_protocol on; }}"));
        let client = udp_client(("127.0.0.1", port)).await;
        let own = client.local_addr().expect("its address").port();
        assert_eq!(exchange(&client, b"1").await, format!("a:PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\n1"));
        assert_eq!(exchange(&client, b"2").await, "a:2");
    });
}
