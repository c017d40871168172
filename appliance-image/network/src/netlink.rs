//! The kernel's links, addresses and routes by rtnetlink: one request, one answer, nothing kept.
//!
//! [`Netlink::kernel`] reads what there is, [`Netlink::take`] does one step of a plan. The other
//! calls are for who has links and addresses of its own, such as the virtual router of a pair.

mod read;
pub(crate) mod wire;
mod write;

use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use wire::{Message, Reply};

/// What addresses and routes from settings and leases are marked with, so that they are told from
/// those of others. A number that nobody else uses.
pub(crate) const OURS: u8 = 70;

/// The kernel answers at once; a longer wait means that no answer comes.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel's largest piece of a dump is 32 KiB.
const ROOM: usize = 64 * 1024;
/// Pieces that one dump may have: 100,000 routes and more.
const MAX_PIECES: usize = 4096;

pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// # Errors
    /// The system has no netlink.
    pub fn open() -> io::Result<Netlink> {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::RAW.cloexec(),
            Some(Protocol::from(libc::NETLINK_ROUTE)),
        )?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Netlink { socket, sequence: 0, buffer: vec![0; ROOM] })
    }

    /// Sends a change and waits for its acknowledgement.
    fn change(&mut self, message: Message) -> io::Result<()> {
        self.exchange(message, libc::NLM_F_ACK, &mut |_, _| ())
    }

    /// Sends a question and gives every part of the answer to `each`, with its kind.
    fn dump(&mut self, message: Message, each: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
        self.exchange(message, libc::NLM_F_DUMP, each)
    }

    fn exchange(&mut self, message: Message, flags: i32, each: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&message.finish(flags, self.sequence))?;
        for _ in 0..MAX_PIECES {
            let count = self.socket.read(&mut self.buffer)?;
            for reply in wire::replies(self.buffer.get(..count).unwrap_or(&[])) {
                match reply {
                    // Of a request that was given up before.
                    Reply::Part { sequence, .. } | Reply::Done { sequence, .. } if sequence != self.sequence => {}
                    Reply::Part { kind, body, .. } => each(kind, body),
                    Reply::Done { error: 0, .. } => return Ok(()),
                    Reply::Done { error, .. } => return Err(io::Error::from_raw_os_error(error)),
                }
            }
        }
        Err(io::Error::other("an answer without end"))
    }
}

/// Tells that some link has changed: come up, lost its carrier, appeared.
pub struct Changes(OwnedFd);

impl Changes {
    /// # Errors
    /// The system has no netlink.
    pub fn open() -> io::Result<Changes> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &NetlinkAddr::new(0, libc::RTMGRP_LINK as u32))?;
        Ok(Changes(socket))
    }

    /// Whether anything came since the last call. What it was is read anew from the kernel.
    pub fn seen(&self) -> bool {
        let mut seen = false;
        // Bounded: what comes meanwhile wakes the caller again.
        for _ in 0..64 {
            let mut room = [0; 8192];
            match nix::unistd::read(&self.0, &mut room) {
                Ok(_) => seen = true,
                // So many that some were lost.
                Err(nix::errno::Errno::ENOBUFS) => seen = true,
                Err(_) => break,
            }
        }
        seen
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
