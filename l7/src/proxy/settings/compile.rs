//! From settings to the [`Proxy`] of one location.

use super::{Rule, SetHeader, Settings, Url};
use crate::proxy::{Cookies, NameSet, NextUpstream, Proxy, Redirect, Target};
use crate::variables;
use fairlead_conf::{Cx, Diagnostic, Piece, Template, Word};

/// `url` is `None` when `target` holds variables.
///
/// # Errors
/// `proxy_redirect default` with variables in `proxy_pass`.
pub(crate) fn compile(
    settings: &Settings,
    target: Target,
    url: Option<&Url>,
    (location, cx): (&str, &Cx),
) -> Result<Proxy, Diagnostic> {
    let set_headers = set_headers(settings, cx)?;
    let says_close = set_headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("connection") && is_close(value));
    let overridden = set_headers.iter().map(|(name, _)| name.as_bytes()).collect();
    let (host, port) = url.map_or_else(Default::default, host_and_port);
    let hidden = hidden(settings);
    Ok(Proxy {
        target,
        uri: url.and_then(|url| url.uri.clone()),
        host,
        port,
        http11: settings.http11,
        method: settings.method.clone(),
        body: settings.body.clone(),
        request_dynamic: settings.request_dynamic,
        set_headers,
        overridden,
        says_close,
        own_server: hidden.contains(b"server"),
        own_date: hidden.contains(b"date"),
        hidden,
        pass_request_headers: settings.pass_request_headers,
        pass_trailers: settings.pass_trailers,
        pass_request_body: settings.pass_request_body,
        request_buffering: settings.request_buffering,
        connect_timeout: settings.connect_timeout,
        send_timeout: settings.send_timeout,
        read_timeout: settings.read_timeout,
        bind: settings.bind.clone(),
        bind_dynamic: settings.bind_dynamic,
        origin: settings.origin,
        allow: settings.allow.clone(),
        ignore_client_abort: settings.ignore_client_abort,
        force_ranges: settings.force_ranges,
        buffer_size: settings.buffer_size,
        buffering: settings.buffering,
        buffers: settings.buffers,
        max_temp_file_size: settings.max_temp_file_size,
        temp_file_write_size: settings.temp_file_write_size,
        temp_path: settings.temp_path.clone(),
        limit_rate: settings.limit_rate.clone(),
        store: settings.store.clone(),
        store_access: settings.store_access,
        intercept_errors: settings.intercept_errors,
        ignored: settings.ignored,
        next: NextUpstream {
            error: settings.next.error,
            timeout: settings.next.timeout,
            denied: settings.next.denied,
            invalid_header: settings.next.invalid_header,
            non_idempotent: settings.next.non_idempotent,
            statuses: settings.next.statuses,
            tries: settings.tries,
            time: settings.tries_time,
        },
        redirects: redirects(settings, url, location)?,
        cookies: Cookies {
            domains: settings.cookie_domains.clone(),
            paths: settings.cookie_paths.clone(),
            flags: settings.cookie_flags.clone(),
        },
    })
}

fn is_close(value: &Template<variables::Variable>) -> bool {
    matches!(&*value.pieces, [Piece::Text(text)] if text.eq_ignore_ascii_case("close"))
}

/// `$proxy_host` and `$proxy_port`.
fn host_and_port(url: &Url) -> (Box<str>, Box<str>) {
    if url.host.text.starts_with("unix:") {
        return ("localhost".into(), "".into());
    }
    match url.port {
        None | Some(80) => (url.host.text.clone(), "80".into()),
        Some(port) => (format!("{}:{port}", url.host.text).into(), port.to_string().into()),
    }
}

/// Fields of peers that clients do not see unless they are let through.
const HIDDEN: [&str; 8] = [
    "Date",
    "Server",
    "X-Pad",
    "X-Accel-Expires",
    "X-Accel-Redirect",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
];

/// As nginx: what is let through is not hidden, whatever hides it.
fn hidden(settings: &Settings) -> NameSet {
    let written = settings.hide_headers.iter().map(|name| &**name);
    let shown = |name: &&str| !settings.pass_headers.iter().any(|passed| passed.eq_ignore_ascii_case(name));
    HIDDEN.into_iter().chain(written).filter(shown).map(str::as_bytes).collect()
}

/// nginx's defaults behind what the configuration sets, unless it sets the same fields.
fn set_headers(settings: &Settings, cx: &Cx) -> Result<Vec<SetHeader>, Diagnostic> {
    let close = (!settings.http11).then_some(("Connection", "close"));
    let defaults = [("Host", "$proxy_host")].into_iter().chain(close);
    let mut headers = settings.set_headers.to_vec();
    for (name, value) in defaults {
        if !settings.set_headers.iter().any(|(written, _)| written.eq_ignore_ascii_case(name)) {
            let word = Word { text: value.into(), span: fairlead_conf::Span::default(), quoted: false };
            headers.push((name.into(), variables::compile(&word, cx)?));
        }
    }
    Ok(headers)
}

fn redirects(settings: &Settings, url: Option<&Url>, location: &str) -> Result<Vec<Redirect>, Diagnostic> {
    let mut redirects = Vec::new();
    for rule in &settings.redirects {
        match rule {
            Rule::Default(written) => match url {
                Some(url) => redirects.push(default_redirect(url, location)),
                None => {
                    if let Some(span) = written {
                        let message =
                            "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables";
                        return Err(Diagnostic::error(*span, message));
                    }
                }
            },
            Rule::Replace(redirect) => redirects.push(redirect.clone()),
        }
    }
    Ok(redirects)
}

/// From the URL of `proxy_pass` to the location's path.
fn default_redirect(url: &Url, location: &str) -> Redirect {
    let text = |text: Box<str>| Template { pieces: vec![Piece::Text(text)] };
    let (from, to) = match &url.uri {
        Some(_) => (format!("http://{}", url.text), location.into()),
        None => (format!("http://{}/", url.text), "/".into()),
    };
    Redirect { from: text(from.into()), pattern: None, to: text(to) }
}
