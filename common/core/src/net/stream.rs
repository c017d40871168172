//! One connected byte stream, TCP or Unix, on the worker's readiness events.
//!
//! This is the transport the planes see; io_uring can take its place here.

use crate::net::Address;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use tokio::net::{TcpStream, UnixStream};

#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
            Stream::Unix($inner) => $call,
        }
    };
}

impl Stream {
    /// Connects; TCP streams get `TCP_NODELAY`.
    ///
    /// # Errors
    /// Those of `socket` and `connect`.
    pub async fn connect(address: &Address) -> io::Result<Stream> {
        match address {
            Address::Ip(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }

    /// Never blocks.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `recv`.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, stream => stream.try_read(buffer))
    }

    /// Never blocks.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `send`.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, stream => stream.try_write(bytes))
    }

    /// Never blocks.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `writev`.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, stream => stream.try_write_vectored(slices))
    }

    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read_ready(cx))
    }

    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_write_ready(cx))
    }

    /// Ends our direction (FIN); what the other side sends can still be read.
    pub fn shutdown_write(&self) {
        let socket = socket2::SockRef::from(self);
        // A peer that is already gone makes this fail, and then there is nothing left to end.
        let _ = socket.shutdown(std::net::Shutdown::Write);
    }

    /// Makes the drop of this stream send a reset instead of a FIN.
    pub fn reset_on_close(&self) {
        let _ = socket2::SockRef::from(self).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, stream => stream.as_fd())
    }
}
