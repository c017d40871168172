//! Addresses of a host's name, asked of the name servers of `resolv.conf` without waiting: the first
//! process has one thread. One question at a time, over UDP; an answer that does not fit is none.

use fairlead_core::clock::Tick;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);
/// Rounds over all name servers.
const ROUNDS: usize = 2;
const PORT: u16 = 53;
const ROOM: usize = 4096;

/// A question on its way.
pub(crate) struct Lookup {
    name: Name,
    id: u16,
    servers: Vec<IpAddr>,
    sent: usize,
    socket: Option<UdpSocket>,
    /// Whether both kinds of addresses were answered.
    answered: [bool; 2],
    found: Vec<IpAddr>,
    pub deadline: Tick,
}

impl Lookup {
    /// `None` when the name cannot be asked for or nobody is there to ask.
    pub fn begin(name: &str, resolv_conf: &Path, id: u16, now: Tick) -> Option<Lookup> {
        let mut name = Name::from_ascii(name).ok()?;
        name.set_fqdn(true);
        let servers = servers(&std::fs::read_to_string(resolv_conf).unwrap_or_default());
        let (answered, found) = ([false; 2], Vec::new());
        let mut lookup = Lookup { name, id, servers, sent: 0, socket: None, answered, found, deadline: now };
        lookup.ask(now).then_some(lookup)
    }

    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Looks at what has come. The addresses, none where there are none; `Err` while it goes on.
    pub fn look(&mut self, now: Tick) -> Result<Vec<IpAddr>, ()> {
        let mut room = [0; ROOM];
        while let Some(Ok(count)) = self.socket.as_ref().map(|socket| socket.recv(&mut room)) {
            self.hear(room.get(..count).unwrap_or(&[]));
        }
        let all = self.answered == [true, true];
        if all || (self.deadline <= now && (!self.found.is_empty() || !self.ask(now))) {
            self.socket = None;
            return Ok(std::mem::take(&mut self.found));
        }
        Err(())
    }

    /// Asks the next server; `false` when each was asked often enough.
    fn ask(&mut self, now: Tick) -> bool {
        while self.sent < self.servers.len() * ROUNDS {
            let server = self.servers.get(self.sent % self.servers.len()).copied();
            self.sent += 1;
            if let Some(socket) = server.and_then(|server| self.send_to(server).ok()) {
                (self.socket, self.deadline) = (Some(socket), now.after(PATIENCE));
                return true;
            }
        }
        false
    }

    fn send_to(&self, server: IpAddr) -> io::Result<UdpSocket> {
        let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(SocketAddr::new(server, PORT))?;
        for (at, kind) in [RecordType::A, RecordType::AAAA].into_iter().enumerate() {
            let mut message = Message::new();
            message.set_id(self.id.wrapping_add(u16::try_from(at).unwrap_or(0)));
            message.set_recursion_desired(true);
            message.add_query(Query::query(self.name.clone(), kind));
            socket.send(&message.to_vec().map_err(io::Error::other)?)?;
        }
        Ok(socket)
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::from_vec(bytes) else { return };
        let place = usize::from(message.id().wrapping_sub(self.id));
        let ours = message.queries().first().is_some_and(|query| *query.name() == self.name);
        let sound = message.message_type() == MessageType::Response && !message.truncated();
        let known = matches!(message.response_code(), ResponseCode::NoError | ResponseCode::NXDomain);
        let Some(answered) = self.answered.get_mut(place).filter(|_| ours && sound && known) else { return };
        *answered = true;
        for record in message.answers() {
            match record.data() {
                RData::A(address) => self.found.insert(0, IpAddr::V4(address.0)),
                RData::AAAA(address) => self.found.push(IpAddr::V6(address.0)),
                _ => {}
            }
        }
    }
}

fn servers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| rest.trim().parse().ok()).collect()
}
