//! `map`, `geo` and `split_clients` as both planes have them: their rows, what
//! they come to, and how a value is worked out when it is asked for.
//!
//! A plane says what its variables are ([`Plane`]) and what one session or
//! request knows ([`Ask`]); which of the values are kept is [`Values`]'.

use crate::log::Level;
use crate::names::Captures;
use crate::variable::{Geo, Map, Proxies, SplitClients, Values, defined_name};
use fairlead_conf::{Args, Contexts, Cx, Defined, Diagnostic, Directive, Given, Repeat, Template, Value, Word};
use std::fmt;
use std::net::IpAddr;

/// The variables of a plane.
pub trait Plane: Sized + 'static {
    type Variable: 'static;
    /// `geo` may ask proxies for the client's address.
    const PROXIES: bool;

    /// Compiles a word of the configuration.
    ///
    /// # Errors
    /// An unknown variable.
    fn compile(word: &Word, cx: &Cx) -> Result<Template<Self::Variable>, Diagnostic>;

    /// The variable of this name, those of the configuration included.
    fn resolve(name: &str, cx: &Cx) -> Option<Self::Variable>;

    /// What a variable of this name is before the configuration gives it a value.
    fn otherwise(_name: &str) -> Option<Self::Variable> {
        None
    }
}

/// Where the value of a variable comes from.
pub enum Source<V> {
    Map(Box<Map<V>>),
    Geo {
        /// `None`: the client's address.
        address: Option<V>,
        geo: Geo,
    },
    Split(SplitClients<V>),
    /// A statement or a group gives it.
    Given {
        /// What the plane has by that name, until `set` gives it a value.
        otherwise: Option<V>,
        /// Without `set` it is empty rather than missing.
        by_set: bool,
    },
}

/// Blocks of a plane that define variables, with the numbers of these.
pub struct Blocks<P: Plane>(Vec<(usize, Source<P::Variable>)>);

impl<P: Plane> Default for Blocks<P> {
    fn default() -> Blocks<P> {
        Blocks(Vec::new())
    }
}

const CONTEXTS: Contexts = Contexts::STREAM.or(Contexts::HTTP);

impl<P: Plane> Blocks<P> {
    pub const DIRECTIVES: &'static [Directive<Blocks<P>>] = &[
        Directive {
            name: "map",
            contexts: CONTEXTS,
            args: Args::exactly(&[Value::Template, Value::Text], "string $variable").with_block(),
            repeat: Repeat::Append,
            default: None,
            doc: "Makes a variable whose value depends on the string: `key value;` lines, where a key is a text in any \
                  case or, behind `~` (`~*`: in any case), a regular expression whose groups the value may use. \
                  `default` is the value where no key matches, empty if there is none. With `hostnames` keys may be \
                  masks (`*.example.com`, `.example.com`, `example.*`); `volatile` keeps no value. `\\` before a key \
                  makes it a plain text. The exact text counts first, then the longest mask in front, the longest \
                  behind, the first regular expression.",
            set: |blocks, given| {
                let map = Map::read(given, &|word| P::compile(word, given.cx))?;
                blocks.define(given, 1, Source::Map(Box::new(map)))
            },
        },
        Directive {
            name: "geo",
            contexts: CONTEXTS,
            args: Args::between(1, 2, &[Value::Text], "[$address] $variable").with_block(),
            repeat: Repeat::Append,
            default: None,
            doc: "Makes a variable whose value depends on the client's address, or on that in `$address`: \
                  `network value;` lines, of which the longest prefix holds, or after `ranges;` lines of \
                  `address-address value;`. `default` is the value of all others, empty if there is none; `delete` \
                  takes a network out again; `volatile` keeps no value. What is no address counts as \
                  255.255.255.255. In `http`, `proxy network;` names networks whose `X-Forwarded-For` says what the \
                  client's address is; with `proxy_recursive` the last address there that is of no such network. An \
                  `include` reads the file it names and no `.bin` beside it, which is nginx's own memory, written down.",
            set: |blocks, given| {
                let address = match given.len() {
                    1 => None,
                    _ => Some(address::<P>(given)?),
                };
                let geo = Geo::read(given, P::PROXIES);
                blocks.define(given, given.len() - 1, Source::Geo { address, geo })
            },
        },
        Directive {
            name: "split_clients",
            contexts: CONTEXTS,
            args: Args::exactly(&[Value::Template, Value::Text], "string $variable").with_block(),
            repeat: Repeat::Append,
            default: None,
            doc: "Makes a variable that deals out the hash of the string (MurmurHash2) in parts: `0.5% value;` lines \
                  with at most two decimals, and `* value;` for the rest.",
            set: |blocks, given| {
                let split = SplitClients::read(given, &|word| P::compile(word, given.cx))?;
                blocks.define(given, 1, Source::Split(split))
            },
        },
    ];

    fn define(&mut self, given: &Given<'_>, index: usize, source: Source<P::Variable>) -> Result<(), Diagnostic> {
        self.0.push((defined_number(given, index)?, source));
        Ok(())
    }
}

