//! Datagrams that come as one message (`UDP_GRO`) and go as one (`UDP_SEGMENT`), as QUIC stacks send
//! them: to sessions, limits, logs and peers they are what they would be one by one.

use std::fs::Permissions;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use fairlead_harness::{Directory, Proxy, UdpPeer, eventually};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

use crate::fairlead;
use crate::udp_addresses::in_a_network;

/// Sends and receives runs of datagrams.
struct Runs(UdpSocket);

/// Datagrams of one message.
type Run = Vec<Vec<u8>>;

impl Runs {
    fn new() -> Runs {
        Runs::at("127.0.0.1")
    }

    fn at(address: &str) -> Runs {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        setsockopt(&socket, sockopt::UdpGroSegment, &true).expect("Linux 5.0");
        Runs(socket)
    }

    fn connect(proxy: &Proxy) -> Runs {
        let runs = Runs::new();
        runs.0.connect(proxy.address()).unwrap();
        runs
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// All but the last are as long as the first.
    fn send(&self, run: &[Vec<u8>], to: Option<SocketAddr>) {
        let segment = if run.len() > 1 { run[0].len() as i32 } else { 0 };
        setsockopt(&self.0, sockopt::UdpGsoSegment, &segment).expect("Linux 4.18");
        let sent = match to {
            Some(to) => self.0.send_to(&run.concat(), to),
            None => self.0.send(&run.concat()),
        };
        assert_eq!(sent.unwrap(), run.concat().len());
    }

    /// What the next message holds, and who sent it.
    fn receive(&self) -> (Run, SocketAddr) {
        let (mut bytes, mut control) = (vec![0; 65_536], nix::cmsg_space!(i32));
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<SockaddrIn>(self.0.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty()).unwrap();
        let segment = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::UdpGroSegments(segment) => usize::try_from(segment).ok(),
            _ => None,
        });
        let (length, from) = (message.bytes, message.address.unwrap());
        let from = SocketAddr::new(from.ip().into(), from.port());
        let run = match segment {
            Some(segment) => bytes[..length].chunks(segment).map(<[u8]>::to_vec).collect(),
            None => vec![bytes[..length].to_vec()],
        };
        (run, from)
    }

    /// Takes messages until there are `count` datagrams; these, and how many of them came in runs.
    fn receive_all(&self, count: usize) -> (Run, usize) {
        let (mut all, mut merged) = (Vec::new(), 0);
        while all.len() < count {
            let (run, _) = self.receive();
            merged += if run.len() > 1 { run.len() } else { 0 };
            all.extend(run);
        }
        (all, merged)
    }
}

/// Datagrams that tell themselves apart; the last may be shorter.
fn run(name: &str, count: usize, length: usize, last: usize) -> Run {
    let lengths = (1..=count).map(|at| if at == count { last } else { length });
    let datagrams = lengths.enumerate().map(|(at, length)| {
        let mut datagram = format!("{name}/{at} ").into_bytes();
        datagram.resize(length, at as u8);
        datagram
    });
    datagrams.collect()
}

fn start(peer: SocketAddr, directives: &str) -> Proxy {
    fairlead().workers(1).set("peer", peer).stream(&format!(
        "log_format s '$status $bytes_received/$bytes_sent $upstream_bytes_sent/$upstream_bytes_received';
         server {{ listen 127.0.0.1:{{port}} udp; proxy_pass {{peer}}; access_log {{dir}}/access.log s; {directives} }}"
    ))
}

/// Shapes of runs: within all limits, at them, over them.
const SHAPES: [(usize, usize, usize); 8] = [
    (16, 1200, 1200),
    (2, 100, 50),
    (54, 1200, 700),
    (40, 1472, 1472),
    (9, 1473, 1),
    (64, 40, 12),
    (7, 9000, 11),
    (1, 0, 0),
];

