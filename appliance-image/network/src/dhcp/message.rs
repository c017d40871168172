//! A DHCP message as bytes (RFC 2131 section 2, options of RFC 2132, 3396 and 3442). What comes from
//! the network may be anything: a message that is not whole is none, an option that makes no sense
//! is left out.

use fairlead_appliance::Mac;
use fairlead_appliance::plan::LeaseRoute;
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const ETHERNET: u8 = 1;
/// Some relays drop what is shorter than BOOTP was.
const SHORTEST: usize = 300;
/// Entries of a list that are looked at.
const MOST: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    /// Of one exchange.
    pub xid: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// What the client has.
    pub client: Ipv4Addr,
    /// What the server gives.
    pub yours: Ipv4Addr,
    pub mac: Mac,
    pub options: Options,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub prefix: Option<u8>,
    pub routers: Vec<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub hostname: Option<Box<str>>,
    pub domain: Option<Box<str>>,
    pub mtu: Option<u16>,
    pub ntp: Vec<Ipv4Addr>,
    pub requested: Option<Ipv4Addr>,
    /// Seconds, here and below.
    pub lease: Option<u32>,
    pub server: Option<Ipv4Addr>,
    pub renewal: Option<u32>,
    pub rebinding: Option<u32>,
    pub routes: Vec<LeaseRoute>,
}

/// Options by their number in RFC 2132.
mod code {
    pub const MASK: u8 = 1;
    pub const ROUTERS: u8 = 3;
    pub const DNS: u8 = 6;
    pub const HOSTNAME: u8 = 12;
    pub const DOMAIN: u8 = 15;
    pub const MTU: u8 = 26;
    pub const NTP: u8 = 42;
    pub const REQUESTED: u8 = 50;
    pub const LEASE: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const KIND: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const WANTED: u8 = 55;
    pub const LARGEST: u8 = 57;
    pub const RENEWAL: u8 = 58;
    pub const REBINDING: u8 = 59;
    pub const CLIENT: u8 = 61;
    pub const ROUTES: u8 = 121;
    pub const END: u8 = 255;
}

/// RFC 3442 wants its option asked for before that of routers.
const ASKED_FOR: [u8; 11] = [
    code::MASK,
    code::ROUTES,
    code::ROUTERS,
    code::DNS,
    code::HOSTNAME,
    code::DOMAIN,
    code::MTU,
    code::NTP,
    code::LEASE,
    code::RENEWAL,
    code::REBINDING,
];

impl Message {
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let fixed = bytes.get(..FIXED)?;
        let rest = bytes.get(FIXED..)?.strip_prefix(&COOKIE)?;
        if fixed.get(1..3)? != [ETHERNET, 6] {
            return None;
        }
        let mut options = BTreeMap::new();
        gather(rest, &mut options);
        // What found no room may stand where the names of a file and a server would.
        let overload = options.get(&code::OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0);
        for (bit, place) in [(1, 108..236), (2, 44..108)] {
            if overload & bit != 0 {
                gather(fixed.get(place)?, &mut options);
            }
        }
        Some(Message {
            kind: kind(options.get(&code::KIND)?)?,
            xid: u32::from_be_bytes(chunk(fixed, 4)?),
            seconds: u16::from_be_bytes(chunk(fixed, 8)?),
            client: chunk::<4>(fixed, 12)?.into(),
            yours: chunk::<4>(fixed, 16)?.into(),
            mac: Mac(chunk(fixed, 28)?),
            options: Options::parse(&options),
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0; FIXED];
        let reply = matches!(self.kind, Kind::Offer | Kind::Ack | Kind::Nak);
        put(&mut out, 0, &[if reply { 2 } else { 1 }, ETHERNET, 6]);
        put(&mut out, 4, &self.xid.to_be_bytes());
        put(&mut out, 8, &self.seconds.to_be_bytes());
        put(&mut out, 12, &self.client.octets());
        put(&mut out, 16, &self.yours.octets());
        put(&mut out, 28, &self.mac.0);
        out.extend_from_slice(&COOKIE);
        option(&mut out, code::KIND, &[self.kind as u8]);
        if !reply {
            let [a, b, c, d, e, f] = self.mac.0;
            option(&mut out, code::CLIENT, &[ETHERNET, a, b, c, d, e, f]);
        }
        if matches!(self.kind, Kind::Discover | Kind::Request) {
            option(&mut out, code::WANTED, &ASKED_FOR);
            option(&mut out, code::LARGEST, &1472_u16.to_be_bytes());
        }
        self.options.put(&mut out);
        out.push(code::END);
        out.resize(out.len().max(SHORTEST), 0);
        out
    }
}

