//! What a DHCP client says and when (RFC 2131 section 4.4). Messages and the time come in, messages
//! and leases go out; nothing here owns a socket or reads a clock.
//!
//! ```text
//! begin ─ Selecting ─offer─ Requesting ─ack─ Bound ─T1─ Renewing ─T2─ Rebinding ─end─ Selecting
//!       └ Verifying (it had a lease before) ─┘
//! ```

use crate::dhcp::message::{Kind, Message, Options, is_station};
use fairlead_appliance::Mac;
use fairlead_appliance::plan::Lease;
use fairlead_core::clock::Tick;
use fairlead_core::dice::{Dice, mix};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The first wait for an answer; each further one is twice as long, up to the last.
const FIRST_WAIT: u64 = 2_000;
const LONGEST_WAIT: u64 = 64_000;
/// Requests before the offer is given up.
const MOST_REQUESTS: u32 = 4;
/// Between renewals, where time allows (RFC 2131 section 4.4.5).
const SHORTEST_RENEWAL: u64 = 60_000;
/// A server that leases for less is taken to mean this.
const SHORTEST_LEASE: u32 = 20;
/// After a refusal, so that a server that refuses everything is not asked in a loop.
const AFTER_REFUSAL: u64 = 3_000;
/// Where a server names no mask; it should.
const DEFAULT_PREFIX: u8 = 24;
/// An IPv4 host takes packets of 576 bytes; less than IPv6 needs would cut that off.
const SMALLEST_MTU: u16 = 1280;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Send {
        message: Message,
        to: To,
    },
    /// A new lease, or another one than before.
    Leased(Lease),
    /// The address may be used no more.
    Lost,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To all, from no address.
    Everyone,
    /// To all, from the address that is leased.
    EveryoneFrom,
    Server(Ipv4Addr),
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    /// Looking for servers.
    Selecting,
    /// One has offered.
    Requesting {
        server: Ipv4Addr,
        address: Ipv4Addr,
    },
    /// Whether a lease from before still holds.
    Verifying,
    Bound,
    /// Asking its server for longer.
    Renewing,
    /// Asking any server for longer.
    Rebinding,
}

/// A lease with its times.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    server: Ipv4Addr,
    /// `None`: for ever, here and below.
    renew: Option<Tick>,
    rebind: Option<Tick>,
    end: Option<Tick>,
}

#[derive(Clone, Debug)]
pub struct Client {
    link: Box<str>,
    mac: Mac,
    hostname: Option<Box<str>>,
    dice: Dice,
    state: State,
    held: Option<Held>,
    xid: u32,
    /// When the exchange began.
    began: Tick,
    /// When its first request was sent, from which a lease counts.
    asked: Tick,
    tries: u32,
    deadline: Option<Tick>,
}

impl Client {
    pub fn new(link: &str, mac: Mac, hostname: Option<Box<str>>, seed: u64) -> Client {
        let own = mac.0.iter().fold(seed, |seed, byte| mix(seed ^ u64::from(*byte)));
        Client {
            link: link.into(),
            mac,
            hostname,
            dice: Dice::new(own),
            state: State::Idle,
            held: None,
            xid: 0,
            began: Tick(0),
            asked: Tick(0),
            tries: 0,
            deadline: None,
        }
    }

    pub fn lease(&self) -> Option<&Lease> {
        self.held.as_ref().map(|held| &held.lease)
    }

    /// When [`Client::wake`] has something to do.
    pub fn deadline(&self) -> Option<Tick> {
        let end = self.held.as_ref().and_then(|held| held.end);
        [self.deadline, end].into_iter().flatten().min()
    }

    /// No answer is awaited.
    pub fn is_quiet(&self) -> bool {
        matches!(self.state, State::Idle | State::Bound)
    }

    /// The link is ready, or ready again.
    pub fn begin(&mut self, now: Tick) -> Vec<Action> {
        self.enter(if self.held.is_some() { State::Verifying } else { State::Selecting }, now);
        self.say(now)
    }

