//! The peers behind the proxies: fixed answers prepared once, one listener to each kind, on every loopback address.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use mio::event::{Event, Source};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{setsockopt, sockopt};
use slab::Slab;

use crate::Fault;
use crate::engine::{Loop, PEERS};
use crate::load_http::POSTED;

/// What TCP and UDP clients send and peers send back.
pub const MESSAGE: [u8; 128] = [b'm'; 128];

/// Bytes of a datagram of a burst: what every QUIC stack may send before it knows the path's packets.
pub const BURST: usize = 1200;

/// Datagrams that go at once: the kernel takes 64, and 64 KiB, as one message.
pub const MOST_AT_ONCE: usize = 48;

/// The first server of every group; the others follow it.
pub const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

#[derive(Clone, Copy, PartialEq)]
pub enum Service {
    /// 128 bytes of body to each HTTP request.
    HttpSmall,
    /// 64 KiB of body to each HTTP request.
    HttpLarge,
    /// 128 bytes of body to each HTTP request with a body of [`POSTED`] bytes.
    HttpPost,
    /// What is sent comes back.
    Echo,
    /// What is sent comes back, and the connection is closed.
    EchoOnce,
    /// Bytes without end after the first message.
    Stream,
    /// Datagrams come back.
    Datagrams,
    /// Datagrams of [`BURST`] bytes come back, as many at once as are there.
    Bursts,
}

impl Service {
    const TCP: [Service; 6] =
        [Service::HttpSmall, Service::HttpLarge, Service::HttpPost, Service::Echo, Service::EchoOnce, Service::Stream];

    pub fn port(self) -> u16 {
        8001 + self as u16
    }
}

const DATAGRAMS: usize = Service::TCP.len();
const BURSTS: usize = DATAGRAMS + 1;
const FIRST_CONNECTION: usize = BURSTS + 1;

pub struct Peer {
    listeners: Vec<TcpListener>,
    datagrams: UdpSocket,
    bursts: UdpSocket,
    connections: Slab<Served>,
    small: Vec<u8>,
    large: Vec<u8>,
    /// `large` once more, to be sent as servers send files: uncopied.
    file: OwnedFd,
}

struct Served {
    stream: TcpStream,
    service: Service,
    /// How much of an answer has gone out; `None` between answers.
    sent: Option<usize>,
    /// The last bytes of an unfinished request head.
    tail: Vec<u8>,
    /// How much of a request's body has yet to come.
    body: usize,
}

impl Peer {
    pub fn listen(registry: &Registry) -> io::Result<Peer> {
        let any = |service: Service| SocketAddr::from((Ipv4Addr::UNSPECIFIED, service.port()));
        let mut listeners = Vec::new();
        for service in Service::TCP {
            let mut listener = TcpListener::bind(any(service))?;
            register(registry, &mut listener, service as usize, Interest::READABLE)?;
            listeners.push(listener);
        }
        // Not on every address: an answer would leave with another address than the question came to.
        let mut datagrams = UdpSocket::bind((FIRST_ADDRESS, Service::Datagrams.port()).into())?;
        register(registry, &mut datagrams, DATAGRAMS, Interest::READABLE)?;
        let mut bursts = UdpSocket::bind((FIRST_ADDRESS, Service::Bursts.port()).into())?;
        take_bursts(&bursts)?;
        register(registry, &mut bursts, BURSTS, Interest::READABLE)?;
        let (small, large) = (response(128), response(64 * 1024));
        let mut file = std::fs::File::from(memfd_create("answer", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&large)?;
        let file = file.into();
        Ok(Peer { listeners, datagrams, bursts, connections: Slab::new(), small, large, file })
    }

    /// Errors of a connection end that connection; an error here is one of the machine (no descriptors left).
    pub fn ready(&mut self, token: usize, event: &Event, turn: &mut Loop) -> Result<(), Fault> {
        match token {
            DATAGRAMS => self.send_back(turn),
            BURSTS => self.send_bursts_back(turn),
            listener if listener < DATAGRAMS => self.accept(Service::TCP[listener], turn)?,
            token => {
                let key = token - FIRST_CONNECTION;
                if self.serve(key, event, turn).is_err() {
                    self.connections.try_remove(key);
                }
            }
        }
        Ok(())
    }

    fn send_back(&mut self, turn: &mut Loop) {
        while let Ok((length, from)) = self.datagrams.recv_from(turn.scratch) {
            let _ = self.datagrams.send_to(&turn.scratch[..length], from);
        }
    }

    /// Gathers what one sender has sent, as a server answers what it has found in its socket.
    fn send_bursts_back(&mut self, turn: &mut Loop) {
        let (mut gathered, mut to) = (0, None);
        loop {
            let next = self.bursts.recv_from(&mut turn.scratch[gathered..]).ok();
            let (length, from) = next.unzip();
            let together = from == to && gathered + length.unwrap_or(0) <= MOST_AT_ONCE * BURST;
            if let (false, Some(sender)) = (together, to) {
                let _ = self.bursts.send_to(&turn.scratch[..gathered], sender);
                turn.scratch.copy_within(gathered..gathered + length.unwrap_or(0), 0);
                gathered = 0;
            }
            let Some(length) = length else { return };
            (gathered, to) = (gathered + length, from);
        }
    }

    fn accept(&mut self, service: Service, turn: &mut Loop) -> Result<(), Fault> {
        loop {
            let mut stream = match self.listeners[service as usize].accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(format!("a peer could not accept: {error}").into()),
            };
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            register(turn.registry, &mut stream, FIRST_CONNECTION + entry.key(), both)?;
            entry.insert(Served { stream, service, sent: None, tail: Vec::new(), body: 0 });
        }
    }

