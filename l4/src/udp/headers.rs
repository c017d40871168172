//! What stands around the bytes of a message in the kernel's terms: addresses,
//! and control messages that tell which of our addresses it came to or leaves
//! from, and how many datagrams it is.

use crate::udp::stand_ins;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for one `in6_pktinfo`, one segment size and their headers, aligned as `cmsghdr` must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control([u8; Control::ROOM]);

impl Control {
    pub const ROOM: usize = 64;

    pub fn new() -> Control {
        Control([0; Control::ROOM])
    }

    pub fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }
}

#[allow(unsafe_code)]
pub(crate) fn socket_address(name: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
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
pub(crate) fn write_name(
    name: &mut MaybeUninit<libc::sockaddr_storage>,
    client: SocketAddr,
) -> (*mut libc::c_void, u32) {
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

/// What the kernel told along with a message.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told {
    /// The address it was sent to.
    pub local: Option<IpAddr>,
    /// Bytes of each datagram in it but the last; none for a single one.
    pub segment: Option<usize>,
}

#[allow(unsafe_code)]
pub(crate) fn read_controls(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the kernel wrote the control messages of `header` and their length; the CMSG functions
    // stay within it, and each message's type says what its data is (read unaligned).
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (found.cmsg_level, found.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    told.local = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    told.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = data.cast::<libc::c_int>().read_unaligned();
                    told.segment = usize::try_from(segment).ok().filter(|segment| *segment > 0);
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    told
}

/// Says from which address a message goes, and how long its segments are.
#[allow(unsafe_code)]
pub(crate) fn write_controls(
    header: &mut libc::msghdr,
    control: &mut Control,
    local: Option<IpAddr>,
    segment: Option<u16>,
) {
    header.msg_control = control.as_mut_ptr();
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
