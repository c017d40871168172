//! Checks one argument against its type, with nginx's words for what is wrong.
//!
//! Only the form of a word is judged; what it means is for the row's `set`.

use crate::spelling::{closest, did_you_mean};
use crate::{Diagnostic, Param, Value, Word, value};

/// What is wrong with `word` as a `kind` argument of `directive`.
pub(crate) fn argument(directive: &str, word: &Word, kind: &Value) -> Result<(), Diagnostic> {
    let error = |message: String| Err(Diagnostic::error(word.span, message));
    let text = &*word.text;
    let wrong = match kind {
        Value::Text | Value::Path | Value::Address | Value::Template | Value::Unchecked(_) => return Ok(()),
        Value::Params(params) => return parameter(word, params),
        Value::Flag => value::parse_flag(text)
            .is_none()
            .then(|| format!("invalid value \"{text}\" in \"{directive}\" directive, it must be \"on\" or \"off\"")),
        Value::Int(range) => match value::parse_int(text) {
            // As nginx, which reads no sign where none may be.
            Some(number) if number < 0 && *range.start() >= 0 => {
                Some(format!("\"{directive}\" directive invalid number"))
            }
            None => Some(format!("\"{directive}\" directive invalid number")),
            Some(number) if !range.contains(&number) => Some(out_of(range)),
            Some(_) => None,
        },
        Value::Size => value::parse_size(text).is_none().then(|| format!("\"{directive}\" directive invalid value")),
        Value::Time => value::parse_time(text).is_none().then(|| format!("\"{directive}\" directive invalid value")),
        Value::Cidr => (!is_network(text)).then(|| format!("invalid parameter \"{text}\"")),
        Value::OneOf(names) => (!names.contains(&text)).then(|| format!("invalid value \"{text}\"")),
        Value::AnyCase(names) => {
            let known = names.iter().any(|name| name.eq_ignore_ascii_case(text));
            (!known).then(|| format!("invalid value \"{text}\""))
        }
    };
    let Some(message) = wrong else { return Ok(()) };
    let meant = match kind {
        Value::OneOf(names) | Value::AnyCase(names) => did_you_mean(text, names.iter().copied()),
        _ => None,
    };
    error(message).map_err(|error| error.help(meant.unwrap_or_else(|| format!("write {}", describe(kind)))))
}

fn out_of(range: &std::ops::RangeInclusive<i64>) -> String {
    if *range.end() == i64::MAX {
        return format!("value must be equal to or greater than {}", range.start());
    }
    format!("value must be between {} and {}", range.start(), range.end())
}

/// `all` and `unix:` pass for the row's `set` to judge, since `allow` and its like take them.
fn is_network(text: &str) -> bool {
    let plain = text == "all" || text == "unix:";
    plain || text.parse::<std::net::IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok()
}

fn parameter(word: &Word, params: &[Param]) -> Result<(), Diagnostic> {
    let (name, given) = match word.text.split_once('=') {
        Some((name, _)) => (name, Some(word.tail(name.len() + 1))),
        None => (&*word.text, None),
    };
    let invalid = || Diagnostic::error(word.span, format!("invalid parameter \"{}\"", word.text));
    let mut named = params.iter().filter(|param| param.name == name).peekable();
    let Some(first) = named.peek().copied() else { return Err(invalid().help(other_parameter(name, params))) };
    let Some(param) = named.find(|param| param.value.is_some() == given.is_some()) else {
        return Err(invalid().help(format!("write {}", spell(first))));
    };
    let (Some(kind), Some(given)) = (&param.value, given) else { return Ok(()) };
    argument(name, &given, kind).map_err(|wrong| {
        let help = wrong.help.unwrap_or_default();
        Diagnostic { span: Some(given.span), ..invalid() }.help(match wrong.message.strip_prefix("value must") {
            Some(bounds) => format!("{name} must{bounds}"),
            None => help,
        })
    })
}

fn other_parameter(name: &str, params: &[Param]) -> String {
    let names = params.iter().map(|param| param.name);
    if let Some(meant) = closest(name, names).and_then(|meant| params.iter().find(|param| param.name == meant)) {
        return format!("did you mean \"{}\"?", spell(meant));
    }
    let all: Vec<String> = params.iter().map(spell).collect();
    format!("allowed here: {}", all.join(" "))
}

/// `name` or `name=time`.
pub(crate) fn spell(param: &Param) -> String {
    match &param.value {
        None => param.name.to_owned(),
        Some(value) => format!("{}={}", param.name, short(value)),
    }
}

/// The type's name as nginx's documentation writes it in a syntax line.
fn short(value: &Value) -> String {
    match value {
        Value::Flag => "on|off".into(),
        Value::Int(_) => "number".into(),
        Value::Size => "size".into(),
        Value::Time => "time".into(),
        Value::Text => "value".into(),
        Value::Path => "file".into(),
        Value::Address => "address".into(),
        Value::Cidr => "network".into(),
        Value::OneOf(names) | Value::AnyCase(names) => names.join("|"),
        Value::Template => "string".into(),
        Value::Unchecked(value) => short(value),
        Value::Params(_) => "parameters".into(),
    }
}

/// What to write, for help and documentation.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Flag => "\"on\" or \"off\"".into(),
        Value::Int(range) if *range.end() == i64::MAX && *range.start() == i64::MIN => "a whole number".into(),
        Value::Int(range) if *range.end() == i64::MAX => format!("a whole number from {} on", range.start()),
        Value::Int(range) => format!("a whole number from {} to {}", range.start(), range.end()),
        Value::Size => "a size in bytes, or with k, m or g: 512, 8k, 1m".into(),
        Value::Time => "a time in seconds, or with units y M w d h m s ms: 30, 10s, 1m30s, 100ms".into(),
        Value::Text => "a word".into(),
        Value::Path => "a path".into(),
        Value::Address => "an address: 127.0.0.1:8080, [::1]:8080, name:8080 or unix:/path".into(),
        Value::Cidr => "an address or a network: 192.0.2.1, 192.0.2.0/24, 2001:db8::/32".into(),
        Value::OneOf(names) | Value::AnyCase(names) => match names {
            [one] => format!("\"{one}\""),
            names => format!("one of {}", names.join(", ")),
        },
        Value::Template => "text, with $variables".into(),
        Value::Unchecked(value) => describe(value),
        Value::Params(params) => format!("parameters: {}", params.iter().map(spell).collect::<Vec<_>>().join(" ")),
    }
}

/// A word of the type, for an example line.
pub(crate) fn sample(value: &Value) -> String {
    match value {
        Value::Flag => "on".into(),
        Value::Int(range) => range.start().max(&1).min(range.end()).to_string(),
        Value::Size => "8k".into(),
        Value::Time => "10s".into(),
        Value::Text => "name".into(),
        Value::Path => "/path/to/file".into(),
        Value::Address => "127.0.0.1:8080".into(),
        Value::Cidr => "192.0.2.0/24".into(),
        Value::OneOf(names) | Value::AnyCase(names) => names.first().copied().unwrap_or_default().into(),
        Value::Template => "$remote_addr".into(),
        Value::Unchecked(value) => sample(value),
        Value::Params(params) => params.first().map_or_else(String::new, |param| match &param.value {
            None => param.name.to_owned(),
            Some(value) => format!("{}={}", param.name, sample(value)),
        }),
    }
}
