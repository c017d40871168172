//! Starting and stopping.

use crate::{FAIRLEAD, SERVER, ask, before, say, session, setup};
use fairlead_harness::{Directory, Port, Signal, TcpPeer, eventually, process};
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

#[test]
fn serves_until_it_is_told_to_stop_and_removes_its_pid_file() {
    let peer = TcpPeer::named("a");
    let mut proxy = before(&peer);
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    assert_eq!(proxy.directory().read("pid"), format!("{}\n", proxy.pid()));
    proxy.stop_with(Signal::SIGINT);
    assert!(!proxy.directory().join("pid").exists());
    assert!(!process::tcp_listens(proxy.address()));
}

#[test]
fn a_taken_port_is_an_error_at_once_with_the_address_in_it() {
    for daemon in ["on", "off"] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let configuration = format!(
            "daemon {daemon}; pid {{dir}}/pid; error_log {{dir}}/error.log;
             stream {{ server {{ listen {}; proxy_pass 127.0.0.1:9; }} }}",
            taken.local_addr().unwrap()
        );
        let (output, directory) = setup().run(&[], &configuration);
        let message = format!("bind() to {} failed (98: Address already in use)", taken.local_addr().unwrap());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("fairlead: [emerg] {message}\n"));
        assert!(directory.read("error.log").contains(&message));
        assert!(!directory.join("pid").exists());
    }
}

#[test]
fn a_running_fairlead_is_noticed_by_a_second_one() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    let configuration = format!(
        "daemon off; pid {{dir}}/pid; error_log stderr;
         stream {{ server {{ listen {}; proxy_pass 127.0.0.1:9; }} }}",
        proxy.address()
    );
    let (output, _) = setup().run(&[], &configuration);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Address already in use"));
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
}

#[test]
fn in_the_background_the_command_returns_when_it_serves() {
    let peer = TcpPeer::named("a");
    let background = Background::start(&peer, "");
    assert_eq!(ask(background.port.address()).unwrap(), "a: hi");
    assert_eq!(process::children(background.pid).len(), 1);
    assert!(background.tell("stop").status.success());
    eventually("it is gone", || !process::is_running(background.pid));
    let again = background.tell("stop");
    let words = format!("fairlead: [error] open() \"{}\" failed", background.directory.join("run/pid").display());
    assert!(String::from_utf8_lossy(&again.stderr).starts_with(&words));
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn one_process_may_do_it_all() {
    let peer = TcpPeer::named("a");
    let background = Background::start(&peer, "master_process off;");
    assert_eq!(ask(background.port.address()).unwrap(), "a: hi");
    assert!(process::children(background.pid).is_empty());
    assert!(background.tell("reload").status.success());
    eventually("it has reloaded", || background.directory.read("error.log").contains("generation 2 is served"));
    assert_eq!(ask(background.port.address()).unwrap(), "a: hi");
    assert!(background.tell("quit").status.success());
    eventually("it is gone", || !process::is_running(background.pid));
}

/// Started with `daemon on`; killed at the end if it has not been stopped.
struct Background {
    port: Port,
    pid: u32,
    directory: Directory,
}

impl Background {
    /// Waits for the end of the command's output: nothing may keep the terminal open.
    fn start(peer: &TcpPeer, main: &str) -> Background {
        let port = Port::reserve();
        let text = format!(
            "{main} pid {{dir}}/run/pid; error_log {{dir}}/error.log info;
             stream {{ server {{ listen {}; proxy_pass {}; }} }}",
            port.address(),
            peer.address()
        );
        let (output, directory) = setup().run(&[], &text);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pid = directory.read("run/pid").trim().parse().expect("the pid file is there");
        Background { port, pid, directory }
    }

    fn tell(&self, signal: &str) -> Output {
        let mut command = Command::new(FAIRLEAD);
        command.arg("-p").arg(self.directory.path()).arg("-c").arg(self.directory.join("main.conf"));
        command.args(["-s", signal]).output().unwrap()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for pid in process::children(self.pid).into_iter().chain([self.pid]) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
}

#[test]
fn a_graceful_stop_lets_sessions_end() {
    let peer = TcpPeer::named("a");
    let mut proxy = before(&peer);
    let session = session(proxy.address());
    proxy.signal(Signal::SIGQUIT);
    eventually("it accepts no more", || !process::tcp_listens(proxy.address()));
    assert_eq!(say(&session).unwrap(), "a: hi", "the session goes on");
    drop(session);
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn a_graceful_stop_ends_at_its_timeout() {
    let peer = TcpPeer::named("a");
    let mut proxy = setup().main("worker_shutdown_timeout 100ms;").set("peer", peer.address()).stream(SERVER);
    let session = session(proxy.address());
    proxy.signal(Signal::SIGQUIT);
    assert!(proxy.wait_for_exit().success());
    assert!(say(&session).is_err());
}

#[test]
fn the_worker_process_keeps_no_privilege() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.workers()[0])).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    let ours = nix::unistd::getuid();
    let expected = if ours.is_root() { "65534".to_owned() } else { ours.to_string() };
    assert!(field("Uid:").iter().all(|uid| *uid == expected), "{:?}", field("Uid:"));
}
