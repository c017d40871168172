//! `log_format` and `access_log`: which lines a request leaves at its end.
//! Files, buffering and syslog are core's.

use crate::directives::{ALL, HTTP, IF_LOCATION};
use crate::variables::{self, Variable};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Span, Template, Value, Word, value};
use fairlead_core::log::{Destination, Escape, Format, GZIP_BUFFER, gzip_level};
use std::sync::Arc;
use std::time::Duration;

/// The format of logs that name none.
pub(crate) const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
    \"$http_referer\" \"$http_user_agent\"";

/// One `access_log` as written.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub span: Span,
    pub destination: Destination,
    /// The name of the file, where it has variables.
    pub path: Option<Arc<Template<Variable>>>,
    pub format: Word,
    pub buffer: Option<usize>,
    pub flush: Option<Duration>,
    /// Level of `gzip=`, from 1 to 9.
    pub gzip: Option<u8>,
    pub condition: Option<Arc<Template<Variable>>>,
}

pub(crate) const FORMATS: &[Directive<Vec<Format>>] = &[Directive {
    name: "log_format",
    contexts: HTTP,
    args: Args::at_least(2, &[Value::Text], "name [escape=default|json|none] string …"),
    repeat: Repeat::Append,
    default: None,
    doc: "Names the text of an access log line; its strings are joined. `combined` is there already. \
          `escape=json` makes values safe inside JSON strings, `none` writes them raw. \
          Example: `log_format brief '$remote_addr $status $request_time';`.",
    set: |formats, given| {
        let name = given.word(0);
        if &*name.text == "combined" || formats.iter().any(|other| other.name == name.text) {
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
    contexts: ALL.or(IF_LOCATION).or(Contexts::LIMIT_EXCEPT),
    args: Args::between(
        1,
        7,
        &[Value::Text],
        "path [format [buffer=size] [gzip[=level]] [flush=time] [if=condition]] | off",
    ),
    repeat: Repeat::List(Vec::clear),
    default: Some("logs/access.log combined"),
    doc: "Writes one line per request to a file (relative to the prefix) or to `syslog:server=…`, in the named \
          `log_format`. A block's own logs replace inherited ones; `off` writes none. `if=$variable` leaves out \
          requests for which the value is empty or `0`. `gzip` compresses (level 1 to 9, 1 if none is given, with a \
          buffer of 64k if none is given). The name of the file may hold variables; such a log cannot be \
          buffered. Example: `access_log logs/api.log combined buffer=32k flush=1s;`.",
    set: |logs, given| {
        if given.text(0) == "off" {
            return match given.words().get(1) {
                Some(word) => Err(given.error(1, format!("invalid parameter \"{}\"", word.text))),
                None => {
                    logs.clear();
                    Ok(())
                }
            };
        }
        logs.push(parse(given)?);
        Ok(())
    },
}];

fn parse(given: &Given<'_>) -> Result<Settings, Diagnostic> {
    let path = given.word(0);
    let file = || -> Box<str> { given.path(0).to_string_lossy().into() };
    let template = match path.text.contains('$') && !path.text.starts_with("syslog:") {
        false => None,
        true => Some(Arc::new(variables::compile(&Word { text: file(), ..path.clone() }, given.cx)?)),
    };
    let combined = || Word { text: "combined".into(), span: path.span, quoted: false };
    let mut settings = Settings {
        span: path.span,
        destination: match path.text.strip_prefix("syslog:") {
            Some(syslog) => Destination::Syslog(syslog.into()),
            None if template.is_some() => Destination::Files { template: file(), cache: None },
            None => Destination::File(given.path(0)),
        },
        path: template,
        format: given.words().get(1).cloned().unwrap_or_else(combined),
        buffer: None,
        flush: None,
        gzip: None,
        condition: None,
    };
    for (index, word) in given.words().iter().enumerate().skip(2) {
        option(&mut settings, given, index, word)?;
    }
    if settings.gzip.is_some() {
        settings.buffer.get_or_insert(GZIP_BUFFER);
    }
    if settings.flush.is_some() && settings.buffer.is_none() {
        return Err(given.error(0, format!("no buffer is defined for access_log \"{}\"", path.text)));
    }
    match settings.destination {
        Destination::Files { .. } if settings.buffer.is_some() => {
            Err(given.error(0, "buffered logs cannot have variables in name"))
        }
        Destination::Syslog(_) if settings.buffer.is_some() => Err(given.error(0, "logs to syslog cannot be buffered")),
        _ => Ok(settings),
    }
}

fn option(settings: &mut Settings, given: &Given<'_>, index: usize, word: &Word) -> Result<(), Diagnostic> {
    let invalid = || given.error(index, format!("invalid parameter \"{}\"", word.text));
    match word.text.split_once('=') {
        Some(("buffer", size)) => {
            let size = value::parse_size(size).and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
            settings.buffer =
                Some(size.ok_or_else(|| given.error(index, format!("invalid buffer size \"{}\"", word.text)))?);
        }
        Some(("flush", time)) => {
            let time = value::parse_time(time).filter(|time| !time.is_zero());
            settings.flush =
                Some(time.ok_or_else(|| given.error(index, format!("invalid flush time \"{}\"", word.text)))?);
        }
        Some(("if", _)) => {
            let condition = variables::compile(&word.tail("if=".len()), given.cx)?;
            settings.condition = Some(Arc::new(condition));
        }
        Some(("gzip", _)) => settings.gzip = Some(gzip_level(Some(word.tail("gzip=".len())), given, index)?),
        None if &*word.text == "gzip" => settings.gzip = Some(gzip_level(None, given, index)?),
        _ => return Err(invalid()),
    }
    Ok(())
}
