//! Variables that the configuration makes: `map`, `geo`, `split_clients`,
//! `set`, and the groups of regular expressions. A session works each out when
//! it is first asked for and keeps it; one that asks for none pays nothing.

use crate::directives::{SERVER, STREAM};
use crate::phases::INITIALIZING;
use crate::plan::Plan;
use crate::record::Record;
use crate::variables::{Variable, builtin, compile, resolve};
use fairlead_conf::{Args, Block, Cx, Defined, Diagnostic, Directive, Given, Repeat, Statement, Template, Value, Word};
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::Level;
use fairlead_core::names::{Captures, group_names};
use fairlead_core::variable::{Geo, Map, SplitClients, defined_name};
use std::cell::Cell;
use std::ops::Range;

/// Where the value of a variable comes from.
pub(crate) enum Source {
    Map(Map<Variable>),
    Geo {
        /// `None`: the client's address.
        address: Option<Variable>,
        geo: Geo,
    },
    Split(SplitClients<Variable>),
    /// `set` or a group gave it, or nobody did.
    Given {
        /// Without `set` it is empty rather than missing.
        by_set: bool,
    },
}

/// Blocks of `stream` that define variables, with the numbers of these.
#[derive(Default)]
pub(crate) struct Blocks(Vec<(usize, Source)>);

/// The `set` lines of a server.
pub(crate) type Sets = Vec<Set>;

#[derive(Clone)]
pub(crate) struct Set {
    number: usize,
    pub value: Template<Variable>,
}

/// Every variable of a plan that the configuration makes, by number.
#[derive(Default)]
pub(crate) struct Customs {
    sources: Vec<Source>,
    names: Defined,
    /// One of them needs the address the client used.
    wants_local: bool,
}

pub(crate) const DIRECTIVES: &[Directive<Blocks>] = &[
    Directive {
        name: "map",
        contexts: STREAM,
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
            let map = Map::read(given, &|word| compile(word, given.cx))?;
            blocks.define(given, 1, Source::Map(map))
        },
    },
    Directive {
        name: "geo",
        contexts: STREAM,
        args: Args::between(1, 2, &[Value::Text], "[$address] $variable").with_block(),
        repeat: Repeat::Append,
        default: None,
        doc: "Makes a variable whose value depends on the client's address, or on that in `$address`: \
              `network value;` lines, of which the longest prefix holds, or after `ranges;` lines of \
              `address-address value;`. `default` is the value of all others, empty if there is none; `delete` \
              takes a network out again; `volatile` keeps no value. What is no address counts as 255.255.255.255.",
        set: |blocks, given| {
            let address = match given.len() {
                1 => None,
                _ => Some(address(given)?),
            };
            let geo = Geo::read(given, false);
            blocks.define(given, given.len() - 1, Source::Geo { address, geo })
        },
    },
    Directive {
        name: "split_clients",
        contexts: STREAM,
        args: Args::exactly(&[Value::Template, Value::Text], "string $variable").with_block(),
        repeat: Repeat::Append,
        default: None,
        doc: "Makes a variable that deals out the hash of the string (MurmurHash2) in parts: `0.5% value;` lines \
              with at most two decimals, and `* value;` for the rest.",
        set: |blocks, given| {
            let split = SplitClients::read(given, &|word| compile(word, given.cx))?;
            blocks.define(given, 1, Source::Split(split))
        },
    },
];

pub(crate) const SET: &[Directive<Sets>] = &[Directive {
    name: "set",
    contexts: SERVER,
    args: Args::exactly(&[Value::Text, Value::Template], "$variable value"),
    repeat: Repeat::Append,
    default: None,
    doc: "Gives a variable a value in every session of this server, before `limit_conn` and `allow` look at it.",
    set: |sets, given| {
        let number = number(given, 0)?;
        let value = compile(given.word(1), given.cx)?;
        sets.push(Set { number, value });
        Ok(())
    },
}];

/// Takes in the names that `stream { … }` defines, so that they may be used before their definition.
pub(crate) fn define(block: &Block, cx: &Cx) {
    let mut names = cx.defined.borrow_mut();
    for statement in &block.statements {
        match &*statement.name.text {
            "map" => {
                name(&mut names, statement.args.get(1));
                let keys = statement.block.iter().flat_map(|block| &block.statements);
                keys.for_each(|entry| groups(&mut names, &entry.name));
            }
            "geo" | "split_clients" => name(&mut names, statement.args.last()),
            "server" => statement.block.iter().flat_map(|block| &block.statements).for_each(|inner| {
                server_names(&mut names, inner);
            }),
            _ => {}
        }
    }
}

fn server_names(names: &mut Defined, statement: &Statement) {
    match &*statement.name.text {
        "set" => name(names, statement.args.first()),
        "server_name" => statement.args.iter().for_each(|word| groups(names, word)),
        _ => {}
    }
}

