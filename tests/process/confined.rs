//! What the processes may still do once they serve: capabilities, and calls to the kernel.

use crate::{SERVER, ask, before, setup};
use fairlead_harness::{Proxy, Signal, TcpPeer, eventually};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;

/// `CAP_SYS_MODULE`, `CAP_SYS_PTRACE`, `CAP_SYS_ADMIN`, `CAP_SYS_BOOT`, `CAP_MKNOD`, `CAP_BPF`.
const NOBODYS: u64 = 1 << 16 | 1 << 19 | 1 << 21 | 1 << 22 | 1 << 27 | 1 << 39;

fn field(status: &Path, name: &str) -> String {
    let text = fs::read_to_string(status).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.expect("the field is there").trim().to_owned()
}

fn capabilities(pid: u32, set: &str) -> u64 {
    u64::from_str_radix(&field(Path::new(&format!("/proc/{pid}/status")), set), 16).unwrap()
}

/// Of every thread of the worker process.
fn of_threads(proxy: &Proxy, name: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", proxy.workers()[0])).unwrap();
    threads.map(|thread| field(&thread.unwrap().path().join("status"), name)).collect()
}

#[test]
fn every_thread_of_the_worker_process_is_filtered() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    let modes = of_threads(&proxy, "Seccomp:");
    assert!(modes.len() >= 3, "two workers and the main thread: {modes:?}");
    assert!(modes.iter().all(|mode| mode == "2"), "{modes:?}");
    assert!(of_threads(&proxy, "NoNewPrivs:").iter().all(|on| on == "1"));
}

#[test]
fn a_worker_process_is_not_filtered_unless_asked() {
    let peer = TcpPeer::named("a");
    let proxy = setup().main("worker_seccomp off;").set("peer", peer.address()).stream(SERVER);
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    assert!(of_threads(&proxy, "Seccomp:").iter().all(|mode| mode == "0"));
}

#[test]
fn a_reload_turns_the_filter_on_and_cannot_turn_it_off() {
    let peer = TcpPeer::named("a");
    let mut proxy =
        setup().set("seccomp", "off").main("worker_seccomp {seccomp};").set("peer", peer.address()).stream(SERVER);
    let worker = proxy.workers();
    reload(&mut proxy, "on", 2);
    assert!(of_threads(&proxy, "Seccomp:").iter().all(|mode| mode == "2"));
    reload(&mut proxy, "off", 3);
    proxy.wait_for_error("\"worker_seccomp\" stays on until there is a new worker process");
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    assert_eq!(proxy.workers(), worker, "the same process serves");
}

fn reload(proxy: &mut Proxy, seccomp: &str, generation: u32) {
    proxy.set("seccomp", seccomp);
    proxy.rewrite(&format!("stream {{ {SERVER} }}"));
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error(&format!("generation {generation} is served"));
}

#[test]
fn nothing_the_processes_start_can_gain_what_they_gave_up() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    for set in ["CapEff:", "CapPrm:", "CapInh:"] {
        assert_eq!(capabilities(proxy.pid(), set) & NOBODYS, 0, "{set} of the master");
    }
    if nix::unistd::getuid().is_root() {
        assert_eq!(capabilities(proxy.pid(), "CapBnd:") & NOBODYS, 0, "of the master");
        assert_eq!(capabilities(proxy.workers()[0], "CapBnd:"), 0, "of the worker process");
    }
}

#[test]
fn a_worker_process_that_starts_a_program_is_ended_and_replaced() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    let taken_over = Debugged::attach(proxy.workers()[0]);
    taken_over.enter(libc::SYS_execve);
    ptrace::cont(taken_over.0, None).unwrap();
    assert!(matches!(taken_over.wait(), WaitStatus::Signaled(_, Signal::SIGSYS, _)));
    proxy.wait_for_error(&format!("worker process {} exited on signal 31", taken_over.0));
    eventually("another worker process", || !proxy.workers().is_empty());
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
}

#[test]
fn a_worker_process_that_asks_for_what_it_does_not_need_is_refused() {
    let peer = TcpPeer::named("a");
    let proxy = before(&peer);
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
    let asking = Debugged::attach(proxy.workers()[0]);
    let as_they_were = ptrace::getregs(asking.0).unwrap();
    asking.enter(libc::SYS_setsid);
    ptrace::step(asking.0, None).unwrap();
    asking.wait();
    assert_eq!(ptrace::getregs(asking.0).unwrap().rax as i64, -i64::from(libc::EPERM));
    ptrace::setregs(asking.0, as_they_were).unwrap();
    ptrace::detach(asking.0, None).unwrap();
    assert_eq!(ask(proxy.address()).unwrap(), "a: hi");
}

/// What a call that a debugger interrupts has for an answer until it goes on.
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;

/// The main thread of a worker process in the hands of the test, which makes it do what an
/// intruder would.
struct Debugged(Pid);

impl Debugged {
    /// Takes hold of it while it waits in `poll`.
    fn attach(pid: u32) -> Debugged {
        let debugged = Debugged(Pid::from_raw(i32::try_from(pid).unwrap()));
        eventually("the main thread waits", || {
            ptrace::attach(debugged.0).unwrap();
            debugged.wait();
            let registers = ptrace::getregs(debugged.0).unwrap();
            let waits = registers.orig_rax == libc::SYS_poll as u64 && RESTARTS.contains(&(registers.rax as i64));
            if !waits {
                ptrace::detach(debugged.0, None).unwrap();
            }
            waits
        });
        debugged
    }

    fn wait(&self) -> WaitStatus {
        waitpid(self.0, Some(WaitPidFlag::__WALL)).unwrap()
    }

    /// It waits in a call: the same instruction makes another one, once it goes on.
    fn enter(&self, call: i64) {
        let mut registers = ptrace::getregs(self.0).unwrap();
        registers.rip -= "\x0f\x05".len() as u64;
        registers.orig_rax = u64::MAX;
        registers.rax = call as u64;
        ptrace::setregs(self.0, registers).unwrap();
    }
}