/// The number of the variable that argument `index` defines; the plane has collected the names of
/// all that may be.
///
/// # Errors
/// It is no variable's name, or the plane has one of that name.
pub fn defined_number(given: &Given<'_>, index: usize) -> Result<usize, Diagnostic> {
    let name = defined_name(given, index)?;
    let number = given.cx.defined.borrow().number(name);
    number.ok_or_else(|| given.error(index, format!("the duplicate \"{name}\" variable")))
}

fn address<P: Plane>(given: &Given<'_>) -> Result<P::Variable, Diagnostic> {
    let name = defined_name(given, 0)?;
    let found = P::resolve(name, given.cx);
    found.ok_or_else(|| given.error(0, format!("unknown \"{name}\" variable")))
}

/// Every variable of a plan that the configuration makes, by number.
pub struct Customs<V> {
    sources: Vec<Source<V>>,
    names: Defined,
}

impl<V> Default for Customs<V> {
    fn default() -> Customs<V> {
        Customs { sources: Vec::new(), names: Defined::default() }
    }
}

impl<V> Customs<V> {
    /// `sets` are the numbers of those that `set` gives values.
    pub fn new<P: Plane<Variable = V>>(
        blocks: Blocks<P>,
        sets: impl Iterator<Item = usize>,
        names: Defined,
    ) -> Customs<V> {
        let mut named: Vec<(&str, usize)> = names.iter().collect();
        named.sort_by_key(|(_, number)| *number);
        let none = |_| Source::Given { otherwise: None, by_set: false };
        let mut sources: Vec<Source<V>> = named.iter().map(none).collect();
        for number in sets {
            if let (Some(place), Some((name, _))) = (sources.get_mut(number), named.get(number)) {
                *place = Source::Given { otherwise: P::otherwise(name), by_set: true };
            }
        }
        for (number, source) in blocks.0 {
            // As in nginx the last definition holds, and `set` takes its place where it runs.
            if let Some(place) = sources.get_mut(number) {
                *place = source;
            }
        }
        Customs { sources, names }
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.names.number(name)
    }

    pub fn name(&self, number: usize) -> &str {
        self.names.iter().find(|(_, known)| *known == number).map_or("", |(name, _)| name)
    }

    /// Every variable of the plane that one of these may ask for.
    pub fn variables(&self) -> impl Iterator<Item = &V> {
        self.sources.iter().flat_map(Source::variables)
    }
}

impl<V> Source<V> {
    fn variables(&self) -> Box<dyn Iterator<Item = &V> + '_> {
        match self {
            Source::Map(map) => Box::new(map.templates().flat_map(Template::variables)),
            Source::Geo { address, .. } => Box::new(address.iter()),
            Source::Split(split) => Box::new(split.source.variables()),
            Source::Given { otherwise, .. } => Box::new(otherwise.iter()),
        }
    }

    fn volatile(&self) -> bool {
        match self {
            Source::Map(map) => map.volatile,
            Source::Geo { geo, .. } => geo.volatile,
            // What the plane has by that name may change.
            Source::Given { otherwise, .. } => otherwise.is_some(),
            Source::Split(_) => false,
        }
    }
}

