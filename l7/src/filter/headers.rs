//! `add_header`, `add_trailer` and `expires`: fields that the configuration adds to responses.
//!
//! `filter` calls it when the head is written, and for the trailers when the body has ended.

use super::{Settings, head};
use crate::directives::{ALL, IF_LOCATION};
use crate::exchange::Exchange;
use crate::variables::{self, Variable};
use fairlead_conf::value::parse_time;
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Template, Value};
use fairlead_core::clock;
use std::sync::Arc;

/// One `add_header` or `add_trailer`.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    name: Box<str>,
    value: Template<Variable>,
    /// With any status.
    always: bool,
}

/// What a block says of the list of the block around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Inherit {
    Off,
    /// Until the block has a list of its own.
    #[default]
    On,
    Merge,
}

/// Fields of a block and of those around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    own: Vec<Added>,
    outer: Arc<[Added]>,
    inherit: Inherit,
}

impl Fields {
    /// As a block inside this one gets them.
    pub fn inside(&self) -> Fields {
        let outer = match (self.inherit, self.own.is_empty()) {
            (Inherit::Off, true) => Arc::default(),
            (_, true) => self.outer.clone(),
            (Inherit::Merge, false) => self.own.iter().chain(self.outer.iter()).cloned().collect(),
            (_, false) => self.own.iter().cloned().collect(),
        };
        Fields { own: Vec::new(), outer, inherit: self.inherit }
    }

    /// Nothing would change by [`Fields::inside`].
    pub fn is_settled(&self) -> bool {
        self.own.is_empty() && (self.inherit != Inherit::Off || self.outer.is_empty())
    }

    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.outer.is_empty()
    }

    /// Those for a response of this status.
    fn of(&self, status: u16) -> impl Iterator<Item = &Added> {
        self.outer.iter().filter(move |field| field.always || is_safe(status))
    }

    pub fn any_of(&self, status: u16) -> bool {
        self.of(status).next().is_some()
    }
}

/// When a response is too old to be used again.
#[derive(Clone, Debug, Default)]
pub(crate) enum Expires {
    #[default]
    Off,
    Fixed(When),
    /// Read for each response; the flag is `modified`.
    Variable(bool, Template<Variable>),
}

/// Seconds, from different starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Off,
    Epoch,
    Max,
    FromNow(i64),
    FromModified(i64),
    /// After midnight, in the zone of `TZ`.
    Daily(i64),
}

type Row = Directive<Settings>;

const ANYWHERE: Contexts = ALL.or(IF_LOCATION);
const INHERIT: Args = Args::exactly(&[Value::OneOf(&["on", "off", "merge"])], "on | off | merge");
const ADDED: Args = Args::between(2, 3, &[Value::Text, Value::Template, Value::Text], "name value [always]");

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "add_header",
        contexts: ANYWHERE,
        args: ADDED,
        repeat: Repeat::Append,
        default: None,
        doc: "Adds a field to responses with status 200, 201, 204, 206, 301 to 304, 307 or 308, with `always` to all. \
              An empty value adds nothing; `ETag` and `Last-Modified` replace those of the response. A block with a \
              list of its own does not inherit one, but see `add_header_inherit`.",
        set: |settings, given| added(given).map(|field| settings.headers.own.push(field)),
    },
    Row {
        name: "add_header_inherit",
        contexts: ANYWHERE,
        args: INHERIT,
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Whether a block takes over the `add_header` of the block around it: `on` when it has none itself, \
              `merge` always, behind its own.",
        set: |settings, given| {
            settings.headers.inherit = inherit(given);
            Ok(())
        },
    },
    Row {
        name: "add_trailer",
        contexts: ANYWHERE,
        args: ADDED,
        repeat: Repeat::Append,
        default: None,
        doc: "As `add_header`, behind the body of a response, which is then sent in chunks: to HTTP/1.1 clients only.",
        set: |settings, given| added(given).map(|field| settings.trailers.own.push(field)),
    },
    Row {
        name: "add_trailer_inherit",
        contexts: ANYWHERE,
        args: INHERIT,
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "The same as `add_header_inherit` for `add_trailer`.",
        set: |settings, given| {
            settings.trailers.inherit = inherit(given);
            Ok(())
        },
    },
    Row {
        name: "expires",
        contexts: ANYWHERE,
        args: Args::between(1, 2, &[Value::Template], "[modified] time | epoch | max | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Sets `Expires` and `Cache-Control` of responses that `add_header` adds to: a time from now (`24h`; \
              negative is `no-cache`), after the file's own time (`modified +24h`), of the day (`@15h30m`), `epoch` \
              for the past, `max` for ten years. Variables may stand in it.",
        set: |settings, given| expires(given).map(|expires| settings.expires = expires),
    },
];

