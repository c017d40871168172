//! The demo's peers.

use crate::FAIRLEAD;
use fairlead_harness::{Signal, UdpClient, connect, eventually, get, process, read_line};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::process::{Child, Command};

/// Ports that the demo itself leaves to others.
fn peer(port: u16) -> (Child, SocketAddr) {
    let child = Command::new(FAIRLEAD).args(["demo", &port.to_string()]).spawn().unwrap();
    (child, ([127, 0, 0, 1], port).into())
}

fn end(mut child: Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}

#[test]
fn each_peer_says_where_it_serves_from() {
    let (http, address) = peer(9109);
    eventually("the peer listens", || process::tcp_listens(address));
    assert_eq!(get(address, "/").text(), "Served from port 9109\n");
    end(http);
    let (tcp, address) = peer(9119);
    eventually("the peer listens", || process::tcp_listens(address));
    assert_eq!(read_line(&connect(address)), "Served from port 9119");
    end(tcp);
    let (udp, address) = peer(9129);
    eventually("the peer is bound", || process::udp_bound(address));
    assert_eq!(UdpClient::connect(address).ask("hi"), "Served from port 9129\n");
    end(udp);
}

#[test]
fn a_port_that_says_nothing_is_refused_with_those_that_do() {
    let output = Command::new(FAIRLEAD).args(["demo", "80"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("9101-9109 HTTP"));
}
