//! `ssl_preread`: what a TLS client says of itself is read before its session goes anywhere, and the
//! peer gets it all the same.

use std::io::Write;
use std::net::Shutdown;
use std::path::Path;

use fairlead_harness::client_hello::client_hello_in_records;
use fairlead_harness::{
    Proxy, TcpPeer, client_hello, connect, eventually, process, read_exactly, read_line, read_to_end,
};

use crate::fairlead;

const FORMAT: &str = "log_format seen '$status|$ssl_preread_protocol|$ssl_preread_server_name|\
                      $ssl_preread_alpn_protocols';";

/// Echoes through `ssl_preread`, with a log line of what was seen.
fn start(peer: &TcpPeer, settings: &str) -> Proxy {
    fairlead().workers(1).set("peer", peer.address()).stream(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; ssl_preread on; {settings}
                    access_log {{dir}}/access.log seen; }}"
    ))
}

fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/client_hello");
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn hellos_of_real_clients_are_understood() {
    let peer = TcpPeer::echo();
    let proxy = start(&peer, "");
    let mut expected = Vec::new();
    for (name, seen) in [
        ("tls13", "TLSv1.3|www.example.com|"),
        ("tls13-alpn", "TLSv1.3|Api.Example.com|h2,http/1.1,spdy/3"),
        ("no-sni", "TLSv1.3||"),
        ("tls12", "TLSv1.2|old.example.com|"),
        ("tls11", "TLSv1.1|eleven.example.com|"),
        ("tls10", "TLSv1|ten.example.com|"),
        ("grease-post-quantum", "TLSv1.3|grease.example.com|jj,h2,http/1.1"),
        ("ech-outer", "TLSv1.3|public.ech.example|h2"),
        ("many-records", "TLSv1.2|records.example.com|h2,http/1.1"),
        ("version-2", "TLSv1||"),
    ] {
        let hello = recorded(name);
        let mut stream = connect(proxy.address());
        stream.write_all(&hello).unwrap();
        assert_eq!(read_exactly(&stream, hello.len()), hello, "{name} reaches the peer unchanged");
        stream.shutdown(Shutdown::Both).unwrap();
        expected.push(format!("200|{seen}"));
        assert_eq!(proxy.access_lines(expected.len()), expected, "{name}");
    }
}

#[test]
fn a_hello_in_many_records_and_segments_is_put_together() {
    let peer = TcpPeer::echo();
    let proxy = start(&peer, "");
    let hello = client_hello_in_records("slow.example.com", &["h2"], 5);
    let mut stream = connect(proxy.address());
    stream.set_nodelay(true).unwrap();
    for byte in &hello {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.write_all(b"and more").unwrap();
    assert_eq!(read_exactly(&stream, hello.len() + 8), [&hello[..], b"and more"].concat());
    stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(proxy.access_lines(1), ["200|TLSv1.2|slow.example.com|h2"]);
}

#[test]
fn what_is_not_tls_passes_as_it_is() {
    let peer = TcpPeer::named("a");
    let proxy = start(&peer, "");
    let mut stream = connect(proxy.address());
    writeln!(stream, "hello").unwrap();
    assert_eq!(read_line(&stream), "a: hello");
    stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(proxy.access_lines(1), ["200|-|-|-"]);
}

#[test]
fn a_silent_client_ends_after_preread_timeout() {
    let peer = TcpPeer::echo();
    let proxy = start(&peer, "preread_timeout 200ms;");
    let stream = connect(proxy.address());
    assert_eq!(read_to_end(&stream), b"");
    assert_eq!(proxy.access_lines(1), ["200|-|-|-"]);
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn the_timeout_is_for_the_whole_hello() {
    let peer = TcpPeer::echo();
    let proxy = start(&peer, "preread_timeout 400ms;");
    let mut stream = connect(proxy.address());
    let started = std::time::Instant::now();
    // A byte now and then: each alone is within the time.
    for byte in client_hello("never.example.com", &[]) {
        if stream.write_all(&[byte]).is_err() || started.elapsed().as_secs() > 5 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(proxy.access_lines(1).len(), 1);
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn a_client_that_ends_within_its_hello_is_no_error() {
    let peer = TcpPeer::echo();
    let proxy = start(&peer, "");
    let mut stream = connect(proxy.address());
    stream.write_all(&client_hello("a", &[])[..20]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&stream), b"");
    let line = proxy.access_lines(1).remove(0);
    assert!(line.starts_with("200|"), "{line}");
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn a_hello_that_does_not_fit_is_a_bad_request() {
    let peer = TcpPeer::echo();
    let proxy = start(&peer, "preread_buffer_size 64;");
    let mut stream = connect(proxy.address());
    stream.write_all(&client_hello("too-long.example.com", &["h2", "http/1.1"])).unwrap();
    // A reset is an end too: not all of it was read.
    let _ = std::io::Read::read(&mut stream, &mut [0; 1]);
    let line = proxy.access_lines(1).remove(0);
    assert!(line.starts_with("400|"), "{line}");
    let (address, port) = ("127.0.0.1", proxy.address().port());
    proxy.wait_for_error(&format!(
        "preread buffer full while prereading client data, client: {address}, server: {address}:{port}"
    ));
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn a_proxy_header_may_come_before_the_hello() {
    let peer = TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format seen '$proxy_protocol_addr $ssl_preread_server_name';
        server { listen 127.0.0.1:{port} proxy_protocol; ssl_preread on; proxy_pass {peer};
                 access_log {dir}/access.log seen; }",
    );
    let hello = client_hello("behind.example.com", &[]);
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n";
    let mut stream = connect(proxy.address());
    stream.write_all(&[header, &hello[..]].concat()).unwrap();
    assert_eq!(read_exactly(&stream, hello.len()), hello);
    stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(proxy.access_lines(1), ["192.0.2.1 behind.example.com"]);
}

#[test]
fn five_thousand_silent_clients_cost_little() {
    const CLIENTS: usize = 5000;
    let peer = TcpPeer::echo();
    let proxy = fairlead()
        .workers(1)
        .set("peer", peer.address())
        .events("worker_connections 6000;")
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; ssl_preread on; }");
    let is_served = || {
        let mut stream = connect(proxy.address());
        stream.write_all(&client_hello("busy", &[])).unwrap();
        read_exactly(&stream, 5)[..3] == [22, 3, 1]
    };
    assert!(is_served(), "and the program is up");
    let worker = proxy.workers()[0];
    let before = process::resident(worker);
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect(proxy.address())).collect();
    let sockets = || std::fs::read_dir(format!("/proc/{worker}/fd")).map_or(0, Iterator::count);
    eventually("all are accepted", || sockets() >= CLIENTS);
    if fairlead().is_nginx() {
        return;
    }
    let each = process::resident(worker).saturating_sub(before) / CLIENTS as u64;
    assert!(each < 4 << 10, "{each} bytes for each client that says nothing");
    assert!(is_served(), "who speaks is served");
    drop(clients);
    eventually("nothing is left of them", || sockets() < CLIENTS / 10);
}
