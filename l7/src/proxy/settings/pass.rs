//! `proxy_pass` and `health_check`.

use crate::directives::{IF_LOCATION, LOCATION};
use crate::route::Kind;
use crate::settings::LocationBlock;
use crate::variables::{self, Variable};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Span, Template, Value, Word};
use fairlead_core::health;

/// `proxy_pass` as written.
#[derive(Clone, Debug)]
pub(crate) enum PassTo {
    Url(Url),
    Variables(Template<Variable>),
}

/// `http://host[:port][uri]` taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    /// As written, without the scheme: what errors and `proxy_redirect default` name.
    pub text: Box<str>,
    /// Without port; `unix:/path` whole.
    pub host: Word,
    pub port: Option<u16>,
    /// What follows host and port; `None` when nothing does.
    pub uri: Option<Box<str>>,
}

/// One `health_check` and its place.
#[derive(Clone, Debug)]
pub(crate) struct HealthCheck {
    pub span: Span,
    pub settings: health::Settings,
}

pub(crate) const PASS: &[Directive<LocationBlock>] = &[
    Directive {
        name: "proxy_pass",
        contexts: LOCATION.or(IF_LOCATION).or(Contexts::LIMIT_EXCEPT),
        args: Args::exactly(&[Value::Text], "URL"),
        repeat: Repeat::Once,
        default: None,
        doc: "Passes requests on to a peer or to an `upstream` by its name: `http://backend`, `http://127.0.0.1:8080`, \
              `http://unix:/run/app.sock`. With a path behind (`http://backend/app/`) it replaces the location's prefix; \
              without one the client's path goes on as it was sent. Variables are looked up for each request.",
        set: |location, given| {
            let to = parse(given)?;
            if let PassTo::Url(Url { uri: Some(_), .. }) = &to
                && (matches!(location.name.kind, Kind::Regex(_) | Kind::Named) || !LOCATION.contains(given.context))
            {
                let message = "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside \
                               named location, or inside \"if\" statement, or inside \"limit_except\" block";
                return Err(given.error(0, message).help("end the URL after host and port"));
            }
            location.pass = Some(to);
            Ok(())
        },
    },
    Directive {
        name: "health_check",
        contexts: LOCATION,
        args: Args::at_least(0, &[Value::Params(health::HTTP_PARAMS)], "[parameters]"),
        repeat: Repeat::Append,
        default: None,
        doc: "Asks every peer of the location's `upstream` (which needs a `zone`) again and again, and sends no \
              requests to those that fail: `health_check interval=5s uri=/health match=ok;`.",
        set: |location, given| {
            let settings = health::Settings::parse(given)?;
            location.checks.push(HealthCheck { span: given.statement.name.span, settings });
            Ok(())
        },
    },
];

fn parse(given: &Given<'_>) -> Result<PassTo, Diagnostic> {
    let word = given.word(0);
    let template = variables::compile(word, given.cx)?;
    if template.literal().is_none() {
        return Ok(PassTo::Variables(template));
    }
    let scheme = |scheme: &str| word.text.get(..scheme.len()).is_some_and(|text| text.eq_ignore_ascii_case(scheme));
    if scheme("https://") {
        return Err(given.error(0, "https to peers is known to nginx, not built in fairlead yet"));
    }
    if !scheme("http://") {
        return Err(given.error(0, "invalid URL prefix").help(format!("write http://{}", word.text)));
    }
    url(&word.tail("http://".len())).map(PassTo::Url)
}

/// The parts of what follows the scheme.
fn url(word: &Word) -> Result<Url, Diagnostic> {
    let wrong = |what: &str| {
        let problem = Diagnostic::error(word.span, format!("{what} in upstream \"{}\"", word.text));
        problem.help("write http://host[:port][/uri], http://group[/uri] or http://unix:path[:/uri]")
    };
    let (authority, uri) = match word.text.strip_prefix("unix:") {
        Some(path) => match path.split_once(':') {
            Some((path, uri)) => ("unix:".len() + path.len(), Some(uri).filter(|uri| !uri.is_empty())),
            None => (word.text.len(), None),
        },
        None => match word.text.find(['/', '?']) {
            Some(at) => (at, word.text.get(at..)),
            None => (word.text.len(), None),
        },
    };
    let authority = word.text.get(..authority).unwrap_or_default();
    let (host, port) = if authority.starts_with("unix:") {
        if authority.len() == "unix:".len() {
            return Err(wrong("no path in the unix domain socket"));
        }
        (authority, None)
    } else {
        split_port(authority).map_err(wrong)?
    };
    // nginx puts a slash before a URI that begins with its query.
    let uri = uri.map(|uri| if uri.starts_with('?') { format!("/{uri}").into() } else { uri.into() });
    let host = Word { text: host.into(), span: word.span, quoted: word.quoted };
    Ok(Url { text: word.text.clone(), host, port, uri })
}

/// Host and port of `host[:port]` or `[v6][:port]`.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let after_bracket = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority.get(after_bracket..).and_then(|tail| tail.rfind(':')) {
        Some(colon) => authority.split_at(after_bracket + colon),
        None => (authority, ""),
    };
    if host.is_empty() {
        return Err("no host");
    }
    let port = match port.strip_prefix(':') {
        None => None,
        Some(port) => Some(port.parse().ok().filter(|&port| port != 0).ok_or("invalid port")?),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<(String, Option<u16>, Option<String>), String> {
        let word = Word { text: text.into(), span: Span::default(), quoted: false };
        let url = url(&word).map_err(|diagnostic| diagnostic.message)?;
        Ok((url.host.text.to_string(), url.port, url.uri.map(String::from)))
    }

    #[test]
    fn urls_come_apart() {
        let some = |text: &str| Some(text.to_owned());
        for (text, host, port, uri) in [
            ("backend", "backend", None, None),
            ("backend/", "backend", None, some("/")),
            ("10.0.0.1:8080/app?x=1", "10.0.0.1", Some(8080), some("/app?x=1")),
            ("[::1]:81", "[::1]", Some(81), None),
            ("[::1]", "[::1]", None, None),
            ("host?x", "host", None, some("/?x")),
            ("unix:/run/a.sock", "unix:/run/a.sock", None, None),
            ("unix:/run/a.sock:/uri/", "unix:/run/a.sock", None, some("/uri/")),
        ] {
            assert_eq!(parts(text), Ok((host.to_owned(), port, uri)), "{text}");
        }
    }

    #[test]
    fn broken_urls_are_refused() {
        for text in ["", ":80", "/x", "a:0", "a:99999", "a:x", "a:", "unix:"] {
            assert!(parts(text).is_err(), "{text}");
        }
    }
}
