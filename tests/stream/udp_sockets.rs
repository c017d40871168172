//! Sockets to UDP peers serve one session after another, and nobody can tell them from new ones: each
//! session has a port of its own, and what comes late for an old one reaches nobody.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlead_harness::{Port, Proxy, UdpClient, UdpPeer, eventually};

use crate::fairlead;

const SESSIONS: usize = 300;

fn start(peer: SocketAddr, directives: &str) -> Proxy {
    fairlead().workers(1).set("peer", peer).stream(&format!(
        "log_format s '$upstream_addr $status'; access_log {{dir}}/access.log s;
         server {{ listen 127.0.0.1:{{port}} udp; proxy_pass {{peer}}; proxy_responses 1; {directives} }}"
    ))
}

/// The number of the kernel's socket that is bound to an address: it stays while its port changes.
fn socket_at(address: SocketAddr) -> u64 {
    let SocketAddr::V4(v4) = address else { panic!("{address} is not of IPv4") };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port());
    let mut found = None;
    // While others come and go a row may be missed.
    eventually("the kernel's table has the socket", || {
        let table = std::fs::read_to_string("/proc/self/net/udp").unwrap();
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        found = rows.filter(|row| row[1] == wanted).map(|row| row[9].parse().unwrap()).next();
        found.is_some()
    });
    found.unwrap()
}

/// Source and socket of each of many sessions, one after another.
fn sessions(directives: &str) -> Vec<(SocketAddr, u64)> {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let proxy = start(peer.local_addr().unwrap(), directives);
    let mut sessions = Vec::new();
    let mut client = UdpClient::connect(proxy.address());
    eventually("the sessions pass", || {
        client.send(format!("{}", sessions.len()));
        match answered(&peer, &client, sessions.len()) {
            Some(session) => sessions.push(session),
            // Lost where the kernel's own queue was full, for a flood of others perhaps.
            None => client = UdpClient::connect(proxy.address()),
        }
        sessions.len() == SESSIONS
    });
    sessions
}

fn answered(peer: &UdpSocket, client: &UdpClient, number: usize) -> Option<(SocketAddr, u64)> {
    let (_, from) = peer.recv_from(&mut [0; 16]).ok()?;
    let socket = socket_at(from);
    peer.send_to(format!("re {number}").as_bytes(), from).unwrap();
    let answer = client.receive_within(Duration::from_millis(500))?;
    assert_eq!(answer, format!("re {number}").as_bytes());
    Some((from, socket))
}

/// How many there are of each.
fn count<T: std::hash::Hash + Eq>(all: impl Iterator<Item = T>) -> HashMap<T, usize> {
    all.fold(HashMap::new(), |mut counts, one| {
        *counts.entry(one).or_default() += 1;
        counts
    })
}

#[test]
fn a_socket_serves_many_sessions_and_has_a_new_port_for_each() {
    for (directives, host) in [("", "127.0.0.1"), ("proxy_bind 127.0.0.9;", "127.0.0.9")] {
        let sessions = sessions(directives);
        assert!(sessions.iter().all(|(from, _)| from.ip().to_string() == host), "{directives}");
        let sockets = count(sessions.iter().map(|(_, socket)| socket));
        assert!(sockets.len() * 2 < SESSIONS, "{} sockets for {SESSIONS} sessions", sockets.len());
        // Ports are drawn: now and then the same comes twice.
        let ports = count(sessions.iter().map(|(from, _)| from));
        assert!(ports.len() > SESSIONS - 20, "{} ports for {SESSIONS} sessions", ports.len());
        let same = sessions.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
        assert!(same < 3, "{same} sessions with the port of the one before");
    }
}

#[test]
fn a_socket_whose_port_is_written_serves_one_session() {
    let port = Port::reserve();
    let local = SocketAddr::from(([127, 0, 0, 9], port.address().port()));
    let sessions = sessions(&format!("proxy_bind {local};"));
    assert!(sessions.iter().all(|(from, _)| *from == local));
    assert_eq!(count(sessions.iter().map(|(_, socket)| socket)).len(), SESSIONS);
}

/// Answers at once; every tenth datagram a second time up to 60 ms later; what begins with `slow` once, and
/// later than its session lasts.
fn answer(socket: &UdpSocket, stop: &AtomicBool) {
    let (mut buffer, mut late, mut answered) = ([0; 64], Vec::new(), 0_u64);
    while !stop.load(Ordering::SeqCst) {
        late.retain(|(due, from, bytes): &(Instant, SocketAddr, Vec<u8>)| {
            let waits = Instant::now() < *due;
            if !waits {
                let _ = socket.send_to(bytes, from);
            }
            waits
        });
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let (bytes, slow) = (&buffer[..length], buffer.starts_with(b"slow"));
        answered += 1;
        if !slow {
            let _ = socket.send_to(bytes, from);
        }
        if slow || answered.is_multiple_of(10) {
            let wait = if slow { 700 } else { answered % 60 };
            late.push((Instant::now() + Duration::from_millis(wait), from, bytes.to_vec()));
        }
    }
}

/// Ends the peer's thread even when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_reply_that_comes_after_its_session_reaches_nobody() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let stop = AtomicBool::new(false);
    let proxy = start(socket.local_addr().unwrap(), "proxy_timeout 200ms;");
    let slow: Vec<UdpClient> = (0..20).map(|_| UdpClient::connect(proxy.address())).collect();
    let client = UdpClient::connect(proxy.address());
    std::thread::scope(|scope| {
        scope.spawn(|| answer(&socket, &stop));
        let _stop = Stop(&stop);
        let (since, mut asked) = (Instant::now(), 0);
        while asked < 2000 || since.elapsed() < Duration::from_millis(1500) {
            if let Some(slow) = slow.get(asked / 50).filter(|_| asked % 50 == 0) {
                // Its session times out before the answer comes.
                slow.send("slow");
            }
            asked += 1;
            // Every wrong answer would be noticed, and so would one that comes twice.
            assert_eq!(client.ask(format!("{asked}")), format!("{asked}"));
        }
        assert!(!client.hears_within(Duration::from_millis(100)), "late ones are nobody's");
        assert!(!slow.iter().any(|slow| slow.hears_within(Duration::from_millis(1))), "nor their own, by then");
    });
    eventually("sessions that time out are seen", || proxy.access_log().iter().any(|line| line.ends_with("502")));
}

#[test]
fn icmp_for_an_old_session_does_not_end_the_next() {
    let (peer, dead) = (UdpPeer::named("a"), Port::reserve());
    let proxy = fairlead().workers(1).set("peer", peer.address()).set("dead", dead.address()).stream(
        "log_format s '$upstream_addr $status'; access_log {dir}/access.log s;
         map $remote_addr $target { 127.0.0.7 {dead}; default {peer}; }
         server { listen 127.0.0.1:{port} udp; proxy_pass $target; proxy_requests 1; proxy_responses 0; }",
    );
    // Their sessions are over before the refusal is heard of.
    let unlucky = UdpClient::connect_from("127.0.0.7", proxy.address());
    let client = UdpClient::connect(proxy.address());
    for number in 0..SESSIONS {
        unlucky.send("x");
        client.send("y");
        eventually("the peer has heard it", || peer.seen().len() == number + 1);
    }
    let lines = proxy.access_lines(2 * SESSIONS);
    assert_eq!(lines.iter().filter(|line| **line == format!("{} 200", peer.address())).count(), SESSIONS);
    assert!(!proxy.error_log().contains("Connection refused"));
}
