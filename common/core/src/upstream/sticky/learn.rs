//! `sticky learn …`: peers begin sessions themselves, and the proxy learns from their answers which
//! session is where.

use super::Once;
use fairlead_conf::value::parse_time;
use fairlead_conf::{Diagnostic, Given, Word};
use std::time::Duration;

/// `sticky learn create=$variable… lookup=$variable… zone=name:size [timeout=time] [header]`.
#[derive(Clone, Debug)]
pub struct StickyLearn {
    /// What may hold a new session, in the order it is asked in.
    pub create: Vec<Word>,
    /// What may hold a known one.
    pub lookup: Vec<Word>,
    pub zone: Word,
    /// Bytes.
    pub size: u64,
    pub timeout: Duration,
    /// Learn when the header is there rather than at the end of the answer.
    pub header: bool,
}

/// nginx's.
const TIMEOUT: Duration = Duration::from_secs(600);

pub(super) fn parse(given: &Given<'_>) -> Result<StickyLearn, Diagnostic> {
    let (mut create, mut lookup, mut zone, mut timeout, mut header) = (Vec::new(), Vec::new(), None, None, false);
    let mut once = Once::new(given);
    for index in 1..given.len() {
        let word = given.word(index);
        let (name, value) = match word.text.split_once('=') {
            Some((name, _)) => (name, Some(word.tail(name.len() + 1))),
            None => (&*word.text, None),
        };
        if !matches!(name, "create" | "lookup") {
            once.note(name, index)?;
        }
        match (name, value) {
            ("create", Some(value)) => create.push(variable(name, value)?),
            ("lookup", Some(value)) => lookup.push(variable(name, value)?),
            ("zone", Some(value)) => zone = Some(super::zone(&value)?),
            ("timeout", Some(value)) => {
                let time = parse_time(&value.text).filter(|time| !time.is_zero());
                timeout = Some(time.ok_or_else(|| given.error(index, "invalid timeout"))?);
            }
            ("header", None) => header = true,
            ("sync", None) => {
                let problem = "parameter \"sync\" is known to nginx, not built in fairlead yet";
                return Err(given.error(index, problem).help("sessions are shared by the workers of one machine"));
            }
            _ => return Err(given.error(index, format!("unknown parameter \"{}\"", word.text))),
        }
    }
    let missing = |name: &str| given.error(0, format!("\"{name}\" parameter is not specified"));
    match zone {
        _ if lookup.is_empty() => Err(missing("lookup").help("lookup=$cookie_sessionid")),
        _ if create.is_empty() => Err(missing("create").help("create=$upstream_cookie_sessionid")),
        None => Err(missing("zone").help("zone=client_sessions:1m")),
        Some((zone, size)) => {
            Ok(StickyLearn { create, lookup, zone, size, timeout: timeout.unwrap_or(TIMEOUT), header })
        }
    }
}

fn variable(name: &str, value: Word) -> Result<Word, Diagnostic> {
    if value.text.starts_with('$') {
        return Ok(value);
    }
    Err(Diagnostic::error(value.span, format!("missing variable in the \"{name}\" parameter")))
}