#[test]
fn runs_pass_in_order_to_a_peer_that_takes_them_and_back() {
    let peer = Runs::new();
    let proxy = start(peer.address(), "");
    let client = Runs::connect(&proxy);
    client.send(&run("first", 1, 9, 9), None);
    let (first, from) = peer.receive();
    assert_eq!(first, run("first", 1, 9, 9));
    let (mut sent, mut to_peer, mut to_client) = (0, 0, 0);
    for round in 0..20 {
        for (count, length, last) in SHAPES {
            let run = run(&format!("{round}"), count, length, last);
            client.send(&run, None);
            let (received, merged) = peer.receive_all(count);
            assert!(received == run, "to the peer, {count} of {length}");
            peer.send(&run, Some(from));
            let (back, back_merged) = client.receive_all(count);
            assert!(back == run, "to the client, {count} of {length}");
            (sent, to_peer, to_client) = (sent + count, to_peer + merged, to_client + back_merged);
        }
    }
    // Those over 1472 bytes go one by one.
    assert!(to_peer * 10 > sent * 8 && to_client * 10 > sent * 8, "{to_peer} and {to_client} of {sent} in runs");
}

#[test]
fn runs_pass_one_by_one_to_who_does_not_take_them() {
    let peer = UdpPeer::start(|datagram| vec![datagram.to_vec()]);
    let proxy = start(peer.address(), "proxy_timeout 1s;");
    let sender = Runs::connect(&proxy);
    // The same socket, but without the option: each datagram comes by itself.
    setsockopt(&sender.0, sockopt::UdpGroSegment, &false).unwrap();
    let (mut all, mut bytes) = (Vec::new(), 0);
    for (count, length, last) in SHAPES {
        let run = run("x", count, length, last);
        sender.send(&run, None);
        let (back, merged) = sender.receive_all(count);
        assert!(back == run && merged == 0, "{count} of {length}");
        bytes += run.concat().len();
        all.extend(run);
    }
    assert!(peer.seen().into_iter().map(|(_, bytes)| bytes).eq(all));
    assert_eq!(peer.flows(), 1);
    assert_eq!(proxy.access_lines(1), [format!("200 {bytes}/{bytes} {bytes}/{bytes}")]);
}

#[test]
fn a_number_of_requests_ends_sessions_in_the_middle_of_a_run() {
    let peer = UdpPeer::start(|_| Vec::new());
    let proxy = start(peer.address(), "proxy_requests 3; proxy_responses 0;");
    let run = run("r", 16, 1000, 1000);
    Runs::connect(&proxy).send(&run, None);
    eventually("all have come", || peer.seen().len() == 16);
    let seen = peer.seen();
    assert!(seen.iter().map(|(_, bytes)| bytes).eq(&run), "in order");
    let sessions: Vec<usize> = seen.chunk_by(|one, next| one.0 == next.0).map(<[_]>::len).collect();
    // The last session waits for two more.
    assert_eq!((sessions, peer.flows()), (vec![3, 3, 3, 3, 3, 1], 6));
    assert_eq!(proxy.access_lines(5), ["200 3000/0 3000/0"; 5]);
}

#[test]
fn a_number_of_responses_ends_a_session_in_the_middle_of_a_run() {
    let peer = Runs::new();
    let proxy = start(peer.address(), "proxy_responses 3;");
    let client = Runs::connect(&proxy);
    for session in 0..20 {
        client.send(&run("ask", 1, 20, 20), None);
        let (_, from) = peer.receive();
        let answer = run(&format!("{session}"), 16, 1000, 300);
        peer.send(&answer, Some(from));
        assert!(client.receive_all(3).0 == answer[..3], "the first three");
        assert_eq!(proxy.access_lines(session + 1)[session], "200 20/3000 20/3000");
    }
    client.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(client.0.recv(&mut [0; 8]).is_err(), "and no other");
}

