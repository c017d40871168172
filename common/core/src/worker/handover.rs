//! The way of a connection from one listener to another inside a worker thread,
//! whichever planes they belong to. Who runs the worker says which listeners
//! there are; `pass` of the stream plane finds them here.

use crate::net::{Address, ListenerKey, Protocol, Stream};
use crate::worker::Ticket;
use ahash::AHashMap;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

/// A connection that a listener has accepted and another is to serve.
pub struct Passed {
    pub stream: Stream,
    /// `None` on a Unix socket.
    pub client: Option<SocketAddr>,
    /// The address it was passed to: what its server takes for the one the client used.
    pub local: Address,
    /// What was read of it already.
    pub early: Vec<u8>,
    /// `$connection` stays what it was.
    pub number: u64,
    /// How often it was passed, this time included.
    pub passes: u32,
    pub ticket: Ticket,
}

/// Serves a connection as if the listener had accepted it.
pub type Door = Rc<dyn Fn(&ListenerKey, Passed)>;

/// The listeners of the newest generation that connections can be passed to.
#[derive(Default)]
pub struct Handover(RefCell<AHashMap<ListenerKey, Door>>);

impl Handover {
    /// From now on there are these listeners.
    pub fn replace(&self, doors: impl Iterator<Item = (ListenerKey, Door)>) {
        *self.0.borrow_mut() = doors.collect();
    }

    /// The listener of connections to `address`: its own, else the wildcard of its port.
    pub fn find(&self, address: &Address) -> Option<(ListenerKey, Door)> {
        let doors = self.0.borrow();
        let own = ListenerKey { protocol: Protocol::Tcp, address: address.clone() };
        let wildcard = wildcard(address).map(|address| ListenerKey { protocol: Protocol::Tcp, address });
        [Some(own), wildcard].into_iter().flatten().find_map(|key| doors.get(&key).cloned().map(|door| (key, door)))
    }
}

fn wildcard(address: &Address) -> Option<Address> {
    let Address::Ip(address) = address else { return None };
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Some(Address::Ip(SocketAddr::new(any, address.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        match text.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Ip(text.parse().unwrap()),
        }
    }

    fn found(listeners: &[&str], wanted: &str) -> Option<String> {
        let handover = Handover::default();
        let door: Door = Rc::new(|_, _| {});
        let key = |text: &&str| ListenerKey { protocol: Protocol::Tcp, address: address(text) };
        handover.replace(listeners.iter().map(|text| (key(text), door.clone())));
        handover.find(&address(wanted)).map(|(key, _)| key.address.to_string())
    }

    #[test]
    fn the_own_listener_comes_before_the_wildcard_of_the_port() {
        let listeners = ["0.0.0.0:1", "127.0.0.1:1", "[::]:2", "unix:/run/a"];
        for (address, expected) in [
            ("127.0.0.1:1", Some("127.0.0.1:1")),
            ("127.0.0.2:1", Some("0.0.0.0:1")),
            ("[::1]:1", None),
            ("[::1]:2", Some("[::]:2")),
            ("127.0.0.1:2", None),
            ("unix:/run/a", Some("unix:/run/a")),
            ("unix:/run/b", None),
        ] {
            assert_eq!(found(&listeners, address).as_deref(), expected, "{address}");
        }
    }
}
