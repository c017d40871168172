//! What is asked of one socket that the standard library and socket2 do not know.

use fairlead_core::net::Address;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Takes its peer from a connected socket, and with it the port that the kernel gave it: whatever
/// still comes to that port is refused as if the socket were closed.
///
/// # Errors
/// Those of `connect`.
#[allow(unsafe_code)]
pub(crate) fn disconnect(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: sockaddr is plain numbers, for which all zeroes is a value.
    let mut nobody: libc::sockaddr = unsafe { mem::zeroed() };
    nobody.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    // SAFETY: the address lives until connect returns and is as long as is said.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &nobody, size_of_val(&nobody) as libc::socklen_t) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the kernel cuts messages into datagrams (Linux 4.18); an older one would not say no.
pub(crate) fn kernel_cuts_segments() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM, None));
    socket.is_ok_and(|socket| getsockopt(&socket, sockopt::UdpGsoSegment).is_ok())
}

/// Lets datagrams of one size from one sender come as one message, where the kernel can (Linux 5.0).
pub(crate) fn merge_datagrams(socket: BorrowedFd<'_>) {
    let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
}

/// Makes a wildcard listener tell which address each datagram was sent to.
///
/// # Errors
/// Those of `setsockopt`.
pub(crate) fn ask_destination(socket: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    match address {
        Address::Ip(SocketAddr::V4(_)) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        Address::Ip(SocketAddr::V6(_)) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        Address::Unix(_) => {}
    }
    Ok(())
}
