//! Sockets towards peers as the kernel shows them, where they start from, and how long is waited for them.

use fairlead_harness::setup::installed;
use fairlead_harness::{HttpPeer, Proxy, TcpPeer};
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::fairlead;

fn kept(peer: SocketAddr, location: &str) -> Proxy {
    fairlead().workers(1).set("peer", peer).http(&format!(
        "upstream group {{ server {{peer}}; keepalive 4; }}
        server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://group; proxy_http_version 1.1;
            proxy_set_header Connection ''; {location} }} }}"
    ))
}

/// What the kernel says of the connections to `peer`.
fn sockets(peer: SocketAddr) -> String {
    let ss = installed("ss", "apt-get install iproute2");
    let output = Command::new(ss).args(["-Hnaoemt", "dst", &peer.to_string()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_kernel_has_the_options_that_are_asked_for() {
    if fairlead().is_nginx() {
        return; // Debian's is older than the sizes.
    }
    for (rows, probes, sizes) in [
        ("proxy_socket_keepalive on;", true, None),
        ("proxy_socket_keepalive off;", false, None),
        // Linux doubles what it is asked for, for its own bookkeeping.
        ("proxy_socket_rcvbuf 12k; proxy_socket_sndbuf 20k;", false, Some((",rb24576,", ",tb40960,"))),
    ] {
        let peer = HttpPeer::named("kept");
        let proxy = kept(peer.address(), rows);
        assert_eq!(proxy.get("/").status(), 200);
        let shown = sockets(peer.address());
        assert_eq!(shown.contains("timer:(keepalive"), probes, "{rows} {shown}");
        if let Some((received, sent)) = sizes {
            assert!(shown.contains(received) && shown.contains(sent), "{rows} {shown}");
        }
    }
}

#[test]
fn sizes_and_flags_that_are_none_are_refused() {
    for row in [
        "proxy_socket_rcvbuf much",
        "proxy_socket_sndbuf 4g",
        "proxy_socket_keepalive maybe",
        "proxy_bind 127.0.0.1 opaque",
        "proxy_bind nowhere",
        "proxy_bind_dynamic 1",
        "proxy_connect_timeout soon",
        "proxy_headers_hash_max_size x",
    ] {
        let (sound, said) = fairlead().check(&format!("http {{ {row}; }}"));
        assert!(!sound, "{row}: {said}");
    }
    let rows = "proxy_headers_hash_max_size 1024; proxy_headers_hash_bucket_size 128; proxy_send_lowat 0;";
    let (sound, said) = fairlead().check(&format!("http {{ {rows} server {{ {rows} location / {{ {rows} }} }} }}"));
    assert!(sound, "{said}");
}

/// A peer that answers with the address its client connects from.
fn mirror(mut stream: TcpStream) {
    let from = stream.peer_addr().unwrap().to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{from}", from.len());
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(answer.as_bytes());
}

#[test]
fn a_port_and_variables_say_where_connections_start() {
    let peer = TcpPeer::start(mirror);
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; set $own {port_own};
            location /port { proxy_pass http://{peer}; proxy_bind 127.0.0.6:{port_own}; }
            location /variables { proxy_pass http://{peer}; proxy_bind 127.0.0.7:$own; }
            location /inner/ { proxy_bind 127.0.0.8; location /inner/off { proxy_pass http://{peer}; proxy_bind off; }
                location /inner/on { proxy_pass http://{peer}; } } }",
    );
    let own = proxy.port("port_own").port();
    assert_eq!(proxy.get("/port").text(), format!("127.0.0.6:{own}"));
    assert_eq!(proxy.get("/variables").text(), format!("127.0.0.7:{own}"));
    assert!(proxy.get("/inner/on").text().starts_with("127.0.0.8:"));
    assert!(proxy.get("/inner/off").text().starts_with("127.0.0.1:"));
}

#[test]
fn a_dynamic_address_is_worked_out_for_every_peer() {
    if fairlead().is_nginx() {
        return; // Debian's is older.
    }
    let peer = TcpPeer::start(mirror);
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; proxy_bind $upstream_last_addr;
            location /once { proxy_pass http://{peer}; }
            location /dynamic { proxy_pass http://{peer}; proxy_bind_dynamic on; } }",
    );
    // Before any peer was picked there is no last one; afterwards its address is taken, by itself.
    assert!(proxy.get("/once").text().starts_with("127.0.0.1:"));
    assert_eq!(proxy.get("/dynamic").status(), 500);
    proxy.wait_for_error(&format!("bind({}) failed (98: Address already in use)", peer.address()));
}

#[test]
fn a_transparent_address_need_not_be_ours() {
    if !nix::unistd::getuid().is_root() {
        return; // Making a network takes root.
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root makes a network");
        for arguments in [
            "link set lo up",
            "address add 10.99.0.1/32 dev lo",
            "rule add from 10.99.0.1 lookup 100",
            "route add local default dev lo table 100",
        ] {
            let done = Command::new("ip").args(arguments.split(' ')).output().expect("apt-get install iproute2");
            assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
        }
        let address: SocketAddr = "10.99.0.1:9000".parse().unwrap();
        let _peer = TcpPeer::start_at(address, mirror);
        let proxy = fairlead().set("peer", address).http(
            "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer};
                proxy_bind $arg_from transparent; } }",
        );
        for from in ["192.0.2.77", "198.51.100.5"] {
            assert!(proxy.get(&format!("/?from={from}")).text().starts_with(&format!("{from}:")));
        }
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_peer_that_does_not_accept_is_given_up() {
    // One waits to be accepted, and there is no room for another.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let waiting: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(50))).collect();
    let proxy = fairlead().set("peer", address).http(
        "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}/in/; proxy_connect_timeout 100ms; } }",
    );
    assert_eq!(proxy.get("/").status(), 504);
    proxy.wait_for_error(&format!(
        "upstream timed out (110: Connection timed out) while connecting to upstream, client: 127.0.0.1, server: , \
         request: \"GET / HTTP/1.1\", upstream: \"http://{address}/in/\""
    ));
    drop(waiting);
}

#[test]
fn a_peer_that_takes_no_request_is_given_up() {
    let peer =
        TcpPeer::start(|stream| std::thread::sleep(Duration::from_secs(2 * u64::from(stream.peek(&mut [0]).is_ok()))));
    let proxy = fairlead().set("peer", peer.address()).http(
        "client_max_body_size 0; server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer};
            proxy_send_timeout 150ms; proxy_read_timeout 30s; proxy_socket_sndbuf 8k; } }",
    );
    let length = 16 << 20;
    let mut client = fairlead_harness::connect(proxy.address());
    write!(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").unwrap();
    let mut writer = client.try_clone().unwrap();
    let body = std::thread::spawn(move || writer.write_all(&vec![b'x'; length]));
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
    proxy.wait_for_error("upstream timed out (110: Connection timed out) while sending request to upstream");
    let _ = body.join();
}
