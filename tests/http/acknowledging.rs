//! What a client says first is acknowledged with the answer, and part of a request at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use fairlead_harness::{HttpPeer, connect, eventually};

use crate::fairlead;

/// Packets that came from the other side so far, as the kernel counts them.
fn packets(client: &TcpStream) -> u64 {
    let from = client.local_addr().unwrap().to_string();
    let told = Command::new("ss").args(["-Htin", "src", &from]).output().expect("ss, of the package iproute2");
    let told = String::from_utf8(told.stdout).unwrap();
    let count = told.split_whitespace().find_map(|word| word.strip_prefix("segs_in:"));
    count.unwrap_or_else(|| panic!("ss says nothing of {from}: {told}")).parse().unwrap()
}

fn ask(client: &mut TcpStream, request: &[u8]) {
    client.write_all(request).unwrap();
    let mut answer = [0; 1000];
    let read = client.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK"));
}

#[test]
fn an_answer_carries_the_acknowledgement_of_its_request() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; location / { return 200 here; } }");
    // Where the machine takes its time the kernel does not wait for the answer: one of them is quick enough.
    eventually("a request that was acknowledged by its answer alone", || {
        let mut client = connect(proxy.address());
        ask(&mut client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        // The one that opened the connection, and the answer.
        packets(&client) == 2
    });
}

#[test]
fn part_of_a_request_is_acknowledged_before_there_is_an_answer() {
    let peer = HttpPeer::named("peer");
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }");
    for (first, then) in
        [("GET / HTTP/1.1\r\nHost:", " h\r\n\r\n"), ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n", "abc")]
    {
        let mut client = connect(proxy.address());
        client.write_all(first.as_bytes()).unwrap();
        eventually("the part is acknowledged", || packets(&client) == 2);
        ask(&mut client, then.as_bytes());
    }
}
