//! `charset`: says in `Content-Type` in which charset a text is, and recodes texts on their way.
//!
//! Between two charsets of one byte a character, or between one and UTF-8, by the tables of
//! `charset_map`; `recode` holds these and does the work. Its place is behind `sub_filter`, before
//! compression.

use super::mime::{Types, media};
use super::recode::{Recode, Table};
use super::{Settings as Filters, head};
use crate::directives::{ALL, HTTP, IF_LOCATION};
use crate::exchange::Exchange;
use crate::plan::Content;
use crate::variables::{self, Variable, head_fields};
use fairlead_conf::{Args, Block, Diagnostic, Directive, Given, Repeat, Span, Template, Value, Word};
use fairlead_core::log::Level;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    to: Option<Name>,
    from: Option<Name>,
    overrides: bool,
    types: Types,
}

/// A charset's name as written.
#[derive(Clone, Debug)]
enum Name {
    Fixed(Box<str>, Span),
    Variable(Template<Variable>),
}

/// Every charset that the configuration names, and the tables between them.
#[derive(Debug, Default)]
pub(crate) struct Charsets {
    names: Vec<Box<str>>,
    tables: Vec<(usize, usize, Arc<Table>)>,
}

/// The blocks of `charset_map`.
#[derive(Default)]
pub(crate) struct Maps(Vec<Map>);

struct Map {
    from: Box<str>,
    to: Box<str>,
    there: Arc<Table>,
    back: Arc<Table>,
}

impl Charsets {
    /// All that `http { … }` names, and what its maps say.
    pub fn new(block: &Block, maps: Maps) -> Charsets {
        let mut charsets = Charsets::default();
        charsets.collect(block);
        for Map { from, to, there, back } in maps.0 {
            let (from, to) = (charsets.number(&from), charsets.number(&to));
            charsets.tables.push((from, to, there));
            charsets.tables.push((to, from, back));
        }
        charsets
    }

    fn collect(&mut self, block: &Block) {
        for statement in &block.statements {
            let named = match &*statement.name.text {
                "charset" if statement.args.first().is_some_and(|word| &*word.text == "off") => 0,
                "charset" | "source_charset" => 1,
                "charset_map" => 2,
                _ => 0,
            };
            for word in statement.args.iter().take(named).filter(|word| !word.text.starts_with('$')) {
                self.number(&word.text);
            }
            if let Some(inner) = statement.block.as_ref().filter(|_| named == 0) {
                self.collect(inner);
            }
        }
    }

    fn number(&mut self, name: &str) -> usize {
        self.find(name.as_bytes()).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        })
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn table(&self, from: usize, to: usize) -> Option<&Arc<Table>> {
        self.tables.iter().find(|(a, b, _)| (*a, *b) == (from, to)).map(|(_, _, table)| table)
    }

    /// What is wrong with the settings of a location: no table leads from one charset to the other.
    pub fn check(&self, settings: &Settings) -> Option<Diagnostic> {
        let (Some(Name::Fixed(to, span)), Some(Name::Fixed(from, _))) = (&settings.to, &settings.from) else {
            return None;
        };
        let (a, b) = (self.find(from.as_bytes())?, self.find(to.as_bytes())?);
        (a != b && self.table(a, b).is_none()).then(|| Diagnostic::error(*span, no_map(from, to)))
    }
}

fn no_map(from: &str, to: &str) -> String {
    format!("no \"charset_map\" between the charsets \"{from}\" and \"{to}\"")
}

const USUAL: &str = "text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml";

pub(crate) const DIRECTIVES: &[Directive<Filters>] = &[
    Directive {
        name: "charset",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Text], "charset | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "The charset that `Content-Type` of texts says, a name or a variable. Texts that are in another one by \
              `source_charset` are recoded. A peer may name one with `X-Accel-Charset`.",
        set: |filters, given| {
            filters.charset.to = if given.text(0) == "off" { None } else { Some(name(given)?) };
            Ok(())
        },
    },
    Directive {
        name: "source_charset",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Text], "charset"),
        repeat: Repeat::Once,
        default: None,
        doc: "The charset that texts are in. With another one in `charset` they are recoded by a `charset_map`.",
        set: |filters, given| name(given).map(|name| filters.charset.from = Some(name)),
    },
    Directive {
        name: "override_charset",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Whether texts that say in `Content-Type` in which charset they are, as peers send them, are recoded to \
              that of `charset` too.",
        set: |filters, given| given.flag(0).map(|on| filters.charset.overrides = on),
    },
    Directive {
        name: "charset_types",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], "mime-type ..."),
        repeat: Repeat::List(|filters| filters.charset.types.clear()),
        default: Some(USUAL),
        doc: "Content types that `charset` is for, besides `text/html`; `*` is any.",
        set: |filters, given| filters.charset.types.take(given, &["text/html"]),
    },
];

