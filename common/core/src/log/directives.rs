//! The rows of `error_log`, `access_log` and `log_format`, for main and both
//! planes. They check and store; variables are the planes' to compile.

use crate::log::syslog::Target;
use crate::log::{Destination, Escape, FileCache, Format, Level};
use fairlead_conf::value::{parse_size, parse_time};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value, Word};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// The buffer of a compressed log that names none.
pub const GZIP_BUFFER: usize = 64 * 1024;

const STREAMS: Contexts = Contexts::STREAM.or(Contexts::STREAM_SERVER);
const HTTPS: Contexts = Contexts::HTTP.or(Contexts::SERVER).or(Contexts::LOCATION);

/// What the `error_log` lines of one level ask for.
#[derive(Clone, Debug, Default)]
pub struct ErrorLogs(pub Vec<(Destination, Level)>);

/// The row of `error_log`, for main and both planes.
pub const DIRECTIVES: &[Directive<ErrorLogs>] = &[Directive {
    name: "error_log",
    contexts: Contexts::MAIN.or(HTTPS).or(STREAMS),
    args: Args::at_least(1, &[Value::Text], "file|stderr|syslog:server=address[,parameter=value] [level]"),
    repeat: Repeat::List(|logs| logs.0.clear()),
    default: None,
    doc: "Where errors are logged, and from which level on: `debug`, `info`, `notice`, `warn`, `error` \
          (when none is written), `crit`, `alert` or `emerg`. Several may be given on one level; they replace \
          those of the level above.",
    set: set_error_log,
}];

/// The `access_log` lines in force.
#[derive(Clone, Debug, Default)]
pub struct AccessLogs {
    pub entries: Vec<AccessEntry>,
    /// `access_log off`, which silences the entries beside it.
    pub off: bool,
}

impl AccessLogs {
    /// Nobody wrote any: the plane's default holds.
    pub fn is_unset(&self) -> bool {
        self.entries.is_empty() && !self.off
    }

    /// What is to be logged to.
    pub fn active(&self) -> &[AccessEntry] {
        if self.off { &[] } else { &self.entries }
    }
}

/// One `access_log`, its names not looked up yet.
#[derive(Clone, Debug)]
pub struct AccessEntry {
    pub destination: Destination,
    /// As written.
    pub path: Word,
    /// The name of the file where variables are in it: absolute, to be compiled by the plane.
    pub template: Option<Word>,
    pub format: Option<Word>,
    pub buffer: Option<usize>,
    pub flush: Option<Duration>,
    /// Level of `gzip=`, from 1 to 9.
    pub gzip: Option<u8>,
    /// What follows `if=`.
    pub condition: Option<Word>,
}

/// The row of `access_log`, for both planes. Defaults are the plane's.
pub const ACCESS_DIRECTIVES: &[Directive<AccessLogs>] = &[Directive {
    name: "access_log",
    contexts: HTTPS.or(STREAMS).or(Contexts::IF_LOCATION).or(Contexts::LIMIT_EXCEPT),
    args: Args::at_least(
        1,
        &[Value::Text],
        "path [format [buffer=size] [gzip[=level]] [flush=time] [if=condition]] | off",
    ),
    repeat: Repeat::List(|logs| *logs = AccessLogs::default()),
    default: None,
    doc: "Writes a line of `format` for every request or session to a file or `syslog:`; `if=` writes only those \
          for which the condition is neither empty nor `0`. With `buffer=` lines wait until the buffer is full \
          or `flush=` has passed; `gzip` compresses them (level 1 to 9, 1 if none is given, with a buffer of 64k if \
          none is given). The name of the file may hold variables; such a log cannot be buffered.",
    set: set_access_log,
}];

/// The `log_format`s of a plane.
#[derive(Clone, Debug, Default)]
pub struct Formats(pub Vec<Format>);

impl Formats {
    /// The format `access_log` means by `name`: as nginx, whatever its case.
    pub fn find(&self, name: &str) -> Option<&Format> {
        self.0.iter().find(|format| format.name.eq_ignore_ascii_case(name))
    }
}

/// The row of `log_format`, for both planes.
pub const FORMAT_DIRECTIVES: &[Directive<Formats>] = &[Directive {
    name: "log_format",
    contexts: Contexts::HTTP.or(Contexts::STREAM),
    args: Args::at_least(2, &[Value::Text], "name [escape=default|json|none] string ..."),
    repeat: Repeat::Append,
    default: None,
    doc: "Names a format for `access_log`. The strings are joined; `escape=` says how variables are written: \
          `default` makes quotes, backslashes and bytes that are not printable ASCII `\\xNN`, `json` escapes as \
          JSON strings need, `none` not at all.",
    set: set_log_format,
}];

