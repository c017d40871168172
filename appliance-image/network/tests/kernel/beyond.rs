//! The other end of a cable: a namespace of its own with a server that others wrote.

use crate::space::ip;
use fairlead_core::clock::{Tick, tick};
use fairlead_network::{Event, Network};
use nix::poll::{PollFd, PollFlags, poll};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends with the test.
pub struct Beyond(Child);

impl Beyond {
    /// Moves `link` away into a new namespace, gives it `addresses` and runs `server` there.
    pub fn start(link: &str, addresses: &[&str], server: &str) -> Beyond {
        let addresses: String =
            addresses.iter().map(|address| format!("ip addr add {address} dev {link} nodad; ")).collect();
        let script = format!(
            "for n in $(seq 100); do ip link show {link} 2>/dev/null && break; sleep 0.05; done; \
             ip link set lo up; ip link set {link} up; {addresses} exec {server}"
        );
        let mut shell = Command::new("unshare");
        shell.args(["--net", "sh", "-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = shell.spawn().expect("util-linux is installed");
        let theirs = format!("/proc/{}/ns/net", child.id());
        let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        wait("the namespace is there", || std::fs::read_link(&theirs).is_ok_and(|theirs| theirs != ours));
        ip(&format!("link set {link} netns {}", child.id()));
        Beyond(child)
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(Instant::now() < end, "not within 15 seconds: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Polls as the first process does until `done` says so, and gives back what happened.
#[track_caller]
pub fn until(network: &mut Network, what: &str, mut done: impl FnMut(&mut Network, &[Event]) -> bool) -> Vec<Event> {
    let end = Instant::now() + Duration::from_secs(20);
    let mut all = Vec::new();
    while !done(network, &all) {
        assert!(Instant::now() < end, "not within 20 seconds: {what}\n{all:#?}");
        let wait = network.deadline().map_or(200, |deadline| deadline.since(tick()).as_millis().min(200));
        let mut fds: Vec<PollFd<'_>> = network.fds().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut fds, u16::try_from(wait).unwrap()).unwrap();
        drop(fds);
        all.extend(network.on_ready(tick()));
    }
    all
}

/// The same clock, later.
pub fn later(seconds: u64) -> Tick {
    tick().after(Duration::from_secs(seconds))
}
