//! The rows that `http`, `server` and `location` share.

use super::{Next, Settings};
use crate::directives::ALL;
use crate::proxy::NextUpstream;
use crate::variables;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value};
use std::sync::Arc;

type Row = Directive<Settings>;

const NEXT_CONDITIONS: &[&str] = &[
    "error",
    "timeout",
    "denied",
    "invalid_header",
    "non_idempotent",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "off",
];

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "proxy_connect_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "How long connecting to a peer may take; then the next one is tried (`proxy_next_upstream timeout`).",
        set: |proxy, given| given.time(0).map(|time| proxy.connect_timeout = time),
    },
    Row {
        name: "proxy_send_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "How long a peer may take none of a request that is being sent.",
        set: |proxy, given| given.time(0).map(|time| proxy.send_timeout = time),
    },
    Row {
        name: "proxy_read_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "How long a peer may be silent: before its response, and between two pieces of it. \
              WebSockets that are silent longer are closed.",
        set: |proxy, given| given.time(0).map(|time| proxy.read_timeout = time),
    },
    Row {
        name: "proxy_http_version",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["1.0", "1.1", "2"])], "1.0 | 1.1"),
        repeat: Repeat::Once,
        default: Some("1.1"),
        doc: "The HTTP that peers are spoken to in. Kept connections and WebSockets need 1.1.",
        set: |proxy, given| match given.text(0) {
            "2" => Err(given.error(0, "HTTP/2 to peers is known to nginx, not built in fairlead yet")),
            version => {
                proxy.http11 = version == "1.1";
                Ok(())
            }
        },
    },
    Row {
        name: "proxy_method",
        contexts: ALL,
        args: Args::exactly(&[Value::Template], "method"),
        repeat: Repeat::Once,
        default: None,
        doc: "Method of requests to peers, in place of the client's.",
        set: |proxy, given| variables::compile(given.word(0), given.cx).map(|method| proxy.method = Some(method)),
    },
    Row {
        name: "proxy_set_body",
        contexts: ALL,
        args: Args::exactly(&[Value::Template], "value"),
        repeat: Repeat::Once,
        default: None,
        doc: "Body of requests to peers, in place of the client's, which is read and dropped.",
        set: |proxy, given| variables::compile(given.word(0), given.cx).map(|body| proxy.body = Some(body)),
    },
    Row {
        name: "proxy_request_dynamic",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Makes the head of the request anew for every peer that is tried, so that variables of the peer, such as \
              `$upstream_last_addr`, may stand in `proxy_set_header`.",
        set: |proxy, given| given.flag(0).map(|on| proxy.request_dynamic = on),
    },
    Row {
        name: "proxy_set_header",
        contexts: ALL,
        args: Args::exactly(&[Value::Text, Value::Template], "field value"),
        repeat: Repeat::List(|proxy| proxy.set_headers = Arc::default()),
        default: None,
        doc: "Sets a field of requests to peers; an empty value leaves the field out. A block that says it at all inherits none. \
              Without it: `Host $proxy_host`, and in HTTP/1.0 `Connection close`. \
              Example: `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;`.",
        set: |proxy, given| {
            let name = field_name(given)?;
            let value = variables::compile(given.word(1), given.cx)?;
            Arc::make_mut(&mut proxy.set_headers).push((name, value));
            Ok(())
        },
    },
    Row {
        name: "proxy_hide_header",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "field"),
        repeat: Repeat::List(|proxy| proxy.hide_headers.clear()),
        default: None,
        doc: "A field of peers' responses that clients do not see, as `Date`, `Server`, `X-Pad` and `X-Accel-…` already are.",
        set: |proxy, given| field_name(given).map(|name| proxy.hide_headers.push(name)),
    },
    Row {
        name: "proxy_pass_header",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "field"),
        repeat: Repeat::List(|proxy| proxy.pass_headers.clear()),
        default: None,
        doc: "A field of peers' responses that clients see although it is hidden otherwise: `proxy_pass_header Server;`.",
        set: |proxy, given| field_name(given).map(|name| proxy.pass_headers.push(name)),
    },
    Row {
        name: "proxy_pass_request_headers",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Whether the client's header fields go to peers.",
        set: |proxy, given| given.flag(0).map(|on| proxy.pass_request_headers = on),
    },
    Row {
        name: "proxy_pass_request_body",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Whether request bodies go to peers.",
        set: |proxy, given| given.flag(0).map(|on| proxy.pass_request_body = on),
    },
    super::redirect::REDIRECT,
    Row {
        name: "proxy_next_upstream",
        contexts: ALL,
        args: Args::at_least(
            1,
            &[Value::AnyCase(NEXT_CONDITIONS)],
            "error | timeout | denied | invalid_header | http_500 | http_502 | http_503 | http_504 | http_403 | http_404 | http_429 | non_idempotent | off …",
        ),
        repeat: Repeat::List(|proxy| proxy.next = Next::default()),
        default: Some("error timeout"),
        doc: "When a request goes on to the next peer, as long as nothing was sent to the client. Requests with POST, LOCK \
              and PATCH that were sent to a peer do so only with `non_idempotent`. `off` never tries another.",
        set: |proxy, given| {
            given.warn_of_repeats();
            next_upstream(&mut proxy.next, given);
            Ok(())
        },
    },
    Row {
        name: "proxy_next_upstream_tries",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(0..=u32::MAX as i64)], "number"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "How many peers a request may try, the first included; `0` is all of them.",
        set: |proxy, given| given.int(0).map(|number| proxy.tries = u32::try_from(number).unwrap_or(u32::MAX)),
    },
    Row {
        name: "proxy_next_upstream_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "How long after its start a request may still go to another peer; `0` is any time.",
        set: |proxy, given| given.time(0).map(|time| proxy.tries_time = time),
    },
    Row {
        name: "proxy_ignore_client_abort",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Lets a peer finish although the client went away; `off` closes the peer's connection then.",
        set: |proxy, given| given.flag(0).map(|on| proxy.ignore_client_abort = on),
    },
    Row {
        name: "proxy_force_ranges",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Cuts the byte range that a client asks for out of a peer's whole answer, whatever the peer says in \
              `Accept-Ranges`. Who asks for several ranges gets the whole, as from nginx.",
        set: |proxy, given| given.flag(0).map(|on| proxy.force_ranges = on),
    },
    Row {
        name: "proxy_request_buffering",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "`on` takes in the whole request body before a peer is asked, in memory or in a file \
              (`client_body_buffer_size`): a slow client holds no peer, and one that fails leaves the body for the next. \
              `off` passes each piece on as it comes; the request then goes to another peer only while no piece that came \
              behind the header was sent. A chunked body for `proxy_http_version 1.0` is taken in whole in any case.",
        set: |proxy, given| given.flag(0).map(|on| proxy.request_buffering = on),
    },
    hash_row(
        "proxy_headers_hash_max_size",
        "512",
        "Checked and otherwise without effect: what looks names of header fields up has no tables to be sized.",
    ),
    hash_row(
        "proxy_headers_hash_bucket_size",
        "64",
        "Checked and otherwise without effect: what looks names of header fields up has no tables to be sized.",
    ),
];

