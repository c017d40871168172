//! Datagrams in batches: `recvmmsg` into one buffer of the thread, `sendmsg`
//! from the address the client used. The system calls, and nothing else.

use fairlead_core::net::Address;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams taken with one system call.
pub(crate) const BATCH: usize = 32;

/// Room for the longest datagram, and a little over: were it 64 KiB flat, the starts of all slots
/// would share one set of the first-level cache.
const STRIDE: usize = 64 * 1024 + 192;

/// Room for one `in6_pktinfo` and its header, aligned as `cmsghdr` must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A listener: every datagram has a sender, and with `wildcard` an address it was sent to.
    Clients { wildcard: bool },
    /// A connected socket.
    Peer,
}

/// One worker's buffer. Pages that no datagram ever reached are never resident.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    received: Vec<Received>,
}

#[derive(Clone, Copy, Default)]
struct Received {
    length: usize,
    client: Option<SocketAddr>,
    local: Option<IpAddr>,
}

/// One datagram of a batch.
pub(crate) struct Datagram<'a> {
    pub bytes: &'a [u8],
    /// `None` from a connected socket.
    pub client: Option<SocketAddr>,
    pub local: Option<IpAddr>,
}

impl Batch {
    #[allow(unsafe_code)]
    pub fn new() -> Batch {
        // SAFETY: sockaddr_storage is plain numbers, for which all zeroes is a value.
        let name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        Batch {
            bytes: vec![0; BATCH * STRIDE],
            names: vec![name; BATCH],
            controls: vec![Control([0; 64]); BATCH],
            received: vec![Received::default(); BATCH],
        }
    }

    pub fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        let received = self.received.get(index)?;
        let start = index * STRIDE;
        let bytes = self.bytes.get(start..start + received.length)?;
        Some(Datagram { bytes, client: received.client, local: received.local })
    }

    /// Takes what is there, up to `want` datagrams; fewer than that means the socket is drained.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `recvmmsg`, among them what ICMP said about a connected peer.
    #[allow(unsafe_code)]
    pub fn receive(&mut self, socket: BorrowedFd<'_>, source: Source, want: usize) -> io::Result<usize> {
        let want = want.min(BATCH);
        let mut slices = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::zeroed() }; BATCH];
        let parts = self.bytes.chunks_mut(STRIDE).zip(&mut self.names).zip(&mut self.controls);
        for (((bytes, name), control), (slice, header)) in parts.zip(slices.iter_mut().zip(&mut headers)).take(want) {
            *slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            // SAFETY: mmsghdr is numbers and pointers, for which all zeroes is a value.
            let header = &mut unsafe { header.assume_init_mut() }.msg_hdr;
            header.msg_iov = slice;
            header.msg_iovlen = 1;
            if let Source::Clients { wildcard } = source {
                header.msg_name = std::ptr::from_mut(name).cast();
                header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
                if wildcard {
                    header.msg_control = control.0.as_mut_ptr().cast();
                    header.msg_controllen = control.0.len();
                }
            }
        }
        // SAFETY: the first `want` headers point to as many slices, names and control buffers, each
        // with its true length, and all outlive the call; the time limit may be null.
        let taken = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                want as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
        for ((received, header), name) in self.received.iter_mut().zip(&headers).zip(&self.names).take(taken) {
            // SAFETY: as above; the kernel has filled this one.
            let header = unsafe { header.assume_init_ref() };
            received.length = header.msg_len as usize;
            if let Source::Clients { wildcard } = source {
                received.client = socket_address(name);
                received.local = if wildcard { destination(&header.msg_hdr) } else { None };
            }
        }
        Ok(taken)
    }
}

#[allow(unsafe_code)]
fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name: *const libc::sockaddr_storage = name;
    // SAFETY: sockaddr_storage is large enough and aligned for both, and the family says which it is.
    unsafe {
        match i32::from((*name).ss_family) {
            libc::AF_INET => {
                let v4 = &*name.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let v6 = &*name.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// The address a datagram was sent to.
#[allow(unsafe_code)]
fn destination(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel wrote the control messages of `header` and their length; the CMSG functions
    // stay within it, and each message's type says what its data is (read unaligned).
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (found.cmsg_level, found.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

/// Sends one datagram to `client`, from `local` when that is known.
///
/// # Errors
/// `WouldBlock`, and those of `sendmsg`.
#[allow(unsafe_code)]
pub(crate) fn reply(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    client: SocketAddr,
    local: Option<IpAddr>,
) -> io::Result<usize> {
    let name = socket2::SockAddr::from(client);
    let mut slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 64]);
    // SAFETY: msghdr is numbers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = name.as_ptr().cast_mut().cast();
    header.msg_namelen = name.len();
    header.msg_iov = &mut slice;
    header.msg_iovlen = 1;
    if let Some(local) = local {
        write_source(&mut header, &mut control, local);
    }
    // SAFETY: `header` points to the name, the slice and the control message above, each with its
    // true length; sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[allow(unsafe_code)]
fn write_source(header: &mut libc::msghdr, control: &mut Control, local: IpAddr) {
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: `control` has room for the larger of the two messages (CMSG_SPACE is 40 for 20 bytes of
    // data) and is aligned for the header; the data is written unaligned.
    unsafe {
        match local {
            IpAddr::V4(ip) => {
                let address = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                let info =
                    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: libc::in_addr { s_addr: 0 } };
                write_message(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(ip) => {
                let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
                write_message(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }
}

/// # Safety
/// `header.msg_control` must point to aligned room for one message that carries a `T`.
#[allow(unsafe_code)]
unsafe fn write_message<T>(header: &mut libc::msghdr, level: i32, kind: i32, data: T) {
    let size = size_of::<T>() as u32;
    // SAFETY: the caller says there is room, and msg_controllen says so to CMSG_FIRSTHDR.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let message = libc::CMSG_FIRSTHDR(header);
        if let Some(head) = message.as_mut() {
            head.cmsg_level = level;
            head.cmsg_type = kind;
            head.cmsg_len = libc::CMSG_LEN(size) as usize;
            libc::CMSG_DATA(message).cast::<T>().write_unaligned(data);
        }
    }
}

/// Makes a wildcard listener tell which address each datagram was sent to.
///
/// # Errors
/// Those of `setsockopt`.
pub(crate) fn ask_destination(socket: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    match address {
        Address::Ip(SocketAddr::V4(_)) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        Address::Ip(SocketAddr::V6(_)) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        Address::Unix(_) => {}
    }
    Ok(())
}
