//! `proxy_bind`: where connections to peers start from, be it an address of another host.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use fairlead_harness::{Proxy, Signal, TcpPeer, UdpClient, UdpPeer, connect, connect_from, read_line, read_to_end};
use nix::sched::{CloneFlags, unshare};

use crate::fairlead;

/// Tells who connected to it.
fn teller(stream: TcpStream) {
    let _ = writeln!(&stream, "{}", stream.peer_addr().unwrap());
}

fn start(peer: &TcpPeer, bind: &str) -> Proxy {
    fairlead()
        .set("peer", peer.address())
        .stream(&format!("server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; {bind} }}"))
}

/// The address the peer sees.
fn seen(source: &str, proxy: &Proxy) -> SocketAddr {
    read_line(&connect_from(source, proxy.address())).parse().expect("an address")
}

#[test]
fn connections_start_from_the_address_that_is_given() {
    let peer = TcpPeer::start(teller);
    assert_eq!(seen("127.0.0.1", &start(&peer, "proxy_bind 127.0.0.5;")).ip().to_string(), "127.0.0.5");
}

#[test]
fn a_port_may_be_given_too() {
    let peer = TcpPeer::start(teller);
    let proxy = start(&peer, "proxy_bind 127.0.0.5:{port_own};");
    assert_eq!(seen("127.0.0.1", &proxy), SocketAddr::new("127.0.0.5".parse().unwrap(), proxy.port("port_own").port()));
}

#[test]
fn variables_give_the_address() {
    let peer = TcpPeer::start(teller);
    let proxy = start(&peer, "proxy_bind $remote_addr;");
    for source in ["127.0.0.1", "127.9.8.7"] {
        assert_eq!(seen(source, &proxy).ip().to_string(), source);
    }
}

#[test]
fn what_is_no_address_is_logged_and_not_used() {
    let peer = TcpPeer::start(teller);
    let proxy = start(&peer, "proxy_bind x$remote_addr;");
    assert_eq!(seen("127.0.0.1", &proxy).ip().to_string(), "127.0.0.1");
    proxy.wait_for_error("invalid local address \"x127.0.0.1\", client: 127.0.0.1, server:");
    let empty = start(&peer, "proxy_bind $proxy_protocol_addr;");
    assert_eq!(seen("127.0.0.1", &empty).ip().to_string(), "127.0.0.1");
    assert!(!empty.error_log().contains("invalid local address"), "an empty one is left out silently");
}

#[test]
fn an_address_that_is_not_ours_ends_the_session() {
    let peer = TcpPeer::start(teller);
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format s '$status'; proxy_bind 198.51.100.77;
        server { listen 127.0.0.1:{port}; proxy_pass {peer}; access_log {dir}/access.log s; }
        server { listen 127.0.0.1:{port_off}; proxy_pass {peer}; proxy_bind off; }",
    );
    assert!(read_to_end(&connect(proxy.address())).is_empty());
    assert_eq!(proxy.access_lines(1), ["500"]);
    let error = "bind(198.51.100.77) failed (99: Cannot assign requested address)";
    proxy.wait_for_error(&format!("{error} while connecting to upstream, client: 127.0.0.1, server:"));
    assert!(read_line(&connect(proxy.port("port_off"))).starts_with("127.0.0.1:"), "off takes it back");
}

#[test]
fn a_dynamic_address_is_worked_out_for_every_peer() {
    if fairlead().is_nginx() {
        return; // NGINX Plus has it.
    }
    let peer = TcpPeer::start(teller);
    // Before any peer was picked there is no last one; afterwards its address is taken, by itself.
    let once = start(&peer, "proxy_bind $upstream_last_addr;");
    assert_eq!(seen("127.0.0.1", &once).ip().to_string(), "127.0.0.1");
    let dynamic = start(&peer, "proxy_bind $upstream_last_addr; proxy_bind_dynamic on;");
    assert!(read_to_end(&connect(dynamic.address())).is_empty());
    dynamic.wait_for_error(&format!("bind({}) failed (98: Address already in use)", peer.address()));
}

#[test]
fn datagrams_start_from_it_too() {
    let peer = UdpPeer::named("a");
    let proxy = fairlead()
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port} udp; proxy_pass {peer}; proxy_bind $remote_addr; }");
    assert_eq!(UdpClient::connect_from("127.5.5.5", proxy.address()).ask("hi"), "a: hi");
    assert_eq!(peer.seen()[0].0.ip().to_string(), "127.5.5.5");
}

