//! The edge of the resolver: sockets, ids and retries.
//!
//! Every attempt has a socket, a port of the kernel's choice and an id of its
//! own, and hears only the server it asked: an answer has to be guessed whole
//! to be forged. A server that does not answer is given up on for the next one
//! every few seconds, as long as somebody waits.

use super::ResolveError;
use super::wire::{Question, Reply, code_of};
use super::zone::Zone;
use crate::clock::{Tick, tick};
use crate::stats::Counter;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

/// Largest UDP answer taken in; servers send no more than 512 bytes unasked.
const UDP_SIZE: usize = 4096;

/// What the servers were asked and how it went.
#[derive(Debug, Default)]
pub struct Stats {
    /// Questions sent, repeated ones each time.
    pub queries: Counter,
    /// Questions a server did not answer in time, or whose host refused them.
    pub unanswered: Counter,
    /// Answers that say the server cannot or will not answer.
    pub failures: Counter,
    /// Names that were still good and had to make room in the cache.
    pub evictions: Counter,
    /// Lookups refused because too many were in progress.
    pub refused: Counter,
}

pub(super) struct Client {
    pub stats: Stats,
    pub zone: Arc<Zone>,
    servers: Vec<SocketAddr>,
    /// How long one server may take.
    patience: Duration,
    next_server: Cell<usize>,
    /// A keyed hash of a counter is as random as the key, which is the kernel's.
    key: RandomState,
    count: Cell<u64>,
}

impl Client {
    pub fn new(servers: Vec<SocketAddr>, patience: Duration, zone: Arc<Zone>) -> Client {
        Client {
            stats: Stats::default(),
            zone,
            servers,
            patience,
            next_server: Cell::new(0),
            key: RandomState::new(),
            count: Cell::new(0),
        }
    }

    /// The server whose turn it is to be asked first.
    pub fn turn(&self) -> usize {
        let turn = self.next_server.get();
        self.next_server.set((turn + 1) % self.servers.len().max(1));
        turn
    }

    /// Asks one server after the other while `until` says that somebody waits; `turn` is left at
    /// the one that answered.
    ///
    /// # Errors
    /// Nobody answered in time, or as many as there are servers said that they cannot.
    pub async fn ask(&self, question: &Question, turn: &mut usize, until: &Cell<Tick>) -> Result<Reply, ResolveError> {
        let (mut failures, mut refusals) = (0, 0);
        // Ends by `until`, which moves on only with new lookups.
        loop {
            let server = self.server(*turn).ok_or(ResolveError::ServerFailure)?;
            let started = tick();
            let left = until.get().since(started);
            if left.is_zero() {
                self.zone.timedout.add(1);
                return Err(ResolveError::TimedOut);
            }
            let patience = self.patience.min(left);
            self.stats.queries.add(1);
            match timeout(patience, self.exchange(server, question)).await {
                Ok(Ok(Reply::Failed)) => {
                    self.stats.failures.add(1);
                    failures += 1;
                    if failures >= self.servers.len() {
                        return Err(ResolveError::ServerFailure);
                    }
                }
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(_)) => {
                    self.stats.unanswered.add(1);
                    refusals += 1;
                    // All are down: not before the round's time is over, or this would spin.
                    if refusals % self.servers.len() == 0 {
                        sleep(patience.saturating_sub(tick().since(started))).await;
                    }
                }
                Err(_) => self.stats.unanswered.add(1),
            }
            *turn += 1;
        }
    }

    async fn exchange(&self, server: SocketAddr, question: &Question) -> io::Result<Reply> {
        let id = self.random_id();
        let query = question.encode(id).map_err(io::Error::other)?;
        let socket = UdpSocket::bind((any(server), 0)).await?;
        // A connected socket gets nothing from anybody else.
        socket.connect(server).await?;
        socket.send(&query).await?;
        let mut buffer = vec![0; UDP_SIZE];
        // The caller's patience bounds it.
        loop {
            let count = socket.recv(&mut buffer).await?;
            let message = buffer.get(..count).unwrap_or_default();
            match question.read(id, message) {
                Reply::NotOurs => {}
                Reply::Truncated => return self.exchange_tcp(server, question, id, &query).await,
                reply => {
                    self.zone.count_response(code_of(message));
                    return Ok(reply);
                }
            }
        }
    }

    /// RFC 1035 section 4.2.2: messages with their length before them.
    async fn exchange_tcp(&self, server: SocketAddr, question: &Question, id: u16, query: &[u8]) -> io::Result<Reply> {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        let reply = question.read(id, &answer);
        if reply == Reply::NotOurs {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.zone.count_response(code_of(&answer));
        // It has no more to say than this, and this is not all.
        Ok(if reply == Reply::Truncated { Reply::Failed } else { reply })
    }

    fn server(&self, turn: usize) -> Option<SocketAddr> {
        self.servers.get(turn.checked_rem(self.servers.len())?).copied()
    }

    fn random_id(&self) -> u16 {
        self.count.set(self.count.get().wrapping_add(1));
        (self.key.hash_one(self.count.get()) & 0xffff) as u16
    }
}

fn any(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
