//! Variables that the configuration makes, as sessions have them: those of
//! `map`, `geo` and `split_clients` (core's `variable`), `set`, and the groups of
//! regular expressions. Worked out when first asked for.

use crate::directives::SERVER;
use crate::phases::INITIALIZING;
use crate::record::Record;
use crate::variables::{Variable, builtin, compile, resolve};
use fairlead_conf::{Args, Block, Cx, Defined, Diagnostic, Directive, Repeat, Statement, Template, Value, Word};
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::Level;
use fairlead_core::names::{Captures, group_names};
use fairlead_core::variable::{self, Ask, Plane, Proxies, Values, defined_number};
use std::fmt;
use std::net::IpAddr;

/// The stream plane's variables, for core's rows.
pub(crate) struct Stream;

impl Plane for Stream {
    type Variable = Variable;
    const PROXIES: bool = false;

    fn compile(word: &Word, cx: &Cx) -> Result<Template<Variable>, Diagnostic> {
        compile(word, cx)
    }

    fn resolve(name: &str, cx: &Cx) -> Option<Variable> {
        resolve(name, cx)
    }
}

/// Blocks of `stream` that define variables.
pub(crate) type Blocks = variable::Blocks<Stream>;

/// The `set` lines of a server.
pub(crate) type Sets = Vec<Set>;

#[derive(Clone)]
pub(crate) struct Set {
    number: usize,
    pub value: Template<Variable>,
}

pub(crate) const SET: &[Directive<Sets>] = &[Directive {
    name: "set",
    contexts: SERVER,
    args: Args::exactly(&[Value::Text, Value::Template], "$variable value"),
    repeat: Repeat::Append,
    default: None,
    doc: "Gives a variable a value in every session of this server, before `limit_conn` and `allow` look at it.",
    set: |sets, given| {
        let number = defined_number(given, 0)?;
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

/// Every variable of a plan that the configuration makes.
#[derive(Default)]
pub(crate) struct Customs {
    all: variable::Customs<Variable>,
    /// One of them needs the address the client used.
    wants_local: bool,
}

impl Customs {
    /// `sets` are the lines of all servers.
    pub fn new<'s>(blocks: Blocks, sets: impl Iterator<Item = &'s Set>, names: Defined) -> Customs {
        let all = variable::Customs::new(blocks, sets.map(|set| set.number), names);
        let wants_local = all.variables().any(|variable| variable.wants_local());
        Customs { all, wants_local }
    }

    /// Whether the value of `variable` needs the address the client used.
    pub fn want_local(&self, variable: Variable) -> bool {
        match variable {
            Variable::Custom(_) => self.wants_local,
            other => other.wants_local(),
        }
    }
}

/// Runs the `set` lines of the session's server.
pub(crate) fn set(record: &Record) {
    for set in &record.entry.server.sets {
        let mut value = Vec::new();
        record.render(&set.value, tick(), &mut value);
        record.custom.put(set.number, &value);
    }
}

/// A session asked at a moment.
struct Asked<'a>(&'a Record, Tick);

impl Ask for Asked<'_> {
    type Variable = Variable;

    fn customs(&self) -> &variable::Customs<Variable> {
        &self.0.worker.plan.customs.all
    }

    fn values(&self) -> &Values {
        &self.0.custom
    }

    fn push(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        self.0.push(*variable, self.1, out)
    }

    fn client(&self) -> Option<IpAddr> {
        self.0.client.map(|client| client.ip())
    }

    fn forwarded(&self, address: IpAddr, _: &Proxies) -> IpAddr {
        // Nothing in a stream says so.
        address
    }

    fn captured(&self, captures: Captures) {
        self.0.captured(captures);
    }

    fn unset(&self, _: &str) {}

    fn trouble(&self, level: Level, message: fmt::Arguments<'_>) {
        let action = if self.0.proxying { "proxying connection" } else { INITIALIZING };
        self.0.log(level, action, message);
    }
}

impl Record {
    /// Appends the value of a variable of the configuration's own; false when there is none.
    pub(crate) fn push_custom(&self, number: usize, now: Tick, out: &mut Vec<u8>) -> bool {
        variable::push_custom(&Asked(self, now), number, out)
    }

    /// A regular expression matched: its groups are variables of the session from now on.
    pub(crate) fn captured(&self, captures: Captures) {
        let names = &self.worker.plan.customs.all;
        for (name, value) in &captures.named {
            if let Some(number) = names.number(name) {
                self.custom.put(number, value);
            }
        }
        self.custom.set_groups(captures.numbered);
    }

    /// Appends `$1` to `$9`; false when the last match had no such group.
    pub(crate) fn push_group(&self, number: usize, out: &mut Vec<u8>) -> bool {
        self.custom.push_group(number, out)
    }
}