#[test]
fn rates_hold_in_the_middle_of_a_run() {
    let peer = Runs::new();
    let proxy = start(peer.address(), "proxy_upload_rate 100; proxy_download_rate 5000; proxy_timeout 300ms;");
    let client = Runs::connect(&proxy);
    let (asked, answer) = (run("ask", 8, 99, 99), run("answer", 20, 500, 500));
    client.send(&asked, None);
    // The first one always passes, the second is paid for by a rest of a second.
    let (mut received, from) = peer.receive();
    received.extend(peer.receive_all(1).0);
    assert!(received == asked[..2]);
    let began = Instant::now();
    peer.send(&answer, Some(from));
    assert!(client.receive_all(20).0 == answer);
    let took = began.elapsed();
    assert!((Duration::from_millis(1700)..Duration::from_millis(4000)).contains(&took), "{took:?}");
    assert_eq!(proxy.access_lines(1), ["200 198/10000 198/10000"]);
}

#[test]
fn the_first_datagram_of_a_run_alone_has_our_header() {
    let peer = UdpPeer::start(|_| Vec::new());
    let proxy = start(peer.address(), "proxy_protocol v2; proxy_requests 4; proxy_responses 0;");
    let run = run("p", 10, 500, 400);
    Runs::connect(&proxy).send(&run, None);
    eventually("all have come", || peer.seen().len() == 10);
    for (at, ((_, seen), sent)) in peer.seen().iter().zip(&run).enumerate() {
        let header = seen.strip_suffix(&sent[..]).unwrap_or_else(|| panic!("datagram {at} is not what was sent"));
        assert_eq!(header.len(), if at % 4 == 0 { 28 } else { 0 }, "datagram {at}");
    }
}

#[test]
fn what_a_path_refuses_as_one_message_goes_one_by_one() {
    in_a_network(|| {
        // Packets to these addresses are short: what is longer goes in fragments, and never as segments.
        for address in ["10.99.0.1", "10.99.0.2"] {
            let route = format!("route change local {address} dev lo table local mtu 600");
            assert!(Command::new("ip").args(route.split(' ')).status().unwrap().success());
        }
        let (client, peer) = (Runs::at("10.99.0.1"), Runs::at("10.99.0.2"));
        let proxy = start(peer.address(), "proxy_bind 127.0.0.1;");
        client.0.connect(proxy.address()).unwrap();
        client.send(&run("first", 1, 9, 9), None);
        let (_, from) = peer.receive();
        for length in [500, 900, 700, 500, 899, 500] {
            let run = run("r", 16, length, length);
            client.send(&run, None);
            let (received, to_peer) = peer.receive_all(16);
            peer.send(&run, Some(from));
            let (back, to_client) = client.receive_all(16);
            assert!(received == run && back == run, "16 of {length}");
            let merged = if length < 572 { 16 } else { 0 };
            assert_eq!((to_peer, to_client), (merged, merged), "16 of {length}");
        }
        assert_eq!(proxy.access_log().len(), 0, "the session goes on");
    });
}

/// A Unix socket that the workers, who are somebody else, may write to.
fn unix(directory: &Directory, name: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(directory.join(name)).unwrap();
    std::fs::set_permissions(directory.join(name), Permissions::from_mode(0o777)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn receives_each(socket: &UnixDatagram, run: &Run) {
    let mut buffer = [0; 2048];
    for datagram in run {
        let length = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..length] == **datagram, "{length} bytes");
    }
}

#[test]
fn unix_sockets_get_each_datagram_by_itself() {
    let peer = Runs::new();
    let proxy = fairlead().workers(1).set("peer", peer.address()).stream(
        "server { listen 127.0.0.1:{port} udp; proxy_pass unix:{dir}/peer; }
         server { listen unix:{dir}/front udp; proxy_pass {peer}; }",
    );
    // More than ten do not wait in a Unix socket.
    let run = run("u", 8, 700, 200);
    let unix_peer = unix(proxy.directory(), "peer");
    Runs::connect(&proxy).send(&run, None);
    receives_each(&unix_peer, &run);
    let client = unix(proxy.directory(), "client");
    client.connect(proxy.directory().join("front")).unwrap();
    client.send(b"hi").unwrap();
    let (_, from) = peer.receive();
    peer.send(&run, Some(from));
    receives_each(&client, &run);
}