/// One session or request that variables are asked of.
pub trait Ask {
    type Variable;

    fn customs(&self) -> &Customs<Self::Variable>;

    fn values(&self) -> &Values;

    /// Appends a value of the plane's own; false when it does not exist.
    fn push(&self, variable: &Self::Variable, out: &mut Vec<u8>) -> bool;

    /// `None` on a Unix socket.
    fn client(&self) -> Option<IpAddr>;

    /// The address that proxies speak for, if `address` is one of theirs.
    fn forwarded(&self, address: IpAddr, proxies: &Proxies) -> IpAddr;

    /// A regular expression matched: its groups are variables from now on.
    fn captured(&self, captures: Captures);

    /// A variable that only `set` gives values was asked for before that.
    fn unset(&self, name: &str);

    /// Something for the error log.
    fn trouble(&self, level: Level, message: fmt::Arguments<'_>);
}

/// Appends the value of a variable of the configuration's own; false when there is none.
pub fn push_custom<A: Ask>(of: &A, number: usize, out: &mut Vec<u8>) -> bool {
    of.values().push(number, out).unwrap_or_else(|| work_out(of, number, out))
}

fn work_out<A: Ask>(of: &A, number: usize, out: &mut Vec<u8>) -> bool {
    let Some(source) = of.customs().sources.get(number) else { return false };
    if !of.values().ask(number) {
        let name = of.customs().name(number);
        of.trouble(Level::Error, format_args!("cycle while evaluating variable \"{name}\""));
        return false;
    }
    let start = out.len();
    let exists = match source {
        Source::Given { otherwise: Some(otherwise), .. } => of.push(otherwise, out),
        Source::Given { otherwise: None, by_set } => {
            if *by_set {
                of.unset(of.customs().name(number));
            }
            *by_set
        }
        Source::Map(map) => push_mapped(of, map, out),
        Source::Geo { address, geo } => {
            let address = geo_address(of, address.as_ref(), geo);
            out.extend_from_slice(geo.find(address).as_bytes());
            true
        }
        Source::Split(split) => {
            out.extend_from_slice(split.find(&rendered(of, &split.source)).as_bytes());
            true
        }
    };
    let value = out.get(start..).filter(|_| exists);
    of.values().answer(number, value, source.volatile());
    exists
}

fn rendered<A: Ask>(of: &A, template: &Template<A::Variable>) -> Vec<u8> {
    let mut text = Vec::new();
    template.render(&mut text, |variable, out| {
        of.push(variable, out);
    });
    text
}

fn geo_address<A: Ask>(of: &A, address: Option<&A::Variable>, geo: &Geo) -> Option<IpAddr> {
    let address = match address {
        None => of.client(),
        Some(variable) => {
            let mut text = Vec::new();
            let exists = of.push(variable, &mut text);
            std::str::from_utf8(&text).ok().filter(|_| exists).and_then(|text| text.parse().ok())
        }
    }?;
    Some(if geo.proxies.networks.is_empty() { address } else { of.forwarded(address, &geo.proxies) })
}

fn push_mapped<A: Ask>(of: &A, map: &Map<A::Variable>, out: &mut Vec<u8>) -> bool {
    let subject = rendered(of, &map.source);
    let found = map.find(&subject);
    if let Some(pattern) = found.too_complex {
        let subject = subject.escape_ascii();
        let message = format_args!("regex match failed: too complex on \"{subject}\" using \"{pattern}\"");
        of.trouble(Level::Alert, message);
    }
    if let Some(captures) = found.captures {
        of.captured(captures);
    }
    if let Some(value) = found.value {
        value.render(out, |variable, out| {
            of.push(variable, out);
        });
    }
    true
}
