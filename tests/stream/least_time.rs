//! `least_time` and `random two least_time`: sessions go where they are served soonest.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fairlead_harness::{Proxy, TcpPeer, UdpClient, UdpPeer, connect, eventually, read_line};

use crate::fairlead;

const SLOW: Duration = Duration::from_millis(250);

fn slow() -> TcpPeer {
    TcpPeer::start(|stream| {
        let line = read_line(&stream);
        std::thread::sleep(SLOW);
        let _ = writeln!(&stream, "slow: {line}");
    })
}

fn start(method: &str, peers: [&TcpPeer; 2]) -> Proxy {
    fairlead().workers(1).set("a", peers[0].address()).set("b", peers[1].address()).stream(&format!(
        "upstream group {{ {method}; server {{a}}; server {{b}}; }}
        server {{ listen 127.0.0.1:{{port}}; proxy_pass group; }}"
    ))
}

fn ask(proxy: &Proxy) -> String {
    let mut stream = connect(proxy.address());
    writeln!(stream, "who").unwrap();
    let answer = read_line(&stream);
    fairlead_harness::read_to_end(&stream);
    answer
}

#[test]
fn sessions_avoid_the_peer_that_answers_late() {
    for method in [
        "least_time first_byte",
        "least_time last_byte",
        "least_time first_byte inflight",
        "least_time last_byte inflight",
        "random two least_time=first_byte",
        "random two least_time=last_byte",
    ] {
        let slow = slow();
        let quick = at_once();
        let proxy = start(method, [&slow, &quick]);
        for _ in 0..40 {
            ask(&proxy);
        }
        // Its first session was the one that told.
        assert!((1..=4).contains(&slow.accepted()), "{method}: {} of 40 went to the slow one", slow.accepted());
        assert_eq!(slow.accepted() + quick.accepted(), 40);
    }
}

#[test]
fn who_answers_late_but_connects_at_once_has_its_turn_by_connect() {
    for method in ["least_time connect", "least_time connect inflight"] {
        let (slow, other) = (slow(), at_once());
        // On a machine that is busy a connection may take longer than a step of 20 ms.
        eventually(method, || {
            let before = slow.accepted();
            let proxy = start(method, [&slow, &other]);
            for _ in 0..6 {
                ask(&proxy);
            }
            slow.accepted() - before == 3
        });
    }
}

fn at_once() -> TcpPeer {
    TcpPeer::start(|stream| {
        let line = read_line(&stream);
        let _ = writeln!(&stream, "at once: {line}");
    })
}

/// Opens a session and waits until it has its peer.
fn open(proxy: &Proxy, peers: [&TcpPeer; 2]) -> TcpStream {
    let before = peers[0].accepted() + peers[1].accepted();
    let mut stream = connect(proxy.address());
    writeln!(stream, "who").unwrap();
    eventually("the session has its peer", || peers[0].accepted() + peers[1].accepted() > before);
    stream
}

#[test]
fn a_peer_that_never_answers_is_seen_through_with_inflight() {
    for (method, avoided) in [("least_time first_byte inflight", true), ("least_time first_byte", false)] {
        let silent = TcpPeer::start(|stream| {
            let _ = std::io::copy(&mut &stream, &mut std::io::sink());
        });
        let talks = TcpPeer::named("talks");
        let proxy = start(method, [&silent, &talks]);
        let mut held: Vec<TcpStream> = (0..2).map(|_| open(&proxy, [&silent, &talks])).collect();
        assert_eq!((silent.accepted(), talks.accepted()), (1, 1), "{method}");
        let waiting = Instant::now();
        eventually("the silence has lasted", || waiting.elapsed() > 2 * SLOW);
        held.extend((0..6).map(|_| open(&proxy, [&silent, &talks])));
        let silent = silent.accepted();
        assert!(if avoided { silent == 1 } else { silent >= 3 }, "{method}: {silent} of 8 wait for an answer");
    }
}

#[test]
fn datagrams_go_where_they_are_answered_soonest() {
    let slow = UdpPeer::start(|datagram| {
        std::thread::sleep(SLOW);
        vec![datagram.to_vec()]
    });
    let quick = UdpPeer::start(|datagram| vec![datagram.to_vec()]);
    for how in ["first_byte", "last_byte"] {
        let (slow_before, quick_before) = (slow.flows(), quick.flows());
        let proxy = fairlead().workers(1).set("a", slow.address()).set("b", quick.address()).stream(&format!(
            "upstream group {{ least_time {how}; server {{a}}; server {{b}}; }}
            server {{ listen 127.0.0.1:{{port}} udp; proxy_responses 1; proxy_pass group; }}"
        ));
        for _ in 0..30 {
            assert_eq!(UdpClient::connect(proxy.address()).ask("who"), "who");
        }
        let (slow, quick) = (slow.flows() - slow_before, quick.flows() - quick_before);
        assert!((1..=4).contains(&slow) && slow + quick >= 29, "{how}: {slow} and {quick}");
    }
}