/// Names that are no names are the rows' to tell.
fn name(names: &mut Defined, word: Option<&Word>) {
    let name = word.and_then(|word| word.text.strip_prefix('$')).filter(|name| !name.is_empty());
    if let Some(name) = name.filter(|name| builtin(name).is_none()) {
        names.define(name);
    }
}

fn groups(names: &mut Defined, word: &Word) {
    if word.text.starts_with('~') {
        group_names(&word.text).filter(|name| builtin(name).is_none()).for_each(|name| {
            names.define(name);
        });
    }
}

/// The number of the variable that argument `index` defines.
fn number(given: &Given<'_>, index: usize) -> Result<usize, Diagnostic> {
    let name = defined_name(given, index)?;
    let number = given.cx.defined.borrow().number(name);
    number.ok_or_else(|| given.error(index, format!("the duplicate \"{name}\" variable")))
}

fn address(given: &Given<'_>) -> Result<Variable, Diagnostic> {
    let name = defined_name(given, 0)?;
    let found = resolve(name, given.cx);
    found.ok_or_else(|| given.error(0, format!("unknown \"{name}\" variable")))
}

impl Blocks {
    fn define(&mut self, given: &Given<'_>, index: usize, source: Source) -> Result<(), Diagnostic> {
        self.0.push((number(given, index)?, source));
        Ok(())
    }
}

impl Customs {
    /// `sets` are the lines of all servers.
    pub fn new<'s>(blocks: Blocks, sets: impl Iterator<Item = &'s Set>, names: Defined) -> Customs {
        let mut sources: Vec<Source> = Vec::new();
        sources.resize_with(names.len(), || Source::Given { by_set: false });
        for set in sets {
            if let Some(source) = sources.get_mut(set.number) {
                *source = Source::Given { by_set: true };
            }
        }
        for (number, source) in blocks.0 {
            // As in nginx the last definition holds, and `set` takes its place in a session.
            if let Some(place) = sources.get_mut(number) {
                *place = source;
            }
        }
        let wants_local = sources.iter().any(Source::wants_local);
        Customs { sources, names, wants_local }
    }

    /// Whether the value of `variable` needs the address the client used.
    pub fn want_local(&self, variable: Variable) -> bool {
        match variable {
            Variable::Custom(_) => self.wants_local,
            other => other.wants_local(),
        }
    }
}

impl Source {
    fn wants_local(&self) -> bool {
        match self {
            Source::Map(map) => map.templates().flat_map(Template::variables).any(|variable| variable.wants_local()),
            Source::Geo { address, .. } => address.is_some_and(Variable::wants_local),
            Source::Split(split) => split.source.variables().any(|variable| variable.wants_local()),
            Source::Given { .. } => false,
        }
    }

    fn volatile(&self) -> bool {
        match self {
            Source::Map(map) => map.volatile,
            Source::Geo { geo, .. } => geo.volatile,
            Source::Split(_) | Source::Given { .. } => false,
        }
    }
}

/// The values a session has worked out; nothing until it asks for the first.
#[derive(Default)]
pub(crate) struct Values(Cell<Option<Box<Known>>>);

#[derive(Default)]
struct Known {
    /// In the order of the numbers: a session asks for few of all variables.
    states: Vec<(usize, State)>,
    /// How many are being worked out.
    depth: usize,
    /// The bytes of all values.
    text: Vec<u8>,
    /// What `$1` to `$9` are.
    groups: Vec<Option<Vec<u8>>>,
}

enum State {
    /// Being worked out: who asks now would wait for ever.
    Asked,
    Missing,
    Value(Range<usize>),
}

/// Variables that may be worked out for one another, as in nginx.
const MOST_DEPTH: usize = 100;

impl Values {
    fn with<R>(&self, use_it: impl FnOnce(&mut Known) -> R) -> R {
        let mut known = self.0.take().unwrap_or_default();
        let result = use_it(&mut known);
        self.0.set(Some(known));
        result
    }
}

impl Known {
    fn place(&self, number: usize) -> Result<usize, usize> {
        self.states.binary_search_by_key(&number, |(known, _)| *known)
    }

    fn state(&self, number: usize) -> Option<&State> {
        self.states.get(self.place(number).ok()?).map(|(_, state)| state)
    }

    fn put(&mut self, number: usize, state: State) {
        match self.place(number) {
            Ok(place) => {
                if let Some((_, old)) = self.states.get_mut(place) {
                    *old = state;
                }
            }
            Err(place) => self.states.insert(place, (number, state)),
        }
    }

    fn put_value(&mut self, number: usize, value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(value);
        self.put(number, State::Value(start..self.text.len()));
    }

