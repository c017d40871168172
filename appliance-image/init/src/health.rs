//! Whether `fairlead` serves. It is asked nothing, so nothing shows in its logs: a process that takes
//! what waits for it at its listeners is alive. Pure: the kernel's tables in, a claim out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A connection that nobody takes for this long was not overlooked.
const STUCK: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Tcp,
    Udp,
}

/// A socket that waits for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    pub transport: Transport,
    pub address: SocketAddr,
    /// Connections that wait to be accepted.
    pub waiting: u32,
}

/// The listeners of one of `/proc/net/{tcp,tcp6,udp,udp6}`.
pub fn listeners(table: &str, transport: Transport) -> Vec<Listener> {
    let wanted = match transport {
        Transport::Tcp => "0A",
        Transport::Udp => "07",
    };
    let listener = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, _, state) = (fields.next()?, fields.next()?, fields.next()?);
        let waiting = fields.next()?.split_once(':')?.1;
        let waiting = u32::from_str_radix(waiting, 16).ok()?;
        (state == wanted).then_some(Listener { transport, address: socket_address(address)?, waiting })
    };
    table.lines().skip(1).filter_map(listener).collect()
}

/// `0100007F:1F90`: words of the address in the machine's own order of bytes.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words =
        address.as_bytes().chunks_exact(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let words: Vec<u32> = words.collect::<Option<_>>()?;
    let address = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (to, word) in bytes.chunks_exact_mut(4).zip([a, b, c, d]) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// Remembers since when connections wait at a listener.
#[derive(Debug, Default)]
pub struct Patience {
    since: BTreeMap<SocketAddr, (u64, u32)>,
}

impl Patience {
    /// The listener at which connections wait in vain, now that the tables are these.
    pub fn stuck(&mut self, listeners: &[Listener], now: u64) -> Option<SocketAddr> {
        let waiting: BTreeMap<SocketAddr, u32> = listeners
            .iter()
            .filter(|listener| listener.transport == Transport::Tcp && listener.waiting > 0)
            .fold(BTreeMap::new(), |mut sums, listener| {
                // One socket for each thread: together they are one listener.
                *sums.entry(listener.address).or_default() += listener.waiting;
                sums
            });
        self.since.retain(|address, _| waiting.contains_key(address));
        for (address, count) in waiting {
            let entry = self.since.entry(address).or_insert((now, count));
            if count < entry.1 {
                *entry = (now, count);
            }
            entry.1 = count;
        }
        let long = |(_, (since, _)): &(&SocketAddr, &(u64, u32))| now.saturating_sub(*since) >= STUCK;
        self.since.iter().find(long).map(|(address, _)| *address)
    }

    pub fn forget(&mut self) {
        self.since.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 0 10 -1
";
    const TCP6: &str = "  sl  local_address remote_address st tx_queue rx_queue
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000001 00:00000000
   1: nonsense
";

    #[test]
    fn the_kernels_tables_are_read() {
        let found = listeners(TCP, Transport::Tcp);
        let text: Vec<String> = found.iter().map(|listener| listener.address.to_string()).collect();
        assert_eq!(text, ["0.0.0.0:80", "127.0.0.1:8080"]);
        assert_eq!(found.first().map(|listener| listener.waiting), Some(3));
        assert_eq!(listeners(TCP6, Transport::Tcp).first().map(|one| one.address), Some("[::1]:8080".parse().unwrap()));
        assert!(listeners(TCP, Transport::Udp).is_empty());
    }

    fn at(waiting: u32) -> [Listener; 1] {
        [Listener { transport: Transport::Tcp, address: "0.0.0.0:80".parse().unwrap(), waiting }]
    }

    #[test]
    fn a_queue_that_nobody_takes_from_is_stuck() {
        let mut patience = Patience::default();
        assert_eq!(patience.stuck(&at(1), 0), None);
        assert_eq!(patience.stuck(&at(5), 9_000), None);
        assert!(patience.stuck(&at(5), 10_000).is_some());
        patience.forget();
        assert_eq!(patience.stuck(&at(5), 10_001), None);
    }

    #[test]
    fn a_queue_that_moves_is_busy_and_an_empty_one_forgotten() {
        let mut patience = Patience::default();
        for (now, waiting) in [(0, 9), (6_000, 8), (12_000, 9), (15_000, 0), (16_000, 3), (25_000, 3)] {
            assert_eq!(patience.stuck(&at(waiting), now), None, "at {now}");
        }
        assert!(patience.stuck(&at(3), 26_000).is_some());
    }
}
