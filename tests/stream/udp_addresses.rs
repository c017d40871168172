//! Addresses, sizes and headers of datagrams: replies come from the address the client used, IPv4
//! and IPv6, whatever their size; the first datagram of a session tells the peer who sent it.

use std::process::Command;

use fairlead_harness::{UdpClient, UdpPeer, eventually};
use nix::sched::{CloneFlags, unshare};

use crate::fairlead;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Runs `test` in a network of its own, where this host has several addresses of both families.
pub fn in_a_network(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::getuid().is_root() {
        return; // Making one takes root.
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root makes a network");
        let mut commands = vec!["link set lo up".to_owned()];
        commands.extend(["10.99.0.1", "10.99.0.2"].map(|address| format!("address add {address}/32 dev lo")));
        commands.extend(["fd99::1", "fd99::2"].map(|address| format!("address add {address}/128 dev lo nodad")));
        for arguments in commands {
            let done = Command::new("ip").args(arguments.split(' ')).output().expect("apt-get install iproute2");
            assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Asks one port of several addresses; a connected client hears nothing from any other address.
fn each_answers(port: u16, addresses: &[(&str, &str)]) {
    for (from, to) in addresses {
        let client = UdpClient::connect_from(from, format!("{to}:{port}").parse().unwrap());
        for number in 0..3 {
            assert_eq!(client.ask(format!("{number}")), format!("a: {number}"), "{from} to {to}");
        }
    }
}

#[test]
fn every_address_of_a_wildcard_answers_for_itself() {
    in_a_network(|| {
        let peer = UdpPeer::named("a");
        let proxy = fairlead().set("peer", peer.address()).stream(
            "server { listen 0.0.0.0:{port_any} udp; listen [::]:{port_any} udp; proxy_pass {peer}; }
             server { listen [::]:{port_both} udp ipv6only=off; proxy_pass {peer}; }",
        );
        let four = [("10.99.0.1", "10.99.0.2"), ("10.99.0.1", "10.99.0.1"), ("10.99.0.2", "127.3.3.3")];
        let six = [("fd99::1", "[fd99::2]"), ("fd99::1", "[fd99::1]"), ("fd99::2", "[::1]"), ("::1", "[::1]")];
        for name in ["port_any", "port_both"] {
            let port = proxy.port(name).port();
            each_answers(port, &four);
            each_answers(port, &six);
        }
        // One client, two of our addresses: two sessions.
        let flows = peer.flows();
        let port = proxy.port("port_any").port();
        let client = std::net::UdpSocket::bind("10.99.0.1:0").unwrap();
        for to in ["10.99.0.1", "10.99.0.2"] {
            client.send_to(b"x", (to, port)).unwrap();
            let (_, from) = client.recv_from(&mut [0; 8]).unwrap();
            assert_eq!(from.to_string(), format!("{to}:{port}"));
        }
        assert_eq!(peer.flows(), flows + 2);
    });
}

#[test]
fn a_burst_to_a_wildcard_comes_back_in_order_from_its_address() {
    in_a_network(|| {
        let peer = UdpPeer::start(|datagram| vec![datagram.to_vec()]);
        let proxy = fairlead()
            .set("peer", peer.address())
            .stream("server { listen 0.0.0.0:{port_any} udp; listen [::]:{port_any} udp; proxy_pass {peer}; }");
        let port = proxy.port("port_any").port();
        for (from, to) in [("10.99.0.1", "10.99.0.2"), ("fd99::1", "[fd99::2]")] {
            burst(&UdpClient::connect_from(from, format!("{to}:{port}").parse().unwrap()));
        }
    });
}

/// Sizes that go together and sizes that do not, as fast as they can be sent.
fn burst(client: &UdpClient) {
    client.send("first");
    assert_eq!(client.receive(), b"first");
    let sizes = [100, 100, 100, 40, 100, 0, 100, 100, 1400, 1400, 1400, 300, 9000, 1, 1, 1, 1, 2, 100, 100];
    for round in 0..10 {
        let datagrams: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(at, size)| vec![(round + at) as u8; *size]).collect();
        datagrams.iter().for_each(|datagram| client.send(datagram));
        for (at, datagram) in datagrams.iter().enumerate() {
            assert!(client.receive() == *datagram, "datagram {at} of round {round}");
        }
    }
}

#[test]
fn bursts_keep_their_order_and_sizes() {
    let peer = UdpPeer::start(|datagram| vec![datagram.to_vec()]);
    let proxy =
        fairlead().set("peer", peer.address()).stream("server { listen 127.0.0.1:{port} udp; proxy_pass {peer}; }");
    burst(&UdpClient::connect(proxy.address()));
    assert_eq!(peer.flows(), 1);
}

#[test]
fn an_empty_and_the_longest_datagram_pass_both_ways() {
    let peer = UdpPeer::start(|datagram| match datagram {
        b"" => vec![vec![b'y'; 65_507]],
        _ => vec![Vec::new()],
    });
    let proxy = fairlead()
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port} udp; proxy_pass {peer}; proxy_buffer_size 64k; }");
    let client = UdpClient::connect(proxy.address());
    client.send("");
    assert!(client.receive() == [b'y'; 65_507]);
    client.send([b'z'; 65_507]);
    assert_eq!(client.receive(), b"");
    let seen = peer.seen();
    assert!(seen[0].1.is_empty() && seen[1].1 == [b'z'; 65_507]);
}