impl Options {
    fn parse(all: &BTreeMap<u8, Vec<u8>>) -> Options {
        let bytes = |code: u8| all.get(&code).map_or(&[][..], Vec::as_slice);
        let number = |code: u8| chunk(bytes(code), 0).map(u32::from_be_bytes);
        let address = |code: u8| chunk::<4>(bytes(code), 0).map(Ipv4Addr::from);
        Options {
            prefix: address(code::MASK).and_then(|mask| ipnet::ipv4_mask_to_prefix(mask).ok()),
            routers: addresses(bytes(code::ROUTERS)),
            dns: addresses(bytes(code::DNS)),
            hostname: name(bytes(code::HOSTNAME)),
            domain: name(bytes(code::DOMAIN)),
            mtu: chunk(bytes(code::MTU), 0).map(u16::from_be_bytes),
            ntp: addresses(bytes(code::NTP)),
            requested: address(code::REQUESTED),
            lease: number(code::LEASE),
            server: address(code::SERVER),
            renewal: number(code::RENEWAL),
            rebinding: number(code::REBINDING),
            routes: routes(bytes(code::ROUTES)),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let list = |all: &[Ipv4Addr]| all.iter().flat_map(Ipv4Addr::octets).collect::<Vec<u8>>();
        let mask = |prefix: u8| Ipv4Net::new(Ipv4Addr::UNSPECIFIED, prefix).map(|net| net.netmask().octets()).ok();
        let named = |name: &Option<Box<str>>| name.as_ref().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let number = |number: Option<u32>| number.map(|number| number.to_be_bytes().to_vec()).unwrap_or_default();
        let one = |address: Option<Ipv4Addr>| address.map(|address| address.octets().to_vec()).unwrap_or_default();
        let mut routes = Vec::new();
        for route in &self.routes {
            routes.push(route.to.prefix_len());
            let significant = usize::from(route.to.prefix_len().div_ceil(8));
            routes.extend(route.to.network().octets().into_iter().take(significant));
            routes.extend(route.via.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        }
        let all = [
            (code::MASK, self.prefix.and_then(mask).map(|mask| mask.to_vec()).unwrap_or_default()),
            (code::ROUTERS, list(&self.routers)),
            (code::DNS, list(&self.dns)),
            (code::HOSTNAME, named(&self.hostname)),
            (code::DOMAIN, named(&self.domain)),
            (code::MTU, self.mtu.map(|mtu| mtu.to_be_bytes().to_vec()).unwrap_or_default()),
            (code::NTP, list(&self.ntp)),
            (code::REQUESTED, one(self.requested)),
            (code::LEASE, number(self.lease)),
            (code::SERVER, one(self.server)),
            (code::RENEWAL, number(self.renewal)),
            (code::REBINDING, number(self.rebinding)),
            (code::ROUTES, routes),
        ];
        all.iter().filter(|(_, value)| !value.is_empty()).for_each(|(code, value)| option(out, *code, value));
    }
}

fn put(out: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = out.get_mut(at..at.saturating_add(value.len())) {
        place.copy_from_slice(value);
    }
}

/// A long value goes in pieces (RFC 3396).
fn option(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    for piece in value.chunks(255) {
        out.extend_from_slice(&[code, u8::try_from(piece.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(piece);
    }
}

fn gather(mut rest: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) {
    while let Some((&code, after)) = rest.split_first() {
        if code == 0 {
            rest = after;
            continue;
        }
        let Some((&length, after)) = after.split_first().filter(|_| code != code::END) else { return };
        let Some((value, after)) = after.split_at_checked(usize::from(length)) else { return };
        options.entry(code).or_default().extend_from_slice(value);
        rest = after;
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn kind(value: &[u8]) -> Option<Kind> {
    use Kind::{Ack, Decline, Discover, Nak, Offer, Release, Request};
    let all = [Discover, Offer, Request, Decline, Ack, Nak, Release];
    all.into_iter().find(|kind| [*kind as u8] == value)
}

fn addresses(value: &[u8]) -> Vec<Ipv4Addr> {
    let all = value.chunks_exact(4).filter_map(|four| chunk::<4>(four, 0)).map(Ipv4Addr::from);
    all.filter(|address| is_station(*address)).take(MOST).collect()
}

/// Whether it may be the address of one machine.
pub(super) fn is_station(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback())
}

/// Letters, digits, hyphens and dots only: it goes into files and onto screens.
fn name(value: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches('\0');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let sound = (1..=253).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['-', '.']);
    sound.then(|| text.into())
}

fn routes(mut rest: &[u8]) -> Vec<LeaseRoute> {
    let mut found = Vec::new();
    while let Some((&length, after)) = rest.split_first() {
        let significant = usize::from(length.div_ceil(8));
        let Some((written, after)) = after.split_at_checked(significant).filter(|_| length <= 32) else { break };
        let Some((via, after)) = after.split_first_chunk::<4>() else { break };
        let mut octets = [0; 4];
        put(&mut octets, 0, written);
        let via = Ipv4Addr::from(*via);
        let to = Ipv4Net::new(octets.into(), length).map(|net| net.trunc());
        if let Ok(to) = to.map_err(drop).and_then(|to| if found.len() < MOST { Ok(to) } else { Err(()) }) {
            found.push(LeaseRoute { to, via: (!via.is_unspecified()).then_some(via) });
        }
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    fn full() -> Message {
        let ip = |text: &str| text.parse().unwrap();
        Message {
            kind: Kind::Ack,
            xid: 0xdead_beef,
            seconds: 7,
            client: ip("10.0.0.9"),
            yours: ip("10.0.0.9"),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            options: Options {
                prefix: Some(24),
                routers: vec![ip("10.0.0.1")],
                dns: vec![ip("10.0.0.53"), ip("10.0.0.54")],
                hostname: Some("lb1".into()),
                domain: Some("example.com".into()),
                mtu: Some(1400),
                ntp: vec![ip("10.0.0.123")],
                requested: None,
                lease: Some(3600),
                server: Some(ip("10.0.0.2")),
                renewal: Some(1800),
                rebinding: Some(3000),
                routes: (0..20)
                    .map(|n| LeaseRoute { to: format!("10.{n}.0.0/16").parse().unwrap(), via: Some(ip("10.0.0.1")) })
                    .collect(),
            },
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let bytes = full().bytes();
        assert_eq!(Message::parse(&bytes), Some(full()));
        let plain = Message { kind: Kind::Discover, options: Options::default(), ..full() };
        assert_eq!((plain.bytes().len(), Message::parse(&plain.bytes())), (300, Some(plain)));
    }

    #[test]
    fn options_may_stand_where_names_would() {
        let mut bytes = Message { options: Options::default(), ..full() }.bytes();
        // Overload 3, then a domain in "file" and a lease time in "sname".
        let end = FIXED + 4 + 3;
        bytes.splice(end.., [52, 1, 3, 255]);
        put(&mut bytes, 108, &[15, 3, b'a', b'.', b'b', 255]);
        put(&mut bytes, 44, &[51, 4, 0, 0, 0, 60]);
        let options = Message::parse(&bytes).unwrap().options;
        assert_eq!((options.domain.as_deref(), options.lease), (Some("a.b"), Some(60)));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let with = |code: u8, value: &[u8]| {
            let mut bytes = Message { options: Options::default(), ..full() }.bytes();
            bytes.truncate(FIXED + 4 + 3);
            option(&mut bytes, code, value);
            Message::parse(&bytes).map(|message| message.options)
        };
        let none = Some(Options::default());
        assert_eq!(with(code::HOSTNAME, b"a\nb"), none);
        assert_eq!(with(code::DOMAIN, b"x; reboot"), none);
        assert_eq!(with(code::MASK, &[255, 0, 255, 0]), none);
        assert_eq!(with(code::ROUTERS, &[0, 0, 0, 0, 224, 0, 0, 1, 127, 0, 0, 1, 1]), none);
        assert_eq!(with(code::ROUTES, &[33, 1, 1, 1, 1, 1, 2, 3, 4, 5]), none);
        assert_eq!(with(code::LEASE, &[1, 2]), none);
        let default = with(code::ROUTES, &[0, 10, 0, 0, 1]).unwrap().routes;
        assert_eq!(default, [LeaseRoute { to: Ipv4Net::default(), via: Some([10, 0, 0, 1].into()) }]);
    }

    #[test]
    fn no_bytes_stop_the_reader() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let mut bytes = full().bytes();
            for _ in 0..8 {
                let at = dice.roll(bytes.len() as u64) as usize;
                bytes[at] = dice.roll(256) as u8;
            }
            bytes.truncate(dice.roll(bytes.len() as u64 + 1) as usize);
            if let Some(message) = Message::parse(&bytes) {
                assert!(message.options.routes.len() <= MOST, "seed {seed}");
                // What it understands it can say again.
                assert!(Message::parse(&message.bytes()).is_some(), "seed {seed}");
            }
        }
    }
}
