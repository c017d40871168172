//! Sockets between two sessions: which of them a new session may have, and which
//! nobody needs any more.
//!
//! Pure: no sockets, time is an argument. Caller: `links`, which has disconnected
//! what it puts here.

use crate::plan::Server;
use crate::udp::links::Link;
use ahash::AHashMap;
use fairlead_core::clock::Tick;
use fairlead_core::net::Address;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A core that looked the socket up before it was disconnected may still be putting a datagram or
/// an error into it: by then it has long done so.
pub(crate) const REST: Duration = Duration::from_millis(5);

/// A socket that nobody needed for so long is closed.
const IDLE: Duration = Duration::from_secs(5);

/// All that stays with a socket when it goes to another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    ipv6: bool,
    /// `proxy_bind` without a port.
    local: Option<IpAddr>,
    transparent: bool,
    rcvbuf: Option<usize>,
    sndbuf: Option<usize>,
    keepalive: bool,
    merges: bool,
}

#[derive(Default)]
pub(crate) struct Resting {
    queues: AHashMap<Kind, VecDeque<(Link, Tick)>>,
    count: usize,
}

impl Kind {
    /// `None` for a socket that cannot serve another session: its port would stay the same.
    pub fn of(peer: &Address, server: &Server, local: Option<SocketAddr>) -> Option<Kind> {
        let Address::Ip(peer) = peer else { return None };
        if local.is_some_and(|local| local.port() != 0) {
            return None;
        }
        let proxy = &server.proxy;
        Some(Kind {
            ipv6: peer.is_ipv6(),
            local: local.map(|local| local.ip()),
            transparent: server.bind.as_ref().is_some_and(|bind| bind.transparent),
            rcvbuf: proxy.rcvbuf,
            sndbuf: proxy.sndbuf,
            keepalive: proxy.keepalive,
            merges: merges(server),
        })
    }
}

/// Whether replies may come several at once: not where each has to wait for its time.
pub(crate) fn merges(server: &Server) -> bool {
    !server.rates.limit_downloads()
}

impl Resting {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn add(&mut self, kind: Kind, link: Link, now: Tick) {
        self.queues.entry(kind).or_default().push_back((link, now));
        self.count += 1;
    }

    /// The one that has rested longest, if that is long enough.
    pub fn take(&mut self, kind: &Kind, now: Tick) -> Option<Link> {
        let queue = self.queues.get_mut(kind)?;
        let (link, _) = queue.pop_front_if(|(_, since)| now.since(*since) >= REST)?;
        self.count -= 1;
        Some(link)
    }

    /// Those that nobody has needed for long.
    pub fn take_idle(&mut self, now: Tick) -> Vec<Link> {
        let mut idle = Vec::new();
        self.queues.retain(|_, queue| {
            while let Some((link, _)) = queue.pop_front_if(|(_, since)| now.since(*since) >= IDLE) {
                idle.push(link);
            }
            !queue.is_empty()
        });
        self.count -= idle.len();
        idle
    }

    pub fn take_all(&mut self) -> impl Iterator<Item = Link> + use<> {
        self.count = 0;
        std::mem::take(&mut self.queues).into_values().flatten().map(|(link, _)| link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(ipv6: bool) -> Kind {
        Kind { ipv6, local: None, transparent: false, rcvbuf: None, sndbuf: None, keepalive: false, merges: true }
    }

    fn link(number: u64) -> Link {
        Link::of_token(number)
    }

    #[test]
    fn the_longest_rested_of_a_kind_goes_first_and_only_once_it_has_rested() {
        let mut resting = Resting::default();
        resting.add(kind(false), link(1), Tick(10));
        resting.add(kind(false), link(2), Tick(12));
        resting.add(kind(true), link(3), Tick(0));
        assert_eq!(resting.take(&kind(false), Tick(14)), None);
        assert_eq!(resting.take(&kind(false), Tick(15)), Some(link(1)));
        assert_eq!(resting.take(&kind(false), Tick(15)), None, "the other one has to rest still");
        assert_eq!(resting.take(&kind(false), Tick(17)), Some(link(2)));
        assert_eq!((resting.take(&kind(false), Tick(99)), resting.len()), (None, 1), "another kind is no substitute");
    }

    #[test]
    fn what_nobody_needs_goes_and_what_is_needed_stays() {
        let mut resting = Resting::default();
        (0..4).for_each(|number| resting.add(kind(number % 2 == 0), link(number), Tick(number * 1000)));
        let mut idle = resting.take_idle(Tick(6500));
        idle.sort_by_key(|link| link.token());
        assert_eq!((idle, resting.len()), (vec![link(0), link(1)], 2));
        assert_eq!((resting.take_all().count(), resting.len()), (2, 0));
    }
}
