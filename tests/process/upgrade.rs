//! A new binary takes over the sockets (USR2), and the way back.

use crate::{Clients, ask, before, say, session};
use fairlead_harness::{Proxy, Signal, TcpPeer, eventually, process};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Starts the new master; its process id.
fn upgrade(proxy: &Proxy) -> u32 {
    proxy.signal(Signal::SIGUSR2);
    let old = proxy.pid();
    let pid = || proxy.directory().read("pid").trim().parse().ok().filter(|pid| *pid != old);
    eventually("the new master has written its id", || pid().is_some());
    let new = pid().unwrap();
    eventually("its worker process runs", || !process::children(new).is_empty());
    assert_eq!(proxy.directory().read("pid.oldbin"), format!("{old}\n"));
    new
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

#[test]
fn the_new_master_takes_over_without_a_loss() {
    let peer = TcpPeer::named("a");
    let mut proxy = before(&peer);
    let clients = Clients::start(proxy.address(), 2);
    clients.advance(10);
    let new = upgrade(&proxy);
    clients.advance(10);
    let old = session(proxy.address());
    proxy.signal(Signal::SIGQUIT);
    clients.advance(50);
    assert_eq!(say(&old).unwrap(), "a: hi");
    drop(old);
    assert!(proxy.wait_for_exit().success());
    clients.advance(10);
    assert_eq!(clients.stop(), Vec::<String>::new());
    assert!(!proxy.directory().join("pid.oldbin").exists());
    assert_eq!(proxy.directory().read("pid"), format!("{new}\n"));
    signal(new, Signal::SIGTERM);
    eventually("it is gone", || !process::is_running(new));
    assert!(!process::tcp_listens(proxy.address()));
}

#[test]
fn the_old_master_takes_back_what_the_new_one_leaves() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    let new = upgrade(&proxy);
    signal(new, Signal::SIGTERM);
    let old = format!("{}\n", proxy.pid());
    eventually("the pid file is the old one's again", || proxy.directory().read("pid") == old);
    assert!(!proxy.directory().join("pid.oldbin").exists());
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    let again = upgrade(&proxy);
    signal(again, Signal::SIGTERM);
    eventually("the pid file is the old one's again", || proxy.directory().read("pid") == old);
}
