//! Variables that the configuration makes: those of `map`, `geo` and
//! `split_clients` (core's `variable`), of `set`, and the groups of regular
//! expressions.
//!
//! Each has a number in its plan. A request keeps the values it was given or has
//! worked out, and owns nothing before the first.

use super::{Variable, builtin, compile, known_to_nginx, prefixed, resolve};
use crate::exchange::Exchange;
use crate::forwarded;
use ahash::AHashSet;
use fairlead_conf::{Block, Cx, Diagnostic, Given, Statement, Template, Word};
use fairlead_core::log::Level;
use fairlead_core::names::{Captures, group_names};
use fairlead_core::variable::{self, Ask, Plane, Proxies};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub(crate) use fairlead_core::variable::Values;

/// The http plane's variables, for core's rows.
pub(crate) struct Http;

impl Plane for Http {
    type Variable = Variable;
    const PROXIES: bool = true;

    fn compile(word: &Word, cx: &Cx) -> Result<Template<Variable>, Diagnostic> {
        compile(word, cx)
    }

    fn resolve(name: &str, cx: &Cx) -> Option<Variable> {
        resolve(name, cx)
    }

    /// `$http_x` is the client's field until somebody sets it.
    fn otherwise(name: &str) -> Option<Variable> {
        builtin(name).or_else(|| prefixed(name))
    }
}

/// Blocks of `http` that define variables.
pub(crate) type Blocks = variable::Blocks<Http>;

/// Every variable of a plan that the configuration makes, by number.
pub(crate) type Customs = variable::Customs<Variable>;

/// Which of them `set` gives and which are groups.
#[derive(Default)]
pub(crate) struct Givers {
    sets: AHashSet<usize>,
    groups: AHashSet<usize>,
}

impl Givers {
    /// Those that `set` alone gives.
    pub fn sets(&self) -> impl Iterator<Item = usize> + '_ {
        self.sets.difference(&self.groups).copied()
    }
}

/// Variables of nginx's own that `set` may change.
const SETTABLE: &[&str] = &["proxy_host", "proxy_port", "uid_reset"];

/// Takes in the names that `http { … }` defines, so that they may be used before their definition.
pub(crate) fn define(block: &Block, cx: &Cx, givers: &mut Givers) {
    for statement in &block.statements {
        match &*statement.name.text {
            // The keys of a map are texts: nothing in it defines anything but groups.
            "map" => {
                name(statement.args.get(1), cx);
                keys(statement).for_each(|word| groups(word, cx, givers));
                continue;
            }
            "geo" | "split_clients" => {
                name(statement.args.last(), cx);
                continue;
            }
            "server_name" | "location" | "if" => statement.args.iter().for_each(|word| groups(word, cx, givers)),
            "rewrite" => statement.args.iter().take(1).for_each(|word| groups(word, cx, givers)),
            "set" => givers.sets.extend(name(statement.args.first(), cx)),
            "auth_request_set" => {
                name(statement.args.first(), cx);
            }
            _ => {}
        }
        if let Some(inner) = &statement.block {
            define(inner, cx, givers);
        }
    }
}

fn keys(statement: &Statement) -> impl Iterator<Item = &Word> {
    statement.block.iter().flat_map(|block| &block.statements).map(|entry| &entry.name)
}

/// A name behind its `$`. What is no name, and nginx's own, are the rows' to refuse.
fn name(word: Option<&Word>, cx: &Cx) -> Option<usize> {
    let name = word.and_then(|word| word.text.strip_prefix('$')).filter(|name| !name.is_empty());
    name.filter(|name| is_free(name)).map(|name| cx.defined.borrow_mut().define(name))
}

fn is_free(name: &str) -> bool {
    builtin(name).is_none() || SETTABLE.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// The number of the variable that argument `index` names and `set` is to give; `None` is `$args`.
///
/// # Errors
/// No name, or the name of a variable that only nginx gives.
pub(crate) fn settable(given: &Given<'_>, index: usize) -> Result<Option<usize>, Diagnostic> {
    let name = variable::defined_name(given, index)?;
    if name.eq_ignore_ascii_case("args") {
        return Ok(None);
    }
    if known_to_nginx(&name.to_ascii_lowercase()) {
        return Err(given.error(index, format!("variable \"{name}\" is known to nginx, not built in fairlead yet")));
    }
    variable::defined_number(given, index).map(Some)
}

/// # Errors
/// A group has the name of a variable that only nginx gives.
pub(crate) fn check_groups(word: &Word) -> Result<(), Diagnostic> {
    match group_names(&word.text).find(|name| !is_free(name)) {
        Some(name) => Err(Diagnostic::error(word.span, format!("the duplicate \"{name}\" variable"))
            .help("this name is nginx's own and cannot be given a value")),
        None => Ok(()),
    }
}

/// The named groups of a regular expression; nginx's own names win.
fn groups(word: &Word, cx: &Cx, givers: &mut Givers) {
    for name in group_names(&word.text).filter(|name| is_free(name)) {
        givers.groups.insert(cx.defined.borrow_mut().define(name));
    }
}

impl Ask for Exchange {
    type Variable = Variable;

    fn customs(&self) -> &Customs {
        &self.worker.plan.customs
    }

    fn values(&self) -> &Values {
        &self.values
    }

    fn push(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        self.push_value(variable, out)
    }

    fn client(&self) -> Option<IpAddr> {
        self.connection.client.ip()
    }

    fn forwarded(&self, address: IpAddr, proxies: &Proxies) -> IpAddr {
        let trusted = |ip: IpAddr| proxies.networks.iter().any(|network| network.contains(&ip.to_canonical()));
        let fields = self.request.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for"));
        let values: Vec<&[u8]> = fields.map(|(_, value)| value).collect();
        let found = forwarded::client(SocketAddr::new(address, 0), &values, &trusted, proxies.recursive);
        found.map_or(address, |found| found.ip())
    }

    fn captured(&self, captures: Captures) {
        *self.captures.borrow_mut() = captures;
        self.keep_groups();
    }

    fn unset(&self, name: &str) {
        if self.warns_instead.unwrap_or(self.location.warn_uninitialized) {
            self.log(Level::Warn, format_args!("using uninitialized \"{name}\" variable"));
        }
    }

    fn trouble(&self, level: Level, message: fmt::Arguments<'_>) {
        self.log(level, message);
    }
}

impl Exchange {
    /// Appends the value of a variable of the configuration's own; false when it has none.
    pub(super) fn push_custom(&self, number: usize, out: &mut Vec<u8>) -> bool {
        variable::push_custom(self, number, out)
    }

    /// The named groups of what matched are variables of the request from now on.
    pub(crate) fn keep_groups(&self) {
        let mut captures = self.captures.borrow_mut();
        if captures.named.is_empty() {
            return;
        }
        for (name, value) in captures.named.drain(..) {
            if let Some(number) = self.worker.plan.customs.number(&name) {
                self.values.put(number, &value);
            }
        }
    }
}
