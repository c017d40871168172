//! Connects to one peer: socket options, `proxy_bind`, and the words nginx has
//! for each way that can fail.

use crate::bind;
use crate::plan::Server;
use fairlead_core::net::{Address, Deadline, NotConnected, Stream};
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
    let stream = Stream::begin(address, |socket| {
        if let Address::Ip(_) = address
            && server.session.tcp_nodelay
        {
            socket.set_tcp_nodelay(true).map_err(NotConnected::before("setsockopt(TCP_NODELAY)"))?;
        }
        bind::prepare(socket, address, server, local)
    })?;
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

impl From<NotConnected> for Failure {
    fn from(failed: NotConnected) -> Failure {
        match failed.ours {
            true => Failure::Local(failed.call, failed.error),
            false => Failure::Refused(failed.error),
        }
    }
}
