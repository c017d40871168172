//! A directive is one row: its name, where it may stand, what it takes, its
//! default, its page of documentation and the code that stores it.

use crate::{Diagnostic, Given};
use std::ops::RangeInclusive;

/// One directive of the configuration language that writes into a `T`.
pub struct Directive<T: 'static> {
    pub name: &'static str,
    pub contexts: Contexts,
    pub args: Args,
    pub repeat: Repeat<T>,
    /// Source text of the value in force when nobody writes one, put through `set`.
    pub default: Option<&'static str>,
    pub doc: &'static str,
    pub set: fn(&mut T, &Given<'_>) -> Result<(), Diagnostic>,
}

/// What a second use of a directive in the same block means.
pub enum Repeat<T> {
    /// An error: `"root" directive is duplicate`.
    Once,
    /// File order matters and every use counts (`server`, `listen`, `allow`).
    Append,
    /// A list that a block replaces whole: the function empties what was inherited
    /// before the block's first use (`proxy_set_header`, `access_log`).
    List(fn(&mut T)),
}

/// A set of contexts, as nginx's documentation names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts(pub u32);

impl Contexts {
    pub const MAIN: Contexts = Contexts(1);
    pub const EVENTS: Contexts = Contexts(1 << 1);
    pub const HTTP: Contexts = Contexts(1 << 2);
    pub const SERVER: Contexts = Contexts(1 << 3);
    pub const LOCATION: Contexts = Contexts(1 << 4);
    pub const IF_SERVER: Contexts = Contexts(1 << 5);
    pub const IF_LOCATION: Contexts = Contexts(1 << 6);
    pub const LIMIT_EXCEPT: Contexts = Contexts(1 << 7);
    pub const UPSTREAM: Contexts = Contexts(1 << 8);
    pub const MATCH: Contexts = Contexts(1 << 9);
    pub const STREAM: Contexts = Contexts(1 << 10);
    pub const STREAM_SERVER: Contexts = Contexts(1 << 11);
    pub const STREAM_UPSTREAM: Contexts = Contexts(1 << 12);
    pub const STREAM_MATCH: Contexts = Contexts(1 << 13);
    pub const APPLIANCE: Contexts = Contexts(1 << 14);
    pub const INTERFACE: Contexts = Contexts(1 << 15);
    pub const VLAN: Contexts = Contexts(1 << 16);
    pub const BOND: Contexts = Contexts(1 << 17);
    pub const MANAGEMENT: Contexts = Contexts(1 << 18);

    pub const fn or(self, other: Contexts) -> Contexts {
        Contexts(self.0 | other.0)
    }

    /// Whether the two have a context in common.
    pub const fn contains(self, other: Contexts) -> bool {
        self.0 & other.0 != 0
    }

    /// The contexts as nginx's documentation names them, those of `stream {}` marked.
    pub fn names(self) -> Vec<&'static str> {
        const NAMES: &[&str] = &[
            "main",
            "events",
            "http",
            "server",
            "location",
            "if in server",
            "if in location",
            "limit_except",
            "upstream",
            "match",
            "stream",
            "stream server",
            "stream upstream",
            "stream match",
            "appliance",
            "interface",
            "vlan",
            "bond",
            "management",
        ];
        let set = NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        set.map(|(_, name)| *name).collect()
    }
}

/// How many arguments a directive takes, of which types, and whether a block follows.
pub struct Args {
    pub min: usize,
    pub max: usize,
    /// Type of each argument; the last one repeats.
    pub values: &'static [Value],
    pub block: bool,
    /// Arity and types as nginx's documentation writes them: `address [parameters]`.
    pub syntax: &'static str,
}

impl Args {
    pub const fn none() -> Args {
        Args { min: 0, max: 0, values: &[], block: false, syntax: "" }
    }

    /// Exactly one argument per entry of `values`.
    pub const fn exactly(values: &'static [Value], syntax: &'static str) -> Args {
        Args { min: values.len(), max: values.len(), values, block: false, syntax }
    }

    /// Between `min` and `max` arguments; the last type repeats.
    pub const fn between(min: usize, max: usize, values: &'static [Value], syntax: &'static str) -> Args {
        Args { min, max, values, block: false, syntax }
    }

    /// `min` arguments or more; the last type repeats.
    pub const fn at_least(min: usize, values: &'static [Value], syntax: &'static str) -> Args {
        Args { min, max: usize::MAX, values, block: false, syntax }
    }

    /// The same arguments, then `{ … }`.
    pub const fn with_block(mut self) -> Args {
        self.block = true;
        self
    }
}

/// Type of one argument: checked before `set` runs, named in errors and documentation.
#[derive(Clone, Debug)]
pub enum Value {
    /// `on` or `off`.
    Flag,
    Int(RangeInclusive<i64>),
    /// Bytes: `10`, `8k`, `1m`, `2g`.
    Size,
    /// `90`, `1m30s`, `100ms`; seconds when no unit is written.
    Time,
    /// Any word.
    Text,
    /// A file or folder, relative to the prefix.
    Path,
    /// `host[:port]`, `:port`, `unix:path`.
    Address,
    /// An address or a network in CIDR notation.
    Cidr,
    OneOf(&'static [&'static str]),
    /// The same in any case.
    AnyCase(&'static [&'static str]),
    /// Text in which `$variables` are replaced for each request or session.
    Template,
    /// Named in documentation; what is wrong with it `set` says.
    Unchecked(&'static Value),
    /// `name` or `name=value` words.
    Params(&'static [Param]),
}

/// One `name` or `name=value` parameter. What may be written both ways has two rows.
#[derive(Clone, Debug)]
pub struct Param {
    pub name: &'static str,
    /// Type of what follows `=`; nothing follows when absent.
    pub value: Option<Value>,
    pub doc: &'static str,
}