    fn serve(&mut self, key: usize, event: &Event, turn: &mut Loop) -> io::Result<()> {
        let Some(served) = self.connections.get_mut(key) else { return Ok(()) };
        let answer = match served.service {
            Service::HttpSmall | Service::HttpPost => Answer::Bytes(&self.small),
            Service::HttpLarge => Answer::File(&self.file, self.large.len()),
            Service::Stream => Answer::Bytes(&self.large),
            Service::Echo | Service::EchoOnce | Service::Datagrams | Service::Bursts => Answer::Bytes(&MESSAGE[..]),
        };
        if event.is_writable() && served.sent.is_some() {
            served.answer(answer)?;
        }
        if event.is_readable() || event.is_read_closed() {
            served.read(answer, event.is_read_closed(), turn.scratch)?;
        }
        Ok(())
    }
}

/// What is sent back.
#[derive(Clone, Copy)]
enum Answer<'a> {
    Bytes(&'a [u8]),
    File(&'a OwnedFd, usize),
}

impl Answer<'_> {
    fn length(self) -> usize {
        match self {
            Answer::Bytes(bytes) => bytes.len(),
            Answer::File(_, length) => length,
        }
    }

    fn send(self, stream: &mut TcpStream, sent: usize) -> io::Result<usize> {
        match self {
            Answer::Bytes(bytes) => stream.write(&bytes[sent..]),
            Answer::File(file, length) => {
                let mut offset = sent as i64;
                Ok(sendfile(&*stream, file, Some(&mut offset), length - sent)?)
            }
        }
    }
}

impl Served {
    fn read(&mut self, answer: Answer, closed: bool, scratch: &mut [u8]) -> io::Result<()> {
        loop {
            let length = match self.stream.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if self.is_asked(&scratch[..length]) {
                self.answer(answer)?;
            }
            if !closed {
                return Ok(());
            }
        }
    }

    /// Whether these bytes end a request. Proxies do not pipeline, so a head that ends a read ends the request.
    fn is_asked(&mut self, bytes: &[u8]) -> bool {
        match self.service {
            Service::Echo | Service::EchoOnce | Service::Datagrams | Service::Bursts => bytes.len() == MESSAGE.len(),
            Service::Stream => self.sent.is_none(),
            Service::HttpPost => self.is_posted(bytes),
            Service::HttpSmall | Service::HttpLarge if self.tail.is_empty() && bytes.ends_with(b"\r\n\r\n") => true,
            Service::HttpSmall | Service::HttpLarge => {
                self.tail.extend_from_slice(bytes);
                let whole = self.tail.ends_with(b"\r\n\r\n");
                if whole {
                    self.tail.clear();
                }
                whole
            }
        }
    }

    /// Whether these bytes end a request whose body has [`POSTED`] bytes.
    fn is_posted(&mut self, bytes: &[u8]) -> bool {
        if self.body == 0 {
            self.tail.extend_from_slice(bytes);
            let Some(end) = memchr::memmem::find(&self.tail, b"\r\n\r\n") else { return false };
            self.body = (end + 4 + POSTED).saturating_sub(self.tail.len());
            self.tail.clear();
        } else {
            self.body = self.body.saturating_sub(bytes.len());
        }
        self.body == 0
    }

    fn answer(&mut self, answer: Answer) -> io::Result<()> {
        let mut sent = self.sent.unwrap_or(0);
        loop {
            match answer.send(&mut self.stream, sent) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.sent = Some(sent);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            match self.service {
                _ if sent < answer.length() => {}
                Service::Stream => sent = 0,
                Service::EchoOnce => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {
                    self.sent = None;
                    return Ok(());
                }
            }
        }
    }
}

/// Lets datagrams of [`BURST`] bytes go and come several at once, as QUIC stacks have it.
pub fn take_bursts(socket: &UdpSocket) -> io::Result<()> {
    setsockopt(socket, sockopt::UdpGsoSegment, &(BURST as i32))?;
    Ok(setsockopt(socket, sockopt::UdpGroSegment, &true)?)
}

fn register(registry: &Registry, source: &mut impl Source, token: usize, interest: Interest) -> io::Result<()> {
    registry.register(source, Token(PEERS + token), interest)
}

fn response(length: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: peer\r\nDate: Fri, 20 Nov 2026 20:00:00 GMT\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut response = head.into_bytes();
    response.resize(response.len() + length, b'x');
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_ports_and_listeners_of_their_own() {
        let ports: Vec<u16> = Service::TCP.iter().map(|service| service.port()).collect();
        assert_eq!(ports, [8001, 8002, 8003, 8004, 8005, 8006]);
        assert_eq!((Service::Datagrams.port(), Service::Bursts.port()), (8007, 8008));
        assert!(Service::TCP.iter().enumerate().all(|(index, &service)| index == service as usize));
    }
}