fn set_error_log(logs: &mut ErrorLogs, given: &Given<'_>) -> Result<(), Diagnostic> {
    let mut level = None;
    for (word, index) in given.words().iter().skip(1).zip(1..) {
        let Some(named) = Level::from_name(&word.text) else {
            return Err(unknown_level(given, index));
        };
        if level.replace(named).is_some() {
            return Err(given.error(index, format!("duplicate log level \"{}\"", word.text)));
        }
    }
    let destination = match given.text(0) {
        "stderr" => Destination::Stderr,
        text if text.starts_with("memory:") => {
            return Err(given.error(0, "an error log in memory is known to nginx, not built in fairlead yet"));
        }
        _ => destination(given)?,
    };
    logs.0.push((destination, level.unwrap_or(Level::Error)));
    Ok(())
}

fn unknown_level(given: &Given<'_>, index: usize) -> Diagnostic {
    let name = given.text(index);
    if name == "json" || name.starts_with("debug_") {
        return given.error(index, format!("\"{name}\" is known to nginx, not built in fairlead yet"));
    }
    let levels = Level::ALL.map(Level::name).join(", ");
    given.error(index, format!("invalid log level \"{name}\"")).help(format!("one of: {levels}"))
}

/// What the first argument names: a file, or `syslog:`, checked.
fn destination(given: &Given<'_>) -> Result<Destination, Diagnostic> {
    let Some(parameters) = given.text(0).strip_prefix("syslog:") else {
        return Ok(Destination::File(given.path(0)));
    };
    match Target::parse(parameters) {
        Ok(_) => Ok(Destination::Syslog(parameters.into())),
        Err(message) => Err(given.error(0, message)),
    }
}

fn set_access_log(logs: &mut AccessLogs, given: &Given<'_>) -> Result<(), Diagnostic> {
    if given.text(0) == "off" {
        if given.len() > 1 {
            return Err(given.error(1, format!("invalid parameter \"{}\"", given.text(1))));
        }
        logs.off = true;
        return Ok(());
    }
    let mut destination = destination(given)?;
    let mut template = None;
    if let (Destination::File(path), true) = (&destination, given.text(0).contains('$')) {
        let path: Box<str> = path.to_string_lossy().into();
        template = Some(Word { text: path.clone(), ..given.word(0).clone() });
        destination = Destination::Files { template: path, cache: None };
    }
    let mut entry = AccessEntry {
        destination,
        path: given.word(0).clone(),
        template,
        format: given.words().get(1).cloned(),
        buffer: None,
        flush: None,
        gzip: None,
        condition: None,
    };
    for (parameter, index) in given.params(2).zip(2..) {
        entry.set_parameter(parameter, index, given)?;
    }
    if entry.gzip.is_some() {
        entry.buffer.get_or_insert(GZIP_BUFFER);
    }
    entry.check(given)?;
    logs.entries.push(entry);
    Ok(())
}

impl AccessEntry {
    fn set_parameter(
        &mut self,
        (name, value): (&str, Option<Word>),
        index: usize,
        given: &Given<'_>,
    ) -> Result<(), Diagnostic> {
        match (name, value) {
            ("buffer", Some(size)) => {
                let bytes = parse_size(&size.text).and_then(|bytes| usize::try_from(bytes).ok());
                let invalid = || given.error(index, format!("invalid buffer size \"{}\"", size.text));
                self.buffer = Some(bytes.filter(|bytes| *bytes > 0).ok_or_else(invalid)?);
            }
            ("flush", Some(time)) => {
                let flush = parse_time(&time.text).filter(|time| !time.is_zero());
                let invalid = || given.error(index, format!("invalid flush time \"{}\"", time.text));
                self.flush = Some(flush.ok_or_else(invalid)?);
            }
            ("if", Some(condition)) => self.condition = Some(condition),
            ("gzip", level) => self.gzip = Some(gzip_level(level, given, index)?),
            _ => return Err(given.error(index, format!("invalid parameter \"{}\"", given.text(index)))),
        }
        Ok(())
    }

    fn check(&self, given: &Given<'_>) -> Result<(), Diagnostic> {
        if self.flush.is_some() && self.buffer.is_none() {
            let message = format!("no buffer is defined for access_log \"{}\"", given.text(0));
            return Err(given.error(0, message).help("add buffer=32k"));
        }
        if self.buffer.is_some() && self.template.is_some() {
            return Err(given.error(0, "buffered logs cannot have variables in name"));
        }
        if self.buffer.is_some() && matches!(self.destination, Destination::Syslog(_)) {
            return Err(given.error(0, "logs to syslog cannot be buffered"));
        }
        Ok(())
    }
}