/// Runs `test` in a network of its own, in which what the address 10.99.0.1 (or fd99::1) sends comes
/// back to this host wherever it is sent: what routing has to do for a transparent proxy.
fn in_a_network(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::getuid().is_root() {
        return; // Making one takes root.
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root makes a network");
        for arguments in [
            "link set lo up",
            "address add 10.99.0.1/32 dev lo",
            "address add fd99::1/128 dev lo nodad",
            "rule add from 10.99.0.1 lookup 100",
            "-6 rule add from fd99::1 lookup 100",
            "route add local default dev lo table 100",
            "-6 route add local default dev lo table 100",
        ] {
            let done = Command::new("ip").args(arguments.split(' ')).output().expect("apt-get install iproute2");
            assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn transparent(peer: SocketAddr, local: &str) -> Proxy {
    fairlead().set("peer", peer).stream(&format!(
        "server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; proxy_bind {local} transparent; }}
        server {{ listen 127.0.0.1:{{port_udp}} udp; proxy_pass {{peer}}; proxy_bind {local} transparent; }}"
    ))
}

#[test]
fn a_transparent_address_need_not_be_ours() {
    in_a_network(|| {
        for (peer, local) in [("10.99.0.1:9000", "192.0.2.77"), ("[fd99::1]:9000", "2001:db8::77")] {
            let address: SocketAddr = peer.parse().unwrap();
            let _tcp = TcpPeer::start_at(address, teller);
            let udp = UdpPeer::start_at(address, |datagram| vec![datagram.to_vec()]);
            let proxy = transparent(address, local);
            assert_eq!(seen("127.0.0.1", &proxy).ip().to_string(), local);
            assert_eq!(UdpClient::connect(proxy.port("port_udp")).ask("hi"), "hi");
            assert_eq!(udp.seen()[0].0.ip().to_string(), local);
        }
    });
}

#[test]
fn the_peer_sees_the_clients_own_address_and_port() {
    in_a_network(|| {
        let _peer = TcpPeer::start_at("10.99.0.1:9000".parse().unwrap(), teller);
        let proxy = fairlead().stream(
            "server { listen 127.0.0.1:{port} proxy_protocol; set_real_ip_from 127.0.0.1;
                proxy_pass 10.99.0.1:9000; proxy_bind $remote_addr:$remote_port transparent; }",
        );
        let mut stream = connect(proxy.address());
        stream.write_all(b"PROXY TCP4 203.0.113.9 198.51.100.2 40000 443\r\n").unwrap();
        assert_eq!(read_line(&stream), "203.0.113.9:40000");
    });
}

#[test]
fn a_reload_cannot_bring_back_a_privilege_that_was_given_up() {
    if fairlead().is_nginx() {
        return; // nginx starts new worker processes at a reload.
    }
    in_a_network(|| {
        let _peer = TcpPeer::start_at("10.99.0.1:9000".parse().unwrap(), teller);
        let body = |bind: &str| {
            format!("stream {{ server {{ listen 127.0.0.1:{{port}}; proxy_pass 10.99.0.1:9000; {bind} }} }}")
        };
        let mut proxy = fairlead().start(&body(""));
        proxy.rewrite(&body("proxy_bind 192.0.2.77 transparent;"));
        proxy.signal(Signal::SIGHUP);
        proxy.wait_for_error("\"proxy_bind\" with \"transparent\" needs a privilege that the worker process gave up");
        assert_eq!(seen("127.0.0.1", &proxy).ip().to_string(), "10.99.0.1", "the old configuration serves");
    });
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    for (text, message) in [
        ("proxy_bind nowhere;", "invalid address \"nowhere\""),
        ("proxy_bind 127.0.0.1:0;", "invalid address \"127.0.0.1:0\""),
        ("proxy_bind off transparent;", "invalid address \"off\""),
        ("proxy_bind 127.0.0.1 opaque;", "invalid parameter \"opaque\""),
    ] {
        let (sound, said) = fairlead().check(&format!("stream {{ {text} }}"));
        assert!(!sound && said.contains(message), "{text}: {said}");
    }
}
