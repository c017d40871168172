//! The parameters of `sticky`.

use crate::upstream::server::invalid;
use crate::upstream::{Sticky, StickySource};
use fairlead_conf::value::{parse_size, parse_time};
use fairlead_conf::{Diagnostic, Given, Param, Value, Word};
use std::time::Duration;

pub(super) const SOURCE_PARAMS: &[Param] = &[
    Param {
        name: "timeout",
        value: Some(Value::Time),
        doc: "How long after its last session began a client is remembered; 1h.",
    },
    Param {
        name: "zone",
        value: Some(Value::Text),
        doc: "Name and size, as `clients:1m`, of the table; 1m. A megabyte remembers 16,384 clients; when it is full \
              the one that was not seen for the longest time is forgotten.",
    },
];

/// Bytes of a table whose `zone` is not written.
const DEFAULT_SIZE: u64 = 1 << 20;
/// nginx's least for a zone: eight pages.
const LEAST_SIZE: u64 = 8 * 4096;
/// 256 million clients.
const MOST_SIZE: u64 = 1 << 34;

/// Reads `sticky source`.
pub(super) fn parse_source(given: &Given<'_>) -> Result<StickySource, Diagnostic> {
    let mut source = StickySource { timeout: Duration::from_secs(3600), zone: None, size: DEFAULT_SIZE };
    if let Some(word) = given.param(1, "timeout") {
        let time = parse_time(&word.text).filter(|time| !time.is_zero());
        source.timeout = time.ok_or_else(|| invalid(given, "timeout"))?;
    }
    if let Some(word) = given.param(1, "zone") {
        let (name, size) = word
            .text
            .split_once(':')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| invalid(given, "zone").help("write its name and size: zone=clients:1m"))?;
        source.size = parse_size(size).filter(|size| *size <= MOST_SIZE).ok_or_else(|| invalid(given, "zone"))?;
        if source.size < LEAST_SIZE {
            return Err(
                Diagnostic::error(word.span, format!("zone \"{}\" is too small", word.text)).help("32k is the least")
            );
        }
        source.zone = Some(Word { text: name.into(), ..word });
    }
    Ok(source)
}

const COOKIE_PARAMS: [&str; 6] = ["expires", "domain", "path", "samesite", "httponly", "secure"];

/// Reads a `sticky` statement.
pub(super) fn parse_cookie(given: &Given<'_>) -> Result<Sticky, Diagnostic> {
    if given.text(0) != "cookie" {
        let problem = format!("\"sticky {}\" is known to nginx, not built in fairlead yet", given.text(0));
        return Err(given.error(0, problem).help("`sticky cookie` is built"));
    }
    for (index, word) in given.words().iter().enumerate().skip(2) {
        let (name, has_value) = word.text.split_once('=').map_or((&*word.text, false), |(name, _)| (name, true));
        let takes_value = !matches!(name, "httponly" | "secure");
        if !COOKIE_PARAMS.contains(&name) || takes_value != has_value {
            let help = "parameters: expires=, domain=, path=, samesite=, httponly, secure";
            return Err(given.error(index, format!("invalid parameter \"{}\"", word.text)).help(help));
        }
    }
    let samesite = given.param(2, "samesite");
    if let Some(word) = &samesite
        && !word.text.contains('$')
        && !["strict", "lax", "none"].iter().any(|known| word.text.eq_ignore_ascii_case(known))
    {
        let problem = format!("invalid \"samesite\" value \"{}\"", word.text);
        return Err(Diagnostic::error(word.span, problem).help("strict, lax, none or a variable"));
    }
    Ok(Sticky {
        name: given.word(1).clone(),
        expires: given.param(2, "expires").map(|word| expires(given, &word)).transpose()?,
        domain: given.param(2, "domain"),
        path: given.param(2, "path"),
        httponly: given.param(2, "httponly").is_some(),
        secure: given.param(2, "secure").is_some(),
        samesite,
    })
}

fn expires(given: &Given<'_>, word: &Word) -> Result<Option<Duration>, Diagnostic> {
    if &*word.text == "max" {
        return Ok(None);
    }
    parse_time(&word.text).map(Some).ok_or_else(|| invalid(given, "expires"))
}