fn added(given: &Given<'_>) -> Result<Added, Diagnostic> {
    let name = given.text(0);
    if name.is_empty() || name.bytes().any(|byte| byte <= b' ' || matches!(byte, b':' | 0x7f)) {
        return Err(given.error(0, format!("invalid field name \"{name}\"")));
    }
    let always = match given.words().get(2).map(|word| &*word.text) {
        None => false,
        Some("always") => true,
        Some(other) => return Err(given.error(2, format!("invalid parameter \"{other}\""))),
    };
    Ok(Added { name: name.into(), value: variables::compile(given.word(1), given.cx)?, always })
}

fn inherit(given: &Given<'_>) -> Inherit {
    match given.text(0) {
        "off" => Inherit::Off,
        "merge" => Inherit::Merge,
        _ => Inherit::On,
    }
}

fn expires(given: &Given<'_>) -> Result<Expires, Diagnostic> {
    let modified = given.len() == 2;
    if modified && given.text(0) != "modified" {
        return Err(given.error(0, "invalid value").help("only \"modified\" may stand before the time"));
    }
    let last = given.len().saturating_sub(1);
    let template = variables::compile(given.word(last), given.cx)?;
    match template.literal() {
        None => Ok(Expires::Variable(modified, template)),
        Some(text) => match When::parse(text, modified).map_err(|why| given.error(last, why))? {
            When::Off => Ok(Expires::Off),
            when => Ok(Expires::Fixed(when)),
        },
    }
}

/// Some thousand years: nothing that is added to it overflows.
const LONGEST: i64 = 1 << 37;

impl When {
    fn parse(text: &str, modified: bool) -> Result<When, &'static str> {
        match text {
            "epoch" if !modified => return Ok(When::Epoch),
            "max" if !modified => return Ok(When::Max),
            "off" if !modified => return Ok(When::Off),
            _ => {}
        }
        let (sign, time) = match text.as_bytes().first() {
            Some(b'@') if modified => return Err("daily time cannot be used with \"modified\" parameter"),
            Some(sign @ (b'@' | b'+' | b'-')) => (*sign, text.get(1..).unwrap_or_default()),
            _ => (b'+', text),
        };
        let time = parse_time(time).filter(|time| time.subsec_millis() == 0).ok_or("invalid value")?;
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).min(LONGEST);
        Ok(match sign {
            b'@' if seconds > 24 * 60 * 60 => return Err("daily time value must be less than 24 hours"),
            b'@' => When::Daily(seconds),
            sign => {
                let seconds = if sign == b'-' { -seconds } else { seconds };
                if modified { When::FromModified(seconds) } else { When::FromNow(seconds) }
            }
        })
    }

    /// `Expires` in seconds since 1970 and `Cache-Control`, for a response made now and `modified` then.
    fn at(self, now: i64, since_midnight: i64, modified: Option<i64>) -> (i64, String) {
        let (expires, age) = match self {
            When::Off | When::Epoch => return (1, "no-cache".into()),
            When::Max => return (2_145_916_555, "max-age=315360000".into()),
            When::FromNow(0) | When::FromModified(0) => return (now, "max-age=0".into()),
            When::Daily(time) => {
                let today = now - since_midnight + time;
                let next = if today > now { today } else { today + 24 * 60 * 60 };
                (next, next - now)
            }
            When::FromModified(time) if modified.is_some() => {
                let expires = time.saturating_add(modified.unwrap_or(now));
                (expires, expires.saturating_sub(now))
            }
            When::FromNow(time) | When::FromModified(time) => (now.saturating_add(time), time),
        };
        let negative = age < 0 || matches!(self, When::FromNow(time) | When::FromModified(time) if time < 0);
        (expires, if negative { "no-cache".into() } else { format!("max-age={age}") })
    }
}

/// The statuses that `add_header` without `always` is for.
fn is_safe(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}

/// Writes `expires` and `add_header` into the head.
pub(super) fn apply(settings: &Settings, exchange: &mut Exchange, local: bool) {
    let status = exchange.status;
    if is_safe(status) {
        set_expires(&settings.expires, exchange, local);
    }
    for field in settings.headers.of(status) {
        let mut value = Vec::new();
        exchange.render(&field.value, &mut value);
        let replaces = ["ETag", "Last-Modified"].iter().any(|name| name.eq_ignore_ascii_case(&field.name));
        let head = &mut exchange.sent_head;
        match (replaces, value.is_empty()) {
            (true, true) => {
                head::remove(head, field.name.as_bytes());
            }
            (true, false) => head::set(head, local, field.name.as_bytes(), &value),
            (false, true) => {}
            (false, false) => head::push(head, local, field.name.as_bytes(), &value),
        }
    }
}

