//! The client's side of a request: timeouts, keepalive, and how answers are worded.

use crate::directives::{self, ALL, LOCATION};
use crate::plan::Lingering;
use crate::respond::{BUILD, SERVER};
use crate::variables::{self, Variable};
use fairlead_conf::{Args, Directive, Given, Piece, Repeat, Template, Value};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub keepalive_timeout: Duration,
    /// Value of a `Keep-Alive: timeout=` field.
    pub keepalive_header: Option<u64>,
    pub keepalive_requests: u64,
    pub keepalive_time: Duration,
    pub keepalive_min: Duration,
    pub keepalive_disable: (bool, bool),
    pub msie_padding: bool,
    pub msie_refresh: bool,
    pub early_hints: Arc<[Template<Variable>]>,
    pub internal_redirect: Option<Template<Variable>>,
    pub send_timeout: Duration,
    pub lingering: Lingering,
    pub lingering_time: Duration,
    pub lingering_timeout: Duration,
    pub server_tokens: bool,
    pub log_subrequest: bool,
    /// In place of the name.
    pub server_text: Option<Arc<Template<Variable>>>,
    pub tcp_nodelay: bool,
    pub chunked: bool,
    pub reset_timedout: bool,
    pub absolute_redirect: bool,
    pub port_in_redirect: bool,
    pub server_name_in_redirect: bool,
}

