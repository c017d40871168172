//! Every variable of http: one row gives its name, its meaning and its value.
//!
//! Templates hold [`Variable`]s; a value is appended when it is asked for and
//! not kept, but for those that the configuration makes (`custom`). Whoever
//! renders decides what a missing value looks like.

mod connection;
pub(crate) mod custom;
mod fields;
pub(crate) mod referer;
mod request;
mod request_id;
pub(crate) mod secure_link;
mod slice;
mod upstream;
mod userid;

pub(crate) use fields::{cookie, lines as head_fields};
pub(crate) use request::{credentials, decode_base64};
pub use request_id::RequestId;

use crate::content;
use crate::exchange::Exchange;
use crate::plan::Captures;
use crate::respond;
use fairlead_conf::{Cx, Diagnostic, Template, Word};
use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;

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
    /// Number of a variable that the configuration makes.
    Custom(usize),
}

/// The tables, in the order they are documented in.
const TABLES: [&[Row]; 8] = [
    request::ROWS,
    content::VARIABLES,
    connection::ROWS,
    upstream::ROWS,
    referer::ROWS,
    secure_link::ROWS,
    userid::ROWS,
    slice::ROWS,
];

/// Longer prefixes first: `sent_http_` is no `http_`.
const PREFIXES: &[PrefixRow] = fields::PREFIXES;

/// nginx's variables that have no value here yet.
const NOT_BUILT: &[&str] = &[
    "upstream_cache_status",
    "proxy_add_via",
    "date_local",
    "date_gmt",
    "modern_browser",
    "ancient_browser",
    "msie",
    "http2",
    "http3",
    "fastcgi_script_name",
    "fastcgi_path_info",
];

/// Prefixes of the same kind.
const NOT_BUILT_PREFIXES: &[&str] = &["ssl_", "geoip_", "jwt_"];

/// The variable of this name, `None` when there is none. `cx.defined` holds the names that
/// regexes of the configuration define.
pub fn resolve(name: &str, cx: &Cx) -> Option<Variable> {
    if let Some(digit) = name.parse::<usize>().ok().filter(|digit| (1..=9).contains(digit) && name.len() == 1) {
        return Some(Variable::Group(digit));
    }
    let defined = cx.defined.borrow().number(name).map(Variable::Custom);
    let found = defined.or_else(|| builtin(name)).or_else(|| prefixed(name));
    if let Some(Variable::Row(row)) = &found
        && (row.name == REAL_ROOT || row.name.starts_with(TCP_INFO))
    {
        cx.wanted.borrow_mut().push(row.name);
    }
    found
}

/// nginx's own variable of this name, but for those that share a prefix.
fn builtin(name: &str) -> Option<Variable> {
    let mut rows = TABLES.iter().flat_map(|table| table.iter());
    rows.find(|row| row.name.eq_ignore_ascii_case(name)).map(Variable::Row)
}

/// Variables whose values are made ready for the configurations that use them: one needs the disk,
/// the others a system call.
const REAL_ROOT: &str = "realpath_root";
const TCP_INFO: &str = "tcpinfo_";

/// Which of those a configuration uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub real_root: bool,
    pub tcp_info: bool,
}

impl Wanted {
    /// Of what [`Cx::wanted`] gathered.
    pub fn of(names: &[&str]) -> Wanted {
        Wanted { real_root: names.contains(&REAL_ROOT), tcp_info: names.iter().any(|name| name.starts_with(TCP_INFO)) }
    }
}

fn prefixed(name: &str) -> Option<Variable> {
    let name = name.to_ascii_lowercase();
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
    compile_with(word, &|name| resolve(name, cx))
}

/// The same for `log_format`, which knows no `$1`.
///
/// # Errors
/// An unknown variable.
pub(crate) fn compile_line(word: &Word, cx: &Cx) -> Result<Template<Variable>, Diagnostic> {
    compile_with(word, &|name| resolve(name, cx).filter(|variable| !matches!(variable, Variable::Group(_))))
}

fn compile_with(word: &Word, find: &dyn Fn(&str) -> Option<Variable>) -> Result<Template<Variable>, Diagnostic> {
    let unknown = RefCell::new(None);
    let resolve = |name: &str| {
        let variable = find(name);
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

impl Exchange {
    /// Appends the variable's value; false when it does not exist (`-` in logs).
    pub fn push_value(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        match variable {
            Variable::Row(row) => (row.value)(self, out),
            Variable::Prefixed(row, name) => (row.value)(self, name, out),
            Variable::Group(number) => push_group(&self.captures.borrow(), *number, out),
            Variable::Custom(number) => self.push_custom(*number, out),
        }
    }

    /// The same with the groups of another match in front.
    pub(crate) fn push_value_with(&self, variable: &Variable, captures: &Captures, out: &mut Vec<u8>) -> bool {
        match variable {
            Variable::Group(number) => push_group(captures, *number, out),
            Variable::Custom(number) if !captures.named.is_empty() => {
                let name = self.worker.plan.customs.name(*number);
                match captures.named.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    Some((_, value)) => push(Some(value), out),
                    None => self.push_custom(*number, out),
                }
            }
            _ => self.push_value(variable, out),
        }
    }
}

fn push_group(captures: &Captures, number: usize, out: &mut Vec<u8>) -> bool {
    push(captures.numbered.get(number).and_then(Option::as_deref), out)
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

fn push_number(number: impl Into<u64>, out: &mut Vec<u8>) -> bool {
    respond::push_number(number.into(), out);
    true
}

fn push_ip(ip: IpAddr, out: &mut Vec<u8>) -> bool {
    let IpAddr::V4(ip) = ip else { return push_text(ip, out) };
    let mut text = [0; 16];
    let mut len = 0;
    let mut push = |byte: u8| {
        if let Some(place) = text.get_mut(len) {
            *place = byte;
            len += 1;
        }
    };
    for part in ip.octets() {
        if part > 99 {
            push(b'0' + part / 100);
        }
        if part > 9 {
            push(b'0' + part / 10 % 10);
        }
        push(b'0' + part % 10);
        push(b'.');
    }
    out.extend_from_slice(text.get(..len - 1).unwrap_or_default());
    true
}

/// Milliseconds as seconds with three decimals: `0.012`.
fn push_seconds(millis: u64, out: &mut Vec<u8>) -> bool {
    respond::push_number(millis / 1000, out);
    out.push(b'.');
    let millis = millis % 1000;
    out.extend([millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8));
    true
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
            (Variable::Custom(a), Variable::Custom(b)) => a == b,
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
            Variable::Custom(number) => write!(f, "custom {number}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
