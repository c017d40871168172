//! How processes end: every orphan of the machine is ours to bury.

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// A process that has ended, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub pid: u32,
    pub how: String,
}

/// The next one that has ended.
pub fn reap() -> Option<Ended> {
    loop {
        let (pid, how) = match waitpid(None, Some(WaitPidFlag::WNOHANG)).ok()? {
            WaitStatus::Exited(pid, code) => (pid, format!("ended with code {code}")),
            WaitStatus::Signaled(pid, signal, _) => (pid, format!("was ended by {signal}")),
            WaitStatus::StillAlive => return None,
            _ => continue,
        };
        if let Ok(pid) = u32::try_from(pid.as_raw()) {
            return Some(Ended { pid, how });
        }
    }
}

pub fn reap_all() {
    while reap().is_some() {}
}
