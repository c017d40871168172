//! One connected byte stream, TCP or Unix, on the thread's reactor.
//!
//! This is the transport the planes see. A read or write that falls short has used up what the
//! kernel had: the stream then waits for the next event rather than ask again only to be told
//! `EAGAIN`. Closing it, once, is all it takes to end it.

use crate::net::reactor::{Events, Watch};
use crate::net::{Address, NotConnected, Origin};
// Straight system calls: libc's are cancellation points, which a process with threads pays for.
use rustix::fs::sendfile;
use rustix::net as raw;
use rustix::pipe::{SpliceFlags, splice};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// When bytes that are written go out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Push {
    Now,
    /// With what follows at once, the end of the stream or more bytes: one packet less.
    WithNext,
}

pub struct Stream {
    // Dropped first: the reactor forgets the socket before its number can be another's.
    watch: Watch,
    socket: OwnedFd,
    unix: bool,
}

impl Stream {
    /// A socket that `accept` gave. Most have bytes to read by now: whether there are any is tried before the
    /// reactor, which `listener` is on too, is asked to tell.
    pub(super) fn accepted(listener: &Watch, socket: OwnedFd, unix: bool) -> Stream {
        let watch = listener.beside(Events::READABLE.with(Events::WRITABLE));
        Stream { watch, socket, unix }
    }

    /// Has the reactor watch it from now on, whether somebody waits for it or not: who moves bytes without looking
    /// at them must hear of urgent ones.
    pub(super) fn register(&self) {
        self.watch.register(self.socket.as_fd());
    }

