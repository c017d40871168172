//! The worker process dies; the master dies.

use crate::{Clients, ask, before, session};
use fairlead_harness::{Signal, TcpPeer, eventually, eventually_within, process};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::time::Duration;

fn kill_hard(pid: u32) {
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
}

#[test]
fn a_dead_worker_process_is_replaced_and_no_connection_is_refused() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    let clients = Clients::start(proxy.address(), 2);
    clients.advance(10);
    let old = proxy.workers()[0];
    kill_hard(old);
    let limit = Duration::from_secs(5);
    eventually_within(limit, "a new connection is served", || ask(proxy.address()).is_ok());
    assert!(!proxy.workers().contains(&old));
    clients.advance(10);
    let errors = clients.stop();
    assert!(errors.iter().all(|error| !error.contains("refused")), "{errors:?}");
    proxy.wait_for_error(&format!("worker process {old} exited on signal 9"));
}

#[test]
fn a_worker_process_that_dies_again_and_again_is_started_again() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    // One that dies before anything was ever served is a failure to start.
    drop(session(proxy.address()));
    for _ in 0..4 {
        eventually("a worker process runs", || !proxy.workers().is_empty());
        let pid = proxy.workers()[0];
        kill_hard(pid);
        eventually("it is gone", || !proxy.workers().contains(&pid));
    }
    eventually("it serves again", || ask(proxy.address()).is_ok());
}

#[test]
fn a_reload_works_on_with_a_worker_process_that_was_replaced() {
    let (a, b) = (TcpPeer::named("a"), TcpPeer::named("b"));
    let mut proxy = before(&a);
    drop(session(proxy.address()));
    kill_hard(proxy.workers()[0]);
    proxy.set("peer", b.address());
    proxy.rewrite(&format!("stream {{ {} }}", crate::SERVER));
    proxy.signal(Signal::SIGHUP);
    eventually("the new configuration is served", || ask(proxy.address()).is_ok_and(|line| line == "b: hi"));
}

#[test]
fn without_its_master_a_worker_process_ends_when_its_sessions_have() {
    let peer = TcpPeer::named("a");
    let mut proxy = before(&peer);
    let worker = proxy.workers()[0];
    let stream = session(proxy.address());
    kill_hard(proxy.pid());
    assert!(!proxy.wait_for_exit().success());
    eventually("it accepts no more", || !process::tcp_listens(proxy.address()));
    assert_eq!(crate::say(&stream).unwrap(), "a: hi");
    drop(stream);
    eventually("it ends", || !process::is_running(worker));
}

#[test]
fn the_terminals_window_may_be_resized() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    nix::sys::signal::killpg(Pid::from_raw(proxy.pid() as i32), Signal::SIGWINCH).unwrap();
    proxy.wait_for_error("signal 28 (SIGWINCH)");
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
}
