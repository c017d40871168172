//! `proxy_pass` and everything that says how a session reaches its peer.

use crate::directives::{SERVER, STREAM};
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value, Word};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The `proxy_*` rows. Times are limits; zero `next_tries` and `next_timeout` mean none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub pass: Option<Word>,
    pub connect_timeout: Duration,
    pub timeout: Duration,
    pub next_upstream: bool,
    pub next_tries: u32,
    pub next_timeout: Duration,
    pub half_close: bool,
    pub header: Option<HeaderVersion>,
    /// Datagrams of a client that make a session; 0: no limit.
    pub requests: u32,
    /// Datagrams of a peer expected for each one of the client; `None`: unknown.
    pub responses: Option<u32>,
    pub bind: Option<SocketAddr>,
    pub keepalive: bool,
}

/// Version of the PROXY protocol header that peers get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderVersion {
    V1,
    V2,
}

const NUMBER: Value = Value::Int(0..=i32::MAX as i64);

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "proxy_pass",
        contexts: SERVER,
        args: Args::exactly(&[Value::Template], "address"),
        repeat: Repeat::Once,
        default: None,
        doc: "Where sessions go: an `upstream`, an address with its port, a `unix:` path, or variables that give one.",
        set: |proxy, given| {
            proxy.pass = Some(given.word(0).clone());
            Ok(())
        },
    },
    Directive {
        name: "proxy_connect_timeout",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "How long connecting to one peer may take.",
        set: |proxy, given| given.time(0).map(|time| proxy.connect_timeout = time),
    },
    Directive {
        name: "proxy_timeout",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Time], "timeout"),
        repeat: Repeat::Once,
        default: Some("10m"),
        doc: "Ends a session in which nothing moved for so long.",
        set: |proxy, given| given.time(0).map(|time| proxy.timeout = time),
    },
    Directive {
        name: "proxy_next_upstream",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Tries the next peer when one cannot be connected to.",
        set: |proxy, given| given.flag(0).map(|on| proxy.next_upstream = on),
    },
    Directive {
        name: "proxy_next_upstream_tries",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[NUMBER], "number"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "How many peers a session may try; 0: all.",
        set: |proxy, given| count(given).map(|tries| proxy.next_tries = tries),
    },
    Directive {
        name: "proxy_next_upstream_timeout",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "How long a session may go on to the next peer; 0: no limit.",
        set: |proxy, given| given.time(0).map(|time| proxy.next_timeout = time),
    },
    Directive {
        name: "proxy_half_close",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Lets each direction of a connection end on its own.",
        set: |proxy, given| given.flag(0).map(|on| proxy.half_close = on),
    },
    Directive {
        name: "proxy_protocol",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::OneOf(&["on", "off", "v2"])], "on | off | v2"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Begins connections to peers with a PROXY protocol header: `on` is version 1.",
        set: |proxy, given| {
            proxy.header = match given.text(0) {
                "on" => Some(HeaderVersion::V1),
                "v2" => Some(HeaderVersion::V2),
                _ => None,
            };
            Ok(())
        },
    },
    Directive {
        name: "proxy_requests",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[NUMBER], "number"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "How many datagrams of a client make one session; the next begins another. 0: no limit.",
        set: |proxy, given| count(given).map(|requests| proxy.requests = requests),
    },
    Directive {
        name: "proxy_responses",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[NUMBER], "number"),
        repeat: Repeat::Once,
        default: None,
        doc: "How many datagrams a peer answers to each one of the client. A session that has them all ends.",
        set: |proxy, given| count(given).map(|responses| proxy.responses = Some(responses)),
    },
    Directive {
        name: "proxy_bind",
        contexts: STREAM.or(SERVER),
        args: Args::between(1, 2, &[Value::Text], "address [transparent] | off"),
        repeat: Repeat::Once,
        default: None,
        doc: "Local address of connections to peers.",
        set: |proxy, given| bind(given).map(|address| proxy.bind = address),
    },
    Directive {
        name: "proxy_socket_keepalive",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Sets `SO_KEEPALIVE` on connections to peers.",
        set: |proxy, given| given.flag(0).map(|on| proxy.keepalive = on),
    },
    Directive {
        name: "proxy_buffer_size",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("16k"),
        doc: "Accepted, no effect: sessions read through one buffer of their worker, of 64k.",
        set: |_, given| given.size(0).map(|_| ()),
    },
];

fn count(given: &Given<'_>) -> Result<u32, Diagnostic> {
    Ok(u32::try_from(given.int(0)?).unwrap_or(u32::MAX))
}

fn bind(given: &Given<'_>) -> Result<Option<SocketAddr>, Diagnostic> {
    let text = given.text(0);
    if let Some(word) = given.words().get(1) {
        return Err(given.error(
            1,
            match &*word.text {
                "transparent" => "\"transparent\" parameter is known to nginx, not built in fairlead yet".to_owned(),
                other => format!("invalid parameter \"{other}\""),
            },
        ));
    }
    if text == "off" {
        return Ok(None);
    }
    if text.contains('$') {
        return Err(given.error(0, "variables in \"proxy_bind\" are known to nginx, not built in fairlead yet"));
    }
    let ip = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match ip.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, 0)),
        Err(_) => text.parse::<SocketAddr>(),
    };
    address.map(Some).map_err(|_| given.error(0, format!("invalid address \"{text}\"")))
}
