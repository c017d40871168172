//! How DHCP gets through. Before there is an address, whole packets go past the kernel's IP
//! (`AF_PACKET`), filtered in the kernel so that a busy link wakes nobody; with an address, a UDP
//! socket of the link's own. Both are closed while nothing is asked: an appliance has no port open
//! that nobody configured.

use crate::dhcp::client::To;
use crate::dhcp::packet::{self, CLIENT_PORT, SERVER_PORT};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

const ROOM: usize = 2048;
const IPV4: u16 = 0x0800;

pub(super) struct Port {
    link: Box<str>,
    index: u32,
    tap: Option<Socket>,
    udp: Option<Socket>,
}

impl Port {
    pub fn new(link: &str, index: u32) -> Port {
        Port { link: link.into(), index, tap: None, udp: None }
    }

    pub fn close(&mut self) {
        (self.tap, self.udp) = (None, None);
    }

    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.tap, &self.udp].into_iter().flatten().map(AsFd::as_fd)
    }

    /// # Errors
    /// The link is down or gone, or the process may not.
    pub fn send(&mut self, message: &[u8], to: To) -> io::Result<()> {
        let server = match to {
            To::Everyone => return self.send_raw(message),
            To::EveryoneFrom => Ipv4Addr::BROADCAST,
            To::Server(server) => server,
        };
        let udp = match self.udp.take() {
            Some(udp) => udp,
            None => self.open_udp()?,
        };
        let sent = udp.send_to(message, &SocketAddr::V4(SocketAddrV4::new(server, SERVER_PORT)).into());
        self.udp = Some(udp);
        sent.map(drop)
    }

    fn send_raw(&mut self, message: &[u8]) -> io::Result<()> {
        let tap = match self.tap.take() {
            Some(tap) => tap,
            None => self.open_tap()?,
        };
        let sent = tap.send_to(&packet::to_everyone(message), &link_address(self.index, [0xff; 6]));
        self.tap = Some(tap);
        sent.map(drop)
    }

    /// The next message that came in.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let mut room = [0; ROOM];
        if let Some(tap) = &mut self.tap {
            while let Ok(count) = tap.read(&mut room) {
                if let Some(found) = packet::payload(room.get(..count)?) {
                    return Some(found.to_vec());
                }
            }
        }
        let count = self.udp.as_mut()?.read(&mut room).ok()?;
        room.get(..count).map(<[u8]>::to_vec)
    }

    fn open_tap(&self) -> io::Result<Socket> {
        // No protocol yet: nothing comes in before the filter is there.
        let tap = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::from(0)))?;
        tap.attach_filter(&TO_A_CLIENT)?;
        tap.bind(&link_address(self.index, [0; 6]))?;
        Ok(tap)
    }

    fn open_udp(&self) -> io::Result<Socket> {
        let udp = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        udp.set_reuse_address(true)?;
        udp.set_broadcast(true)?;
        udp.bind_device(Some(self.link.as_bytes()))?;
        udp.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLIENT_PORT)).into())?;
        Ok(udp)
    }
}

/// IPv4, UDP, no later fragment, to a client's port; all else is dropped.
static TO_A_CLIENT: [SockFilter; 9] = [
    // The protocol, at byte 9.
    SockFilter::new(0x30, 0, 0, 9),
    SockFilter::new(0x15, 0, 6, 17),
    // The fragment's offset.
    SockFilter::new(0x28, 0, 0, 6),
    SockFilter::new(0x45, 4, 0, 0x1fff),
    // The port, behind a header of the length that its first byte says.
    SockFilter::new(0xb1, 0, 0, 0),
    SockFilter::new(0x48, 0, 0, 2),
    SockFilter::new(0x15, 0, 1, CLIENT_PORT as u32),
    // All of it, or nothing.
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

/// A station of a link, for IPv4.
#[allow(unsafe_code)]
fn link_address(index: u32, mac: [u8; 6]) -> SockAddr {
    let [a, b, c, d, e, f] = mac;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a structure of plain numbers that is smaller than `sockaddr_storage`,
    // all of whose bytes are initialised.
    let address: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = IPV4.to_be();
    address.sll_ifindex = i32::try_from(index).unwrap_or_default();
    address.sll_halen = 6;
    address.sll_addr = [a, b, c, d, e, f, 0, 0];
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: the storage holds a whole `sockaddr_ll`, whose length this is.
    unsafe { SockAddr::new(storage, length) }
}
