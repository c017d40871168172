//! `pass`: a connection goes from one listener to another, of `stream` or of `http`, with everything
//! that was read of it and under its client's own address.

use std::io::Write;
use std::os::unix::net::UnixStream;

use fairlead_harness::{Client, TcpPeer, UdpClient, client_hello, connect, read_exactly, read_line, read_to_end};

use crate::fairlead;

#[test]
fn a_connection_goes_to_another_listener_with_all_that_was_read() {
    let peer = TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format own '$remote_addr:$remote_port $server_port $connection $status $bytes_received';
        access_log {dir}/access.log own;
        server { listen 127.0.0.1:{port}; ssl_preread on; pass 127.0.0.1:{port_inner}; }
        server { listen 127.0.0.1:{port_inner}; proxy_pass {peer}; }",
    );
    let hello = client_hello("a", &[]);
    let mut stream = connect(proxy.address());
    let own = stream.local_addr().unwrap().port();
    stream.write_all(&hello).unwrap();
    assert_eq!(read_exactly(&stream, hello.len()), hello);
    drop(stream);
    // One line, of the listener that served it.
    let line = proxy.access_lines(1).remove(0);
    let inner = proxy.port("port_inner").port();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], format!("127.0.0.1:{own}"), "{line}");
    assert_eq!([words[1], words[3], words[4]], [&*inner.to_string(), "200", &*hello.len().to_string()], "{line}");
    proxy.stop();
}

#[test]
fn names_choose_the_port_and_http_serves_what_is_not_tls() {
    let proxy = fairlead().start(
        "stream {
            server { listen 127.0.0.1:{port}; ssl_preread on; pass 127.0.0.1:{port_http}; }
            server { listen 127.0.0.1:{port}; server_name a; pass 127.0.0.1:{port_a}; }
            server { listen 127.0.0.1:{port_a}; return 'for a'; }
        }
        http {
            log_format own '$remote_addr:$remote_port $server_port $request_uri';
            access_log {dir}/access.log own;
            server { listen 127.0.0.1:{port_http}; location / { return 200 'http for $remote_addr'; } }
        }",
    );
    let mut stream = connect(proxy.address());
    stream.write_all(&client_hello("a", &[])).unwrap();
    assert_eq!(read_to_end(&stream), b"for a");

    let mut client = Client::connect(proxy.address());
    let own = client.stream().local_addr().unwrap().port();
    // Both requests of one connection: the first was read by the stream plane.
    for path in ["/one", "/two"] {
        assert_eq!(client.get(path).text(), "http for 127.0.0.1");
    }
    let port = proxy.port("port_http").port();
    let expected = ["one", "two"].map(|path| format!("127.0.0.1:{own} {port} /{path}"));
    assert_eq!(proxy.access_lines(2), expected);
}

#[test]
fn variables_and_unix_sockets_and_wildcards_are_found() {
    let proxy = fairlead().stream(
        "server { listen 127.0.0.1:{port}; pass unix:{dir}/inner; }
        server { listen unix:{dir}/inner; return 'over unix'; }
        server { listen 127.0.0.1:{port_variable}; pass $remote_addr:{port_any}; }
        server { listen 127.0.0.1:{port_wild}; pass 127.0.0.9:{port_any}; }
        server { listen {port_any}; return 'any $server_addr'; }",
    );
    assert_eq!(read_to_end(&connect(proxy.address())), b"over unix");
    assert_eq!(read_to_end(&connect(proxy.port("port_wild"))), b"any 127.0.0.9");
    assert_eq!(read_to_end(&connect(proxy.port("port_variable"))), b"any 127.0.0.1");
    let direct = UnixStream::connect(proxy.directory().join("inner")).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut &direct, &mut text).unwrap();
    assert_eq!(text, "over unix");
}

#[test]
fn a_listener_with_a_proxy_header_reads_it_from_what_was_passed() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format own $proxy_protocol_addr;
        server { listen 127.0.0.1:{port}; ssl_preread on; pass 127.0.0.1:{port_inner}; }
        server { listen 127.0.0.1:{port_inner} proxy_protocol; proxy_pass {peer}; access_log {dir}/access.log own; }",
    );
    let mut stream = connect(proxy.address());
    stream.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\nhi\n").unwrap();
    assert_eq!(read_line(&stream), "a: hi");
    drop(stream);
    assert_eq!(proxy.access_lines(1), ["192.0.2.1"]);
}

#[test]
fn a_port_that_nobody_listens_on_ends_the_session() {
    let proxy = fairlead().stream(
        "log_format own '$status';
        server { listen 127.0.0.1:{port}; pass 127.0.0.1:1; access_log {dir}/access.log own; }",
    );
    assert_eq!(read_to_end(&connect(proxy.address())), b"");
    assert_eq!(proxy.access_lines(1), ["200"]);
    proxy.wait_for_error("port not found for \"127.0.0.1:1\" while passing connection to port, client: 127.0.0.1");
}

#[test]
fn a_circle_is_noticed() {
    let proxy = fairlead().stream(
        "log_format own '$status $server_port';
        access_log {dir}/access.log own;
        server { listen 127.0.0.1:{port}; pass 127.0.0.1:{port_b}; }
        server { listen 127.0.0.1:{port_b}; pass 127.0.0.1:{port}; }",
    );
    assert_eq!(read_to_end(&connect(proxy.address())), b"");
    assert_eq!(proxy.access_lines(1), [format!("500 {}", proxy.address().port())]);
    proxy.wait_for_error("stream pass cycle while passing connection to port");
}

#[test]
fn datagrams_cannot_be_passed() {
    let proxy = fairlead().stream(
        "log_format own '$status';
        server { listen 127.0.0.1:{port} udp; pass 127.0.0.1:{port_b}; access_log {dir}/access.log own; }
        server { listen 127.0.0.1:{port_b}; return b; }",
    );
    UdpClient::connect(proxy.address()).send("hi");
    assert_eq!(proxy.access_lines(1), ["500"]);
    proxy.wait_for_error("cannot pass udp connection while passing connection to port");
}

#[test]
fn what_is_no_address_is_refused_in_nginxs_words() {
    for (address, expected) in [
        ("localhost:80", "\"pass\" directive has no addresses"),
        ("8080", "\"pass\" directive has no addresses"),
        ("127.0.0.1", "\"pass\" directive has no port"),
        ("127.0.0.1:99999", "invalid port in \"127.0.0.1:99999\" of the \"pass\" directive"),
        ("unix:", "no path in the unix domain socket in \"unix:\" of the \"pass\" directive"),
        ("127.0.0.1:1; pass 127.0.0.1:2", "\"pass\" directive is duplicate"),
    ] {
        let server = format!("stream {{ server {{ listen 127.0.0.1:{{port}}; pass {address}; }} }}");
        let (taken, said) = fairlead().check(&server);
        assert!(!taken && said.contains(expected), "{address}: {said}");
    }
}
