//! A fixed address on the first link, by rtnetlink: enough to be reached when the command line says
//! how. One request at a time, each acknowledged by the kernel.

use crate::cmdline::Static;
use crate::say;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const REQUEST_ACK: u16 = 0x5;
const CREATE_REPLACE: u16 = 0x500;
/// Rounds of 50 ms that a link is waited for.
const ROUNDS: usize = 100;

/// The links that are no loopback, in the kernel's order.
pub fn links() -> Vec<(u32, String)> {
    let names = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut found: Vec<(u32, String)> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = fs::read_to_string(entry.path().join("ifindex")).ok()?.trim().parse().ok()?;
            (name != "lo").then_some((number, name))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Loopback up.
///
/// # Errors
/// The kernel's answer.
pub fn loopback() -> io::Result<()> {
    Netlink::open()?.up(1)
}

/// The first link, up and with its address.
///
/// # Errors
/// The kernel's answer, or that there is no link.
pub fn fixed(wanted: &Static) -> io::Result<String> {
    let (number, name) =
        links().into_iter().next().ok_or_else(|| io::Error::other("this machine has no network card"))?;
    let mut netlink = Netlink::open()?;
    netlink.up(number)?;
    netlink.address(number, wanted.address, wanted.prefix)?;
    for _ in 0..ROUNDS {
        if fs::read_to_string(format!("/sys/class/net/{name}/carrier")).is_ok_and(|carrier| carrier.trim() == "1") {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    if let Some(gateway) = wanted.gateway
        && let Err(error) = netlink.default_route(number, gateway)
    {
        say::trouble(format!("no route through {gateway}: {error}"), "check the gateway in fairlead.address=");
    }
    Ok(name)
}

struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    fn open() -> io::Result<Netlink> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        Ok(Netlink { socket, sequence: 0 })
    }

    fn up(&mut self, link: u32) -> io::Result<()> {
        let mut body = vec![0, 0, 0, 0];
        body.extend_from_slice(&link.to_ne_bytes());
        body.extend_from_slice(&1u32.to_ne_bytes());
        body.extend_from_slice(&1u32.to_ne_bytes());
        self.request(RTM_NEWLINK, 0, &body)
    }

    fn address(&mut self, link: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let mut body = vec![family(address), prefix, 0, 0];
        body.extend_from_slice(&link.to_ne_bytes());
        attribute(&mut body, 2, &bytes(address));
        attribute(&mut body, 1, &bytes(address));
        self.request(RTM_NEWADDR, CREATE_REPLACE, &body)
    }

    fn default_route(&mut self, link: u32, gateway: IpAddr) -> io::Result<()> {
        // Main table, protocol static, universe, unicast.
        let mut body = vec![family(gateway), 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        attribute(&mut body, 5, &bytes(gateway));
        attribute(&mut body, 4, &link.to_ne_bytes());
        self.request(RTM_NEWROUTE, CREATE_REPLACE, &body)
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&(REQUEST_ACK | flags).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(body);
        sendto(self.socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = [0; 4096];
        let read = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        match answer.get(16..20).filter(|_| read >= 20) {
            Some(&[a, b, c, d]) => match i32::from_ne_bytes([a, b, c, d]) {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(-error)),
            },
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn family(address: IpAddr) -> u8 {
    (if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend_from_slice(&u16::try_from(4 + value.len()).unwrap_or(4).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