    /// Gives the lease back.
    pub fn release(&mut self, now: Tick) -> Vec<Action> {
        self.enter(State::Idle, now);
        self.deadline = None;
        let Some(held) = self.held.take() else { return Vec::new() };
        let own = held.lease.address.addr();
        let options = Options { server: Some(held.server), ..Options::default() };
        let message = Message { client: own, ..self.message(Kind::Release, options, now) };
        vec![Action::Send { message, to: To::Server(held.server) }, Action::Lost]
    }

    /// Something is due.
    pub fn wake(&mut self, now: Tick) -> Vec<Action> {
        if self.held.as_ref().and_then(|held| held.end).is_some_and(|end| end <= now) {
            self.held = None;
            self.enter(State::Selecting, now);
            let mut actions = vec![Action::Lost];
            actions.extend(self.say(now));
            return actions;
        }
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        let rebind = self.held.as_ref().and_then(|held| held.rebind).is_some_and(|rebind| rebind <= now);
        match self.state {
            State::Idle => self.deadline = None,
            State::Bound | State::Renewing if rebind => self.enter(State::Rebinding, now),
            State::Bound => self.enter(State::Renewing, now),
            State::Requesting { .. } if self.tries >= MOST_REQUESTS => self.enter(State::Selecting, now),
            // The server is gone, the lease is not: it holds to its end.
            State::Verifying if self.tries >= MOST_REQUESTS => {
                self.enter(State::Bound, now);
                self.deadline = self.held.as_ref().and_then(|held| held.renew).map(|renew| renew.max(now.after(ms(1))));
                return Vec::new();
            }
            _ => {}
        }
        self.say(now)
    }

    /// A message came in on the link, be it for us or not.
    pub fn hear(&mut self, message: &Message, now: Tick) -> Vec<Action> {
        if message.xid != self.xid || message.mac != self.mac || self.is_quiet() {
            return Vec::new();
        }
        let server = message.options.server;
        match (&self.state, message.kind) {
            (State::Selecting, Kind::Offer) => {
                let (Some(server), true) = (server, is_station(message.yours)) else { return Vec::new() };
                self.state = State::Requesting { server, address: message.yours };
                (self.tries, self.deadline) = (0, None);
                self.say(now)
            }
            (State::Requesting { server: asked, .. }, Kind::Ack | Kind::Nak) if server != Some(*asked) => Vec::new(),
            (State::Selecting, _) | (_, Kind::Offer) => Vec::new(),
            (_, Kind::Nak) => self.refused(now),
            (_, Kind::Ack) => self.accept(message, now),
            _ => Vec::new(),
        }
    }

    fn refused(&mut self, now: Tick) -> Vec<Action> {
        let lost = self.held.take().map(|_| Action::Lost);
        self.enter(State::Selecting, now);
        self.deadline = Some(now.after(ms(AFTER_REFUSAL + self.dice.roll(AFTER_REFUSAL))));
        lost.into_iter().collect()
    }

    fn accept(&mut self, message: &Message, now: Tick) -> Vec<Action> {
        let server = message.options.server.or(self.held.as_ref().map(|held| held.server));
        let (Some(server), true) = (server, is_station(message.yours)) else { return Vec::new() };
        let Some(lease) = self.lease_of(message) else { return Vec::new() };
        let told = self.held.as_ref().map(|held| &held.lease) != Some(&lease);
        self.state = State::Bound;
        let mut held = Held { lease, server, renew: None, rebind: None, end: None };
        if let Some(seconds) = message.options.lease.filter(|seconds| *seconds != u32::MAX) {
            let seconds = seconds.max(SHORTEST_LEASE);
            let (renew, rebind) = self.times(&message.options, seconds);
            // It counts from the request, not from the answer.
            let from = |time: u64| Some(self.asked.after(ms(time)).max(now.after(ms(1))));
            (held.renew, held.rebind, held.end) = (from(renew), from(rebind), from(u64::from(seconds) * 1000));
        }
        self.deadline = held.renew;
        let action = told.then(|| Action::Leased(held.lease.clone()));
        self.held = Some(held);
        action.into_iter().collect()
    }

