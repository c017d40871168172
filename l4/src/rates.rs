//! How fast a session's bytes may move and how many of them may wait with us:
//! `proxy_upload_rate`, `proxy_download_rate`, `proxy_buffer_size`. The relay
//! in core keeps to it, for datagrams `udp/pace`.

use crate::directives::{SERVER, STREAM};
use crate::record::Record;
use crate::variables::{Variable, compile};
use fairlead_conf::value::parse_size;
use fairlead_conf::{Args, Cx, Diagnostic, Directive, Given, Repeat, Template, Value, Word};
use fairlead_core::clock::Tick;
use fairlead_core::log::Level;
use fairlead_core::net::{Limits, Rate};

/// What the rows say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    upload: Option<Word>,
    download: Option<Word>,
    buffer: u64,
}

/// The same, compiled.
pub(crate) struct Rates {
    upload: Limit,
    download: Limit,
    buffer: usize,
}

enum Limit {
    /// Bytes a second; 0 is none.
    Fixed(u64),
    Evaluated(Template<Variable>),
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    rate(
        "proxy_upload_rate",
        "Bytes a second that are read from a client, for each session on its own; 0: no limit. Variables are evaluated \
         when the session has its peer. A session that rests for its rate does not time out meanwhile. A UDP session's \
         first datagram always passes; of the others those that come faster are lost and not counted in \
         `$bytes_received`. What an eighth of a second brings may come at once (nginx: one datagram).",
        |rates, given| size_or_variable(given).map(|word| rates.upload = Some(word)),
    ),
    rate(
        "proxy_download_rate",
        "Bytes a second that are read from a peer, for each session on its own; 0: no limit. Variables are evaluated \
         when the session has its peer. A session that rests for its rate does not time out meanwhile. A peer's \
         datagrams wait in the session's socket (`proxy_socket_rcvbuf`); the kernel drops what does not fit.",
        |rates, given| size_or_variable(given).map(|word| rates.download = Some(word)),
    ),
    Directive {
        name: "proxy_buffer_size",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("16k"),
        doc: "Bytes read at once from a client or a peer (at most 64k), and so the most that each direction of a \
              session holds while the other side is slow. A direction that streams goes through a pipe in the kernel, \
              which may hold sixteen times as much. A session where nothing waits holds nothing.",
        set: |rates, given| given.size(0).map(|size| rates.buffer = size),
    },
    old_name("proxy_downstream_buffer"),
    old_name("proxy_upstream_buffer"),
];

type Set = fn(&mut Settings, &Given<'_>) -> Result<(), Diagnostic>;

const fn rate(name: &'static str, doc: &'static str, set: Set) -> Directive<Settings> {
    let args = Args::exactly(&[Value::Template], "rate");
    Directive { name, contexts: STREAM.or(SERVER), args, repeat: Repeat::Once, default: Some("0"), doc, set }
}

const fn old_name(name: &'static str) -> Directive<Settings> {
    Directive {
        name,
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: None,
        doc: "The old name of `proxy_buffer_size`.",
        set: renamed,
    }
}

/// A size, or what gives one when a session comes.
fn size_or_variable(given: &Given<'_>) -> Result<Word, Diagnostic> {
    if !given.text(0).contains('$') {
        given.size(0)?;
    }
    Ok(given.word(0).clone())
}

fn renamed(rates: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    let name = &given.statement.name;
    let message =
        format!("the \"{}\" directive is deprecated, use the \"proxy_buffer_size\" directive instead", name.text);
    given.cx.report(Diagnostic::warning(name.span, message));
    given.size(0).map(|size| rates.buffer = size)
}

impl Rates {
    pub fn build(settings: &Settings, cx: &Cx) -> Result<Rates, Diagnostic> {
        Ok(Rates {
            upload: Limit::build(settings.upload.as_ref(), cx)?,
            download: Limit::build(settings.download.as_ref(), cx)?,
            buffer: usize::try_from(settings.buffer).unwrap_or(usize::MAX),
        })
    }

    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        [&self.upload, &self.download]
            .into_iter()
            .flat_map(|limit| match limit {
                Limit::Fixed(_) => None,
                Limit::Evaluated(template) => Some(template.variables()),
            })
            .flatten()
    }

    /// Whether sessions may have a `proxy_download_rate`.
    pub fn limit_downloads(&self) -> bool {
        !matches!(self.download, Limit::Fixed(0))
    }

    /// What holds for a session that has just got its peer. Seconds count from its first try for one.
    pub fn limits(&self, record: &Record, now: Tick) -> Limits {
        let since = record.attempts.first().map_or(now, |first| first.started);
        let rate = |limit: u64, before| (limit > 0).then_some(Rate { limit, since, before });
        Limits {
            buffer: self.buffer,
            to_peer: rate(self.upload.evaluate(record, now), record.received),
            to_client: rate(self.download.evaluate(record, now), 0),
        }
    }
}

impl Limit {
    fn build(word: Option<&Word>, cx: &Cx) -> Result<Limit, Diagnostic> {
        let Some(word) = word else { return Ok(Limit::Fixed(0)) };
        let template = compile(word, cx)?;
        match template.literal().and_then(parse_size) {
            Some(size) => Ok(Limit::Fixed(size)),
            None => Ok(Limit::Evaluated(template)),
        }
    }

    fn evaluate(&self, record: &Record, now: Tick) -> u64 {
        match self {
            Limit::Fixed(size) => *size,
            Limit::Evaluated(template) => evaluated(template, record, now),
        }
    }
}

/// What is no size is no limit, as in nginx, and said.
fn evaluated(template: &Template<Variable>, record: &Record, now: Tick) -> u64 {
    let mut text = Vec::new();
    record.render(template, now, &mut text);
    let text = String::from_utf8_lossy(&text);
    parse_size(&text).unwrap_or_else(|| {
        record.log(Level::Error, "connecting to upstream", format_args!("invalid size \"{text}\""));
        0
    })
}