/// `gzip` or `gzip=level`.
///
/// # Errors
/// A level that is none, in nginx's words.
pub fn gzip_level(level: Option<Word>, given: &Given<'_>, index: usize) -> Result<u8, Diagnostic> {
    let Some(level) = level else { return Ok(1) };
    let parsed = level.text.parse().ok().filter(|level| (1..=9).contains(level));
    parsed.ok_or_else(|| given.error(index, format!("invalid compression level \"{}\"", level.text)))
}

/// What the `access_log`s of a plane say of their files: those that buffer one must say the same.
#[derive(Default)]
pub struct Agreed(RefCell<HashMap<PathBuf, Buffering>>);

/// `buffer=`, `flush=` and `gzip=`.
type Buffering = (usize, Option<Duration>, Option<u8>);

impl Agreed {
    /// # Errors
    /// Another entry says something else, in nginx's words.
    pub fn check(&self, entry: &AccessEntry) -> Result<(), Diagnostic> {
        let (Destination::File(path), Some(buffer)) = (&entry.destination, entry.buffer) else { return Ok(()) };
        let own = (buffer, entry.flush, entry.gzip);
        if *self.0.borrow_mut().entry(path.clone()).or_insert(own) == own {
            return Ok(());
        }
        let message = format!("access_log \"{}\" already defined with conflicting parameters", entry.path.text);
        Err(Diagnostic::error(entry.path.span, message))
    }
}

/// `open_log_file_cache` in force; none: files are opened for each line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileCaching(pub Option<FileCache>);

/// The row of `open_log_file_cache`, for both planes.
pub const FILE_CACHE_DIRECTIVES: &[Directive<FileCaching>] = &[Directive {
    name: "open_log_file_cache",
    contexts: HTTPS.or(STREAMS),
    args: Args::between(1, 4, &[Value::Text], "max=N [inactive=time] [min_uses=N] [valid=time] | off"),
    repeat: Repeat::Once,
    default: Some("off"),
    doc: "Keeps the files of an `access_log` with variables in its name open: `max` of them, of which the one that \
          was written to least recently goes first; not those that had fewer than `min_uses` (1) lines or none \
          for `inactive` (10s). After `valid` (60s) it is looked whether a file is still in its place.",
    set: set_file_cache,
}];

fn set_file_cache(caching: &mut FileCaching, given: &Given<'_>) -> Result<(), Diagnostic> {
    let mut cache =
        FileCache { max: 0, inactive: Duration::from_secs(10), min_uses: 1, valid: Duration::from_secs(60) };
    let mut off = false;
    for (index, (name, value)) in given.params(0).enumerate() {
        let text = value.as_ref().map_or("", |value| &value.text);
        let read = match name {
            "max" => text.parse().map(|max| cache.max = max).ok(),
            "min_uses" => text.parse().map(|uses| cache.min_uses = uses).ok(),
            "inactive" => parse_time(text).map(|time| cache.inactive = time),
            "valid" => parse_time(text).map(|time| cache.valid = time),
            "off" if value.is_none() => {
                off = true;
                Some(())
            }
            _ => None,
        };
        let wrong = || format!("invalid \"open_log_file_cache\" parameter \"{}\"", given.text(index));
        read.ok_or_else(|| given.error(index, wrong()))?;
    }
    if cache.max == 0 && !off {
        return Err(given.error(0, "\"open_log_file_cache\" must have \"max\" parameter"));
    }
    caching.0 = (!off).then_some(cache);
    Ok(())
}

fn set_log_format(formats: &mut Formats, given: &Given<'_>) -> Result<(), Diagnostic> {
    let name = given.text(0);
    if formats.0.iter().any(|format| &*format.name == name) {
        return Err(given.error(0, format!("duplicate \"log_format\" name \"{name}\"")));
    }
    let strings = given.words().get(1..).unwrap_or_default();
    let (escape, text) = match given.text(1).strip_prefix("escape=") {
        None => (Escape::Default, strings),
        Some("default") => (Escape::Default, strings.get(1..).unwrap_or_default()),
        Some("json") => (Escape::Json, strings.get(1..).unwrap_or_default()),
        Some("none") => (Escape::None, strings.get(1..).unwrap_or_default()),
        Some(other) => {
            let message = format!("unknown log format escaping \"{other}\"");
            return Err(given.error(1, message).help("one of: default, json, none"));
        }
    };
    formats.0.push(Format { name: name.into(), escape, text: text.to_vec() });
    Ok(())
}