const fn hash_row(name: &'static str, default: &'static str, doc: &'static str) -> Row {
    Row {
        name,
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some(default),
        doc,
        set: |_, given| given.size(0).map(drop),
    }
}

/// Argument 0 as the name of a header field.
fn field_name(given: &Given<'_>) -> Result<Box<str>, Diagnostic> {
    let name = given.text(0);
    if name.is_empty() || !name.bytes().all(crate::h1::is_token) {
        return Err(given.error(0, format!("\"{name}\" is no name of a header field")));
    }
    Ok(name.into())
}

/// Lines of a level add up; `off` in any of them turns off everything.
fn next_upstream(next: &mut Next, given: &Given<'_>) {
    for word in given.words() {
        match &*word.text.to_ascii_lowercase() {
            "error" => next.error = true,
            "timeout" => next.timeout = true,
            "invalid_header" => next.invalid_header = true,
            "non_idempotent" => next.non_idempotent = true,
            "off" => next.off = true,
            "denied" => next.denied = true,
            status => {
                let status = status.strip_prefix("http_").and_then(|status| status.parse::<u16>().ok());
                let bit = NextUpstream::STATUSES.iter().position(|known| Some(*known) == status);
                next.statuses |= bit.map_or(0, |bit| 1 << bit);
            }
        }
    }
    if next.off {
        *next = Next { off: true, ..Next::default() };
    }
}
