//! `valid_referers` and `$invalid_referer`: which sites may lead clients here.

use super::{Row, push};
use crate::directives::{LOCATION, SERVER};
use crate::exchange::Exchange;
use crate::plan::Captures;
use crate::route::{Name, Names, Pattern};
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value, Word};
use std::sync::Arc;

/// The `valid_referers` lines in force.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    valid: Option<Arc<Valid>>,
    /// The block they stand in: a block that has lines of its own inherits none.
    block: usize,
}

#[derive(Default)]
struct Valid {
    /// A request without the field.
    none: bool,
    /// A field that is no URL.
    blocked: bool,
    server_names: bool,
    /// As written, from which `sites` are made.
    words: Vec<(Name, Box<str>)>,
    /// What the path has to begin with.
    sites: Names<Box<str>>,
    patterns: Vec<Pattern>,
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[Directive {
    name: "valid_referers",
    contexts: SERVER.or(LOCATION),
    args: Args::at_least(1, &[Value::Text], "none | blocked | server_names | string …"),
    repeat: Repeat::Append,
    default: None,
    doc: "Which `Referer` fields leave `$invalid_referer` empty: `none` is a request without the field, `blocked` a \
          field without http:// or https://, `server_names` the names of the server; hosts may be masks \
          (`*.example.com`, `example.*`) with a beginning of the path behind them, or `~` and a regular expression \
          for all that follows the scheme.",
    set: |settings, given| {
        if settings.block != given.block_number() {
            *settings = Settings { valid: Some(Arc::default()), block: given.block_number() };
        }
        let mut valid = Valid::default();
        if let Some(before) = settings.valid.take() {
            (valid.none, valid.blocked, valid.server_names) = (before.none, before.blocked, before.server_names);
            valid.patterns.clone_from(&before.patterns);
            before.words.iter().for_each(|(name, path)| {
                valid.add(name.clone(), path.clone());
            });
        }
        for (index, word) in given.words().iter().enumerate() {
            valid.word(word, (given, index))?;
        }
        settings.valid = Some(Arc::new(valid));
        Ok(())
    },
}];

impl Valid {
    fn word(&mut self, word: &Word, (given, index): (&Given<'_>, usize)) -> Result<(), Diagnostic> {
        match &*word.text {
            "" => return Err(given.error(index, "invalid referer \"\"")),
            "none" => self.none = true,
            "blocked" => self.blocked = true,
            "server_names" => self.server_names = true,
            text if text.starts_with('~') => {
                let text = word.tail(1).text;
                let pattern = Pattern::new(&text, true)
                    .map_err(|why| given.error(index, format!("invalid regular expression \"{text}\": {why}")))?;
                self.patterns.push(pattern);
            }
            text => {
                let (host, path) = text.split_at_checked(text.find('/').unwrap_or(text.len())).unwrap_or((text, ""));
                let name = Name::parse(host)
                    .map_err(|_| given.error(index, format!("invalid hostname or wildcard \"{host}\"")))?;
                if !self.add(name, path.into()) {
                    return Err(given.error(index, format!("conflicting parameter \"{host}\"")));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, name: Name, path: Box<str>) -> bool {
        let new = self.sites.add(&name, path.clone());
        self.words.push((name, path));
        new
    }

    fn allows(&self, exchange: &Exchange) -> bool {
        let Some(referer) = exchange.request.header(b"referer") else { return self.none };
        // nginx's shortest URL is http://i.ru.
        let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
            let start = referer.get(..scheme.len()).filter(|_| referer.len() >= b"http://i.ru".len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let Some(rest) = scheme.and_then(|scheme| referer.get(scheme.len()..)) else { return self.blocked };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b':')).unwrap_or(rest.len());
        if end > LONGEST_HOST {
            return false;
        }
        let host = rest.get(..end).unwrap_or_default().to_ascii_lowercase();
        if let Some(path) = self.sites.find(&host, &mut Captures::default()) {
            let begins = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            return rest.get(begins..).is_some_and(|rest| rest.starts_with(path.as_bytes()));
        }
        let is_own = || exchange.server.names.iter().any(|name| name.is(&host));
        self.server_names && is_own()
            || self.patterns.iter().any(|pattern| pattern.matches(rest, &mut Captures::default()))
    }
}

/// As in nginx.
const LONGEST_HOST: usize = 256;

pub(super) const ROWS: &[Row] = &[Row {
    name: "invalid_referer",
    doc: "Empty when `valid_referers` takes the `Referer` of the request, else `1`.",
    value: |x, out| {
        let valid = x.location.referers.as_ref();
        push(Some(if valid.is_none_or(|valid| valid.allows(x)) { b"" } else { b"1" }), out)
    },
}];

/// The `valid_referers` of a location.
#[derive(Clone)]
pub(crate) struct Referers(Arc<Valid>);

impl Referers {
    pub fn new(settings: &Settings) -> Option<Referers> {
        settings.valid.clone().map(Referers)
    }

    fn allows(&self, exchange: &Exchange) -> bool {
        self.0.allows(exchange)
    }
}
