//! Reload in place: nothing is lost, and nothing half done.

use crate::{Clients, FAIRLEAD, SERVER, ask, before, say, session, setup};
use fairlead_harness::{Port, Proxy, Signal, TcpPeer, UdpClient, UdpPeer, connect, eventually, process};
use std::process::Command;

/// Waits until this many reloads have been taken.
#[track_caller]
fn wait_for_generation(proxy: &Proxy, number: usize) {
    let words = format!("generation {number} is served");
    eventually(&words, || proxy.error_log().contains(&words));
}

#[test]
fn new_connections_take_the_new_configuration_and_old_ones_stay() {
    let (a, b) = (TcpPeer::named("a"), TcpPeer::named("b"));
    let mut proxy = before(&a);
    let workers = proxy.workers();
    let old = session(proxy.address());
    proxy.set("peer", b.address());
    proxy.rewrite(&format!("stream {{ {SERVER} }}"));
    proxy.signal(Signal::SIGHUP);
    wait_for_generation(&proxy, 2);
    assert_eq!(ask(proxy.address()).unwrap(), "b: hi");
    assert_eq!(say(&old).unwrap(), "a: hi");
    assert_eq!(proxy.workers(), workers, "the same process serves");
}

#[test]
fn fifty_reloads_under_load_lose_nothing() {
    let (tcp, udp) = (TcpPeer::named("a"), UdpPeer::named("u"));
    let proxy = setup().set("tcp", tcp.address()).set("udp", udp.address()).stream(
        "server { listen 127.0.0.1:{port}; proxy_pass {tcp}; }
         server { listen 127.0.0.1:{port_udp} udp; proxy_pass {udp}; }",
    );
    let long = session(proxy.address());
    let flow = UdpClient::connect(proxy.port("port_udp"));
    assert_eq!(flow.ask("x"), "u: x");
    let clients = Clients::start(proxy.address(), 2);
    for generation in 2..52 {
        proxy.signal(Signal::SIGHUP);
        wait_for_generation(&proxy, generation);
        assert_eq!(flow.ask("x"), "u: x");
    }
    clients.advance(20);
    assert_eq!(clients.stop(), Vec::<String>::new());
    assert_eq!(say(&long).unwrap(), "a: hi");
    assert_eq!(udp.flows(), 1, "the flow kept its connection to the peer");
}

#[test]
fn a_bad_file_changes_nothing_and_says_everything() {
    let peer = TcpPeer::named("a");
    let mut proxy = before(&peer);
    proxy.rewrite("stream { server { lisen 1; } upstrem x { } }");
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error("the old one stays");
    let log = proxy.error_log();
    assert!(log.contains("lisen") && log.contains("upstrem"), "{log}");
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");

    let mut command = Command::new(FAIRLEAD);
    command.arg("-p").arg(proxy.directory().path()).arg("-c").arg(proxy.directory().join("main.conf"));
    let output = command.args(["-s", "reload"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("lisen") && said.contains("upstrem"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(proxy.error_log().matches("reconfiguring").count(), 1, "the master was left in peace");
}

#[test]
fn an_address_that_is_taken_changes_nothing() {
    let peer = TcpPeer::named("a");
    let (taken, free) = (Port::reserve(), Port::reserve());
    let _holder = std::net::TcpListener::bind(taken.address()).unwrap();
    let mut proxy = before(&peer);
    let server = |port: &Port| format!("server {{ listen {}; proxy_pass {{peer}}; }}", port.address());
    proxy.rewrite(&format!("stream {{ {} {} }}", server(&free), server(&taken)));
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error(&format!("bind() to {} failed (98: Address already in use)", taken.address()));
    proxy.wait_for_error("the old configuration stays");
    assert!(!process::tcp_listens(free.address()));
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
}

#[test]
fn listeners_come_and_go() {
    let peer = TcpPeer::named("a");
    let mut proxy = before(&peer);
    let old = session(proxy.address());
    proxy.rewrite("stream { server { listen 127.0.0.1:{port_new}; proxy_pass {peer}; } }");
    proxy.signal(Signal::SIGHUP);
    wait_for_generation(&proxy, 2);
    assert_eq!(ask(proxy.port("port_new")).unwrap(), "a: hi");
    assert!(!process::tcp_listens(proxy.address()), "closed in every process");
    assert_eq!(say(&old).unwrap(), "a: hi");
}

#[test]
fn the_number_of_workers_changes_without_a_loss() {
    let peer = TcpPeer::named("a");
    let mut proxy = setup().workers(4).set("peer", peer.address()).stream(SERVER);
    let clients = Clients::start(proxy.address(), 2);
    let sessions: Vec<_> = (0..8).map(|_| session(proxy.address())).collect();
    // The last `worker_processes` counts nowhere: it may be written once.
    let main = proxy.directory().read("main.conf");
    for (generation, workers) in [(2, 1), (3, 3), (4, 2), (5, 4)] {
        let text = main.replace("worker_processes 4;", &format!("worker_processes {workers};"));
        proxy.directory().write("main.conf", text);
        proxy.signal(Signal::SIGHUP);
        wait_for_generation(&proxy, generation);
        clients.advance(10);
    }
    assert_eq!(clients.stop(), Vec::<String>::new());
    for stream in &sessions {
        assert_eq!(say(stream).unwrap(), "a: hi");
    }
    drop(sessions);
    proxy.stop_with(Signal::SIGQUIT);
}

#[test]
fn a_setting_of_the_process_moves_new_connections_to_a_new_process() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    let before = proxy.workers();
    let old = session(proxy.address());
    let text = proxy.directory().read("main.conf");
    proxy.directory().write("main.conf", format!("worker_rlimit_nofile 512;\n{text}"));
    proxy.signal(Signal::SIGHUP);
    eventually("a new process serves", || proxy.workers().iter().any(|pid| !before.contains(pid)));
    eventually("new connections are served", || ask(proxy.address()).is_ok());
    assert_eq!(say(&old).unwrap(), "a: hi");
    drop(old);
    eventually("the old process ends", || proxy.workers().iter().all(|pid| !before.contains(pid)));
    let limits = || std::fs::read_to_string(format!("/proc/{}/limits", proxy.workers()[0])).unwrap_or_default();
    let is_set = |line: &str| line.starts_with("Max open files") && line.split_whitespace().nth(3) == Some("512");
    eventually("the new process has its limit", || limits().lines().any(is_set));
}

#[test]
fn logs_are_opened_anew_where_they_were() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    let directory = proxy.directory();
    std::fs::rename(directory.join("error.log"), directory.join("error.log.1")).unwrap();
    proxy.signal(Signal::SIGUSR1);
    eventually("the new file is there", || directory.join("error.log").exists());
    let _connection = connect(proxy.address());
    drop(TcpPeer::stop(peer));
    let _ = ask(proxy.address());
    let worker = format!("{}#", proxy.workers()[0]);
    eventually("the worker writes there", || proxy.error_log().contains(&worker));
}
