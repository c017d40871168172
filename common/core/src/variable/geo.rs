//! `geo`: a value for a client's address, by network or by range. Of networks
//! that lie within each other the smallest holds; a range may split the one
//! written before it.

use crate::variable::intervals::{Intervals, Range};
use ahash::AHashMap;
use fairlead_conf::{Diagnostic, Given, Statement, Word};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A `geo` block.
#[derive(Debug)]
pub struct Geo {
    /// The value is worked out anew each time it is asked for.
    pub volatile: bool,
    pub proxies: Proxies,
    v4: Intervals<u32>,
    v6: Intervals<u128>,
    /// Where no range holds.
    default: Option<u32>,
    /// Each once.
    values: Vec<Box<str>>,
}

/// `proxy` and `proxy_recursive`: whose word on the client's address is taken. Only http has them.
#[derive(Debug, Default)]
pub struct Proxies {
    pub networks: Vec<IpNet>,
    pub recursive: bool,
}

/// What is asked about when there is no address: nginx's `INADDR_NONE`.
const NO_ADDRESS: u32 = u32::MAX;

impl Geo {
    /// Reads `geo [$address] $variable { … }`; what is wrong in the block goes to `given.cx`.
    /// `with_proxies`: `proxy` and `proxy_recursive` may stand in it.
    pub fn read(given: &Given<'_>, with_proxies: bool) -> Geo {
        let mut reader = Reader { with_proxies, ..Reader::default() };
        for entry in given.entries() {
            match reader.entry(entry) {
                Ok(None) => {}
                Ok(Some(warning)) | Err(warning) => given.cx.report(warning),
            }
        }
        reader.finish()
    }

    /// The value for an address; without one, that for 255.255.255.255.
    pub fn find(&self, address: Option<IpAddr>) -> &str {
        let found = match address.map(|address| address.to_canonical()) {
            None => self.v4.find(NO_ADDRESS),
            Some(IpAddr::V4(address)) => self.v4.find(address.to_bits()),
            Some(IpAddr::V6(address)) => self.v6.find(address.to_bits()),
        };
        let value = found.or(self.default).and_then(|value| self.values.get(value as usize));
        value.map_or("", |value| value)
    }
}

#[derive(Default)]
struct Reader {
    with_proxies: bool,
    ranges: bool,
    /// Something was read that `ranges` has to stand before.
    begun: bool,
    volatile: bool,
    proxies: Proxies,
    default: Option<u32>,
    v4: AHashMap<(u32, u8), u32>,
    v6: AHashMap<(u128, u8), u32>,
    /// By their first address: the last one and the value. None crosses a border of [`BLOCK`]s.
    pieces: BTreeMap<u32, (u32, u32)>,
    values: Vec<Box<str>>,
    known: AHashMap<Box<str>, u32>,
}

/// nginx keeps ranges by blocks of addresses, and compares those of one block only.
const BLOCK: u32 = 0xffff;

/// A statement may be right and deserve a warning.
type Read = Result<Option<Diagnostic>, Diagnostic>;

impl Reader {
    fn entry(&mut self, entry: &Statement) -> Read {
        let name = &entry.name;
        let value = match (&*name.text, entry.args.as_slice()) {
            ("ranges", []) if self.begun => {
                let message = "the \"ranges\" directive must be the first directive inside \"geo\" block";
                return Err(Diagnostic::error(name.span, message));
            }
            ("ranges", []) => {
                self.ranges = true;
                return Ok(None);
            }
            ("volatile", []) => {
                self.volatile = true;
                return Ok(None);
            }
            ("proxy_recursive", []) if self.with_proxies => {
                self.proxies.recursive = true;
                return Ok(None);
            }
            (_, [value]) => value,
            _ => return Err(Diagnostic::error(name.span, "invalid number of the geo parameters")),
        };
        if self.with_proxies && &*name.text == "proxy" {
            let (network, warning) = network(value)?;
            self.proxies.networks.push(network);
            return Ok(warning);
        }
        self.begun |= !self.ranges;
        match (&*name.text, self.ranges) {
            ("default", true) => Ok(self.default_range(name, value)),
            ("default", false) => Ok(self.default_network(name, value)),
            ("delete", true) => self.delete_range(value),
            ("delete", false) => self.delete_network(value),
            (_, true) => self.range(name, value),
            (_, false) => self.network(name, value),
        }
    }

