//! Our end of connections to peers: the address they start from and the socket options that are
//! set before connecting. Both planes' `proxy_bind` and `proxy_socket_*` end here.

use crate::net::Address;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, IpTransparent};
use socket2::Socket;
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What a socket to a peer is to be before it connects. Nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Port 0 leaves the port to the kernel.
    pub local: Option<SocketAddr>,
    /// The address need not be one of this host.
    pub transparent: bool,
    pub keepalive: bool,
    /// Bytes.
    pub rcvbuf: Option<usize>,
    pub sndbuf: Option<usize>,
}

/// A connection that did not come to be: the call that failed, in nginx's words, and why.
#[derive(Debug)]
pub struct NotConnected {
    pub call: Cow<'static, str>,
    pub error: io::Error,
    /// Before the peer was asked: another peer would not help.
    pub ours: bool,
}

impl Origin {
    /// Reads `ADDRESS[:PORT]`; a port that is written is from 1 on.
    pub fn parse(text: &str) -> Option<SocketAddr> {
        let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
        if let Some(ip) = text.parse::<IpAddr>().ok().or_else(bracketed) {
            return Some(SocketAddr::new(ip, 0));
        }
        text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0)
    }

    /// Sets what is asked of a socket that is about to connect to `peer`.
    ///
    /// # Errors
    /// The call that failed.
    pub fn prepare(&self, socket: &Socket, peer: &Address) -> Result<(), NotConnected> {
        if self.keepalive {
            socket.set_keepalive(true).map_err(NotConnected::before("setsockopt(SO_KEEPALIVE)"))?;
        }
        if let Some(size) = self.rcvbuf {
            socket.set_recv_buffer_size(size).map_err(NotConnected::before("setsockopt(SO_RCVBUF)"))?;
        }
        if let Some(size) = self.sndbuf {
            socket.set_send_buffer_size(size).map_err(NotConnected::before("setsockopt(SO_SNDBUF)"))?;
        }
        match (self.local, peer) {
            (Some(local), Address::Ip(_)) => self.bind(socket, local),
            _ => Ok(()),
        }
    }

    fn bind(&self, socket: &Socket, local: SocketAddr) -> Result<(), NotConnected> {
        if self.transparent {
            // The kernel takes the IPv4 option on IPv6 sockets too.
            setsockopt(socket, IpTransparent, &true)
                .map_err(|error| NotConnected::before("setsockopt(IP_TRANSPARENT)")(error.into()))?;
        }
        if local.port() == 0 {
            // Leaves the port to connect(), which may then share it between peers; old kernels pick one at bind().
            let _ = setsockopt(socket, IpBindAddressNoPort, &true);
        } else {
            // The same port may go to several peers.
            socket.set_reuse_address(true).map_err(NotConnected::before("setsockopt(SO_REUSEADDR)"))?;
        }
        socket.bind(&local.into()).map_err(|error| {
            let shown = if local.port() == 0 { local.ip().to_string() } else { local.to_string() };
            NotConnected { call: format!("bind({shown})").into(), error, ours: true }
        })
    }
}

impl NotConnected {
    /// Something is wrong on this host, or with the configuration: nginx tells it at level `crit`.
    pub fn is_grave(&self) -> bool {
        use io::ErrorKind::{
            ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, WouldBlock,
        };
        let usual = [ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, WouldBlock];
        // Only what fails at once is no matter of the peer's.
        self.ours || (self.call.starts_with("connect() to ") && !usual.contains(&self.error.kind()))
    }

    /// One of our own calls failed, before the peer was asked.
    pub fn before(call: &'static str) -> impl Fn(io::Error) -> NotConnected {
        move |error| NotConnected { call: call.into(), error, ours: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_as_nginx_reads_them() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1:0")),
            ("192.0.2.1:80", Some("192.0.2.1:80")),
            ("::1", Some("[::1]:0")),
            ("[::1]", Some("[::1]:0")),
            ("[::1]:80", Some("[::1]:80")),
            ("192.0.2.1:0", None),
            ("192.0.2.1:65536", None),
            ("localhost", None),
            ("unix:/x", None),
            ("", None),
        ] {
            assert_eq!(Origin::parse(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
    }
}