    /// T1 and T2 in milliseconds: the server's where they make sense, and never all clients at once.
    fn times(&mut self, options: &Options, lease: u32) -> (u64, u64) {
        let lease = u64::from(lease) * 1000;
        let told = |time: Option<u32>| time.map(|seconds| u64::from(seconds) * 1000);
        let rebind = told(options.rebinding).filter(|time| *time > 0 && *time < lease).unwrap_or(lease / 8 * 7);
        let renew = told(options.renewal).filter(|time| *time > 0 && *time < rebind).unwrap_or(lease / 2).min(rebind);
        let fuzz = renew / 32;
        (renew.saturating_sub(self.dice.roll(fuzz + 1)), rebind)
    }

    fn lease_of(&self, message: &Message) -> Option<Lease> {
        let options = &message.options;
        let prefix = options.prefix.unwrap_or(DEFAULT_PREFIX);
        let address = Ipv4Net::new(message.yours, prefix).ok()?;
        Some(Lease {
            link: self.link.clone(),
            address,
            routers: options.routers.clone(),
            routes: options.routes.clone(),
            dns: options.dns.clone(),
            domain: options.domain.clone(),
            hostname: options.hostname.clone(),
            ntp: options.ntp.clone(),
            mtu: options.mtu.filter(|mtu| *mtu >= SMALLEST_MTU).map(u32::from),
        })
    }

    fn enter(&mut self, state: State, now: Tick) {
        self.state = state;
        self.tries = 0;
        self.began = now;
        self.deadline = Some(now);
        self.xid = u32::try_from(self.dice.roll(1 << 32)).unwrap_or(1);
    }

    /// The message of the state, and when the next one is due.
    fn say(&mut self, now: Tick) -> Vec<Action> {
        self.tries = self.tries.saturating_add(1);
        let own = self.held.as_ref().map(|held| (held.lease.address.addr(), held.server));
        let (kind, requested, server, to) = match (&self.state, own) {
            (State::Selecting, _) => (Kind::Discover, None, None, To::Everyone),
            (State::Requesting { server, address }, _) => (Kind::Request, Some(*address), Some(*server), To::Everyone),
            (State::Verifying, Some((own, _))) => (Kind::Request, Some(own), None, To::Everyone),
            (State::Renewing, Some((_, server))) => (Kind::Request, None, None, To::Server(server)),
            (State::Rebinding, Some(_)) => (Kind::Request, None, None, To::EveryoneFrom),
            _ => return Vec::new(),
        };
        if self.tries == 1 {
            self.asked = now;
        }
        let renewing = matches!(self.state, State::Renewing | State::Rebinding);
        self.deadline = Some(if renewing { self.next_renewal(now) } else { now.after(ms(self.wait())) });
        let options = Options { requested, server, hostname: self.hostname.clone(), ..Options::default() };
        let mut message = self.message(kind, options, now);
        if let Some((own, _)) = own.filter(|_| renewing) {
            message.client = own;
        }
        vec![Action::Send { message, to }]
    }

    /// Twice as long each time, and never quite the same.
    fn wait(&mut self) -> u64 {
        let doubled = FIRST_WAIT.saturating_mul(1 << (self.tries.saturating_sub(1)).min(10)).min(LONGEST_WAIT);
        doubled - FIRST_WAIT / 4 + self.dice.roll(FIRST_WAIT / 2)
    }

    /// Half of what is left to the next state.
    fn next_renewal(&self, now: Tick) -> Tick {
        let held = self.held.as_ref();
        let end = match self.state {
            State::Renewing => held.and_then(|held| held.rebind),
            _ => held.and_then(|held| held.end),
        };
        let Some(end) = end else { return now.after(ms(LONGEST_WAIT)) };
        let half = end.since(now) / 2;
        now.after(half.max(ms(SHORTEST_RENEWAL))).min(end.max(now.after(ms(1000))))
    }

    fn message(&self, kind: Kind, options: Options, now: Tick) -> Message {
        let seconds = u16::try_from(now.since(self.began).as_secs()).unwrap_or(u16::MAX);
        let nobody = Ipv4Addr::UNSPECIFIED;
        Message { kind, xid: self.xid, seconds, client: nobody, yours: nobody, mac: self.mac, options }
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests;
