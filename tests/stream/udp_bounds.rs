//! `udp_sessions`: the table of sessions has a bound, a flood cannot lock real clients out, and
//! nothing of it stays.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlead_harness::{Proxy, UdpClient, UdpPeer, eventually, eventually_within, process};

use crate::{fairlead, quit};

/// Answers whoever does not say `quiet`.
fn peer() -> UdpPeer {
    UdpPeer::start(|datagram| match datagram {
        b"quiet" => Vec::new(),
        other => vec![[b"a: ", other].concat()],
    })
}

/// A quarter of a worker's descriptors, which sockets between two sessions may take.
const RESTING: usize = 500;

fn start(peer: &UdpPeer, directives: &str) -> Proxy {
    let log = "log_format s '$status'; access_log {dir}/access.log s;";
    fairlead()
        .workers(1)
        .main(&format!("worker_rlimit_nofile {};", 4 * RESTING))
        .set("peer", peer.address())
        .stream(&format!("{log} server {{ listen 127.0.0.1:{{port}} udp; proxy_pass {{peer}}; {directives} }}"))
}

/// A client that has had an answer and has come back.
fn real(proxy: &Proxy) -> UdpClient {
    let client = UdpClient::connect(proxy.address());
    assert_eq!(client.ask("1"), "a: 1");
    assert_eq!(client.ask("2"), "a: 2");
    client
}

fn descriptors(worker: u32) -> usize {
    fs::read_dir(format!("/proc/{worker}/fd")).unwrap().count()
}

#[test]
fn sessions_in_use_are_not_put_out_and_what_is_over_the_bound_is_dropped() {
    let peer = peer();
    let proxy = start(&peer, "udp_sessions 3;");
    let clients = [(); 3].map(|()| real(&proxy));
    let fourth = UdpClient::connect(proxy.address());
    fourth.send("quiet");
    proxy.wait_for_error("3 udp_sessions are not enough");
    for client in &clients {
        assert_eq!(client.ask("3"), "a: 3");
    }
    fourth.send("4");
    assert!(!fourth.hears_within(Duration::from_millis(400)), "there is no room, however long it waits");
    assert_eq!(peer.flows(), 3);
}

#[test]
fn sessions_that_nobody_answers_make_room() {
    let peer = peer();
    let proxy = start(&peer, "udp_sessions 2;");
    let first = real(&proxy);
    let unanswered = UdpClient::connect(proxy.address());
    unanswered.send("quiet");
    eventually("the peer has heard it", || peer.flows() == 2);
    let newcomer = UdpClient::connect(proxy.address());
    eventually("a place for a new client", || {
        newcomer.send("hi");
        newcomer.hears_within(Duration::from_millis(50))
    });
    assert_eq!(proxy.access_lines(1), ["503"]);
    assert_eq!(first.ask("3"), "a: 3");
    proxy.wait_for_error("too many UDP sessions on 127.0.0.1:");
}

/// One datagram from each of 100,000 source ports.
fn flood(target: SocketAddr) -> usize {
    let ports = (1..=4).flat_map(|host| (20_000..45_000).map(move |port| ([127, 66, 0, host], port)));
    let sent = ports.filter(|(host, port)| {
        let Ok(socket) = UdpSocket::bind(SocketAddr::from((*host, *port))) else { return false };
        // Not all at once: the kernel would drop most.
        if port % 250 == 0 {
            std::thread::sleep(Duration::from_millis(3));
        }
        socket.send_to(b"quiet", target).is_ok()
    });
    sent.count()
}

