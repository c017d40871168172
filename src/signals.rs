//! Signals as events: all are blocked and read from a descriptor, so that no
//! code ever runs in a signal handler.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What a signal asks of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// TERM, INT.
    Stop,
    /// QUIT.
    Quit,
    /// HUP.
    Reload,
    /// USR1.
    Reopen,
    /// USR2.
    Upgrade,
    /// WINCH.
    StopWorkers,
    /// CHLD.
    Child,
}

impl Event {
    fn of(signal: Signal) -> Option<Event> {
        match signal {
            Signal::SIGTERM | Signal::SIGINT => Some(Event::Stop),
            Signal::SIGQUIT => Some(Event::Quit),
            Signal::SIGHUP => Some(Event::Reload),
            Signal::SIGUSR1 => Some(Event::Reopen),
            Signal::SIGUSR2 => Some(Event::Upgrade),
            Signal::SIGWINCH => Some(Event::StopWorkers),
            Signal::SIGCHLD => Some(Event::Child),
            _ => None,
        }
    }
}

/// One signal that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub event: Event,
    pub signal: Signal,
    /// Process that sent it; 0 when the kernel did.
    pub from: u32,
}

pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks every signal we answer, for this thread and those it starts from now on.
    ///
    /// # Errors
    /// Those of `pthread_sigmask` and `signalfd`.
    pub fn block() -> io::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGHUP,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGWINCH,
            Signal::SIGCHLD,
        ] {
            set.add(signal);
        }
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals { fd })
    }

    /// The next signal that waits, if any.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn next(&self) -> io::Result<Option<Received>> {
        loop {
            let info = match self.fd.read_signal() {
                Ok(Some(info)) => info,
                Ok(None) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            if let Some((signal, event)) = signal.and_then(|signal| Some((signal, Event::of(signal)?))) {
                return Ok(Some(Received { event, signal, from: info.ssi_pid }));
            }
        }
    }
}

/// Lets signals end this process as they end any: one that we start inherits what we block.
///
/// # Errors
/// Those of `pthread_sigmask`.
pub fn unblock() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