pub(crate) const MAPS: &[Directive<Maps>] = &[Directive {
    name: "charset_map",
    contexts: HTTP,
    args: Args::exactly(&[Value::Text, Value::Text], "charset1 charset2").with_block(),
    repeat: Repeat::Append,
    default: None,
    doc: "The way from one charset to another and back: a line for each character from 80 to FF, its code in the first \
          and in the second, in hexadecimal. `utf-8` may be the second. What has no line becomes `?`, on the way from \
          UTF-8 `&#NNNN;`.",
    set: |maps, given| map(maps, given),
}];

fn name(given: &Given<'_>) -> Result<Name, Diagnostic> {
    let word = given.word(0);
    if word.text.starts_with('$') {
        return variables::compile(word, given.cx).map(Name::Variable);
    }
    Ok(Name::Fixed(word.text.clone(), word.span))
}

fn map(maps: &mut Maps, given: &Given<'_>) -> Result<(), Diagnostic> {
    let (from, to) = (given.text(0), given.text(1));
    if from.eq_ignore_ascii_case(to) {
        return Err(given.error(1, format!("\"charset_map\" between the same charsets \"{from}\" and \"{to}\"")));
    }
    if from.eq_ignore_ascii_case("utf-8") {
        return Err(given.error(0, "\"utf-8\" can be the second charset only").help("swap both columns"));
    }
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(from) && b.eq_ignore_ascii_case(to);
    if maps.0.iter().any(|map| same(&map.from, &map.to) || same(&map.to, &map.from)) {
        return Err(given.error(0, format!("duplicate \"charset_map\" between \"{from}\" and \"{to}\"")));
    }
    let mut tables = Table::pair(to.eq_ignore_ascii_case("utf-8"));
    for entry in given.entries() {
        let [code] = entry.args.as_slice() else {
            return Err(Diagnostic::error(entry.name.span, "invalid parameters number"));
        };
        let wrong = |word: &Word| Diagnostic::error(word.span, format!("invalid value \"{}\"", word.text));
        let byte = u8::from_str_radix(&entry.name.text, 16).map_err(|_| wrong(&entry.name))?;
        let code_bytes = hex(&code.text).ok_or_else(|| wrong(code))?;
        tables.0.add(&mut tables.1, byte, &code_bytes).ok_or_else(|| wrong(code))?;
    }
    let (there, back) = (Arc::new(tables.0), Arc::new(tables.1));
    maps.0.push(Map { from: from.into(), to: to.into(), there, back });
    Ok(())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    // One digit alone is a code too.
    if text.len() == 1 {
        return u8::from_str_radix(text, 16).ok().map(|byte| vec![byte]);
    }
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2)).collect()
}

/// What the filter makes of a response.
pub(super) enum Outcome {
    /// `Content-Type` stays as it is.
    Nothing,
    /// It says this charset.
    Says(Vec<u8>),
    /// The body is recoded besides.
    Recodes(Vec<u8>, Recode),
}

impl Settings {
    pub fn is_off(&self) -> bool {
        self.to.is_none()
    }

    /// The charset that an answer of this type says.
    pub fn says(&self, exchange: &Exchange, content_type: &[u8]) -> Option<Vec<u8>> {
        match self.outcome(exchange, content_type, None) {
            Outcome::Says(name) | Outcome::Recodes(name, _) => Some(name),
            Outcome::Nothing => None,
        }
    }

    /// Whether a file of this type becomes longer or shorter on its way.
    pub fn changes_length(&self, exchange: &Exchange, content_type: &[u8]) -> bool {
        matches!(self.outcome(exchange, content_type, None), Outcome::Recodes(_, recode) if recode.changes_length())
    }

