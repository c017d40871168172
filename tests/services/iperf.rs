//! iperf3: a control connection and its data connections or datagrams must all reach the same server, which
//! the client's address decides.

use std::process::Command;

use fairlead_harness::setup::installed;
use fairlead_harness::{Directory, Port, Proxy, connect_from, eventually};

use crate::fairlead;
use crate::service::{Service, number_after};

fn server(port: &Port, directory: &Directory) -> Service {
    let mut iperf = Command::new(installed("iperf3", "apt-get install iperf3"));
    iperf.args(["-s", "--forceflush", "-B", "127.0.0.1", "-p", &port.number().to_string()]);
    let service = Service::start(iperf, directory, &format!("iperf3-{}", port.number()));
    eventually("the server listens", || service.output().contains("Server listening"));
    service
}

fn client(proxy: &Proxy, from: &str, arguments: &[&str], directory: &Directory) -> Service {
    let mut iperf = Command::new(installed("iperf3", "apt-get install iperf3"));
    let port = proxy.address().port().to_string();
    iperf.args(["-c", "127.0.0.1", "-p", &port, "-B", from, "--connect-timeout", "5000", "-J"]).args(arguments);
    Service::start(iperf, directory, &format!("client-{from}"))
}

/// An address that is hashed to `peer`. Nobody listens yet, so the first peer tried tells.
fn address_for(proxy: &Proxy, peer: &Port) -> String {
    for last in 2..100 {
        let from = format!("127.0.0.{last}");
        let before = proxy.access_log().len();
        drop(connect_from(&from, proxy.address()));
        let line = proxy.access_lines(before + 1).pop().unwrap();
        if line.starts_with(&format!("{from} {}", peer.address())) {
            return from;
        }
    }
    panic!("no address of 98 goes to {}", peer.address());
}

fn story(arguments: &[&str]) -> String {
    let directory = Directory::new();
    let ports = [Port::reserve(), Port::reserve()];
    let proxy = fairlead().set("a", ports[0].address()).set("b", ports[1].address()).stream(
        "log_format own '$remote_addr $upstream_addr';
         upstream group { hash $remote_addr; server {a} max_fails=0; server {b} max_fails=0; }
         server { listen 127.0.0.1:{port}; proxy_pass group; access_log {dir}/access.log own; }
         server { listen 127.0.0.1:{port} udp; proxy_pass group; }",
    );
    let from = [address_for(&proxy, &ports[0]), address_for(&proxy, &ports[1])];
    let [mut doomed, _survivor] = std::array::from_fn(|at| server(&ports[at], &directory));
    let [mut first, mut second] = std::array::from_fn(|at| client(&proxy, &from[at], arguments, &directory));
    eventually("both pass bytes", || {
        // A line for each second of a test.
        ports.iter().all(|port| directory.read(&format!("iperf3-{}", port.number())).contains("bits/sec"))
    });
    doomed.kill();
    // With JSON asked for it succeeds whatever happens, and says it in there.
    first.wait();
    second.wait();
    let fails = |client: &Service| client.output().contains("\"error\"");
    assert!(fails(&first), "the client of a dead server: {}", first.output());
    assert!(!fails(&second), "the other one: {}", second.output());
    second.output()
}

#[test]
fn streams_pass_and_a_killed_server_takes_only_its_own_with_it() {
    let said = story(&["-t", "3", "-P", "2"]);
    let bytes = number_after(&said[said.find("sum_received").unwrap()..], "\"bytes\":").unwrap();
    assert!(bytes > 10e6, "{said}");
}

#[test]
fn datagrams_pass_and_a_killed_server_takes_only_its_own_with_it() {
    let said = story(&["-t", "3", "-u", "-b", "5M", "-l", "1200"]);
    let sum = &said[said.rfind("\"sum\":").unwrap()..];
    assert!(number_after(sum, "\"packets\":").unwrap() > 1000.0, "{sum}");
    assert!(number_after(sum, "\"lost_percent\":").unwrap() < 1.0, "{sum}");
}
