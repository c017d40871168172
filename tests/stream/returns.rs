//! `return`: a text in place of a peer.

use std::io::{Read, Write};
use std::net::Shutdown;

use fairlead_harness::{UdpClient, connect, read_to_end};

use crate::fairlead;

#[test]
fn a_tcp_client_gets_the_text_and_the_end() {
    let proxy = fairlead().stream(
        "log_format own '$status $bytes_sent $bytes_received';
        server { listen 127.0.0.1:{port}; return '$protocol $remote_addr:$remote_port to $server_port\n';
                 access_log {dir}/access.log own; }",
    );
    let stream = connect(proxy.address());
    let (port, own) = (proxy.address().port(), stream.local_addr().unwrap().port());
    let expected = format!("TCP 127.0.0.1:{own} to {port}\n");
    assert_eq!(String::from_utf8(read_to_end(&stream)).unwrap(), expected);
    drop(stream);
    assert_eq!(proxy.access_lines(1), [format!("200 {} 0", expected.len())]);
}

#[test]
fn a_udp_client_gets_a_datagram_for_each_of_its_own() {
    let proxy = fairlead().stream(
        "log_format own '$protocol $status $bytes_sent $bytes_received';
        server { listen 127.0.0.1:{port} udp; return 'hello $remote_addr'; access_log {dir}/access.log own; }",
    );
    let client = UdpClient::connect(proxy.address());
    assert_eq!(client.ask("abc"), "hello 127.0.0.1");
    assert_eq!(client.ask("de"), "hello 127.0.0.1");
    assert_eq!(proxy.access_lines(2), ["UDP 200 15 3", "UDP 200 15 2"]);
}

#[test]
fn a_client_that_has_finished_gets_the_text_too() {
    let proxy = fairlead().stream("server { listen 127.0.0.1:{port}; return text; }");
    let stream = connect(proxy.address());
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&stream), b"text");
}

#[test]
fn an_empty_text_closes_the_connection() {
    let proxy = fairlead().stream("server { listen 127.0.0.1:{port}; return ''; }");
    assert_eq!(read_to_end(&connect(proxy.address())), b"");
}

/// nginx resets the connection: what it has not read is in the way.
#[test]
fn what_the_client_sends_does_not_cost_it_the_text() {
    if fairlead().is_nginx() {
        return;
    }
    let proxy = fairlead().stream("server { listen 127.0.0.1:{port}; return text; }");
    for _ in 0..50 {
        let mut stream = connect(proxy.address());
        stream.write_all(&[b'x'; 100_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&stream), b"text", "the connection was reset");
    }
}

#[test]
fn a_client_that_never_ends_is_left_after_a_moment() {
    let proxy = fairlead().stream("server { listen 127.0.0.1:{port}; return text; }");
    let mut stream = connect(proxy.address());
    assert_eq!(read_to_end(&stream), b"text");
    // Our direction stays open; sooner or later the other side answers it with a reset.
    let limit = std::time::Instant::now() + fairlead_harness::PATIENCE;
    while stream.write_all(b"x").is_ok() {
        assert!(std::time::Instant::now() < limit, "the connection is still open");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let _ = stream.read(&mut [0]);
}

#[test]
fn the_last_of_several_contents_holds() {
    let text = "server { listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:1; return last; }";
    let proxy = fairlead().stream(text);
    assert_eq!(read_to_end(&connect(proxy.address())), b"last");
    drop(proxy);
    let (taken, said) = fairlead().check(&format!("stream {{ {text} }}"));
    assert!(taken);
    if !fairlead().is_nginx() {
        assert!(said.contains("\"proxy_pass\" has no effect"), "{said}");
    }
    for twice in ["return 1; return 2;", "proxy_pass 127.0.0.1:1; proxy_pass 127.0.0.1:2;"] {
        let (taken, said) = fairlead().check(&format!("stream {{ server {{ listen 127.0.0.1:{{port}}; {twice} }} }}"));
        assert!(!taken && said.contains("directive is duplicate"), "{said}");
    }
}