    fn outcome(&self, exchange: &Exchange, content_type: &[u8], told: Option<&[u8]>) -> Outcome {
        let charsets = &exchange.worker.plan.charsets;
        let (kind, own) = media(content_type);
        let Some(to) = self.destination(exchange, (kind, own), told) else { return Outcome::Nothing };
        let from = match (own, &self.from) {
            (Some(own), _) => own.to_vec(),
            (None, Some(name)) => name.text(exchange),
            (None, None) => return Outcome::Says(to),
        };
        match (charsets.find(&from), charsets.find(&to)) {
            (Some(a), Some(b)) if a == b => Outcome::Says(to),
            (None, None) if from.eq_ignore_ascii_case(&to) => Outcome::Says(to),
            (Some(a), Some(b)) => match charsets.table(a, b) {
                Some(table) => Outcome::Recodes(to, Recode::new(table.clone())),
                None => Self::lost(exchange, &from, &to),
            },
            _ => Self::lost(exchange, &from, &to),
        }
    }

    fn lost(exchange: &Exchange, from: &[u8], to: &[u8]) -> Outcome {
        let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
        exchange.log(Level::Error, format_args!("{}", no_map(&from, &to)));
        Outcome::Nothing
    }

    /// The charset that the client is to get; `told` is what the peer asks for.
    fn destination(
        &self,
        exchange: &Exchange,
        (kind, own): (&[u8], Option<&[u8]>),
        told: Option<&[u8]>,
    ) -> Option<Vec<u8>> {
        if let Some(behind) = &exchange.behind {
            // What is put into a response is in its charset.
            return behind.charset.clone();
        }
        if kind.is_empty() {
            return None;
        }
        if let Some(told) = told.filter(|told| !told.is_empty()) {
            if exchange.worker.plan.charsets.find(told).is_some() {
                return Some(told.to_vec());
            }
            exchange.log(Level::Error, format_args!("unknown charset \"{}\" to override", told.escape_ascii()));
            return None;
        }
        let to = self.to.as_ref()?;
        let wanted = if own.is_some() { self.overrides } else { self.types.has(kind) };
        wanted.then(|| to.text(exchange))
    }
}

impl Name {
    fn text(&self, exchange: &Exchange) -> Vec<u8> {
        match self {
            Name::Fixed(name, _) => {
                // As it was written first.
                let charsets = &exchange.worker.plan.charsets;
                let first = charsets.find(name.as_bytes()).and_then(|number| charsets.names.get(number));
                first.unwrap_or(name).as_bytes().to_vec()
            }
            Name::Variable(template) => {
                let mut text = Vec::new();
                exchange.render(template, &mut text);
                text
            }
        }
    }
}

/// Writes the charset into the head; gives what recodes the body.
pub(super) fn apply(settings: &Settings, exchange: &mut Exchange, local: bool) -> Option<Recode> {
    let told = if local { None } else { told(exchange) };
    if settings.is_off() && told.is_none() && exchange.behind.as_ref().is_none_or(|behind| behind.charset.is_none()) {
        return None;
    }
    let content_type = head::value(&exchange.sent_head, b"Content-Type").unwrap_or_default();
    let (says, recode) = match settings.outcome(exchange, content_type, told.as_deref()) {
        Outcome::Nothing => return None,
        Outcome::Says(charset) => (charset, None),
        // As nginx: what is packed is not recoded.
        Outcome::Recodes(..) if is_packed(&exchange.sent_head) => return None,
        Outcome::Recodes(charset, recode) => (charset, Some(recode)),
    };
    let mut content_type = media(content_type).0.to_vec();
    if !says.is_empty() && !matches!(exchange.status, 301 | 302) {
        content_type.extend_from_slice(b"; charset=");
        content_type.extend_from_slice(&says);
    }
    head::set(&mut exchange.sent_head, local, b"Content-Type", &content_type);
    recode
}

fn is_packed(head: &[u8]) -> bool {
    head::value(head, b"Content-Encoding").is_some_and(|coding| !coding.is_empty())
}

/// `X-Accel-Charset` of the peer that answered.
fn told(exchange: &Exchange) -> Option<Vec<u8>> {
    if let Content::Proxy(proxy) = &exchange.location.content
        && proxy.ignored.charset
    {
        return None;
    }
    let mut fields = head_fields(&exchange.upstream_head);
    fields.find(|(name, _)| name.eq_ignore_ascii_case(b"x-accel-charset")).map(|(_, value)| value.to_vec())
}

/// The charset that a head's `Content-Type` says.
pub(super) fn said(head: &[u8]) -> Option<Vec<u8>> {
    head::value(head, b"Content-Type").and_then(|value| media(value).1).map(<[u8]>::to_vec)
}
