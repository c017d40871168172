//! `set_real_ip_from`: whose word about a client is taken.

use crate::access::cidr::Range;
use crate::access::{Cidr, Ranges};
use crate::plan::Build;
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Repeat, Value, Word};
use std::net::IpAddr;

/// The `set_real_ip_from` lines in force.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Vec<Source>);

#[derive(Clone, Debug)]
enum Source {
    Unix,
    Network(Cidr),
    /// A host whose addresses are looked up when the configuration is read.
    Host(Word),
}

const CONTEXTS: Contexts =
    Contexts::STREAM.or(Contexts::STREAM_SERVER).or(Contexts::HTTP).or(Contexts::SERVER).or(Contexts::LOCATION);

/// The row, for both planes.
pub const DIRECTIVES: &[Directive<Trusted>] = &[Directive {
    name: "set_real_ip_from",
    contexts: CONTEXTS,
    args: Args::exactly(&[Value::Text], "address | CIDR | unix: | hostname"),
    repeat: Repeat::List(|trusted| trusted.0.clear()),
    default: None,
    doc: "Clients whose word about where a connection really comes from is taken: the address in their PROXY \
          protocol header becomes that of the client. A name's addresses are looked up when the configuration is \
          read.",
    set: |trusted, given| {
        trusted.0.push(match given.text(0) {
            "unix:" => Source::Unix,
            text if Cidr::parse(text).is_ok() => Source::Network(Cidr::given(given, 0)?),
            _ => Source::Host(given.word(0).clone()),
        });
        Ok(())
    },
}];

/// A set of networks compiled.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    v4: Ranges<u32, ()>,
    v6: Ranges<u128, ()>,
    unix: bool,
}

impl Networks {
    /// Looks names up; those without an address go to `build.cx`.
    pub fn build(trusted: &Trusted, build: &Build<'_>) -> Networks {
        let mut cidrs = Vec::new();
        let mut unix = false;
        for source in &trusted.0 {
            match source {
                Source::Unix => unix = true,
                Source::Network(cidr) => cidrs.push(*cidr),
                Source::Host(name) => match (build.resolve)(&name.text) {
                    Ok(found) if !found.is_empty() => cidrs.extend(found.into_iter().map(Cidr::host)),
                    _ => {
                        let message = format!("host not found in set_real_ip_from \"{}\"", name.text);
                        let help = "write an address, a network (10.0.0.0/8), unix: or a name that has an address";
                        build.cx.report(Diagnostic::error(name.span, message).help(help));
                    }
                },
            }
        }
        Networks { unix, ..Networks::new(&cidrs) }
    }

    pub fn new(cidrs: &[Cidr]) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for cidr in cidrs {
            match cidr.range() {
                Range::V4(first, last) => v4.push((first, last, ())),
                Range::V6(first, last) => v6.push((first, last, ())),
            }
        }
        Networks { v4: Ranges::first_match(&v4), v6: Ranges::first_match(&v6), unix: false }
    }

    /// Whether a client is in one of them; `None` is one on a Unix socket. An IPv4 address inside
    /// IPv6 counts as IPv4.
    pub fn contains(&self, client: Option<IpAddr>) -> bool {
        match client.map(|ip| ip.to_canonical()) {
            None => self.unix,
            Some(IpAddr::V4(ip)) => self.v4.find(ip.into()).is_some(),
            Some(IpAddr::V6(ip)) => self.v6.find(ip.into()).is_some(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && !self.unix
    }
}
