//! Every variable of http: one row gives its name, its meaning and its value.
//!
//! Templates hold [`Variable`]s; a value is appended when it is asked for and
//! never kept. Whoever renders decides what a missing value looks like.

mod connection;
mod fields;
mod request;
mod request_id;
mod upstream;

pub use request_id::RequestId;

use crate::exchange::Exchange;
use crate::plan::Captures;
use fairlead_conf::{Block, Cx, Diagnostic, Template, Word};
use fairlead_core::names::group_names;
use std::cell::RefCell;
use std::fmt;

/// One variable without a parameter in its name.
pub struct Row {
    pub name: &'static str,
    pub doc: &'static str,
    pub(crate) value: fn(&Exchange, &mut Vec<u8>) -> bool,
}

/// Variables that share a prefix: `$arg_NAME`.
pub struct PrefixRow {
    pub prefix: &'static str,
    pub doc: &'static str,
    pub(crate) value: fn(&Exchange, &[u8], &mut Vec<u8>) -> bool,
}

/// A variable as templates hold it.
#[derive(Clone)]
pub enum Variable {
    Row(&'static Row),
    /// With the rest of its name.
    Prefixed(&'static PrefixRow, Box<[u8]>),
    /// `$1` to `$9`: groups of the regex that matched last.
    Group(usize),
    /// A named group of a regex of the configuration.
    Named(Box<str>),
}

/// The tables, in the order they are documented in.
const TABLES: [&[Row]; 3] = [request::ROWS, connection::ROWS, upstream::ROWS];

/// Longer prefixes first: `sent_http_` is no `http_`.
const PREFIXES: &[PrefixRow] = fields::PREFIXES;

/// nginx's variables that have no value here yet.
const NOT_BUILT: &[&str] = &[
    "realpath_root",
    "request_body",
    "request_body_file",
    "limit_rate",
    "is_request_port",
    "request_port",
    "upstream_cache_status",
    "upstream_queue_time",
    "upstream_last_server_name",
    "time_iso8601_ms",
    "tcpinfo_rtt",
    "tcpinfo_rttvar",
    "tcpinfo_snd_cwnd",
    "tcpinfo_rcv_space",
    "proxy_add_via",
    "date_local",
    "date_gmt",
    "invalid_referer",
    "gzip_ratio",
    "modern_browser",
    "ancient_browser",
    "msie",
    "uid_got",
    "uid_set",
    "http2",
    "http3",
    "slice_range",
    "secure_link",
    "secure_link_expires",
    "fastcgi_script_name",
    "fastcgi_path_info",
];

/// Prefixes of the same kind.
const NOT_BUILT_PREFIXES: &[&str] =
    &["ssl_", "geoip_", "jwt_", "upstream_trailer_", "sent_trailer_", "realip_", "limit_", "proxy_protocol_tlv_ssl_"];

/// The variable of this name, `None` when there is none. `cx.defined` holds the names that
/// regexes of the configuration define.
pub fn resolve(name: &str, cx: &Cx) -> Option<Variable> {
    if let Some(digit) = name.parse::<usize>().ok().filter(|digit| (1..=9).contains(digit) && name.len() == 1) {
        return Some(Variable::Group(digit));
    }
    let name = name.to_ascii_lowercase();
    // nginx's own names win over groups of the same name.
    if let Some(row) = TABLES.iter().flat_map(|table| table.iter()).find(|row| row.name == name) {
        return Some(Variable::Row(row));
    }
    if cx.defined.borrow().contains(&name) {
        return Some(Variable::Named(name.into()));
    }
    PREFIXES.iter().find_map(|row| {
        let rest = name.strip_prefix(row.prefix).filter(|rest| !rest.is_empty())?;
        Some(Variable::Prefixed(row, rest.as_bytes().into()))
    })
}

/// Compiles one word of the configuration.
///
/// # Errors
/// An unknown variable; one that nginx knows and this build does not is called so.
pub(crate) fn compile(word: &Word, cx: &Cx) -> Result<Template<Variable>, Diagnostic> {
    let unknown = RefCell::new(None);
    let resolve = |name: &str| {
        let variable = resolve(name, cx);
        if variable.is_none() {
            // The first is the one at fault; more may be asked about to find what was meant.
            unknown.borrow_mut().get_or_insert_with(|| name.to_ascii_lowercase());
        }
        variable
    };
    Template::compile(word, &resolve).map_err(|mut diagnostic| {
        if let Some(name) = unknown.borrow().as_deref().filter(|name| known_to_nginx(name)) {
            diagnostic.message = format!("variable \"{name}\" is known to nginx, not built in fairlead yet");
        }
        diagnostic
    })
}

fn known_to_nginx(name: &str) -> bool {
    NOT_BUILT.contains(&name) || NOT_BUILT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Collects the named groups of every regex below `block` into `cx.defined`, before
/// anything that may use them is compiled.
pub(crate) fn define_groups(block: &Block, cx: &Cx) {
    for statement in &block.statements {
        let regexes = matches!(&*statement.name.text, "server_name" | "location");
        for word in statement.args.iter().filter(|_| regexes) {
            let mut defined = cx.defined.borrow_mut();
            group_names(&word.text).for_each(|name| {
                defined.define(name);
            });
        }
        if let Some(inner) = &statement.block {
            define_groups(inner, cx);
        }
    }
}

impl Exchange {
    /// Appends the variable's value; false when it does not exist (`-` in logs).
    pub fn push_value(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        self.push_value_with(variable, &self.captures, out)
    }

    /// The same with the groups of another match.
    pub(crate) fn push_value_with(&self, variable: &Variable, captures: &Captures, out: &mut Vec<u8>) -> bool {
        match variable {
            Variable::Row(row) => (row.value)(self, out),
            Variable::Prefixed(row, name) => (row.value)(self, name, out),
            Variable::Group(number) => push(captures.numbered.get(*number).and_then(Option::as_deref), out),
            Variable::Named(name) => {
                let mut named = captures.named.iter();
                push(named.find(|(known, _)| **known == **name).map(|(_, value)| value.as_slice()), out)
            }
        }
    }
}

/// Appends a value that may be missing.
fn push(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    let Some(value) = value else { return false };
    out.extend_from_slice(value);
    true
}

/// Appends what always has a value.
fn push_text(value: impl fmt::Display, out: &mut Vec<u8>) -> bool {
    use std::io::Write;
    // Writing to a vector cannot fail.
    write!(out, "{value}").is_ok()
}

/// Milliseconds as seconds with three decimals: `0.012`.
fn push_seconds(millis: u64, out: &mut Vec<u8>) -> bool {
    push_text(format_args!("{}.{:03}", millis / 1000, millis % 1000), out)
}

/// Every variable with its meaning, for the reference: prefixes end in `_`.
pub fn documentation() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = TABLES.iter().flat_map(|table| table.iter()).map(|row| (row.name, row.doc));
    rows.chain(PREFIXES.iter().map(|row| (row.prefix, row.doc)))
}

impl Variable {
    fn same_row(&self, other: &Variable) -> Option<bool> {
        Some(match (self, other) {
            (Variable::Row(a), Variable::Row(b)) => a.name == b.name,
            (Variable::Prefixed(a, x), Variable::Prefixed(b, y)) => a.prefix == b.prefix && x == y,
            (Variable::Group(a), Variable::Group(b)) => a == b,
            (Variable::Named(a), Variable::Named(b)) => a == b,
            _ => return None,
        })
    }
}

impl PartialEq for Variable {
    fn eq(&self, other: &Variable) -> bool {
        self.same_row(other).unwrap_or(false)
    }
}

impl Eq for Variable {}

/// Its name as it is written.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::Row(row) => write!(f, "${}", row.name),
            Variable::Prefixed(row, name) => write!(f, "${}{}", row.prefix, String::from_utf8_lossy(name)),
            Variable::Group(number) => write!(f, "${number}"),
            Variable::Named(name) => write!(f, "${name}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
