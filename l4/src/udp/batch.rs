//! Datagrams in batches: `recvmmsg` into one buffer of the thread, `sendmmsg`
//! from the address the client used, several of one size to one receiver as one
//! (`UDP_SEGMENT`). The system calls, and nothing else.

use crate::udp::stand_ins;
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

/// Longest datagram that is sent as a segment: it has to fit into a packet of every usual link.
const LONGEST_SEGMENT: usize = 1400;

/// Bytes of one message in segments: a little less than the longest IPv4 packet.
const LONGEST_RUN: usize = 65_000;

/// Room for one `in6_pktinfo`, one segment size and their headers, aligned as `cmsghdr` must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

/// One worker's buffer. Pages that no datagram ever reached are never resident.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    received: Vec<Received>,
    /// What a call is told, kept so that a call does not begin with clearing two kilobytes.
    slices: Vec<libc::iovec>,
    from_clients: Vec<libc::mmsghdr>,
    from_peers: Vec<libc::mmsghdr>,
}

#[derive(Clone, Copy, Default)]
struct Received {
    length: usize,
    sender: Option<Sender>,
}

/// Who sent a datagram to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub client: SocketAddr,
    /// The address it was sent to, when the listener has several.
    pub local: Option<IpAddr>,
}

/// Datagrams of the batch that go to one client with one call.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    pub to: Sender,
    /// The datagrams are neighbours in the batch. More than one: all as long as the first, the last
    /// at most.
    pub first: usize,
    pub count: usize,
}

impl Batch {
    #[allow(unsafe_code)]
    pub fn new() -> Batch {
        // SAFETY: these are plain numbers and pointers, for which all zeroes is a value.
        let (name, header): (libc::sockaddr_storage, libc::mmsghdr) = unsafe { mem::zeroed() };
        let slice = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Batch {
            bytes: vec![0; BATCH * STRIDE],
            names: vec![name; BATCH],
            controls: vec![Control([0; 64]); BATCH],
            received: vec![Received::default(); BATCH],
            slices: vec![slice; BATCH],
            from_clients: vec![header; BATCH],
            from_peers: vec![header; BATCH],
        }
    }

    pub fn datagram(&self, index: usize) -> Option<&[u8]> {
        let start = index * STRIDE;
        self.bytes.get(start..start + self.received.get(index)?.length)
    }

    pub fn sender(&self, index: usize) -> Option<Sender> {
        self.received.get(index)?.sender
    }

    fn length(&self, index: usize) -> usize {
        self.received.get(index).map_or(0, |received| received.length)
    }

    /// Takes what a listener has, up to a batch; fewer than that means the socket is drained. With
    /// `wildcard` every datagram tells the address it was sent to.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `recvmmsg`.
    #[allow(unsafe_code)]
    pub fn receive_requests(&mut self, socket: BorrowedFd<'_>, wildcard: bool) -> io::Result<usize> {
        let places = self.bytes.chunks_mut(STRIDE).zip(&mut self.slices).zip(&mut self.from_clients);
        for ((place, name), control) in places.zip(&mut self.names).zip(&mut self.controls) {
            let header = point_at(place);
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            (header.msg_control, header.msg_controllen) = match wildcard {
                true => (control.0.as_mut_ptr().cast(), control.0.len()),
                false => (std::ptr::null_mut(), 0),
            };
        }
        // SAFETY: the headers point to as many slices, names and control buffers of ours, each with
        // its true length, which live as long as we do and are not touched during the call.
        let taken = unsafe { receive(socket, &mut self.from_clients) }?;
        for ((received, header), name) in self.received.iter_mut().zip(&self.from_clients).zip(&self.names).take(taken)
        {
            let local = if wildcard { destination(&header.msg_hdr) } else { None };
            received.sender = socket_address(name, header.msg_hdr.msg_namelen).map(|client| Sender { client, local });
            received.length = header.msg_len as usize;
        }
        Ok(taken)
    }

    /// Takes what a connected socket has into the places from `at` on, up to `want` datagrams; fewer
    /// than that means the socket is drained.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `recvmmsg`, among them what ICMP said about the peer.
    #[allow(unsafe_code)]
    pub fn receive_replies(&mut self, socket: BorrowedFd<'_>, at: usize, want: usize) -> io::Result<usize> {
        let places = self.bytes.chunks_mut(STRIDE).zip(&mut self.slices).zip(&mut self.from_peers);
        places.skip(at).take(want).for_each(|place| {
            point_at(place);
        });
        let headers = self.from_peers.get_mut(at..BATCH.min(at + want)).unwrap_or_default();
        // SAFETY: as above; these headers have neither names nor control buffers.
        let taken = unsafe { receive(socket, headers) }?;
        for (received, header) in self.received.iter_mut().skip(at).zip(headers).take(taken) {
            *received = Received { length: header.msg_len as usize, sender: None };
        }
        Ok(taken)
    }

