//! `listen` with each of its parameters, asked of the sockets themselves.

use std::collections::HashSet;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fairlead_harness::{Port, Proxy, TcpPeer, UdpClient, connect, eventually, read_line, read_to_end};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use crate::fairlead;

/// Our own descriptors of every socket that the program's workers hold.
fn sockets(proxy: &Proxy) -> Vec<Socket> {
    let mut found = Vec::new();
    for pid in proxy.workers() {
        let process = pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty()).unwrap();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let is_socket =
                std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
            let number = entry.file_name().to_string_lossy().parse().unwrap();
            if is_socket && let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
                found.push(Socket::from(socket));
            }
        }
    }
    found
}

fn listeners(proxy: &Proxy, address: SocketAddr) -> Vec<Socket> {
    let mut found = Vec::new();
    eventually("the workers have their sockets", || {
        found = find_listeners(proxy, address);
        !found.is_empty()
    });
    found
}

fn find_listeners(proxy: &Proxy, address: SocketAddr) -> Vec<Socket> {
    let local = |socket: &Socket| socket.local_addr().ok().and_then(|local| local.as_socket());
    let of_peer = |socket: &Socket| socket.peer_addr().is_ok();
    sockets(proxy).into_iter().filter(|socket| local(socket) == Some(address) && !of_peer(socket)).collect()
}

/// The program's end of our connection.
fn other_end(proxy: &Proxy, stream: &std::net::TcpStream) -> Socket {
    let own = stream.local_addr().unwrap();
    let peer = |socket: &Socket| socket.peer_addr().ok().and_then(|peer| peer.as_socket());
    sockets(proxy).into_iter().find(|socket| peer(socket) == Some(own)).expect("the connection is there")
}

/// What `ss` prints of the listening sockets of a port.
fn ss(options: &str, port: u16) -> String {
    let output = std::process::Command::new("ss").args([options, &format!("sport = :{port}")]).output();
    let output = output.expect("apt-get install iproute2");
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn buffer_sizes_and_backlog_are_the_sockets() {
    let proxy = fairlead().stream("server { listen 127.0.0.1:{port} rcvbuf=40k sndbuf=50k backlog=77; return x; }");
    let found = listeners(&proxy, proxy.address());
    assert!(!found.is_empty());
    for socket in found {
        // The kernel keeps twice what is asked for.
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 40 * 1024);
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * 50 * 1024);
    }
    let table = ss("-Hltn", proxy.address().port());
    assert!(table.lines().all(|line| line.split_whitespace().nth(2) == Some("77")), "{table}");
}

#[test]
fn udp_sockets_have_their_buffer_sizes() {
    let proxy = fairlead().stream("server { listen 127.0.0.1:{port} udp rcvbuf=40k sndbuf=50k reuseport; return x; }");
    let socket = listeners(&proxy, proxy.address()).remove(0);
    assert_eq!((socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()), (81_920, 102_400));
    assert_eq!(UdpClient::connect(proxy.address()).ask("hi"), "x");
}

#[test]
fn keepalive_reaches_the_connections() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "server { listen 127.0.0.1:{port} so_keepalive=30m:7s:5; proxy_pass {peer}; }
        server { listen 127.0.0.1:{port_off} so_keepalive=off; proxy_pass {peer}; }",
    );
    let mut stream = connect(proxy.address());
    writeln!(stream, "hi").unwrap();
    read_line(&stream);
    let socket = other_end(&proxy, &stream);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(1800));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
    let mut stream = connect(proxy.port("port_off"));
    writeln!(stream, "hi").unwrap();
    read_line(&stream);
    assert!(!other_end(&proxy, &stream).keepalive().unwrap());
}

#[test]
fn tcp_nodelay_is_set_and_left_out_on_both_sides() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "server { listen 127.0.0.1:{port}; proxy_pass {peer}; }
        server { listen 127.0.0.1:{port_off}; proxy_pass {peer}; tcp_nodelay off; }",
    );
    let mut streams = Vec::new();
    for (address, expected) in [(proxy.address(), true), (proxy.port("port_off"), false)] {
        let mut stream = connect(address);
        writeln!(stream, "hi").unwrap();
        read_line(&stream);
        assert_eq!(other_end(&proxy, &stream).tcp_nodelay().unwrap(), expected, "{address}");
        streams.push(stream);
    }
    let to_peer = |socket: &Socket| socket.peer_addr().is_ok_and(|to| to.as_socket() == Some(peer.address()));
    let both: HashSet<bool> =
        sockets(&proxy).into_iter().filter(to_peer).map(|socket| socket.tcp_nodelay().unwrap()).collect();
    assert_eq!(both, HashSet::from([true, false]), "and so on the peer's side");
}

#[test]
fn a_deferred_connection_is_accepted_with_its_first_bytes() {
    if fairlead().is_nginx() {
        // Debian's is too old.
        return;
    }
    let proxy = fairlead().workers(1).stream("server { listen 127.0.0.1:{port} deferred; return x; }");
    let _silent = connect(proxy.address());
    let mut second = connect(proxy.address());
    second.write_all(b"hi").unwrap();
    assert_eq!(read_to_end(&second), b"x");
    // The first came before it, and would have been accepted before it.
    proxy.wait_for_error(&format!("*1 client {} connected to", second.local_addr().unwrap()));
}

#[test]
fn ipv6only_decides_about_ipv4() {
    let proxy = fairlead().stream(
        "server { listen [::]:{port} ipv6only=off; return x; }
        server { listen [::]:{port_only}; return x; }
        server { listen [::1]:{port_one} ipv6only=on; return x; }",
    );
    assert_eq!(read_to_end(&connect(proxy.address())), b"x", "IPv4 on a socket of both");
    let only = proxy.port("port_only").port();
    assert!(std::net::TcpStream::connect(("127.0.0.1", only)).is_err());
    for port in [only, proxy.port("port_one").port()] {
        assert_eq!(read_to_end(&connect(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)))), b"x");
    }
}