    fn value(&mut self, word: &Word) -> u32 {
        if let Some(&known) = self.known.get(&word.text) {
            return known;
        }
        let index = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(word.text.clone());
        self.known.insert(word.text.clone(), index);
        index
    }

    fn text(&self, value: u32) -> &str {
        self.values.get(value as usize).map_or("", |value| value)
    }

    fn default_range(&mut self, name: &Word, value: &Word) -> Option<Diagnostic> {
        let new = self.value(value);
        let old = self.default.replace(new)?;
        let (value, old) = (&value.text, self.text(old));
        let message = format!("duplicate default geo range value: \"{value}\", old value: \"{old}\"");
        Some(Diagnostic::warning(name.span, message))
    }

    fn default_network(&mut self, name: &Word, value: &Word) -> Option<Diagnostic> {
        let new = self.value(value);
        let old = self.v4.insert((0, 0), new);
        let old = self.v6.insert((0, 0), new).or(old);
        old.map(|old| self.duplicate("network", name, (new, old)))
    }

    fn duplicate(&self, what: &str, key: &Word, (new, old): (u32, u32)) -> Diagnostic {
        let (key, (new, old), span) = (&key.text, (self.text(new), self.text(old)), key.span);
        Diagnostic::warning(span, format!("duplicate {what} \"{key}\", value: \"{new}\", old value: \"{old}\""))
    }

    fn network(&mut self, key: &Word, value: &Word) -> Read {
        let (network, warning) = network(key)?;
        let new = self.value(value);
        let old = match network {
            IpNet::V4(network) => self.v4.insert((network.network().to_bits(), network.prefix_len()), new),
            IpNet::V6(network) => self.v6.insert((network.network().to_bits(), network.prefix_len()), new),
        };
        Ok(old.map(|old| self.duplicate("network", key, (new, old))).or(warning))
    }

    fn delete_network(&mut self, key: &Word) -> Read {
        let (network, warning) = network(key)?;
        let old = match network {
            IpNet::V4(network) => self.v4.remove(&(network.network().to_bits(), network.prefix_len())),
            IpNet::V6(network) => self.v6.remove(&(network.network().to_bits(), network.prefix_len())),
        };
        let missing = || Diagnostic::warning(key.span, format!("no network \"{}\" to delete", key.text));
        Ok(if old.is_none() { Some(missing()) } else { warning })
    }

    fn range(&mut self, key: &Word, value: &Word) -> Read {
        let (first, last) = range(key)?;
        let new = self.value(value);
        let mut warning = None;
        for piece in blocks(first, last) {
            match self.add(piece, new) {
                Ok(None) => {}
                Ok(Some(old)) => warning = Some(self.duplicate("range", key, (new, old))),
                Err(other) => {
                    return Err(Diagnostic::error(key.span, format!("range \"{}\" overlaps \"{other}\"", key.text)));
                }
            }
        }
        Ok(warning)
    }

    /// Adds a piece within one block, splitting the one around it. Gives the value of a piece that
    /// was there already, or the piece it overlaps.
    fn add(&mut self, (first, last): (u32, u32), value: u32) -> Result<Option<u32>, Written> {
        let before = self.pieces.range(..=last).next_back().map(|(from, (to, value))| (*from, *to, *value));
        let Some((from, to, old)) = before.filter(|(_, to, _)| first <= *to) else {
            self.pieces.insert(first, (last, value));
            return Ok(None);
        };
        if first < from || to < last {
            return Err(Written(from, to));
        }
        if first > from {
            self.pieces.insert(from, (first - 1, old));
        }
        if last < to {
            self.pieces.insert(last + 1, (to, old));
        }
        self.pieces.insert(first, (last, value));
        Ok((first == from && last == to).then_some(old))
    }

