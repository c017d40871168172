//! Listening sockets: one per worker thread and address, bound by the master.

use crate::net::Address;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// What makes two listeners the same across reloads and upgrades.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    pub protocol: Protocol,
    pub address: Address,
}

/// `listen`'s socket options; `None` leaves the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    pub backlog: i32,
    pub rcvbuf: Option<usize>,
    pub sndbuf: Option<usize>,
    pub ipv6only: bool,
    pub keepalive: Option<Keepalive>,
    pub fastopen: Option<i32>,
    pub deferred: bool,
}

/// `so_keepalive=`: off, or on with times in place of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    Off,
    On { idle: Option<Duration>, interval: Option<Duration>, count: Option<u32> },
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            backlog: 511,
            rcvbuf: None,
            sndbuf: None,
            ipv6only: true,
            keepalive: None,
            fastopen: None,
            deferred: false,
        }
    }
}

/// A listener as the configuration asks for it.
#[derive(Clone, Debug)]
pub struct Listener {
    pub key: ListenerKey,
    pub options: ListenOptions,
}

/// Binds `count` sockets that share the address (`SO_REUSEPORT`), listening already when TCP.
///
/// `exclusive`: first make sure that nobody else holds the address, which
/// `SO_REUSEPORT` alone would not notice; false when this process holds it already.
///
/// # Errors
/// Those of `socket`, `setsockopt`, `bind` and `listen`; `EADDRINUSE` when the address is taken.
pub fn bind(listener: &Listener, count: usize, exclusive: bool) -> io::Result<Vec<OwnedFd>> {
    match &listener.key.address {
        Address::Ip(address) => {
            if exclusive {
                open(listener, *address, false)?;
            }
            (0..count).map(|_| Ok(open(listener, *address, true)?.into())).collect()
        }
        Address::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            socket.listen(listener.options.backlog)?;
            Ok(vec![socket.into()])
        }
    }
}

fn open(listener: &Listener, address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let kind = match listener.key.protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking().cloexec(), None)?;
    let options = &listener.options;
    if listener.key.protocol == Protocol::Tcp {
        socket.set_reuse_address(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(options.ipv6only)?;
    }
    if let Some(size) = options.rcvbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    socket.bind(&address.into())?;
    if shared && listener.key.protocol == Protocol::Tcp {
        listen(&socket, options)?;
    }
    Ok(socket)
}

fn listen(socket: &Socket, options: &ListenOptions) -> io::Result<()> {
    match options.keepalive {
        None => {}
        Some(Keepalive::Off) => socket.set_keepalive(false)?,
        Some(Keepalive::On { idle, interval, count }) => {
            socket.set_keepalive(true)?;
            let mut params = socket2::TcpKeepalive::new();
            if let Some(idle) = idle {
                params = params.with_time(idle);
            }
            if let Some(interval) = interval {
                params = params.with_interval(interval);
            }
            if let Some(count) = count {
                params = params.with_retries(count);
            }
            socket.set_tcp_keepalive(&params)?;
        }
    }
    if let Some(queue) = options.fastopen {
        nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::TcpFastOpenConnect, &(queue > 0)).ok();
    }
    socket.listen(options.backlog)
}