    /// Marks a variable as being worked out; false when that would not end.
    fn ask(&mut self, number: usize) -> bool {
        let ends = self.depth < MOST_DEPTH && !matches!(self.state(number), Some(State::Asked));
        if ends {
            self.depth += 1;
            self.put(number, State::Asked);
        }
        ends
    }

    /// The variable asked for has this value, or none, which is kept unless it is volatile.
    fn answer(&mut self, number: usize, value: Option<&[u8]>, volatile: bool) {
        self.depth = self.depth.saturating_sub(1);
        match (value, self.place(number)) {
            (_, Ok(place)) if volatile => {
                self.states.remove(place);
            }
            (Some(value), _) => self.put_value(number, value),
            (None, _) => self.put(number, State::Missing),
        }
    }
}

/// Runs the `set` lines of the session's server.
pub(crate) fn set(record: &Record) {
    for set in &record.entry.server.sets {
        let mut value = Vec::new();
        record.render(&set.value, tick(), &mut value);
        record.custom.with(|known| known.put_value(set.number, &value));
    }
}

impl Record {
    /// Appends the value of a variable of the configuration's own; false when there is none.
    pub(crate) fn push_custom(&self, number: usize, now: Tick, out: &mut Vec<u8>) -> bool {
        let known = self.custom.with(|known| match known.state(number)? {
            State::Asked => None,
            State::Missing => Some(false),
            State::Value(range) => {
                out.extend_from_slice(known.text.get(range.clone()).unwrap_or_default());
                Some(true)
            }
        });
        known.unwrap_or_else(|| self.work_out(number, now, out))
    }

    fn work_out(&self, number: usize, now: Tick, out: &mut Vec<u8>) -> bool {
        let plan = self.worker.plan.clone();
        let Some(source) = plan.customs.sources.get(number) else { return false };
        if !self.custom.with(|known| known.ask(number)) {
            let name = plan.custom_name(number);
            self.trouble(Level::Error, format_args!("cycle while evaluating variable \"{name}\""));
            return false;
        }
        let start = out.len();
        let exists = self.value(source, now, out);
        let value = out.get(start..).filter(|_| exists);
        self.custom.with(|known| known.answer(number, value, source.volatile()));
        exists
    }

    fn value(&self, source: &Source, now: Tick, out: &mut Vec<u8>) -> bool {
        match source {
            Source::Map(map) => self.mapped(map, now, out),
            Source::Geo { address, geo } => {
                let address = match address {
                    None => self.client.map(|client| client.ip()),
                    Some(variable) => {
                        let mut text = Vec::new();
                        let exists = self.push(*variable, now, &mut text);
                        std::str::from_utf8(&text).ok().filter(|_| exists).and_then(|text| text.parse().ok())
                    }
                };
                out.extend_from_slice(geo.find(address).as_bytes());
            }
            Source::Split(split) => {
                let mut key = Vec::new();
                self.render(&split.source, now, &mut key);
                out.extend_from_slice(split.find(&key).as_bytes());
            }
            Source::Given { by_set } => return *by_set,
        }
        true
    }

    fn mapped(&self, map: &Map<Variable>, now: Tick, out: &mut Vec<u8>) {
        let mut subject = Vec::new();
        self.render(&map.source, now, &mut subject);
        let found = map.find(&subject);
        if let Some(pattern) = found.too_complex {
            let subject = subject.escape_ascii();
            let message = format_args!("regex match failed: too complex on \"{subject}\" using \"{pattern}\"");
            self.trouble(Level::Alert, message);
        }
        if let Some(captures) = found.captures {
            self.captured(captures);
        }
        if let Some(value) = found.value {
            self.render(value, now, out);
        }
    }

    /// A regular expression matched: its groups are variables of the session from now on.
    pub(crate) fn captured(&self, captures: Captures) {
        let names = &self.worker.plan.customs.names;
        self.custom.with(|known| {
            for (name, value) in &captures.named {
                if let Some(number) = names.number(name) {
                    known.put_value(number, value);
                }
            }
            known.groups = captures.numbered;
        });
    }

    /// Appends `$1` to `$9`; false when the last match had no such group.
    pub(crate) fn push_group(&self, number: usize, out: &mut Vec<u8>) -> bool {
        self.custom.with(|known| {
            let Some(Some(value)) = known.groups.get(number) else { return false };
            out.extend_from_slice(value);
            true
        })
    }

    fn trouble(&self, level: Level, message: std::fmt::Arguments<'_>) {
        let action = if self.proxying { "proxying connection" } else { INITIALIZING };
        self.log(level, action, message);
    }
}

impl Plan {
    fn custom_name(&self, number: usize) -> &str {
        self.customs.names.iter().find(|(_, known)| *known == number).map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests;
