//! `sticky cookie NAME …`: the client brings the id of its peer in a cookie that the proxy has set.

use super::{Once, Signer};
use fairlead_conf::value::parse_time;
use fairlead_conf::{Diagnostic, Given, Word};
use std::sync::Arc;
use std::time::Duration;

/// `sticky cookie NAME [expires=] [domain=] [path=] [httponly] [secure] [samesite=] [signed FILE]`:
/// the words as written.
#[derive(Clone, Debug)]
pub struct StickyCookie {
    pub name: Word,
    /// `Some(None)` is `expires=max`.
    pub expires: Option<Option<Duration>>,
    pub domain: Option<Word>,
    pub path: Option<Word>,
    pub httponly: bool,
    pub secure: bool,
    pub samesite: Option<Word>,
    pub signed: Option<Arc<Signer>>,
}

const HELP: &str = "parameters: expires=, domain=, path=, samesite=, httponly, secure, signed FILE";

pub(super) fn parse(given: &Given<'_>) -> Result<StickyCookie, Diagnostic> {
    let name = given.word(1).clone();
    if name.text.is_empty() {
        return Err(given.error(1, "empty cookie name"));
    }
    if let Some(wrong) = name.text.bytes().find(|byte| !is_token(*byte)) {
        let shown = [wrong].escape_ascii().to_string();
        return Err(given.error(1, format!("\"{shown}\" may not stand in the name of a cookie")));
    }
    let mut cookie = StickyCookie {
        name,
        expires: None,
        domain: None,
        path: None,
        httponly: false,
        secure: false,
        samesite: None,
        signed: None,
    };
    let mut once = Once::new(given);
    let mut index = 2;
    while index < given.len() {
        let text = given.text(index);
        let parameter = text.split('=').next().unwrap_or_default();
        once.note(parameter, index)?;
        match (parameter, text.split_once('=').is_some()) {
            ("signed", false) if index + 1 < given.len() => {
                let context = [b"sticky cookie ", cookie.name.text.as_bytes()].concat();
                let signer = Signer::from_text(given.secret(index + 1)?, &context);
                cookie.signed = Some(Arc::new(signer.map_err(|problem| given.error(index + 1, problem))?));
                index += 1;
            }
            ("signed", _) => return Err(given.error(index, "\"signed\" needs a file").help("signed keys/sticky.keys")),
            _ => attribute(&mut cookie, given, index, parameter)?,
        }
        index += 1;
    }
    Ok(cookie)
}

fn attribute(cookie: &mut StickyCookie, given: &Given<'_>, index: usize, name: &str) -> Result<(), Diagnostic> {
    let word = given.word(index);
    let value = word.text.split_once('=').map(|_| word.tail(name.len() + 1));
    let wanted = || match value.clone() {
        Some(value) if !value.text.is_empty() => Ok(Some(value)),
        _ => Err(given.error(index, format!("no value for \"{name}\""))),
    };
    match name {
        "expires" => cookie.expires = Some(expires(given, index, wanted()?)?),
        "domain" => cookie.domain = wanted()?,
        "path" => cookie.path = wanted()?,
        "samesite" => cookie.samesite = wanted()?.map(samesite).transpose()?,
        "httponly" if value.is_none() => cookie.httponly = true,
        "secure" if value.is_none() => cookie.secure = true,
        _ => return Err(given.error(index, format!("invalid parameter \"{}\"", word.text)).help(HELP)),
    }
    Ok(())
}

fn expires(given: &Given<'_>, index: usize, value: Option<Word>) -> Result<Option<Duration>, Diagnostic> {
    match value.as_ref().map(|value| &*value.text) {
        Some("max") => Ok(None),
        text => match text.and_then(parse_time) {
            Some(time) => Ok(Some(time)),
            None => Err(given.error(index, "invalid \"expires\" parameter value").help("a time, as 1h, or max")),
        },
    }
}

fn samesite(value: Word) -> Result<Word, Diagnostic> {
    let known = ["strict", "lax", "none"].iter().any(|known| value.text.eq_ignore_ascii_case(known));
    if known || value.text.contains('$') {
        return Ok(value);
    }
    let problem = format!("invalid \"samesite\" value \"{}\"", value.text);
    Err(Diagnostic::error(value.span, problem).help("strict, lax, none or a variable"))
}

/// RFC 6265 section 4.1.1 takes names from RFC 9110's tokens.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