    /// Whether the datagram at `next` may follow one of `first`'s length in one message of `bytes`.
    pub fn continues(&self, first: usize, next: usize, bytes: usize) -> bool {
        let (segment, length) = (self.length(first), self.length(next));
        (1..=LONGEST_SEGMENT).contains(&segment) && (1..=segment).contains(&length) && bytes + length <= LONGEST_RUN
    }

    /// Whether a message may go on behind `next`, a datagram that follows `first` in it.
    pub fn is_whole(&self, first: usize, next: usize) -> bool {
        self.length(next) == self.length(first)
    }

    /// Sends datagrams of the batch to a connected socket's peer: all as long as the first, the last
    /// at most.
    ///
    /// # Errors
    /// Those of `sendmsg`; [`refuses_segments`] tells which mean that one by one may do.
    #[allow(unsafe_code)]
    pub fn send_run(&self, socket: BorrowedFd<'_>, places: &[usize]) -> io::Result<usize> {
        let mut slices = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        let (count, segment) = (places.len().min(BATCH), places.first().map_or(0, |first| self.length(*first)));
        for (slice, place) in slices.iter_mut().zip(places) {
            *slice = slice_of(self.datagram(*place).unwrap_or_default());
        }
        let mut control = Control([0; 64]);
        // SAFETY: msghdr is numbers and pointers, for which all zeroes is a value.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = (slices.as_mut_ptr(), count);
        if count > 1 {
            write_controls(&mut header, &mut control, None, Some(segment as u16));
        }
        // SAFETY: `header` points to the slices and the control message above, each with its true
        // length, and they to datagrams of ours; sendmsg only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Sends messages to clients with one call, each from the address its client used; how many went.
    ///
    /// # Errors
    /// What became of the first message, when it did not go; the others have not been tried then.
    #[allow(unsafe_code)]
    pub fn send_replies(&self, socket: BorrowedFd<'_>, messages: &[Message]) -> io::Result<usize> {
        let mut slices = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        for (place, slice) in slices.iter_mut().enumerate() {
            *slice = slice_of(self.datagram(place).unwrap_or_default());
        }
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH];
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; BATCH];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
        let count = messages.len().min(BATCH);
        let parts = headers.iter_mut().zip(&mut names).zip(&mut controls);
        for (message, ((header, name), control)) in messages.iter().zip(parts) {
            // SAFETY: mmsghdr is numbers and pointers, for which all zeroes is a value.
            let header = &mut header.write(unsafe { mem::zeroed() }).msg_hdr;
            let run = slices.get_mut(message.first..message.first + message.count).unwrap_or_default();
            (header.msg_iov, header.msg_iovlen) = (run.as_mut_ptr(), run.len());
            (header.msg_name, header.msg_namelen) = write_name(name, message.to.client);
            let segment = (message.count > 1).then(|| self.length(message.first) as u16);
            if message.to.local.is_some() || segment.is_some() {
                write_controls(header, control.write(Control([0; 64])), message.to.local, segment);
            }
        }
        // SAFETY: the first `count` headers are filled above and point to slices, names and control
        // messages that outlive the call, each with its true length; sendmmsg writes to the headers only.
        let sent = unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), count as u32, flags)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Sends one datagram that is not of a batch to a client, from the address it used.