fn set_expires(expires: &Expires, exchange: &mut Exchange, local: bool) {
    let when = match expires {
        Expires::Off => return,
        Expires::Fixed(when) => *when,
        Expires::Variable(modified, template) => {
            let mut text = Vec::new();
            exchange.render(template, &mut text);
            let parsed = std::str::from_utf8(&text).ok().and_then(|text| When::parse(text, *modified).ok());
            match parsed {
                // As nginx: a value that is none says nothing.
                None | Some(When::Off) => return,
                Some(when) => when,
            }
        }
    };
    let modified = head::value(&exchange.sent_head, b"Last-Modified").and_then(crate::content::http_date);
    let now = i64::try_from(clock::unix_millis() / 1000).unwrap_or(0);
    let modified = modified.and_then(|seconds| i64::try_from(seconds).ok());
    let (expires, control) = when.at(now, since_midnight(), modified);
    let date = clock::http_date(u64::try_from(expires).unwrap_or(0));
    head::set(&mut exchange.sent_head, local, b"Expires", &date);
    head::set(&mut exchange.sent_head, local, b"Cache-Control", control.as_bytes());
}

/// Seconds of the local day: `2026-11-20T20:01:02+00:00`.
fn since_midnight() -> i64 {
    let mut text = Vec::new();
    clock::push_time_iso8601(&mut text);
    let number = |at: usize| {
        let digits = text.get(at..at + 2).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| digits.parse::<i64>().ok()).unwrap_or(0)
    };
    number(11) * 3600 + number(14) * 60 + number(17)
}

/// Appends the trailers as lines.
pub(super) fn push_trailers(settings: &Settings, exchange: &Exchange, out: &mut Vec<u8>) {
    for field in settings.trailers.of(exchange.status) {
        let mut value = Vec::new();
        exchange.render(&field.value, &mut value);
        if !value.is_empty() {
            out.extend(head::line(field.name.as_bytes(), &value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_nginx_reads_them() {
        for (text, modified, expected) in [
            ("epoch", false, Ok(When::Epoch)),
            ("max", false, Ok(When::Max)),
            ("off", false, Ok(When::Off)),
            ("1h30m", false, Ok(When::FromNow(5400))),
            ("+10", false, Ok(When::FromNow(10))),
            ("-1", false, Ok(When::FromNow(-1))),
            ("+1d", true, Ok(When::FromModified(86_400))),
            ("@15h30m", false, Ok(When::Daily(55_800))),
            ("@25h", false, Err("daily time value must be less than 24 hours")),
            ("@1h", true, Err("daily time cannot be used with \"modified\" parameter")),
            ("max", true, Err("invalid value")),
            ("100ms", false, Err("invalid value")),
            ("", false, Err("invalid value")),
        ] {
            assert_eq!(When::parse(text, modified), expected, "{text}");
        }
    }

    #[test]
    fn ages_count_from_where_they_should() {
        let noon = 12 * 3600;
        for (when, modified, expected) in [
            (When::FromNow(60), None, (1_000_060, "max-age=60")),
            (When::FromNow(0), None, (1_000_000, "max-age=0")),
            (When::FromNow(-1), None, (999_999, "no-cache")),
            (When::FromModified(60), Some(999_990), (1_000_050, "max-age=50")),
            (When::FromModified(60), Some(900_000), (900_060, "no-cache")),
            (When::FromModified(60), None, (1_000_060, "max-age=60")),
            (When::Daily(13 * 3600), None, (1_003_600, "max-age=3600")),
            (When::Daily(11 * 3600), None, (1_082_800, "max-age=82800")),
        ] {
            let (expires, control) = when.at(1_000_000, noon, modified);
            assert_eq!((expires, control.as_str()), expected, "{when:?}");
        }
    }

    #[test]
    fn a_list_of_ones_own_replaces_or_joins() {
        let field = |name: &str| Added { name: name.into(), value: Template { pieces: Vec::new() }, always: true };
        let names = |fields: &Fields| fields.of(500).map(|field| field.name.to_string()).collect::<String>();
        let outer = Fields { own: vec![field("a")], ..Fields::default() }.inside();
        assert_eq!(names(&outer.inside()), "a");
        let own = Fields { own: vec![field("b")], ..outer.clone() };
        assert_eq!(names(&own.inside()), "b");
        let merged = Fields { inherit: Inherit::Merge, ..own.clone() };
        assert_eq!(names(&merged.inside()), "ba");
        assert_eq!(names(&merged.inside().inside()), "ba");
        assert_eq!(names(&Fields { inherit: Inherit::Off, ..outer }.inside()), "");
    }
}
