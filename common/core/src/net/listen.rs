//! Listening sockets: one per worker thread and address, bound by the master.

use crate::net::Address;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
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
    /// Takes connections of Multipath TCP too.
    pub multipath: bool,
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
            multipath: false,
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
/// A `count` of 0 with `exclusive` only looks whether the address could be bound.
/// A Unix socket is one for all workers, and its file may not exist yet.
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
        Address::Unix(path) if count > 0 => Ok(vec![open_unix(listener, path)?]),
        Address::Unix(_) => Ok(Vec::new()),
    }
}

/// Puts the options that may change while a socket is open on one that is:
/// backlog, buffer sizes, keepalive, `TCP_FASTOPEN`, `TCP_DEFER_ACCEPT`.
///
/// # Errors
/// Those of `setsockopt` and `listen`.
pub fn reapply(listener: &Listener, socket: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    set_buffers(&socket, &listener.options)?;
    match listener.key {
        ListenerKey { protocol: Protocol::Udp, .. } => Ok(()),
        ListenerKey { address: Address::Unix(_), .. } => socket.listen(listener.options.backlog),
        _ => listen(&socket, &listener.options),
    }
}

/// Whether an open socket has, of what is settled before it is bound, what `listener` asks for:
/// `multipath` and `ipv6only`. One that has not can only be replaced.
pub fn fits(listener: &Listener, socket: &OwnedFd) -> bool {
    let Address::Ip(address) = listener.key.address else { return true };
    let ListenOptions { multipath, ipv6only, .. } = listener.options;
    let socket = SockRef::from(socket);
    // A kernel that does not tell is not asked to change anything.
    let is_multipath = socket.protocol().map_or(multipath, |protocol| protocol == Some(socket2::Protocol::MPTCP));
    let is_only = if address.is_ipv6() { socket.only_v6().unwrap_or(ipv6only) } else { ipv6only };
    (is_multipath, is_only) == (multipath, ipv6only)
}

/// Everybody may connect, as with nginx: who may not is kept out by the folder's permissions.
fn open_unix(listener: &Listener, path: &Path) -> io::Result<OwnedFd> {
    let kind = match listener.key.protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::UNIX, kind.nonblocking().cloexec(), None)?;
    set_buffers(&SockRef::from(&socket), &listener.options)?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    if listener.key.protocol == Protocol::Tcp {
        socket.listen(listener.options.backlog)?;
    }
    Ok(socket.into())
}

fn open(listener: &Listener, address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let kind = match listener.key.protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let options = &listener.options;
    let protocol = options.multipath.then_some(socket2::Protocol::MPTCP);
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking().cloexec(), protocol)?;
    if listener.key.protocol == Protocol::Tcp {
        socket.set_reuse_address(true)?;
        // Accepted connections inherit it, which saves each of them a system call.
        socket.set_tcp_nodelay(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(options.ipv6only)?;
    }
    set_buffers(&SockRef::from(&socket), options)?;
    socket.bind(&address.into())?;
    if shared && listener.key.protocol == Protocol::Tcp {
        listen(&SockRef::from(&socket), options)?;
    }
    Ok(socket)
}

fn set_buffers(socket: &SockRef<'_>, options: &ListenOptions) -> io::Result<()> {
    if let Some(size) = options.rcvbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    Ok(())
}

fn listen(socket: &SockRef<'_>, options: &ListenOptions) -> io::Result<()> {
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
        set_tcp_option(socket, libc::TCP_FASTOPEN, queue)?;
    }
    if options.deferred {
        set_tcp_option(socket, libc::TCP_DEFER_ACCEPT, 1)?;
    }
    socket.listen(options.backlog)
}

/// The options neither socket2 nor nix has.
#[allow(unsafe_code)]
fn set_tcp_option(socket: &SockRef<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    const SIZE: libc::socklen_t = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` lives, and `value` is an int that outlives the
    // call, of the size that is given.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, (&raw const value).cast(), SIZE) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};
    use std::os::fd::AsFd;

    fn listener(protocol: Protocol, port: u16) -> Listener {
        let address = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Listener { key: ListenerKey { protocol, address }, options: ListenOptions::default() }
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn sockets_of_one_listener_share_the_address() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let sockets = bind(&listener(protocol, free_port()), 3, true).unwrap();
            assert_eq!(sockets.len(), 3);
        }
    }

    #[test]
    fn an_address_that_another_shares_is_noticed_all_the_same() {
        let port = free_port();
        let held = bind(&listener(Protocol::Tcp, port), 1, true).unwrap();
        let error = bind(&listener(Protocol::Tcp, port), 1, true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        drop(held);

        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let error = bind(&listener(Protocol::Udp, port), 1, true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    }

    #[test]
    fn a_second_bind_of_what_we_hold_joins_the_first() {
        let port = free_port();
        let _held = bind(&listener(Protocol::Tcp, port), 1, true).unwrap();
        assert_eq!(bind(&listener(Protocol::Tcp, port), 2, false).unwrap().len(), 2);
    }

    #[test]
    fn tcp_options_reach_the_kernel() {
        let mut listener = listener(Protocol::Tcp, free_port());
        listener.options.fastopen = Some(7);
        listener.options.deferred = true;
        listener.options.keepalive = Some(Keepalive::On { idle: None, interval: None, count: Some(3) });
        let sockets = bind(&listener, 1, true).unwrap();
        let socket = SockRef::from(&sockets[0]);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(tcp_option(sockets[0].as_fd(), libc::TCP_FASTOPEN), 7);
        assert_ne!(tcp_option(sockets[0].as_fd(), libc::TCP_DEFER_ACCEPT), 0);
        reapply(&listener, &sockets[0]).unwrap();
    }

    #[allow(unsafe_code)]
    fn tcp_option(socket: std::os::fd::BorrowedFd<'_>, option: libc::c_int) -> libc::c_int {
        let (mut value, mut size) = (0, 4);
        // SAFETY: both pointers are to live locals of the sizes the kernel expects.
        let done = unsafe {
            let value = (&raw mut value).cast();
            libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, value, &raw mut size)
        };
        assert_eq!(done, 0);
        value
    }

    #[test]
    fn a_socket_tells_what_cannot_be_changed_any_more() {
        let mut listener = listener(Protocol::Tcp, free_port());
        listener.options.ipv6only = false;
        let socket = bind(&listener, 1, true).unwrap().remove(0);
        listener.options.ipv6only = true;
        assert!(fits(&listener, &socket), "nothing to an IPv4 address");
        listener.options.multipath = true;
        assert!(!fits(&listener, &socket));

        listener.options.multipath = false;
        listener.key.address = Address::Ip(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, free_port())));
        let socket = bind(&listener, 1, true).unwrap().remove(0);
        assert!(fits(&listener, &socket));
        listener.options.ipv6only = false;
        assert!(!fits(&listener, &socket));
    }

    #[test]
    fn a_unix_socket_is_one_and_open_to_all() {
        let path = std::env::temp_dir().join(format!("fairlead-listen-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut listener = listener(Protocol::Tcp, 1);
        listener.key.address = Address::Unix(path.clone());
        let sockets = bind(&listener, 4, true).unwrap();
        assert_eq!(sockets.len(), 1);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(bind(&listener, 4, true).unwrap_err().raw_os_error(), Some(libc::EADDRINUSE));
        std::fs::remove_file(&path).unwrap();
    }
}