#[test]
fn the_first_datagram_of_a_session_carries_a_version_2_header() {
    let peer = UdpPeer::start(|datagram| vec![datagram.to_vec()]);
    let proxy = fairlead()
        .set("peer", peer.address())
        .stream("server { listen 0.0.0.0:{port_any} udp; proxy_pass {peer}; proxy_protocol v2; proxy_requests 2; }");
    let port = proxy.port("port_any").port();
    let client = UdpClient::connect_from("127.0.0.1", format!("127.4.4.4:{port}").parse().unwrap());
    for session in 0..3 {
        client.send("one");
        let first = client.receive();
        let header = first.strip_suffix(b"one").expect("the datagram follows the header");
        let (head, ports) = header.split_at(24);
        let expected = [SIGNATURE, &[0x21, 0x12, 0, 12, 127, 0, 0, 1, 127, 4, 4, 4]].concat();
        assert_eq!(head, expected, "session {session}");
        assert_eq!(ports[2..], port.to_be_bytes());
        client.send("two");
        assert_eq!(client.receive(), b"two");
    }
}

#[test]
fn a_version_2_header_names_addresses_of_ipv6() {
    in_a_network(|| {
        let peer = UdpPeer::start(|datagram| vec![datagram.to_vec()]);
        let proxy = fairlead()
            .set("peer", peer.address())
            .stream("server { listen [::]:{port_any} udp; proxy_pass {peer}; proxy_protocol v2; }");
        let port = proxy.port("port_any").port();
        let client = UdpClient::connect_from("fd99::1", format!("[fd99::2]:{port}").parse().unwrap());
        client.send("one");
        let first = client.receive();
        let address = |last| [&[0xfd, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[last]].concat();
        let expected = [SIGNATURE, &[0x21, 0x22, 0, 36], &address(1), &address(2)].concat();
        assert_eq!(first[..48], expected);
        assert_eq!((&first[50..52], &first[52..]), (&port.to_be_bytes()[..], &b"one"[..]));
    });
}

#[test]
fn a_burst_while_a_name_is_resolved_is_kept_in_part_and_bounded() {
    let peer = UdpPeer::named("a");
    // Nobody answers there: the name stays unresolved until the resolver gives up.
    let proxy = fairlead().workers(1).set("peer", peer.address()).set("dns", "127.0.0.1:9").stream(
        "log_format s '$status $bytes_received';
         map $remote_addr $target { default nowhere.example.com:53; }
         server { listen 127.0.0.1:{port} udp; resolver {dns}; resolver_timeout 500ms; proxy_pass $target;
                  udp_sessions 2; access_log {dir}/access.log s; }",
    );
    let clients = [(); 3].map(|()| UdpClient::connect(proxy.address()));
    clients.iter().for_each(|client| client.send("x"));
    clients.iter().for_each(|client| (0..25).for_each(|_| client.send([b'x'; 1000])));
    proxy.wait_for_error("2 udp_sessions are not enough");
    assert_eq!(proxy.access_lines(2), ["500 1", "500 1"]);
    eventually("the resolver gave up", || proxy.error_log().contains("nowhere.example.com could not be resolved"));
    assert_eq!(peer.flows(), 0);
}
