//! A layer-2 segment between virtual machines, and a station of the test's own on it. QEMU carries the frames in
//! datagrams to a multicast group of the loopback, so nobody needs a bridge or a privilege.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use fairlead_harness::Port;
use socket2::{Domain, Protocol, Socket, Type};

const GROUP: Ipv4Addr = Ipv4Addr::new(230, 77, 0, 1);
const STATION: Mac = [0x02, 0, 0, 0, 0, 0x99];
const EVERYBODY: Mac = [0xff; 6];

const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const ICMP: u8 = 1;
const TCP: u8 = 6;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const SYN_ACK: u8 = 0x12;

type Mac = [u8; 6];

pub struct Segment {
    port: Port,
}

impl Default for Segment {
    fn default() -> Segment {
        Segment::new()
    }
}

impl Segment {
    pub fn new() -> Segment {
        Segment { port: Port::reserve() }
    }

    fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(GROUP, self.port.number())
    }

    /// What QEMU is told of it.
    pub(crate) fn network(&self, name: &str) -> String {
        format!("socket,id={name},mcast={},localaddr=127.0.0.1", self.address())
    }

    /// A station with this address; it does not answer to anybody but those it asks.
    pub fn station(&self, address: Ipv4Addr) -> Station {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket can be made");
        socket.set_reuse_address(true).expect("an address can be shared");
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("the loopback carries multicast");
        socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).expect("a group can be joined");
        // A whole window of answers may arrive at once.
        socket.set_recv_buffer_size(4 << 20).expect("a buffer can be set");
        socket.bind(&SocketAddr::from(self.address()).into()).expect("the group's port can be shared");
        Station { socket: socket.into(), group: self.address().into(), address }
    }
}

/// How the machine answered to the first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Open,
    Closed,
}

pub struct Station {
    socket: UdpSocket,
    group: SocketAddr,
    address: Ipv4Addr,
}

impl Station {
    /// The hardware address behind `address`.
    #[track_caller]
    pub fn resolve(&self, address: Ipv4Addr, limit: Duration) -> Mac {
        let ask = || {
            let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
            request.extend(STATION);
            request.extend(self.address.octets());
            request.extend([0; 6]);
            request.extend(address.octets());
            self.send(EVERYBODY, ARP, &request);
        };
        let answer = self.ask(limit, ask, |kind, frame| {
            let is_answer = kind == ARP && frame.get(6..8)? == [0, 2] && frame.get(14..18)? == address.octets();
            if is_answer { frame.get(8..14)?.try_into().ok() } else { None }
        });
        answer.unwrap_or_else(|| panic!("nobody says to be {address} within {limit:?}"))
    }

    /// Sends echo requests until one is answered.
    #[track_caller]
    pub fn ping(&self, address: Ipv4Addr, limit: Duration) {
        let mac = self.resolve(address, limit);
        let mut request = vec![8, 0, 0, 0, 0xfa, 0x1e, 0, 1];
        let sum = checksum(&request);
        request[2..4].copy_from_slice(&sum);
        let packet = self.packet(address, ICMP, &request);
        let answered = self.ask(
            limit,
            || self.send(mac, IPV4, &packet),
            |kind, packet| {
                let (protocol, body) = from(address, kind, packet)?;
                (protocol == ICMP && body.first() == Some(&0)).then_some(())
            },
        );
        assert!(answered.is_some(), "{address} does not answer to ping within {limit:?}");
    }

    /// Every TCP port of `address` at which something listens.
    #[track_caller]
    pub fn open_ports(&self, address: Ipv4Addr, limit: Duration) -> BTreeSet<u16> {
        let deadline = Instant::now() + limit;
        let mac = self.resolve(address, limit);
        let mut unknown: BTreeSet<u16> = (1..=u16::MAX).collect();
        let mut open = BTreeSet::new();
        while !unknown.is_empty() {
            assert!(Instant::now() < deadline, "{} ports have not answered within {limit:?}", unknown.len());
            let ports: Vec<u16> = unknown.iter().copied().collect();
            for window in ports.chunks(128) {
                window.iter().for_each(|port| self.knock(mac, address, *port, SYN));
                let mut waiting = window.len();
                while waiting > 0
                    && let Some((port, answer)) = self.answered_port(address)
                {
                    waiting -= usize::from(unknown.remove(&port));
                    if answer == Answer::Open {
                        self.knock(mac, address, port, RST);
                        open.insert(port);
                    }
                }
            }
        }
        open
    }

    fn knock(&self, mac: Mac, address: Ipv4Addr, port: u16, flags: u8) {
        let mut segment = Vec::with_capacity(20);
        segment.extend(FROM_PORT.to_be_bytes());
        segment.extend(port.to_be_bytes());
        let sequence = 1 + u32::from(flags == RST);
        segment.extend(sequence.to_be_bytes());
        segment.extend([0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let mut summed = [self.address.octets(), address.octets()].concat();
        summed.extend([0, TCP, 0, 20]);
        summed.extend(&segment);
        segment[16..18].copy_from_slice(&checksum(&summed));
        self.send(mac, IPV4, &self.packet(address, TCP, &segment));
    }

    fn answered_port(&self, address: Ipv4Addr) -> Option<(u16, Answer)> {
        self.receive(Duration::from_millis(60), |kind, packet| {
            let (protocol, segment) = from(address, kind, packet)?;
            let port = u16::from_be_bytes(segment.get(..2)?.try_into().ok()?);
            let flags = *segment.get(13)?;
            match (protocol, flags) {
                (TCP, SYN_ACK) => Some((port, Answer::Open)),
                (TCP, flags) if flags & RST != 0 => Some((port, Answer::Closed)),
                _ => None,
            }
        })
    }

    /// Asks twice a second until `wanted` finds its answer.
    fn ask<T>(&self, limit: Duration, ask: impl Fn(), wanted: impl Fn([u8; 2], &[u8]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            ask();
            let found = self.receive(Duration::from_millis(500), &wanted);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The first frame to us of which `wanted` makes something.
    fn receive<T>(&self, limit: Duration, wanted: impl Fn([u8; 2], &[u8]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut frame = [0; 2048];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a socket has timeouts");
            match self.socket.recv(&mut frame) {
                Ok(length) => {
                    let frame = &frame[..length];
                    if frame.get(..6) == Some(&STATION)
                        && let Some(kind) = frame.get(12..14)
                        && let Some(found) = wanted([kind[0], kind[1]], &frame[14..])
                    {
                        return Some(found);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the segment is gone: {error}"),
            }
            if left.is_zero() {
                return None;
            }
        }
    }

    fn packet(&self, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + body.len()).expect("a small packet").to_be_bytes();
        let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
        packet.extend(self.address.octets());
        packet.extend(to.octets());
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum);
        packet.extend(body);
        packet
    }

    fn send(&self, to: Mac, kind: [u8; 2], body: &[u8]) {
        let mut frame = [to.as_slice(), &STATION, &kind, body].concat();
        frame.resize(frame.len().max(60), 0);
        self.socket.send_to(&frame, self.group).expect("the segment takes a frame");
    }
}

const FROM_PORT: u16 = 40_000;

/// Protocol and body of an IPv4 packet that `address` has sent.
fn from(address: Ipv4Addr, kind: [u8; 2], packet: &[u8]) -> Option<(u8, &[u8])> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let is_theirs = kind == IPV4 && packet.get(12..16)? == address.octets();
    if is_theirs { Some((*packet.get(9)?, packet.get(header..)?)) } else { None }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
