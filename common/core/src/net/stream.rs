//! One connected byte stream, TCP or Unix, on the worker's readiness events.
//!
//! This is the transport the planes see; io_uring can take its place here.

use crate::net::Address;
// Straight system calls: libc's are cancellation points, which a process with threads pays for.
use rustix::net as raw;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

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
        Stream::connect_from(address, None).await
    }

    /// The same from a local address.
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `connect`.
    pub async fn connect_from(address: &Address, local: Option<&Address>) -> io::Result<Stream> {
        let stream = match (address, local) {
            (Address::Unix(path), _) => return Ok(Stream::Unix(UnixStream::connect(path).await?)),
            (Address::Ip(address), Some(Address::Ip(local))) => {
                let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
                socket.bind(*local)?;
                socket.connect(*address).await?
            }
            (Address::Ip(address), _) => TcpStream::connect(address).await?,
        };
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }

    /// `SO_KEEPALIVE`.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_keepalive(&self) -> io::Result<()> {
        socket2::SockRef::from(self).set_keepalive(true)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// Those of `recv`.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            match self.try_read(buffer) {
                Err(error) if is_transient(&error) => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Writes what fits.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.try_write(bytes) {
                Err(error) if is_transient(&error) => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Writes what fits of several slices.
    ///
    /// # Errors
    /// Those of `writev`.
    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    /// Never blocks. A read that does not fill the buffer has drained the socket: saying so to tokio
    /// within the same call saves the read that would only be told `EAGAIN`.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `recv`.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (size, mut read) = (buffer.len(), None);
        let step = either!(self, stream => stream.try_io(Interest::READABLE, || {
            let (count, _) = raw::recv(stream, &mut *buffer, raw::RecvFlags::empty())?;
            read = Some(count);
            drained(count, size)
        }));
        read.map_or_else(|| step.map(|()| 0), Ok)
    }

    /// Never blocks. Likewise: a short write has filled the socket's buffer.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `send`.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = None;
        let step = either!(self, stream => stream.try_io(Interest::WRITABLE, || {
            let count = raw::send(stream, bytes, raw::SendFlags::NOSIGNAL)?;
            written = Some(count);
            drained(count, bytes.len())
        }));
        written.map_or_else(|| step.map(|()| 0), Ok)
    }

    /// Whether the other side has closed or broken the connection; looks without taking bytes.
    pub fn is_ended(&self) -> bool {
        let mut byte = [MaybeUninit::uninit(); 1];
        match socket2::SockRef::from(self).peek(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read_ready(cx))
    }

    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_write_ready(cx))
    }

    /// `TCP_NODELAY`; nothing on a Unix socket.
    pub fn set_nodelay(&self, nodelay: bool) {
        if let Stream::Tcp(stream) = self {
            // Fails only when the connection is broken, which the next read says better.
            let _ = stream.set_nodelay(nodelay);
        }
    }

    /// The address the other side connected to; `None` when the connection is broken already.
    pub fn local_address(&self) -> Option<Address> {
        match self {
            Stream::Tcp(stream) => stream.local_addr().ok().map(Address::Ip),
            Stream::Unix(_) => Some(Address::Unix(std::path::PathBuf::new())),
        }
    }

    /// Ends our direction (FIN); what the other side sends can still be read.
    pub fn shutdown_write(&self) {
        let socket = socket2::SockRef::from(self);
        // A peer that is already gone makes this fail, and then there is nothing left to end.
        let _ = socket.shutdown(std::net::Shutdown::Write);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, stream => stream.as_fd())
    }
}

/// Tells tokio that a read or write that fell short has used up the socket's readiness: it then
/// waits for the next event rather than ask the kernel again.
fn drained(count: usize, wanted: usize) -> io::Result<()> {
    if count > 0 && count < wanted { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}

/// Nothing is wrong: try again once the socket is ready.
pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
