//! The process `fairlead`: started, heard, looked after, ended.

use crate::children;
use crate::health::{self, Listener, Patience, Transport};
use crate::logs::Log;
use crate::say;
use crate::supervise::{State, Supervisor, Verdict};
use crate::working;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Command, Stdio};

const PROGRAM: &str = "/bin/fairlead";
const LOG: &str = "/run/log/fairlead-errors.log";
pub const LOG_NAME: &str = "fairlead-errors.log";
/// Errors that are kept for the status page.
const ERRORS: usize = 20;
const LONGEST_LINE: usize = 8192;
/// A start that ends within this is a configuration that cannot be served.
const STILLBORN: u64 = 3000;
/// So many hangs within this are not `fairlead`'s own.
const HANGS: usize = 3;
const HANGS_WITHIN: u64 = 600_000;

pub struct Service {
    pub supervisor: Supervisor,
    output: Option<PipeReader>,
    unfinished: Vec<u8>,
    log: Log,
    patience: Patience,
    /// Last errors, as it wrote them.
    pub errors: VecDeque<String>,
    /// Peers whose checks have said something, and whether it was good.
    pub peers: BTreeMap<String, bool>,
    pub listeners: Vec<Listener>,
    /// When it was found hanging.
    hangs: VecDeque<u64>,
    /// Told to end, for the last time.
    ending: Option<u32>,
}

impl Service {
    pub fn new(now: u64) -> Service {
        Service {
            supervisor: Supervisor::new(now),
            output: None,
            unfinished: Vec::new(),
            log: Log::at(LOG),
            patience: Patience::default(),
            errors: VecDeque::new(),
            peers: BTreeMap::new(),
            listeners: Vec::new(),
            hangs: VecDeque::new(),
            ending: None,
        }
    }

    /// What to wait on for its next words.
    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    pub fn start(&mut self, now: u64, on_trial: bool) -> Option<Verdict> {
        match self.spawn() {
            Ok(pid) => {
                self.supervisor.started(pid, now);
                say::step(format!("fairlead: started as process {pid}"));
                None
            }
            Err(error) => {
                say::trouble(format!("{PROGRAM} does not start: {error}"), "the image may be damaged; write it again");
                Some(self.supervisor.ended(now, on_trial))
            }
        }
    }