    /// Begins a connection on a socket that `prepare` has had before; [`Stream::poll_connected`] tells
    /// how it ends.
    ///
    /// # Errors
    /// The call that failed: `connect()` at once, or one before it.
    pub fn begin(
        address: &Address,
        prepare: impl FnOnce(&Socket) -> Result<(), NotConnected>,
    ) -> Result<Stream, NotConnected> {
        let (domain, target) = match address {
            Address::Ip(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            // A path that is too long.
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path).map_err(refused)?),
        };
        let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)
            .map_err(NotConnected::before("socket()"))?;
        prepare(&socket)?;
        match socket.connect(&target) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                Err(NotConnected { call: format!("connect() to {address}").into(), error, ours: false })
            }
            _ => {
                let unix = matches!(address, Address::Unix(_));
                Stream::new(socket.into(), unix, Events::NONE).map_err(NotConnected::before("epoll_ctl()"))
            }
        }
    }

    /// A connected socket made elsewhere, which must not block.
    ///
    /// # Errors
    /// Those of `getsockname` and `epoll_ctl`.
    pub fn adopt(socket: OwnedFd) -> io::Result<Stream> {
        let unix = SockRef::from(&socket).domain()? == Domain::UNIX;
        Stream::new(socket, unix, Events::WRITABLE)
    }

    /// One with nobody at the other end: for work that goes on without a client.
    ///
    /// # Errors
    /// Those of `socket` and `epoll_ctl`.
    pub fn alone() -> io::Result<Stream> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        Stream::new(socket.into(), true, Events::NONE)
    }

    fn new(socket: OwnedFd, unix: bool, assumed: Events) -> io::Result<Stream> {
        let watch = Watch::new(&socket, assumed)?;
        Ok(Stream { watch, socket, unix })
    }

    /// Connects; TCP streams get `TCP_NODELAY`.
    ///
    /// # Errors
    /// Those of `socket` and `connect`.
    pub async fn connect(address: &Address) -> io::Result<Stream> {
        Stream::connect_from(address, &Origin::default()).await.map_err(|failed| failed.error)
    }

    /// The same with a say in where it starts from.
    ///
    /// # Errors
    /// The call that failed: `connect()`, or one before it.
    pub async fn connect_from(address: &Address, origin: &Origin) -> Result<Stream, NotConnected> {
        let stream = Stream::begin(address, |socket| {
            if let Address::Ip(_) = address {
                socket.set_tcp_nodelay(true).map_err(NotConnected::before("setsockopt(TCP_NODELAY)"))?;
            }
            origin.prepare(socket, address)
        })?;
        poll_fn(|cx| stream.poll_connected(cx)).await.map_err(refused)?;
        Ok(stream)
    }

    /// Ready once the connection that was under way stands.
    ///
    /// # Errors
    /// Those of `connect`.
    pub fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_ready(cx));
        if !self.watch.events().has(Events::FAILED) {
            return Poll::Ready(Ok(()));
        }
        // Without an error the other side has hung up already, which its bytes and its end will tell.
        Poll::Ready(SockRef::from(self).take_error().and_then(|error| error.map_or(Ok(()), Err)))
    }

    /// `SO_KEEPALIVE`.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_keepalive(&self) -> io::Result<()> {
        SockRef::from(self).set_keepalive(true)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// Those of `recv`.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, 1));
        loop {
            ready!(self.poll_read_ready(cx));
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
        self.poll_write_as(cx, bytes, Push::Now)
    }

    /// The same with a say in when they go out.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn poll_write_as(&self, cx: &mut Context<'_>, bytes: &[u8], push: Push) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, 1));
        loop {
            ready!(self.poll_write_ready(cx));
            match self.writing(bytes.len(), |socket| Ok(raw::send(socket, bytes, push.flags())?)) {
                Err(error) if is_transient(&error) => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Writes what fits of several slices.
    ///
    /// # Errors
    /// Those of `sendmsg`.
    pub fn poll_write_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, 1));
        let size = slices.iter().map(|slice| slice.len()).sum();
        loop {
            ready!(self.poll_write_ready(cx));
            let written = self.writing(size, |socket| {
                Ok(raw::sendmsg(socket, slices, &mut Default::default(), raw::SendFlags::NOSIGNAL)?)
            });
            match written {
                Err(error) if is_transient(&error) => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Never blocks.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `recv`.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = buffer.len();
        self.reading(size, |socket| Ok(raw::recv(socket, buffer, raw::RecvFlags::empty())?.0))
    }

    /// Never blocks.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `send`.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.writing(bytes.len(), |socket| Ok(raw::send(socket, bytes, raw::SendFlags::NOSIGNAL)?))
    }

    /// A system call that reads up to `size` bytes: fewer than that mean that the socket is drained,
    /// and when its end was seen before, that nothing follows. Pass 0 where fewer mean nothing.
    fn reading(&self, size: usize, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>) -> io::Result<usize> {
        let events = self.watch.events();
        if !events.has(Events::READABLE) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if events.has(Events::DRAINED) {
            return Ok(0);
        }
        let read = call(self.socket.as_fd());
        match &read {
            Ok(count) if *count > 0 && *count < size => self.fell_short(events),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.watch.clear(Events::READABLE),
            _ => {}
        }
        read
    }

    /// After a read that got less than it could, `before` which these events were known.
    fn fell_short(&self, before: Events) {
        // Descriptors sent along end a read of a Unix socket early, and so does urgent data elsewhere; an
        // error is still to be told.
        if self.unix || before.has_any(Events::URGENT.with(Events::FAILED)) {
            return;
        }
        match before.has(Events::ENDING) {
            true => self.watch.set(Events::DRAINED),
            false => self.watch.clear(Events::READABLE),
        }
    }

    /// The same for a call that writes; also with 0 where fewer mean nothing.
    fn writing(&self, size: usize, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>) -> io::Result<usize> {
        if !self.watch.events().has(Events::WRITABLE) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = call(self.socket.as_fd());
        match &written {
            Ok(count) if *count < size => self.watch.clear(Events::WRITABLE),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.watch.clear(Events::WRITABLE),
            _ => {}
        }
        written
    }

    /// Moves up to `most` bytes that are there into `pipe`; 0 is the end, or urgent data before it. The pipe must be empty: one that
    /// is full looks like a socket without bytes. Only `WouldBlock` says that the socket is drained: a pipe
    /// holds so many pieces, however small, so a short count says nothing.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `splice`.
    pub(super) fn try_splice_into(&self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.reading(0, |socket| Ok(splice(socket, None, pipe, None, most, SPLICE)?))
    }

    /// Moves `count` bytes that `pipe` holds, or as many of them as the socket takes. Nothing is held back
    /// for bytes that may follow (`SPLICE_F_MORE`): they may not.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `splice`.
    pub(super) fn try_splice_from(&self, pipe: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        self.writing(0, |socket| Ok(splice(pipe, None, socket, None, count, SPLICE)?))
    }

    /// Sends up to `count` bytes of a file from `from` on, out of the page cache; 0 is its end.
    ///
    /// # Errors
    /// Those of `sendfile`.
    pub fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: impl AsFd,
        (from, count): (u64, usize),
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, 1));
        loop {
            ready!(self.poll_write_ready(cx));
            // Less than `count` may be the end of the file, which says nothing of the socket.
            let sent = self.writing(0, |socket| Ok(sendfile(socket, file.as_fd(), Some(&mut from.clone()), count)?));
            match sent {
                Err(error) if is_transient(&error) => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    /// Ready while the task may go on, with what costs as much as `cost` reads or writes.
    pub(super) fn poll_turn(&self, cx: &mut Context<'_>, cost: u32) -> Poll<()> {
        self.watch.poll_turn(cx, cost)
    }

    /// There is, or was, urgent data, at which a splice stops and never goes on.
    pub(super) fn has_urgent(&self) -> bool {
        self.watch.events().has(Events::URGENT)
    }

    /// Whether the other side has closed or broken the connection; looks without taking bytes.
    pub fn is_ended(&self) -> bool {
        let mut byte = [MaybeUninit::uninit(); 1];
        match SockRef::from(self).peek(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Whether nothing can be read now, not even an end. Asks the kernel only after a read that took all it
    /// was allowed to.
    pub fn is_quiet(&self) -> bool {
        if !self.watch.events().has(Events::READABLE) {
            return true;
        }
        let peeked = SockRef::from(self).peek(&mut [MaybeUninit::uninit(); 1]);
        let quiet = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if quiet {
            self.watch.clear(Events::READABLE);
        }
        quiet
    }

    /// A broken stream is readable, and reading says why.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.poll_readable(&self.socket, cx)
    }

    /// The same for somebody who only wants to know whether the other side is still there, and need not know at
    /// once: on a connection that nobody has waited for yet it costs nothing for the first 20 ms.
    pub fn poll_read_ready_soon(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.poll_readable_soon(&self.socket, cx)
    }

    /// As [`Stream::poll_read_ready`].
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.poll_writable(&self.socket, cx)
    }

    /// `TCP_NODELAY`; nothing on a Unix socket.
    pub fn set_nodelay(&self, nodelay: bool) {
        if !self.unix {
            // Fails only when the connection is broken, which the next read says better.
            let _ = SockRef::from(self).set_tcp_nodelay(nodelay);
        }
    }

    /// Acknowledges what has come, and what will come next: the other side may be waiting for that before it
    /// sends more (RFC 9293 section 3.7.4), and no answer is about to carry it.
    pub fn acknowledge(&self) {
        if !self.unix {
            // As above.
            let _ = raw::sockopt::set_tcp_quickack(self, true);
        }
    }

    /// Closing will reset the connection and leave nothing of it in the kernel.
    pub fn reset_on_close(&self) {
        // Fails only when the connection is broken, and then nothing is left anyway.
        let _ = SockRef::from(self).set_linger(Some(std::time::Duration::ZERO));
    }

    /// Sends what was to go [`Push::WithNext`] and has nothing to go with.
    pub fn push(&self) {
        // Setting it sends, even where it is set.
        self.set_nodelay(true);
    }

    /// The address the other side connected to; `None` when the connection is broken already.
    pub fn local_address(&self) -> Option<Address> {
        match self.unix {
            true => Some(Address::Unix(std::path::PathBuf::new())),
            false => self.local_socket().map(Address::Ip),
        }
    }

    /// The same, and none of a Unix socket.
    pub fn local_socket(&self) -> Option<SocketAddr> {
        SockRef::from(self).local_addr().ok()?.as_socket()
    }

    /// Ends our direction (FIN); what the other side sends can still be read.
    pub fn shutdown_write(&self) {
        // A peer that is already gone makes this fail, and then there is nothing left to end.
        let _ = SockRef::from(self).shutdown(std::net::Shutdown::Write);
    }
}

impl Push {
    fn flags(self) -> raw::SendFlags {
        match self {
            Push::Now => raw::SendFlags::NOSIGNAL,
            Push::WithNext => raw::SendFlags::NOSIGNAL.union(raw::SendFlags::MORE),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// For libraries that speak tokio's traits.
impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Stream::poll_read(&self, cx, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(&self, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Stream::poll_write_vectored(&self, cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown_write();
        Poll::Ready(Ok(()))
    }
}

fn refused(error: io::Error) -> NotConnected {
    NotConnected { call: "connect()".into(), error, ours: false }
}

/// Nothing is wrong: try again once the socket is ready.
pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