#[test]
fn a_range_is_a_listener_for_each_port() {
    let ports = consecutive();
    let (first, last) = (ports[0].number(), ports[2].number());
    let proxy = fairlead().set("range", format!("{first}-{last}")).stream(
        "server { listen 127.0.0.1:{range}; listen 127.0.0.1:{range} udp; listen 127.0.0.1:{port}; return $server_port; }",
    );
    assert_eq!(read_to_end(&connect(proxy.address())), proxy.address().port().to_string().as_bytes());
    for port in &ports {
        assert_eq!(read_to_end(&connect(port.address())), port.number().to_string().as_bytes());
        assert_eq!(UdpClient::connect(port.address()).ask("hi"), port.number().to_string());
    }
}

/// Three ports in a row.
fn consecutive() -> Vec<Port> {
    let mut row: Vec<Port> = Vec::new();
    while row.len() < 3 {
        let next = Port::reserve();
        if row.last().is_some_and(|last| last.number() + 1 != next.number()) {
            row.clear();
        }
        row.push(next);
    }
    row
}

#[test]
fn every_worker_has_a_socket_of_its_own() {
    let proxy = fairlead().workers(3).stream("server { listen 127.0.0.1:{port} reuseport bind; return x; }");
    if fairlead().is_nginx() {
        return;
    }
    // The process holds a second descriptor of each.
    let different =
        |found: &[Socket]| found.iter().map(|socket| socket.cookie().unwrap()).collect::<HashSet<_>>().len();
    eventually("all have", || different(&find_listeners(&proxy, proxy.address())) == 3);
    let found = find_listeners(&proxy, proxy.address());
    assert!(found.iter().all(|socket| socket.reuse_port().unwrap()));
}

#[test]
fn a_unix_socket_takes_connections() {
    let proxy =
        fairlead().stream("server { listen unix:{dir}/s backlog=5; listen 127.0.0.1:{port}; return '$remote_addr'; }");
    let stream = UnixStream::connect(proxy.directory().join("s")).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut &stream, &mut text).unwrap();
    assert_eq!(text, "unix:");
}

#[test]
fn multipath_makes_the_socket_one_of_mptcp() {
    if fairlead().is_nginx() {
        return;
    }
    let servers = "server { listen 127.0.0.1:{port} multipath; return x; }";
    if std::fs::read_to_string("/proc/sys/net/mptcp/enabled").is_ok_and(|text| text.trim() == "1") {
        let proxy = fairlead().stream(servers);
        let socket = listeners(&proxy, proxy.address()).remove(0);
        assert_eq!(socket.protocol().unwrap(), Some(socket2::Protocol::MPTCP));
        assert_eq!(read_to_end(&connect(proxy.address())), b"x", "plain TCP comes in too");
        let client = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, Some(socket2::Protocol::MPTCP)).unwrap();
        client.connect(&proxy.address().into()).unwrap();
        assert_eq!(read_to_end(&client.into()), b"x");
    } else {
        let (output, _) = fairlead().run(&[], &format!("events {{}} stream {{ {servers} }}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("socket() 127.0.0.1:") && !output.status.success(), "{said}");
    }
}

#[test]
fn what_a_listener_cannot_be_is_refused_in_nginxs_words() {
    let words = |parameters: &str| format!("stream {{ server {{ listen {parameters}; return x; }} }}");
    for (parameters, expected) in [
        ("127.0.0.1:31000-30990", "invalid port range in \"127.0.0.1:31000-30990\" of the \"listen\" directive"),
        ("31000-70000", "invalid port in \"31000-70000\" of the \"listen\" directive"),
        ("unix:", "no path in the unix domain socket in \"unix:\" of the \"listen\" directive"),
        ("31000 udp backlog=5", "\"listen\" directive \"backlog\" parameter is incompatible with \"udp\""),
        ("31000 udp so_keepalive=on", "\"listen\" directive \"so_keepalive\" parameter is incompatible with \"udp\""),
        ("31000 udp proxy_protocol", "\"listen\" directive \"proxy_protocol\" parameter is incompatible with \"udp\""),
        ("31000 udp fastopen=5", "\"listen\" directive \"fastopen\" parameter is incompatible with \"udp\""),
        ("31000 backlog=0", "invalid backlog \"backlog=0\""),
        ("31000 fastopen=-1", "invalid fastopen \"fastopen=-1\""),
        ("31000 rcvbuf=x", "invalid rcvbuf \"rcvbuf=x\""),
        ("31000 so_keepalive=::", "invalid so_keepalive value: \"::\""),
    ] {
        let (taken, said) = fairlead().check(&words(parameters));
        assert!(!taken && said.contains(expected), "{parameters}: {said}");
    }
    if fairlead().is_nginx() {
        return;
    }
    for name in ["multipath", "deferred"] {
        let (taken, said) = fairlead().check(&words(&format!("31000 udp {name}")));
        assert!(!taken && said.contains(&format!("\"{name}\" parameter is incompatible with \"udp\"")), "{said}");
    }
    let (taken, said) = fairlead().check(&words("31000 setfib=1"));
    assert!(!taken && said.contains("invalid parameter \"setfib=1\""), "{said}");
    let (taken, said) = fairlead().check(&words("31000 accept_filter=data"));
    assert!(taken, "{said}");
    assert!(
        said.contains("accept filters \"accept_filter=data\" are not supported on this platform, ignored"),
        "{said}"
    );
}
