//! `proxy_upload_rate` and `proxy_download_rate` of datagrams: what a client sends too fast is lost, what a peer
//! sends too fast waits.

use std::time::{Duration, Instant};

use fairlead_harness::{Proxy, UdpClient, UdpPeer, eventually};

use crate::{fairlead, quit};

fn start(peer: &UdpPeer, directives: &str) -> Proxy {
    fairlead().workers(1).set("peer", peer.address()).stream(&format!(
        "log_format s '$status $bytes_received/$bytes_sent'; access_log {{dir}}/access.log s;
         map $remote_addr $slow {{ 127.0.0.2 100; default 0; }}
         server {{ listen 127.0.0.1:{{port}} udp; proxy_pass {{peer}}; {directives} }}"
    ))
}

/// Answers each datagram with so many of 500 bytes.
fn speaks(count: usize) -> UdpPeer {
    UdpPeer::start(move |_| vec![vec![b'x'; 500]; count])
}

fn silent() -> UdpPeer {
    UdpPeer::start(|_| Vec::new())
}

#[test]
fn what_a_client_sends_too_fast_is_lost() {
    let peer = silent();
    let mut proxy = start(&peer, "proxy_upload_rate 100; proxy_timeout 300ms;");
    let client = UdpClient::connect(proxy.address());
    for letter in 'a'..='h' {
        client.send(letter.to_string().repeat(99));
    }
    // The first one always passes, the second is paid for by a rest of a second.
    assert_eq!(proxy.access_lines(1), ["200 198/0"]);
    let seen: Vec<u8> = peer.seen().iter().map(|(_, bytes)| bytes[0]).collect();
    assert_eq!(seen, b"ab");
    assert_eq!(quit(&mut proxy)["over_rate"], 6);
}

#[test]
fn over_two_seconds_a_client_gets_its_rate() {
    let peer = silent();
    let proxy = start(&peer, "proxy_upload_rate 10k; proxy_timeout 300ms;");
    let client = UdpClient::connect(proxy.address());
    let began = Instant::now();
    let mut sent = 0;
    eventually("two seconds pass", || {
        for _ in 0..5 {
            client.send([0; 100]);
            sent += 100;
        }
        began.elapsed() >= Duration::from_secs(2)
    });
    let took = began.elapsed().as_millis() as usize;
    proxy.access_lines(1);
    let passed: usize = peer.seen().iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(sent > 3 * passed, "{sent} bytes were no flood");
    let rate = 10 * 1024;
    assert!(passed <= rate * took / 1000 + rate / 8 + 200, "{passed} bytes in {took} ms");
    assert!(passed >= rate * 2 / 3, "{passed} bytes in {took} ms");
}

#[test]
fn what_a_peer_sends_too_fast_waits() {
    let peer = speaks(20);
    let proxy = start(&peer, "proxy_download_rate 5000; proxy_timeout 300ms;");
    let client = UdpClient::connect(proxy.address());
    let began = Instant::now();
    client.send("go");
    (0..20).for_each(|_| assert_eq!(client.receive().len(), 500));
    let took = began.elapsed();
    assert!((Duration::from_millis(1700)..Duration::from_millis(4000)).contains(&took), "{took:?}");
    assert_eq!(proxy.access_lines(1), ["200 2/10000"]);
}

#[test]
fn a_session_that_rests_for_its_rate_does_not_time_out() {
    let peer = speaks(3);
    let proxy = start(&peer, "proxy_download_rate 500; proxy_timeout 200ms; proxy_responses 3; proxy_requests 1;");
    let client = UdpClient::connect(proxy.address());
    let began = Instant::now();
    client.send("go");
    (0..3).for_each(|_| assert_eq!(client.receive().len(), 500));
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(proxy.access_lines(1), ["200 2/1500"]);
}

#[test]
fn replies_that_wait_come_through_while_the_client_goes_on() {
    let peer = speaks(2);
    let proxy = start(&peer, "proxy_download_rate 2000; proxy_timeout 300ms;");
    let (client, other) = (UdpClient::connect(proxy.address()), UdpClient::connect(proxy.address()));
    client.send("1");
    client.send("2");
    client.send("3");
    // The others have their rates to themselves.
    assert_eq!(other.ask("1").len(), 500);
    (0..6).for_each(|_| assert_eq!(client.receive().len(), 500));
    assert_eq!(other.receive().len(), 500);
    let mut lines = proxy.access_lines(2);
    lines.sort();
    assert_eq!(lines, ["200 1/1000", "200 3/3000"]);
}

#[test]
fn each_session_has_the_rate_that_its_variables_say() {
    let peer = silent();
    let proxy = start(&peer, "proxy_upload_rate $slow; proxy_timeout 300ms;");
    let slow = UdpClient::connect_from("127.0.0.2", proxy.address());
    let fast = UdpClient::connect(proxy.address());
    for _ in 0..8 {
        slow.send([b's'; 99]);
        fast.send([b'f'; 99]);
    }
    let mut lines = proxy.access_lines(2);
    lines.sort();
    assert_eq!(lines, ["200 198/0", "200 792/0"]);
}