type Row = Directive<Settings>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "keepalive_timeout",
        contexts: ALL,
        args: Args::between(1, 2, &[Value::Time], "timeout [header_timeout]"),
        repeat: Repeat::Once,
        default: Some("75s"),
        doc: "How long an idle client connection stays open; `0` closes it after each response. \
              A second time is told to clients as `Keep-Alive: timeout=`.",
        set: |client, given| {
            client.keepalive_timeout = given.time(0)?;
            client.keepalive_header = if given.len() > 1 { Some(given.time(1)?.as_secs()) } else { None };
            Ok(())
        },
    },
    Row {
        name: "keepalive_requests",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(0..=i64::MAX)], "number"),
        repeat: Repeat::Once,
        default: Some("1000"),
        doc: "How many requests one client connection may carry before it is closed.",
        set: |client, given| given.int(0).map(|number| client.keepalive_requests = number.unsigned_abs()),
    },
    Row {
        name: "keepalive_time",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("1h"),
        doc: "How long one client connection may carry requests; it is closed after the request that comes later.",
        set: |client, given| given.time(0).map(|time| client.keepalive_time = time),
    },
    Row {
        name: "keepalive_min_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "timeout"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "How long an idle client connection is kept even when the worker that serves it ends gracefully, so that \
              no client sends a request into a connection that is being closed.",
        set: |client, given| given.time(0).map(|time| client.keepalive_min = time),
    },
    Row {
        name: "keepalive_disable",
        contexts: ALL,
        args: Args::at_least(1, &[Value::AnyCase(&["none", "msie6", "safari"])], "none | browser ..."),
        repeat: Repeat::List(|client| client.keepalive_disable = (false, false)),
        default: Some("msie6"),
        doc: "Browsers whose connections end with the response: `msie6` are Internet Explorer 4 to 6 after a POST, \
              `safari` is Safari on a Mac. `none` is none of them.",
        set: |client, given| {
            given.warn_of_repeats();
            for word in given.words() {
                match &*word.text.to_ascii_lowercase() {
                    "msie6" => client.keepalive_disable.0 = true,
                    "safari" => client.keepalive_disable.1 = true,
                    _ => {}
                }
            }
            Ok(())
        },
    },
    Row {
        name: "msie_padding",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Makes error pages from 400 on longer for Internet Explorer and Chrome, which would show a page of their \
              own instead of a short one.",
        set: |client, given| given.flag(0).map(|on| client.msie_padding = on),
    },
    Row {
        name: "msie_refresh",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Sends Internet Explorer to the URL of an `error_page` by a page that refreshes itself, not by a redirect.",
        set: |client, given| given.flag(0).map(|on| client.msie_refresh = on),
    },
    Row {
        name: "early_hints",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Template], "string ..."),
        repeat: Repeat::List(|client| client.early_hints = Arc::default()),
        default: None,
        doc: "Passes 103 of a peer on to clients of HTTP/1.1 when one of the values is neither empty nor `0`.",
        set: |client, given| {
            let compiled: Result<Vec<_>, _> =
                given.words().iter().map(|word| variables::compile(word, given.cx)).collect();
            compiled.map(|conditions| client.early_hints = conditions.into())
        },
    },
    Row {
        name: "internal_redirect",
        contexts: directives::SERVER.or(LOCATION),
        args: Args::exactly(&[Value::Template], "uri"),
        repeat: Repeat::Once,
        default: None,
        doc: "Takes a request that has passed the limits and the access rules of its location on to another path or a \
              named location, where other rules may hold. With variables; an empty value leaves it where it is.",
        set: |client, given| variables::compile(given.word(0), given.cx).map(|to| client.internal_redirect = Some(to)),
    },
    Row {
        name: "send_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "How long a client may take nothing of a response that is being sent; then its connection is closed.",
        set: |client, given| given.time(0).map(|time| client.send_timeout = time),
    },
    Row {
        name: "lingering_close",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["off", "on", "always"])], "off | on | always"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Before closing, reads and drops what a client still sends, so that it gets to see the response. \
              `on` does so when more may come, `always` each time, `off` never.",
        set: |client, given| {
            client.lingering = match given.text(0) {
                "off" => Lingering::Off,
                "always" => Lingering::Always,
                _ => Lingering::On,
            };
            Ok(())
        },
    },
    Row {
        name: "lingering_time",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("30s"),
        doc: "How long a lingering close may last in all.",
        set: |client, given| given.time(0).map(|time| client.lingering_time = time),
    },
    Row {
        name: "lingering_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("5s"),
        doc: "How long a lingering close waits for more bytes of the client.",
        set: |client, given| given.time(0).map(|time| client.lingering_timeout = time),
    },
    Row {
        name: "server_tokens",
        contexts: ALL,
        args: Args::exactly(&[Value::Template], "on | off | build | string"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Whether error pages and the `Server` field tell the version; `build` adds the name of the build, if it has \
              one. Any other text, which may hold variables, takes the place of both; where it is empty no `Server` \
              field is sent.",
        set: server_tokens,
    },
    Row {
        name: "log_subrequest",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Whether subrequests have lines in the access log, as those of `auth_request` and `mirror`.",
        set: |client, given| given.flag(0).map(|on| client.log_subrequest = on),
    },
    Row {
        name: "subrequest_output_buffer_size",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("4k"),
        doc: "Checked and otherwise without effect: answers of subrequests are never kept, but become part of the \
              response piece by piece.",
        set: |_, given| given.size(0).map(drop),
    },
    Row {
        name: "tcp_nodelay",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Sets `TCP_NODELAY` on client connections: small writes leave at once.",
        set: |client, given| given.flag(0).map(|on| client.tcp_nodelay = on),
    },
    Row {
        name: "chunked_transfer_encoding",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Sends HTTP/1.1 responses of unknown length in chunks; `off` ends them by closing the connection.",
        set: |client, given| given.flag(0).map(|on| client.chunked = on),
    },
    Row {
        name: "reset_timedout_connection",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Resets connections that timed out (and those of `return 444`) instead of closing them: \
              the kernel keeps nothing of them.",
        set: |client, given| given.flag(0).map(|on| client.reset_timedout = on),
    },
    Row {
        name: "absolute_redirect",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Makes redirects of our own absolute (`http://host/path`); `off` sends the path alone.",
        set: |client, given| given.flag(0).map(|on| client.absolute_redirect = on),
    },
    Row {
        name: "port_in_redirect",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Adds the port to absolute redirects when it is not the scheme's own.",
        set: |client, given| given.flag(0).map(|on| client.port_in_redirect = on),
    },
    Row {
        name: "server_name_in_redirect",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Uses the first `server_name` in absolute redirects; `off` uses the host the client asked for.",
        set: |client, given| given.flag(0).map(|on| client.server_name_in_redirect = on),
    },
];

fn server_tokens(client: &mut Settings, given: &Given<'_>) -> Result<(), fairlead_conf::Diagnostic> {
    client.server_text = None;
    client.server_tokens = given.text(0) != "off";
    match given.text(0) {
        "on" | "off" => {}
        "build" => {
            let text = |build| Piece::Text(format!("{SERVER} ({build})").into());
            client.server_text = BUILD.map(|build| Arc::new(Template { pieces: vec![text(build)] }));
        }
        _ => client.server_text = Some(Arc::new(variables::compile(given.word(0), given.cx)?)),
    }
    Ok(())
}
