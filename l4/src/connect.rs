//! Connects to one peer: socket options, `proxy_bind`, and the words nginx has
//! for each way that can fail.

use crate::bind;
use crate::plan::Server;
use fairlead_core::net::{Address, Deadline, Stream};
use socket2::{Domain, SockAddr, Socket, Type};
use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The kernel said no at once; nginx names the peer in this line.
    Refused(io::Error),
    /// The attempt began and failed.
    Failed(io::Error),
    TimedOut,
    /// We could not even try: no descriptors, a local address that is not ours.
    Local(Cow<'static, str>, io::Error),
}

/// A connection from `local`, if given, to `address` within `proxy_connect_timeout`.
pub(crate) async fn connect(address: &Address, server: &Server, local: Option<SocketAddr>) -> Result<Stream, Failure> {
    let socket = begin(address, server, local)?;
    let stream = Stream::connecting(socket, address).map_err(|error| Failure::Local("epoll_ctl()".into(), error))?;
    let mut deadline = Deadline::default();
    deadline.set(server.proxy.connect_timeout);
    let ended = poll_fn(|cx| match stream.poll_connected(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => deadline.poll(cx).map(|_| None),
    });
    match ended.await {
        Some(Ok(())) => Ok(stream),
        Some(Err(error)) => Err(Failure::Failed(error)),
        None => Err(Failure::TimedOut),
    }
}

/// A socket whose connection is under way.
fn begin(address: &Address, server: &Server, local: Option<SocketAddr>) -> Result<Socket, Failure> {
    let (domain, target) = match address {
        Address::Ip(address) => (Domain::for_address(*address), Ok(SockAddr::from(*address))),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)),
    };
    let target = target.map_err(Failure::Refused)?;
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)
        .map_err(|error| Failure::Local("socket()".into(), error))?;
    if let Address::Ip(_) = address
        && server.session.tcp_nodelay
    {
        socket.set_tcp_nodelay(true).map_err(|error| Failure::Local("setsockopt(TCP_NODELAY)".into(), error))?;
    }
    bind::prepare(&socket, address, server, local).map_err(|(call, error)| Failure::Local(call, error))?;
    match socket.connect(&target) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(Failure::Refused(error)),
    }
}