    fn spawn(&mut self) -> io::Result<u32> {
        let (reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        let mut command = Command::new(PROGRAM);
        command.args(["-p", "/run/fairlead/", "-c", working::MAIN, "-g", &working::globals(Path::new(working::MAIN))]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
        let child = children::spawn(&mut command)?;
        self.output = Some(reader);
        self.patience.forget();
        self.peers.clear();
        Ok(child.id())
    }

    /// Takes in what it wrote.
    pub fn listen(&mut self) {
        let mut bytes = [0; 16_384];
        // Bounded: the rest is there the next time.
        for _ in 0..8 {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut bytes) {
                Ok(0) => {
                    self.output = None;
                    return;
                }
                Ok(read) => self.take(bytes.get(..read).unwrap_or_default()),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.log.write(bytes);
        self.unfinished.extend_from_slice(bytes);
        while let Some(end) = self.unfinished.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.unfinished.drain(..=end).collect();
            self.note(String::from_utf8_lossy(&line).trim_end());
        }
        if self.unfinished.len() > LONGEST_LINE {
            self.unfinished.clear();
        }
    }

    fn note(&mut self, line: &str) {
        if let Some((peer, up)) = peer_change(line) {
            self.peers.insert(peer.to_owned(), up);
        }
        let bad = ["[error]", "[crit]", "[alert]", "[emerg]"].iter().any(|level| line.contains(level));
        if bad {
            if line.contains("[emerg]") {
                say::trouble(format!("fairlead: {line}"), "correct the configuration");
            }
            if self.errors.len() == ERRORS {
                self.errors.pop_front();
            }
            self.errors.push_back(line.chars().take(400).collect());
        }
    }

    /// One of its ends; what follows, and whether it never served.
    pub fn ended(&mut self, how: &str, now: u64, on_trial: bool) -> (Verdict, bool) {
        self.listen();
        self.ending = None;
        let stillborn = matches!(self.supervisor.state(), State::Running { since, .. } if now - since < STILLBORN);
        let verdict = self.supervisor.ended(now, on_trial);
        match verdict {
            Verdict::Again(pause) => {
                let text = format!("fairlead {how}");
                say::trouble(text, &format!("it is started again in {} ms", pause.as_millis()));
            }
            Verdict::GiveUp => {
                say::trouble(format!("fairlead {how}, five times in a minute"), "the slot before is used again")
            }
            Verdict::Wanted => say::step(format!("fairlead: {how}")),
        }
        (verdict, stillborn)
    }

    pub fn send(&self, signal: Signal) {
        signal_to(self.supervisor.pid(), signal);
    }

    /// Ends it for good, by this signal.
    pub fn stop(&mut self, signal: Signal) {
        self.ending = self.ending.or(self.supervisor.pid());
        self.supervisor.stop();
        signal_to(self.ending, signal);
    }

    /// Whether it still has to end.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether this process is it.
    pub fn is(&self, pid: u32) -> bool {
        self.ending.or(self.supervisor.pid()) == Some(pid)
    }

    /// Whether it hangs again and again: the machine is better off with a reset.
    pub fn is_hopeless(&mut self, now: u64) -> bool {
        while self.hangs.front().is_some_and(|&hang| now.saturating_sub(hang) > HANGS_WITHIN) {
            self.hangs.pop_front();
        }
        self.hangs.len() >= HANGS
    }

    /// Looks whether it serves. One that hangs is ended, and so started again.
    pub fn look(&mut self, now: u64) -> bool {
        self.listeners = read_listeners();
        let State::Running { pid, since } = self.supervisor.state() else { return false };
        if let Some(address) = self.patience.stuck(&self.listeners, now) {
            say::trouble(format!("fairlead takes no connections at {address}"), "it is ended and started again");
            self.patience.forget();
            self.hangs.push_back(now);
            self.send(Signal::SIGKILL);
            return false;
        }
        now.saturating_sub(since) >= 1000 && has_child(pid)
    }
}

fn signal_to(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// `peer is healthy while checking, health check "" of peer 10.0.0.1:80 in upstream "web"`.
fn peer_change(line: &str) -> Option<(&str, bool)> {
    let (_, about) = line.split_once(" of peer ")?;
    let (peer, _) = about.split_once(" in upstream ")?;
    let down = line.contains("peer is unhealthy");
    (down || line.contains("peer is healthy")).then_some((peer, !down))
}

fn read_listeners() -> Vec<Listener> {
    let tables = [("tcp", Transport::Tcp), ("tcp6", Transport::Tcp), ("udp", Transport::Udp), ("udp6", Transport::Udp)];
    let read = |(name, transport)| {
        health::listeners(&fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default(), transport)
    };
    tables.into_iter().flat_map(read).collect()
}

/// Whether a process has a worker: one that is there and not a zombie.
fn has_child(parent: u32) -> bool {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.split_whitespace().any(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_peers_are_heard() {
        let line = "2026/11/22 00:06:43 [warn] 1#1: peer is unhealthy while connecting, health check \"\" of peer 10.0.0.1:80 in upstream \"web\"";
        assert_eq!(peer_change(line), Some(("10.0.0.1:80", false)));
        assert_eq!(
            peer_change(&line.replace("unhealthy while connecting", "healthy while checking")),
            Some(("10.0.0.1:80", true))
        );
        assert_eq!(peer_change("2026/11/22 [error] connect() failed of peer x in upstream y"), None);
    }

    #[test]
    fn only_errors_are_kept_and_no_more_than_some() {
        let mut service = Service::new(0);
        service.log = Log::at(std::env::temp_dir().join(format!("fairlead-service-{}", std::process::id())));
        service.take(b"2026 [notice] a\n2026 [err");
        assert!(service.errors.is_empty());
        service.take(b"or] b\n");
        assert_eq!(service.errors, ["2026 [error] b"]);
        for _ in 0..100 {
            service.take(b"[crit] c\n");
        }
        assert_eq!(service.errors.len(), ERRORS);
        let _ = fs::remove_file(std::env::temp_dir().join(format!("fairlead-service-{}", std::process::id())));
    }
}
