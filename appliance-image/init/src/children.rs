//! How processes begin and end: every orphan of the machine is ours to bury.

use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::io;
use std::process::{Child, Command};

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

/// Starts a process that hears every signal: what we block it would not hear either. One that comes
/// to us in between is lost unless it is a child's, which is looked for anyway; none of them ends us.
///
/// # Errors
/// Those of starting it.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let blocked = SigSet::thread_get_mask()?;
    SigSet::empty().thread_set_mask()?;
    let child = command.spawn();
    blocked.thread_set_mask()?;
    child
}

pub fn reap_all() {
    while reap().is_some() {}
}
