//! `proxy_pass` and everything that says how a session reaches its peer.

use crate::bind;
use crate::directives::{SERVER, STREAM};
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value, Word};
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
    pub bind: Option<bind::Settings>,
    /// Whether the local address is worked out again for every peer that is tried.
    pub bind_dynamic: bool,
    pub keepalive: bool,
    /// Bytes.
    pub rcvbuf: Option<usize>,
    pub sndbuf: Option<usize>,
    /// Whether sessions end with their peer's place in its group.
    pub session_drop: bool,
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
        args: Args::between(1, 2, &[Value::Template, Value::Text], "address [transparent] | off"),
        repeat: Repeat::Once,
        default: None,
        doc: "Local address, with or without a port, of connections to peers; it may contain variables. With \
              `transparent` it need not be one of this host: `$remote_addr transparent` shows peers the client's \
              own address, and routing has to bring their answers back here.",
        set: |proxy, given| bind::Settings::parse(given).map(|settings| proxy.bind = settings),
    },
    Directive {
        name: "proxy_bind_dynamic",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Works the variables of `proxy_bind` out again for every peer that is tried.",
        set: |proxy, given| given.flag(0).map(|on| proxy.bind_dynamic = on),
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
        name: "proxy_socket_rcvbuf",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: None,
        doc: "Receive buffer of connections to peers (`SO_RCVBUF`); the kernel's choice when not set.",
        set: |proxy, given| buffer(given).map(|size| proxy.rcvbuf = Some(size)),
    },
    Directive {
        name: "proxy_socket_sndbuf",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: None,
        doc: "Send buffer of connections to peers (`SO_SNDBUF`); the kernel's choice when not set.",
        set: |proxy, given| buffer(given).map(|size| proxy.sndbuf = Some(size)),
    },
    Directive {
        name: "proxy_session_drop",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Ends sessions when their peer is removed from its group, marked `down`, or fails its active health \
              check; their log line says so, and their status stays 200. A UDP session ends with the next datagram: \
              the peer's is dropped, the client's begins a session with another peer.",
        set: |proxy, given| given.flag(0).map(|on| proxy.session_drop = on),
    },
];

fn count(given: &Given<'_>) -> Result<u32, Diagnostic> {
    Ok(u32::try_from(given.int(0)?).unwrap_or(u32::MAX))
}

fn buffer(given: &Given<'_>) -> Result<usize, Diagnostic> {
    let bytes = given.size(0)?;
    usize::try_from(bytes).ok().filter(|size| i32::try_from(*size).is_ok()).ok_or_else(|| {
        given.error(0, format!("invalid value \"{}\"", given.text(0))).help("the most is 2147483647 bytes")
    })
}
