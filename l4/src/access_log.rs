//! `log_format` and `access_log`: which lines a session writes at its end.
//! Buffering, files and syslog are core's.

use crate::directives::{SERVER, STREAM};
use crate::record::Record;
use crate::variables::{Variable, compile};
use fairlead_conf::value::{parse_size, parse_time};
use fairlead_conf::{Args, Diagnostic, Directive, Given, Piece, Repeat, Template, Value, Word};
use fairlead_core::clock::Tick;
use fairlead_core::log::{AccessLog, Destination, Escape, Format, push_escaped};
use fairlead_core::plan::Build;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// One `access_log` as written.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What the file's own errors point at.
    pub path: Word,
    pub destination: Destination,
    pub format: Word,
    pub buffer: Option<usize>,
    pub flush: Option<Duration>,
    pub condition: Option<Word>,
}

/// One `access_log` in force.
pub(crate) struct Access {
    log: AccessLog,
    format: Arc<Line>,
    condition: Option<Template<Variable>>,
}

/// A `log_format` compiled.
pub(crate) struct Line {
    pub name: Box<str>,
    escape: Escape,
    text: Template<Variable>,
}

pub(crate) const FORMATS: &[Directive<Vec<Format>>] = &[Directive {
    name: "log_format",
    contexts: STREAM,
    args: Args::at_least(2, &[Value::Text], "name [escape=default|json|none] string …"),
    repeat: Repeat::Append,
    default: None,
    doc: "Names the text of a log line, with variables in it.",
    set: |formats, given| {
        let name = given.word(0);
        if formats.iter().any(|other| other.name == name.text) {
            return Err(given.error(0, format!("duplicate \"log_format\" name \"{}\"", name.text)));
        }
        let mut text = given.words().get(1..).unwrap_or_default();
        let mut escape = Escape::Default;
        if let Some((first, rest)) = text.split_first()
            && let Some(mode) = first.text.strip_prefix("escape=")
        {
            escape = match mode {
                "default" => Escape::Default,
                "json" => Escape::Json,
                "none" => Escape::None,
                _ => return Err(given.error(1, format!("unknown log format escaping \"{mode}\""))),
            };
            text = rest;
        }
        formats.push(Format { name: name.text.clone(), escape, text: text.to_vec() });
        Ok(())
    },
}];

pub(crate) const DIRECTIVES: &[Directive<Vec<Settings>>] = &[Directive {
    name: "access_log",
    contexts: STREAM.or(SERVER),
    args: Args::between(1, 6, &[Value::Text], "path format [buffer=size] [flush=time] [if=condition] | off"),
    repeat: Repeat::List(Vec::clear),
    default: None,
    doc: "Writes a line of the named format for every session, when it ends.",
    set: |logs, given| {
        if given.text(0) == "off" {
            return match given.words().get(1) {
                Some(word) => Err(given.error(1, format!("invalid parameter \"{}\"", word.text))),
                None => Ok(()),
            };
        }
        logs.push(parse(given)?);
        Ok(())
    },
}];

fn parse(given: &Given<'_>) -> Result<Settings, Diagnostic> {
    let path = given.word(0);
    let Some(format) = given.words().get(1) else {
        return Err(given.error(0, "log format is not specified"));
    };
    let destination = match path.text.strip_prefix("syslog:") {
        Some(syslog) => Destination::Syslog(syslog.into()),
        None => Destination::File(given.path(0)),
    };
    let mut settings = Settings {
        path: path.clone(),
        destination,
        format: format.clone(),
        buffer: None,
        flush: None,
        condition: None,
    };
    for (index, word) in given.words().iter().enumerate().skip(2) {
        let invalid = || given.error(index, format!("invalid parameter \"{}\"", word.text));
        match word.text.split_once('=') {
            Some(("buffer", value)) => settings.buffer = Some(buffer_size(value).ok_or_else(invalid)?),
            Some(("flush", value)) => settings.flush = Some(parse_time(value).ok_or_else(invalid)?),
            Some(("if", value)) => {
                settings.condition = Some(Word { text: value.into(), span: word.span, quoted: word.quoted });
            }
            _ if word.text.starts_with("gzip") => {
                return Err(given.error(index, "\"gzip\" parameter is known to nginx, not built in fairlead yet"));
            }
            _ => return Err(invalid()),
        }
    }
    if settings.flush.is_some() && settings.buffer.is_none() {
        return Err(given.error(0, format!("no buffer is defined for access_log \"{}\"", path.text)));
    }
    Ok(settings)
}

fn buffer_size(text: &str) -> Option<usize> {
    parse_size(text).and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0)
}

impl Line {
    pub fn compile(format: &Format, build: &Build<'_>) -> Arc<Line> {
        let mut pieces: Vec<Piece<Variable>> = Vec::new();
        for word in &format.text {
            match compile(word) {
                Ok(template) => pieces.extend(template.pieces),
                Err(diagnostic) => build.cx.report(diagnostic),
            }
        }
        Arc::new(Line { name: format.name.clone(), escape: format.escape, text: Template { pieces } })
    }

    fn render(&self, record: &Record, now: Tick, value: &mut Vec<u8>, out: &mut Vec<u8>) {
        self.text.render(out, |variable, out| {
            value.clear();
            let exists = record.push(*variable, now, value);
            push_escaped(self.escape, exists.then_some(&value[..]), out);
        });
    }
}

impl Access {
    pub fn build(settings: &Settings, lines: &[Arc<Line>], build: &Build<'_>) -> Result<Access, Diagnostic> {
        let format = &settings.format;
        let Some(line) = lines.iter().find(|line| line.name == format.text) else {
            return Err(Diagnostic::error(format.span, format!("unknown log format \"{}\"", format.text)));
        };
        let log = build
            .logs
            .access_log(&settings.destination, settings.buffer, settings.flush)
            .map_err(|error| Diagnostic::error(settings.path.span, error.to_string()))?;
        let condition = settings.condition.as_ref().map(compile).transpose()?;
        Ok(Access { log, format: line.clone(), condition })
    }

    /// Every variable that writing a line may ask for.
    pub fn variables(&self) -> impl Iterator<Item = Variable> {
        let condition = self.condition.as_ref().map_or(&[][..], |template| &template.pieces);
        self.format.text.pieces.iter().chain(condition).filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(*variable),
            Piece::Text(_) => None,
        })
    }

    pub fn write(&self, record: &Record, now: Tick) {
        thread_local! {
            static VALUE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        VALUE.with_borrow_mut(|value| {
            if self.asked_for(record, now, value) {
                record.worker.context.logs.line(&self.log, |out| self.format.render(record, now, value, out));
            }
        });
    }

    /// What `if=` says.
    fn asked_for(&self, record: &Record, now: Tick, value: &mut Vec<u8>) -> bool {
        let Some(condition) = &self.condition else { return true };
        value.clear();
        record.render(condition, now, value);
        !value.is_empty() && *value != b"0"
    }
}