///
/// # Errors
/// `WouldBlock`, and those of `sendmsg`.
#[allow(unsafe_code)]
pub(crate) fn reply(socket: BorrowedFd<'_>, bytes: &[u8], to: Sender) -> io::Result<usize> {
    let (mut name, mut control) = (MaybeUninit::uninit(), Control([0; 64]));
    let mut slice = slice_of(bytes);
    // SAFETY: msghdr is numbers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&mut slice, 1);
    (header.msg_name, header.msg_namelen) = write_name(&mut name, to.client);
    if to.local.is_some() {
        write_controls(&mut header, &mut control, to.local, None);
    }
    // SAFETY: `header` points to the name, the slice and the control message above, each with its
    // true length; sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The path cannot carry one message in segments, though it may carry the datagrams one by one.
pub(crate) fn refuses_segments(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::ENOPROTOOPT, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Prepares one header to receive into one place.
fn point_at<'a>(
    ((bytes, slice), header): ((&mut [u8], &mut libc::iovec), &'a mut libc::mmsghdr),
) -> &'a mut libc::msghdr {
    *slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    (header.msg_hdr.msg_iov, header.msg_hdr.msg_iovlen) = (slice, 1);
    &mut header.msg_hdr
}

fn slice_of(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// # Safety
/// Every header must point to memory that may be written until this returns, of the length it says.
#[allow(unsafe_code)]
unsafe fn receive(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: the caller's promise; the time limit may be null.
    let taken = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as u32,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

#[allow(unsafe_code)]
fn socket_address(name: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    // Of a Unix socket without a name the kernel tells nothing at all.
    let Some(length) = (length as usize).checked_sub(UNIX_HEAD) else { return Some(stand_ins::of(&[])) };
    let name: *const libc::sockaddr_storage = name;
    // SAFETY: sockaddr_storage is large enough and aligned for all, and the family says which it is.
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
            libc::AF_UNIX => {
                let path = (&raw const (*name.cast::<libc::sockaddr_un>()).sun_path).cast::<u8>();
                let path = std::slice::from_raw_parts(path, length.min(stand_ins::LONGEST));
                // A path ends with a zero that is no part of it, an abstract name begins with one.
                let path = if path.first() == Some(&0) { path } else { path.split(|byte| *byte == 0).next()? };
                Some(stand_ins::of(path))
            }
            _ => None,
        }
    }
}

/// Bytes of a Unix socket's address before its name.
const UNIX_HEAD: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);

/// A length of zero, which the kernel refuses, when nobody can be reached under the address any more.
#[allow(unsafe_code)]
fn write_unix(name: *mut libc::sockaddr_storage, client: &SocketAddrV6) -> usize {
    stand_ins::with_name(client, |path| {
        let Some(path) = path.filter(|path| path.len() <= stand_ins::LONGEST) else { return 0 };
        // SAFETY: sockaddr_storage is large enough and aligned for a sockaddr_un, whose name has room
        // for the path; nobody reads beyond the length.
        unsafe {
            let unix = name.cast::<libc::sockaddr_un>();
            (*unix).sun_family = libc::AF_UNIX as u16;
            (&raw mut (*unix).sun_path).cast::<u8>().copy_from_nonoverlapping(path.as_ptr(), path.len());
        }
        UNIX_HEAD + path.len()
    })
}

/// Fills `name` and gives what a header says of it.
#[allow(unsafe_code)]
fn write_name(name: &mut MaybeUninit<libc::sockaddr_storage>, client: SocketAddr) -> (*mut libc::c_void, u32) {
    let name = name.as_mut_ptr();
    // SAFETY: sockaddr_storage is large enough and aligned for both; nobody reads beyond the length.
    let length = unsafe {
        match client {
            SocketAddr::V6(v6) if stand_ins::is_one(&client) => write_unix(name, &v6),
            SocketAddr::V4(v4) => {
                name.cast::<libc::sockaddr_in>().write(libc::sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                });
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                name.cast::<libc::sockaddr_in6>().write(libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as u16,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                });
                size_of::<libc::sockaddr_in6>()
            }
        }
    };
    (name.cast(), length as u32)
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

/// Says from which address a message goes, and how long its segments are.
#[allow(unsafe_code)]
fn write_controls(header: &mut libc::msghdr, control: &mut Control, local: Option<IpAddr>, segment: Option<u16>) {
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = 0;
    // SAFETY: `control` has room for one of the larger addresses and a segment size (CMSG_SPACE is 40
    // for 20 bytes of data and 24 for 2), starts as zeroes and is aligned for the headers.
    unsafe {
        match local {
            None => {}
            Some(IpAddr::V4(ip)) => {
                let address = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                let info =
                    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: libc::in_addr { s_addr: 0 } };
                write_message(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            Some(IpAddr::V6(ip)) => {
                let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
                write_message(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
        if let Some(segment) = segment {
            write_message(header, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
        }
    }
}

/// Adds a message behind those that `msg_controllen` counts.
///
/// # Safety
/// `header.msg_control` must point to aligned room for one more message that carries a `T`.
#[allow(unsafe_code)]
unsafe fn write_message<T>(header: &mut libc::msghdr, level: i32, kind: i32, data: T) {
    let size = size_of::<T>() as u32;
    // SAFETY: the caller says there is room behind what is there, whose length keeps it aligned.
    unsafe {
        let message = header.msg_control.cast::<u8>().add(header.msg_controllen).cast::<libc::cmsghdr>();
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(size) as usize;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(data);
        header.msg_controllen += libc::CMSG_SPACE(size) as usize;
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
