//! Active health checks of the stream plane: what is sent, what must come back, and how long it may take.

use std::io::{Read, Write};

use fairlead_harness::{Port, TcpPeer, UdpClient, UdpPeer, connect, eventually, read_line};

use crate::fairlead;

#[test]
fn a_udp_peer_is_judged_by_its_answer() {
    // Both take datagrams of clients; one gives the wrong answer to the check.
    let good = UdpPeer::start(|datagram| vec![if datagram == b"ping" { b"pong 1".to_vec() } else { b"good".to_vec() }]);
    let bad = UdpPeer::start(|datagram| vec![if datagram == b"ping" { b"what?".to_vec() } else { b"bad".to_vec() }]);
    let proxy = fairlead().workers(1).set("good", good.address()).set("bad", bad.address()).stream(
        "match pong { send ping; expect ~ \"^pong [0-9]$\"; }
         upstream group { zone group 64k; server {bad}; server {good}; }
         server { listen 127.0.0.1:{port} udp; proxy_pass group; proxy_responses 1; health_check_timeout 500ms;
                  health_check udp match=pong interval=200ms fails=1 mandatory; }",
    );
    eventually("the good one has passed", || {
        let client = UdpClient::connect(proxy.address());
        client.send("hi");
        client.hears_within(std::time::Duration::from_millis(100))
    });
    for _ in 0..6 {
        assert_eq!(UdpClient::connect(proxy.address()).ask("hi"), "good");
    }
}

#[test]
fn a_check_may_ask_at_another_port_and_an_exact_answer() {
    let answering = |answer: &'static [u8]| {
        TcpPeer::start(move |mut stream| {
            let mut asked = [0; 5];
            if stream.read_exact(&mut asked).is_ok() && &asked == b"stat\n" {
                let _ = stream.write_all(answer);
                let _ = stream.read(&mut [0]);
            }
        })
    };
    let (status, peer) = (answering(b"\x01OK"), TcpPeer::named("a"));
    let proxy = fairlead().workers(1).set("peer", peer.address()).set("status", status.address().port()).stream(
        "match ok { send \"stat\\n\"; expect \"\\x01OK\"; }
             upstream group { zone group 64k; server {peer}; }
             server { listen 127.0.0.1:{port}; proxy_pass group;
                      health_check port={status} match=ok interval=200ms mandatory persistent; }",
    );
    eventually("the check has passed", || {
        let mut stream = connect(proxy.address());
        let mut byte = [0];
        writeln!(stream, "hi").is_ok() && stream.read(&mut byte).is_ok_and(|count| count == 1)
    });
    assert_eq!(peer.accepted() > 0, status.accepted() > 0);
}

#[test]
fn a_peer_that_says_nothing_fails_after_health_check_timeout() {
    let silent = TcpPeer::start(|mut stream| {
        let _ = stream.read(&mut [0]);
        let _ = stream.read(&mut [0]);
    });
    let good = TcpPeer::named("good");
    let proxy = fairlead().workers(1).set("silent", silent.address()).set("good", good.address()).stream(
        "match greeting { send \"hi\\n\"; expect ~ hi; }
         upstream group { zone group 64k; server {silent}; server {good}; }
         server { listen 127.0.0.1:{port}; proxy_pass group; health_check_timeout 200ms;
                  health_check match=greeting interval=100ms; }",
    );
    proxy.wait_for_error("unhealthy");
    for _ in 0..4 {
        let mut stream = connect(proxy.address());
        writeln!(stream, "hi").unwrap();
        assert_eq!(read_line(&stream), "good: hi");
    }
}

#[test]
fn the_time_for_trying_other_peers_is_bounded() {
    // The first peer hangs, and by the time it is left the session may not go on.
    let (hanging, good) = (Port::reserve(), TcpPeer::named("good"));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&hanging.address().into()).unwrap();
    socket.listen(0).unwrap();
    let fill = || {
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&hanging.address().into());
        client
    };
    let _full: Vec<_> = (0..4).map(|_| fill()).collect();
    let proxy = fairlead().workers(1).set("hanging", hanging.address()).set("good", good.address()).stream(
        "log_format own '$status $upstream_addr';
         upstream group { server {hanging} max_fails=0; server {good} backup; }
         server { listen 127.0.0.1:{port}; proxy_pass group; proxy_connect_timeout 300ms;
                  proxy_next_upstream_timeout 100ms; access_log {dir}/access.log own; }",
    );
    let mut rest = Vec::new();
    let _ = connect(proxy.address()).read_to_end(&mut rest);
    assert_eq!(proxy.access_lines(1), [format!("502 {}", hanging.address())]);
    assert_eq!(good.accepted(), 0);
}
