//! A listening socket on the thread's reactor: gives the connections that come.
//!
//! Called by both planes' accept loops, which decide what becomes of a connection, and rest as
//! long as [`NotAccepted::pause`] says.

use crate::log::{Level, OsError};
use crate::net::Stream;
use crate::net::reactor::{Events, Watch};
use rustix::net as raw;
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub struct Acceptor {
    socket: OwnedFd,
    watch: Watch,
    /// Accepted without a pause.
    taken: Cell<u32>,
}

/// A connection that could not be had: what `accept4` said. Shown in nginx's words.
#[derive(Debug)]
pub struct NotAccepted(pub io::Error);

/// How long accepting rests when the process is out of descriptors or memory, as in nginx.
const PAUSE: Duration = Duration::from_millis(500);

/// Connections taken before the thread's other tasks get their turn.
const BATCH: u32 = 32;

impl Acceptor {
    /// Accepts on `socket`, which listens and does not block. Needs a current-thread runtime.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn new(socket: OwnedFd) -> io::Result<Acceptor> {
        let watch = Watch::new(&socket, Events::NONE)?;
        Ok(Acceptor { socket, watch, taken: Cell::new(0) })
    }

    /// What a client says first is acknowledged with the answer, where that comes within the time of a delayed
    /// acknowledgement (RFC 9293 section 3.8.6.3): a packet less for each connection. Whoever reads what is only
    /// a part of a message calls [`Stream::acknowledge`].
    pub fn acknowledge_with_answers(&self) {
        // Connections begin as their listener is set; on a Unix socket this fails and means nothing.
        let _ = raw::sockopt::set_tcp_quickack(&self.socket, false);
    }

    /// The next connection and where it comes from: `None` on a Unix socket.
    ///
    /// # Errors
    /// Those of `accept4`.
    pub async fn accept(&self) -> Result<(Stream, Option<SocketAddr>), NotAccepted> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<(Stream, Option<SocketAddr>), NotAccepted>> {
        const FLAGS: raw::SocketFlags = raw::SocketFlags::NONBLOCK.union(raw::SocketFlags::CLOEXEC);
        if self.taken.get() == BATCH {
            self.taken.set(0);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.taken.set(self.taken.get() + 1);
        loop {
            ready!(self.watch.poll_readable(&self.socket, cx));
            match raw::acceptfrom_with(&self.socket, FLAGS) {
                Ok((socket, address)) => {
                    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
                    let stream = Stream::accepted(&self.watch, socket, address.is_none());
                    return Poll::Ready(Ok((stream, address)));
                }
                Err(error) if error == rustix::io::Errno::AGAIN => {
                    self.taken.set(0);
                    self.watch.clear(Events::READABLE);
                }
                Err(error) if error == rustix::io::Errno::INTR => {}
                Err(error) => return Poll::Ready(Err(NotAccepted(error.into()))),
            }
        }
    }
}

impl NotAccepted {
    pub fn level(&self) -> Level {
        match self.0.raw_os_error() {
            Some(libc::ECONNABORTED) => Level::Error,
            Some(libc::EMFILE | libc::ENFILE) => Level::Crit,
            _ => Level::Alert,
        }
    }

    /// How long to leave the listener alone: `accept4` would fail again at once, and connections that
    /// end meanwhile make room. `None` when it was only this connection.
    pub fn pause(&self) -> Option<Duration> {
        (self.0.raw_os_error() != Some(libc::ECONNABORTED)).then_some(PAUSE)
    }
}

impl fmt::Display for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accept4() failed {}", OsError(&self.0))
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // The master holds the socket open, so that closing it here would leave it registered.
        self.watch.withdraw(&self.socket);
    }
}
