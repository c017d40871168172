//! `allow` and `deny`: the rows, and the list compiled.

use crate::access::cidr::Range;
use crate::access::{Cidr, Ranges};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value};
use std::net::IpAddr;

/// What the `allow` and `deny` lines in force say, in file order.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    list: Vec<(Verdict, Who)>,
    /// The block they stand in: a block that has rules of its own inherits none.
    block: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    All,
    Unix,
    Network(Cidr),
}

const CONTEXTS: Contexts = Contexts::STREAM
    .or(Contexts::STREAM_SERVER)
    .or(Contexts::HTTP)
    .or(Contexts::SERVER)
    .or(Contexts::LOCATION)
    .or(Contexts::LIMIT_EXCEPT);
const ARGS: Args = Args::exactly(&[Value::Text], "address | CIDR | unix: | all");

/// The rows of both, for both planes.
pub const DIRECTIVES: &[Directive<Rules>] = &[
    Directive {
        name: "allow",
        contexts: CONTEXTS,
        args: ARGS,
        repeat: Repeat::Append,
        default: None,
        doc: "Lets clients of an address or a network in; `unix:` are those of Unix sockets. `allow` and `deny` are \
              read in order and the first that fits decides; who none fits is let in.",
        set: |rules, given| rules.push(Verdict::Allow, given),
    },
    Directive {
        name: "deny",
        contexts: CONTEXTS,
        args: ARGS,
        repeat: Repeat::Append,
        default: None,
        doc: "Turns clients of an address or a network away with 403; see `allow`.",
        set: |rules, given| rules.push(Verdict::Deny, given),
    },
];

impl Rules {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn push(&mut self, verdict: Verdict, given: &Given<'_>) -> Result<(), Diagnostic> {
        let who = match given.text(0) {
            "all" => Who::All,
            "unix:" => Who::Unix,
            _ => Who::Network(Cidr::given(given, 0)?),
        };
        if self.block != given.block_number() {
            self.block = given.block_number();
            self.list.clear();
        }
        self.list.push((verdict, who));
        Ok(())
    }
}

/// Rules compiled. Families that no rule speaks of are let in.
#[derive(Clone, Debug, Default)]
pub struct Acl {
    v4: Option<Ranges<u32, Verdict>>,
    v6: Option<Ranges<u128, Verdict>>,
    unix: Option<Verdict>,
}

impl Acl {
    pub fn new(rules: &Rules) -> Acl {
        let (mut v4, mut v6, mut unix) = (Vec::new(), Vec::new(), None);
        for (verdict, who) in &rules.list {
            match who {
                Who::All => {
                    v4.push((0, u32::MAX, *verdict));
                    v6.push((0, u128::MAX, *verdict));
                    unix.get_or_insert(*verdict);
                }
                Who::Unix => {
                    unix.get_or_insert(*verdict);
                }
                Who::Network(network) => match network.range() {
                    Range::V4(first, last) => v4.push((first, last, *verdict)),
                    Range::V6(first, last) => v6.push((first, last, *verdict)),
                },
            }
        }
        Acl {
            v4: (!v4.is_empty()).then(|| Ranges::first_match(&v4)),
            v6: (!v6.is_empty()).then(|| Ranges::first_match(&v6)),
            unix,
        }
    }

    /// What the first rule that fits says of a client; `None` is one on a Unix socket. An IPv4
    /// address inside IPv6 is for the IPv4 rules, where there are any.
    pub fn verdict(&self, client: Option<IpAddr>) -> Option<Verdict> {
        match client {
            None => self.unix,
            Some(IpAddr::V4(ip)) => self.v4.as_ref()?.find(ip.into()),
            Some(IpAddr::V6(ip)) => match (ip.to_ipv4_mapped(), &self.v4) {
                (Some(inner), Some(v4)) => v4.find(inner.into()),
                _ => self.v6.as_ref()?.find(ip.into()),
            },
        }
    }

    /// Whether the client is turned away.
    pub fn denies(&self, client: Option<IpAddr>) -> bool {
        self.verdict(client) == Some(Verdict::Deny)
    }
}
