//! Which of an engine's sockets, the listener and those to peers, have something
//! to read: one epoll inside the runtime's own, so that a session costs no task
//! and no registration of the runtime.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Events taken with one system call.
const EVENTS: usize = 64;

pub(crate) struct Readiness {
    epoll: AsyncFd<OwnedFd>,
}

/// A socket that is readable.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    /// What it was watched as.
    pub token: u64,
    /// An ICMP error is waiting too: read until nothing is left.
    pub error: bool,
}

impl Readiness {
    /// Needs a tokio runtime's context.
    ///
    /// # Errors
    /// Those of `epoll_create1` and `epoll_ctl`.
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Readiness> {
        // SAFETY: takes a flag and no pointer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and ours alone.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        // SAFETY: an OwnedFd has one descriptor, open until the AsyncFd that owns it is dropped.
        let epoll = unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }?;
        Ok(Readiness { epoll })
    }

    /// Watches `socket` until it is closed; edge-triggered, so read it until it is drained.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    #[allow(unsafe_code)]
    pub fn watch(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: both descriptors are open, and the kernel only reads `event` during the call.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Stops watching a socket that stays open.
    #[allow(unsafe_code)]
    pub fn forget(&self, socket: BorrowedFd<'_>) {
        // SAFETY: both descriptors are open; no event is needed to delete. It can fail only when the
        // socket is not watched.
        unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, socket.as_raw_fd(), std::ptr::null_mut())
        };
    }

    /// Fills `ready` with the sockets to read from; pending when there are none.
    ///
    /// # Errors
    /// Those of `epoll_wait`.
    pub fn poll(&self, cx: &mut Context<'_>, ready: &mut Vec<Ready>) -> Poll<io::Result<()>> {
        ready.clear();
        loop {
            let mut guard = ready!(self.epoll.poll_read_ready(cx))?;
            let taken = self.take(ready)?;
            // One socket alone is a quiet time: asking once more would cost as much as being woken.
            if taken < 2 {
                guard.clear_ready();
            }
            if taken > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    #[allow(unsafe_code)]
    fn take(&self, ready: &mut Vec<Ready>) -> io::Result<usize> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: `events` has room for EVENTS events; a time limit of 0 never blocks.
        let taken = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, 0) };
        let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
        ready.extend(
            events
                .iter()
                .take(taken)
                .map(|event| Ready { token: event.u64, error: event.events & libc::EPOLLERR as u32 != 0 }),
        );
        Ok(taken)
    }
}