#[test]
fn a_flood_from_100000_ports_is_bounded_and_harms_nobody() {
    let peer = peer();
    let mut proxy = start(&peer, "udp_sessions 1000; proxy_timeout 3s;");
    let worker = proxy.workers()[0];
    let clients = [(); 10].map(|()| real(&proxy));
    let (before, memory) = (descriptors(worker) - clients.len(), process::resident(worker));
    let flows: Vec<SocketAddr> = clients.iter().map(|client| own_flow(&peer, client)).collect();
    let (target, over) = (proxy.address(), AtomicBool::new(false));
    let (mut most, mut newcomers, mut flooded) = (0, 0, 0);
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let sent = flood(target);
            over.store(true, Ordering::SeqCst);
            sent
        });
        while !over.load(Ordering::SeqCst) {
            let new = UdpClient::connect(target);
            // The kernel drops what the full queue of the socket does not take: then it is said again.
            for client in clients.iter().chain([&new]) {
                eventually("an answer amid the flood", || {
                    client.send("still");
                    client.hears_within(Duration::from_millis(100))
                });
            }
            newcomers += 1;
            most = most.max(descriptors(worker));
        }
        flooded = flooding.join().unwrap() as u64;
        assert!(flooded > 90_000);
    });
    assert!(newcomers > 0 && most <= before + 1000 + RESTING + 10, "{newcomers} newcomers, {most} descriptors");
    let grown = process::resident(worker).saturating_sub(memory);
    assert!(grown < 64 << 20, "{grown} bytes");
    for (client, flow) in clients.iter().zip(&flows) {
        assert_eq!(own_flow(&peer, client), *flow, "its session is the one it began with");
    }
    eventually_within(Duration::from_secs(20), "every session has ended", || descriptors(worker) <= before + 1);
    let (cpu, since) = (process::cpu_time(worker), Instant::now());
    eventually("time passes", || since.elapsed() >= Duration::from_millis(500));
    let spent = process::cpu_time(worker) - cpu;
    assert!(spent <= Duration::from_millis(50), "{spent:?} while nothing came");
    let sessions = proxy.access_log().len();
    assert!(sessions > 3000, "the table was filled more than once: {sessions} sessions");
    let log = proxy.error_log();
    let complaints = log.lines().filter(|line| !line.contains("[info]") && !line.contains("[notice]")).count();
    assert!((1..100).contains(&complaints), "{complaints} lines in the error log");
    account_for(flooded, newcomers, &mut proxy);
}

/// Every session that began has ended and is counted, and so is what made room and what found none.
fn account_for(flooded: u64, newcomers: u64, proxy: &mut Proxy) {
    let totals = quit(proxy);
    let log = proxy.access_log();
    let unanswered = log.iter().filter(|line| *line == "503").count() as u64;
    assert_eq!(totals["ok"] + totals["server_errors"], log.len() as u64, "{totals:?}");
    assert_eq!((totals["leases"], totals["client_errors"]), (0, 0), "{totals:?}");
    assert!((unanswered..=unanswered + newcomers).contains(&totals["evictions"]), "{unanswered}: {totals:?}");
    assert!(unanswered > 2000, "the table was filled more than once: {totals:?}");
    // The rest of the flood was dropped by the kernel. Newcomers say what is dropped again.
    assert!(totals["overflows"] > 0 && totals["overflows"] + unanswered <= flooded + 200 * newcomers, "{totals:?}");
    let last = |words: &str| proxy.error_log().lines().rev().find(|line| line.contains(words)).map(str::to_owned);
    let count = |line: String, words: &str| -> u64 {
        line.split_once(words).unwrap().1.split(' ').next().unwrap().parse().unwrap()
    };
    let evicted = count(last("make room, ").unwrap(), "make room, ");
    assert!((1..=totals["evictions"]).contains(&evicted), "{evicted} said: {totals:?}");
    let refused = count(last("udp_sessions are not enough, ").unwrap(), "are not enough, ");
    assert!((1..=totals["overflows"]).contains(&refused), "{refused} said: {totals:?}");
}

/// The source by which the peer knows a client.
fn own_flow(peer: &UdpPeer, client: &UdpClient) -> SocketAddr {
    let word = format!("who {:?} {}", std::thread::current().id(), peer.seen().len());
    // Late answers to what was said twice come first.
    while client.hears_within(Duration::from_millis(20)) {}
    assert_eq!(client.ask(&word), format!("a: {word}"));
    peer.seen().iter().rev().find(|(_, bytes)| *bytes == word.as_bytes()).unwrap().0
}
