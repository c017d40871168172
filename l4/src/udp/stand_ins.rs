//! Clients on Unix sockets: each name stands behind an address that no packet
//! can come from, so that sessions are found and answered as those of UDP are.
//!
//! One table for a thread, bounded: when it is full the name that came first
//! makes room, and what its peer still answers is lost.

use ahash::AHashMap;
use std::cell::RefCell;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

/// The kernel tells 28 bits of a packet's flow information at most.
const MARK: u32 = u32::MAX;

const MOST_NAMES: usize = 1 << 16;

/// Longest name: `sun_path`.
pub(crate) const LONGEST: usize = 108;

thread_local! {
    static NAMES: RefCell<Names> = RefCell::new(Names::new(MOST_NAMES));
}

/// The address that stands for a name: a path, an abstract name, or nothing for a socket without one.
pub(crate) fn of(name: &[u8]) -> SocketAddr {
    NAMES.with_borrow_mut(|names| names.stand_in(name))
}

/// Whether an address stands for a name.
pub(crate) fn is_one(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.flowinfo() == MARK)
}

/// What logs call the client behind an address; `None` for an address that stands for nothing.
pub(crate) fn path(address: &SocketAddr) -> Option<Box<str>> {
    match address {
        SocketAddr::V6(v6) if is_one(address) => {
            Some(with_name(v6, |name| String::from_utf8_lossy(name.unwrap_or_default()).into()))
        }
        _ => None,
    }
}

/// Calls `use_it` with the name behind an address; without one when it has made room for another.
pub(crate) fn with_name<R>(address: &SocketAddrV6, use_it: impl FnOnce(Option<&[u8]>) -> R) -> R {
    NAMES.with_borrow(|names| use_it(names.name(address)))
}

struct Names {
    /// Each name with how often its place was taken before.
    places: Vec<(Box<[u8]>, u64)>,
    by_name: AHashMap<Box<[u8]>, u32>,
    next: usize,
    most: usize,
}

impl Names {
    fn new(most: usize) -> Names {
        Names { places: Vec::new(), by_name: AHashMap::new(), next: 0, most }
    }

    fn stand_in(&mut self, name: &[u8]) -> SocketAddr {
        if let Some(place) = self.by_name.get(name) {
            let round = self.places.get(*place as usize).map_or(0, |(_, round)| *round);
            return address(*place, round);
        }
        let place = self.next;
        self.next = (place + 1) % self.most;
        let round = match self.places.get_mut(place) {
            Some((old, round)) => {
                self.by_name.remove(old);
                (*old, *round) = (name.into(), *round + 1);
                *round
            }
            None => {
                self.places.push((name.into(), 0));
                0
            }
        };
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.by_name.insert(name.into(), place);
        address(place, round)
    }

    fn name(&self, address: &SocketAddrV6) -> Option<&[u8]> {
        let (name, round) = self.places.get(address.scope_id() as usize)?;
        (u128::from(*round) == address.ip().to_bits()).then_some(name)
    }
}

fn address(place: u32, round: u64) -> SocketAddr {
    SocketAddrV6::new(Ipv6Addr::from_bits(round.into()), 0, MARK, place).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(address: SocketAddr) -> SocketAddrV6 {
        match address {
            SocketAddr::V6(address) => address,
            SocketAddr::V4(_) => panic!("{address} is of IPv4"),
        }
    }

    #[test]
    fn a_name_has_one_address_until_it_makes_room() {
        let mut names = Names::new(3);
        let all = [&b"a"[..], b"b", b""].map(|name| names.stand_in(name));
        assert!(all.iter().all(is_one));
        assert_eq!(all, [&b"a"[..], b"b", b""].map(|name| names.stand_in(name)), "each its own, and always the same");
        let late = names.stand_in(b"d");
        assert_eq!(names.name(&v6(all[0])), None, "the first has made room");
        assert_eq!(names.name(&v6(late)), Some(&b"d"[..]));
        assert_eq!(names.name(&v6(all[1])), Some(&b"b"[..]));
        assert_ne!(names.stand_in(b"a"), all[0], "and comes back as another");
        assert_eq!((names.places.len(), names.by_name.len()), (3, 3));
    }

    #[test]
    fn addresses_of_packets_stand_for_nothing() {
        for address in ["127.0.0.1:1", "[::]:0", "[fe80::1%3]:5"] {
            assert!(!is_one(&address.parse().unwrap()), "{address}");
        }
    }
}
