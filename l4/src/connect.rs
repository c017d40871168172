//! Connects to one peer: socket options, `proxy_bind`, and the words nginx has
//! for each way that can fail.

use crate::plan::Server;
use fairlead_core::net::{Address, Stream};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use tokio::net::{TcpStream, UnixStream};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The kernel said no at once; nginx names the peer in this line.
    Refused(io::Error),
    /// The attempt began and failed.
    Failed(io::Error),
    TimedOut,
    /// We could not even try: no descriptors, a local address that is not ours.
    Local(&'static str, io::Error),
}

/// A connection to `address` within `proxy_connect_timeout`.
pub(crate) async fn connect(address: &Address, server: &Server) -> Result<Stream, Failure> {
    let socket = begin(address, server)?;
    let ended = async {
        let stream = match address {
            Address::Ip(_) => Stream::Tcp(TcpStream::from_std(socket.into()).map_err(registering)?),
            Address::Unix(_) => Stream::Unix(UnixStream::from_std(socket.into()).map_err(registering)?),
        };
        std::future::poll_fn(|cx| stream.poll_write_ready(cx)).await.map_err(Failure::Failed)?;
        match socket2::SockRef::from(&stream).take_error() {
            Ok(None) => Ok(stream),
            Ok(Some(error)) | Err(error) => Err(Failure::Failed(error)),
        }
    };
    match tokio::time::timeout(server.proxy.connect_timeout, ended).await {
        Ok(result) => result,
        Err(_) => Err(Failure::TimedOut),
    }
}

fn registering(error: io::Error) -> Failure {
    Failure::Local("epoll_ctl()", error)
}

/// A socket whose connection is under way.
fn begin(address: &Address, server: &Server) -> Result<Socket, Failure> {
    let (domain, target) = match address {
        Address::Ip(address) => (Domain::for_address(*address), Ok(SockAddr::from(*address))),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)),
    };
    let target = target.map_err(Failure::Refused)?;
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)
        .map_err(|error| Failure::Local("socket()", error))?;
    if let Address::Ip(_) = address {
        prepare(&socket, server)?;
    }
    match socket.connect(&target) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(Failure::Refused(error)),
    }
}

fn prepare(socket: &Socket, server: &Server) -> Result<(), Failure> {
    if server.session.tcp_nodelay {
        socket.set_tcp_nodelay(true).map_err(|error| Failure::Local("setsockopt(TCP_NODELAY)", error))?;
    }
    if server.proxy.keepalive {
        socket.set_keepalive(true).map_err(|error| Failure::Local("setsockopt(SO_KEEPALIVE)", error))?;
    }
    if let Some(local) = server.proxy.bind {
        // Leaves the port to connect(), which may then share it between peers; old kernels pick one at bind().
        if local.port() == 0 {
            let _ = setsockopt(socket, IpBindAddressNoPort, &true);
        }
        socket.bind(&local.into()).map_err(|error| Failure::Local("bind()", error))?;
    }
    Ok(())
}
