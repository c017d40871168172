//! Redis: its own benchmark as many clients of one connection each, since it gives up with its first error.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use fairlead_harness::setup::installed;
use fairlead_harness::{Directory, Port, eventually};

use crate::fairlead;
use crate::service::{Service, number_after, run, wait_for_tcp};

const CLIENTS: usize = 8;
const INSTALL: &str = "apt-get install redis-server redis-tools";

fn server(port: &Port, directory: &Directory) -> Service {
    let mut redis = Command::new(installed("redis-server", INSTALL));
    redis.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.number().to_string(), "--dir"]);
    redis.arg(directory.path());
    let service = Service::start(redis, directory, &format!("redis-{}", port.number()));
    wait_for_tcp(port.address());
    service
}

fn benchmark(port: u16, arguments: &[&str]) -> Command {
    let mut benchmark = Command::new(installed("redis-benchmark", INSTALL));
    benchmark.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "-t", "get"]).args(arguments);
    benchmark
}

/// A figure of `INFO`; the connection that asks is one of the clients.
fn info(port: &Port, label: &str) -> f64 {
    let mut stream = TcpStream::connect(port.address()).unwrap();
    stream.write_all(b"INFO\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    number_after(&text, label).unwrap_or_else(|| panic!("no {label} in {text}"))
}

fn connections(port: &Port) -> usize {
    info(port, "connected_clients:") as usize - 1
}

#[test]
fn a_killed_server_takes_only_its_own_connections_with_it() {
    let directory = Directory::new();
    let ports = [Port::reserve(), Port::reserve()];
    let [mut doomed, _survivor] = std::array::from_fn(|at| server(&ports[at], &directory));
    let proxy = fairlead().set("a", ports[0].address()).set("b", ports[1].address()).stream(
        "upstream group { least_conn; server {a}; server {b}; }
         server { listen 127.0.0.1:{port}; proxy_pass group; }",
    );
    let port = proxy.address().port();

    let start = |number: usize| {
        let name = format!("benchmark-{number}");
        Service::start(benchmark(port, &["-c", "1", "-n", "60000"]), &directory, &name)
    };
    let mut clients: Vec<Service> = (0..CLIENTS).map(start).collect();
    // Each asks for the server's configuration over a connection of its own before it begins.
    let mut dead = 0;
    eventually("every client runs", || {
        dead = connections(&ports[0]);
        let busy = ports.iter().all(|port| info(port, "total_commands_processed:") > 2000.0);
        busy && dead + connections(&ports[1]) == CLIENTS
    });
    doomed.kill();
    let failed = clients.iter_mut().filter_map(|client| (!client.wait().success()).then(|| client.output()));
    let failed: Vec<String> = failed.collect();
    assert_eq!(failed.len(), dead, "{failed:?}");
    assert!((1..CLIENTS).contains(&dead), "both servers had clients: {dead}");

    // From now on nobody notices that one server is missing: a connection for each request.
    run(&mut benchmark(port, &["-c", "10", "-n", "1000", "-k", "0"])).unwrap();
}
