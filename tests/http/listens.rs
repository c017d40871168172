//! Where servers are reached: every form of an address and every option of its socket.

use fairlead_harness::{Client, Port};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::fairlead;

/// The line of `ss` about the sockets that listen on a port.
fn socket(port: u16) -> String {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss").args(["-Htlnmoe", &filter]).output().expect("ss is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_form_of_an_address_is_reached() {
    let (wild, local) = (Port::reserve(), Port::reserve());
    let proxy = fairlead().set("wild", wild.address().port()).set("local", local.address().port()).http(
        "server { listen 127.0.0.1:{port}; listen [::1]:{port}; listen unix:{dir}/web.sock; return 200 '$server_addr $server_port'; }
         server { listen {wild}; return 200 'any $server_addr'; }
         server { listen '127.0.0.9:{wild}'; return 200 'nine $server_addr'; }
         server { listen localhost:{local}; return 200 local; }",
    );
    let port = proxy.address().port();
    assert_eq!(proxy.get("/").text(), format!("127.0.0.1 {port}"));
    let get = |address: String| Client::connect(address.parse().unwrap()).get("/").text();
    assert_eq!(get(format!("[::1]:{port}")), format!("::1 {port}"));
    let two = wild.address().port();
    assert_eq!(get(format!("127.0.0.1:{two}")), "any 127.0.0.1");
    assert_eq!(get(format!("127.0.0.9:{two}")), "nine 127.0.0.9");
    assert_eq!(get(format!("127.0.0.1:{}", local.address().port())), "local");
    let path = proxy.directory().join("web.sock");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&format!("\r\n\r\nunix:{} ", path.display())), "{answer}");
}

#[test]
fn options_reach_the_socket() {
    let proxy = fairlead().workers(1).http(
        "server { listen 127.0.0.1:{port} backlog=77 rcvbuf=64k sndbuf=128k bind reuseport; return 200 x; }
         server { listen 127.0.0.1:{port_two} so_keepalive=10m::7; return 200 x; }
         server { listen [::]:{port_three} ipv6only=off; return 200 '$remote_addr'; }",
    );
    let one = socket(proxy.address().port());
    assert!(one.split_whitespace().nth(2) == Some("77"), "{one}");
    // The kernel counts twice what is asked for.
    assert!(one.contains("rb131072") && one.contains("tb262144"), "{one}");
    assert_eq!(Client::connect(proxy.port("port_two")).get("/").text(), "x");
    let both = proxy.port("port_three").port();
    let get = |address: String| Client::connect(address.parse().unwrap()).get("/").text();
    assert_eq!(get(format!("[::1]:{both}")), "::1");
    assert!(get(format!("127.0.0.1:{both}")).ends_with("127.0.0.1"));
}

#[test]
fn a_deferred_connection_waits_for_its_first_bytes_and_fast_open_listens() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port} deferred fastopen=16; return 200 late; }
         server { listen 127.0.0.1:{port_two} multipath; return 200 many; }",
    );
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("/").text(), "late");
    assert_eq!(Client::connect(proxy.port("port_two")).get("/").text(), "many");
}

#[test]
fn what_a_proxy_header_says_is_asked_for_by_the_listener() {
    let proxy = fairlead()
        .http("server { listen 127.0.0.1:{port} proxy_protocol; return 200 '$remote_addr $proxy_protocol_addr'; }");
    let mut client = Client::connect(proxy.address());
    client.send("PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n");
    assert_eq!(client.get("/").text(), "127.0.0.1 192.0.2.1");
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.assert_closed();
    proxy.wait_for_error("broken header");
}

#[test]
fn servers_of_an_address_have_one_default_and_one_set_of_options() {
    for (servers, words) in [
        (
            "server { listen 127.0.0.1:{port} default_server; } server { listen 127.0.0.1:{port} default_server; }",
            "a duplicate default server for 127.0.0.1:",
        ),
        (
            "server { listen 127.0.0.1:{port} backlog=5; } server { listen 127.0.0.1:{port} backlog=6; }",
            "duplicate listen options for 127.0.0.1:",
        ),
        ("server { listen 127.0.0.1:{port} ssl; }", "\"ssl\" parameter of \"listen\" is known to nginx"),
    ] {
        let (accepted, said) = fairlead().check(&format!("http {{ {servers} }}"));
        assert!(!accepted && said.contains(words), "{servers}: {said}");
    }
}