    fn delete_range(&mut self, key: &Word) -> Read {
        let (first, last) = range(key)?;
        let mut missing = false;
        for (first, last) in blocks(first, last) {
            if self.pieces.get(&first).is_some_and(|(to, _)| *to == last) {
                self.pieces.remove(&first);
            } else {
                missing = true;
            }
        }
        let warning = || Diagnostic::warning(key.span, format!("no address range \"{}\" to delete", key.text));
        Ok(missing.then(warning))
    }

    fn finish(self) -> Geo {
        let (v4, v6) = if self.ranges {
            let pieces = self.pieces.into_iter();
            let v4: Vec<_> = pieces.map(|(first, (last, value))| Range { first, last, value }).collect();
            // nginx's ranges know no IPv6: such an address is no address.
            let none = v4.iter().find(|range| range.last == NO_ADDRESS).map(|range| range.value);
            let v6 = none.map(|value| Range { first: 0, last: u128::MAX, value });
            (v4, v6.into_iter().collect())
        } else {
            let v4 = self.v4.into_iter().map(|((first, length), value)| {
                let last = first | u32::MAX.checked_shr(length.into()).unwrap_or(0);
                Range { first, last, value }
            });
            let v6 = self.v6.into_iter().map(|((first, length), value)| {
                let last = first | u128::MAX.checked_shr(length.into()).unwrap_or(0);
                Range { first, last, value }
            });
            (v4.collect(), v6.collect())
        };
        Geo {
            volatile: self.volatile,
            proxies: self.proxies,
            v4: Intervals::new(v4),
            v6: Intervals::new(v6),
            default: self.default,
            values: self.values,
        }
    }
}

/// A range as errors show it.
struct Written(u32, u32);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", Ipv4Addr::from_bits(self.0), Ipv4Addr::from_bits(self.1))
    }
}

/// The parts of a range in each block of addresses.
fn blocks(first: u32, last: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let from = next.filter(|from| *from <= last)?;
        let to = (from | BLOCK).min(last);
        next = to.checked_add(1);
        Some((from, to))
    })
}

/// `192.0.2.0/24`, `192.0.2.1`, `2001:db8::/32`; the warning is for bits behind the prefix.
fn network(word: &Word) -> Result<(IpNet, Option<Diagnostic>), Diagnostic> {
    let text = &word.text;
    let (address, length) = text.split_once('/').map_or((&**text, None), |(address, length)| (address, Some(length)));
    let address = match ipv4(address) {
        Some(address) => Some(IpAddr::V4(address)),
        None => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    };
    let network = address.and_then(|address| match length {
        None => Some(IpNet::from(address)),
        Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            IpNet::new(address, length.parse().ok()?).ok()
        }
        Some(_) => None,
    });
    let network = network.ok_or_else(|| Diagnostic::error(word.span, format!("invalid network \"{text}\"")))?;
    let low = network.addr() != network.network();
    let warning = || Diagnostic::warning(word.span, format!("low address bits of {text} are meaningless"));
    Ok((network.trunc(), low.then(warning)))
}

/// `192.0.2.1-192.0.2.9`.
fn range(word: &Word) -> Result<(u32, u32), Diagnostic> {
    let ends = word.text.split_once('-').and_then(|(first, last)| Some((ipv4(first)?, ipv4(last)?)));
    match ends {
        Some((first, last)) if first <= last => Ok((first.to_bits(), last.to_bits())),
        _ => Err(Diagnostic::error(word.span, format!("invalid range \"{}\"", word.text))),
    }
}

/// As nginx reads it: numbers may begin with zeros and are decimal all the same.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let digits = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *octet = digits.parse().ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

#[cfg(test)]
mod tests;
