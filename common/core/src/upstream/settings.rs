//! What `upstream { … }` says, before addresses are resolved: the settings and
//! the rows of both planes' blocks.

use crate::upstream::server::{self, SERVER_PARAMS};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value, Word};
use std::time::Duration;

/// One `upstream` block.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: Word,
    pub servers: Vec<Server>,
    pub method: Method,
    /// Name and bytes of `zone`.
    pub zone: Option<(Word, u64)>,
    /// Idle connections kept per worker (http only).
    pub keepalive: Keepalive,
    pub sticky: Option<Sticky>,
}

/// One `server` of an upstream.
#[derive(Clone, Debug)]
pub struct Server {
    pub address: Word,
    pub weight: u32,
    pub max_conns: u32,
    pub max_fails: u32,
    pub fail_timeout: Duration,
    pub backup: bool,
    pub down: bool,
    /// The port of an address that names none: 80 in http; in stream that is an error.
    pub default_port: Option<u16>,
}

/// How a peer is chosen. The plane compiles `key` with its own variables and
/// gives the text in [`crate::upstream::Choice::key`].
#[derive(Clone, Debug, Default)]
pub enum Method {
    #[default]
    RoundRobin,
    LeastConn,
    IpHash,
    Hash {
        key: Word,
        consistent: bool,
    },
    Random {
        two: bool,
    },
}

/// `keepalive`, `keepalive_requests`, `keepalive_time`, `keepalive_timeout`.
#[derive(Clone, Debug)]
pub struct Keepalive {
    pub connections: usize,
    pub requests: u64,
    pub time: Duration,
    pub timeout: Duration,
}

/// `sticky cookie NAME [expires=] [domain=] [path=] [httponly] [secure] [samesite=]`:
/// the words as written; http compiles what may hold variables.
#[derive(Clone, Debug)]
pub struct Sticky {
    pub name: Word,
    /// `Some(None)` is `expires=max`.
    pub expires: Option<Option<Duration>>,
    pub domain: Option<Word>,
    pub path: Option<Word>,
    pub httponly: bool,
    pub secure: bool,
    pub samesite: Option<Word>,
}

impl Settings {
    /// An empty block: round robin, and nginx's defaults.
    pub fn new(name: Word) -> Settings {
        Settings {
            name,
            servers: Vec::new(),
            method: Method::default(),
            zone: None,
            keepalive: Keepalive::default(),
            sticky: None,
        }
    }

    /// nginx's warning when a block names a second method.
    fn choose(&mut self, method: Method, given: &Given<'_>) -> Result<(), Diagnostic> {
        if !matches!(self.method, Method::RoundRobin) {
            let at = given.statement.name.span;
            given.cx.report(Diagnostic::warning(at, "load balancing method redefined"));
        }
        self.method = method;
        Ok(())
    }
}

impl Server {
    /// With what nginx gives a line without parameters.
    pub fn new(address: Word) -> Server {
        Server {
            address,
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            backup: false,
            down: false,
            default_port: None,
        }
    }
}

impl Default for Keepalive {
    /// As nginx since 1.29.7.
    fn default() -> Keepalive {
        Keepalive { connections: 32, requests: 1000, time: Duration::from_secs(3600), timeout: Duration::from_secs(60) }
    }
}

impl Method {
    /// Whether nginx takes `backup` servers beside it.
    pub(super) fn allows_backup(&self) -> bool {
        matches!(self, Method::RoundRobin | Method::LeastConn)
    }
}

const BOTH: Contexts = Contexts::UPSTREAM.or(Contexts::STREAM_UPSTREAM);

/// Rows of the `upstream` block for both planes.
pub const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "server",
        contexts: BOTH,
        args: Args::at_least(1, &[Value::Address, Value::Params(SERVER_PARAMS)], "address [parameters]"),
        repeat: Repeat::Append,
        default: None,
        doc: "A member of the group: an IP address or a host name with an optional port (80 in http; stream \
              needs one), or `unix:` and a path. A name with several addresses makes a peer of each.",
        set: |upstream, given| {
            let server = server::parse(given, &upstream.method)?;
            upstream.servers.push(server);
            Ok(())
        },
    },
    Directive {
        name: "zone",
        contexts: BOTH,
        args: Args::between(1, 2, &[Value::Text, Value::Size], "name [size]"),
        repeat: Repeat::Once,
        default: None,
        doc: "Names the group for the API and the metrics. All workers share the state of every group with or \
              without it; the size is checked and not needed.",
        set: |upstream, given| {
            let size = if given.len() > 1 { given.size(1)? } else { 0 };
            upstream.zone = Some((given.word(0).clone(), size));
            Ok(())
        },
    },
    Directive {
        name: "least_conn",
        contexts: BOTH,
        args: Args::none(),
        repeat: Repeat::Append,
        default: None,
        doc: "Picks the peer with the fewest connections in progress for its weight; several such in turn, by \
              their weights.",
        set: |upstream, given| upstream.choose(Method::LeastConn, given),
    },
    Directive {
        name: "ip_hash",
        contexts: BOTH,
        args: Args::none(),
        repeat: Repeat::Append,
        default: None,
        doc: "Picks by the client's address (the first three octets of an IPv4 address, the whole of an IPv6 \
              one), so that a client keeps its peer. nginx has it in http only.",
        set: |upstream, given| upstream.choose(Method::IpHash, given),
    },
    Directive {
        name: "hash",
        contexts: BOTH,
        args: Args::between(1, 2, &[Value::Template, Value::OneOf(&["consistent"])], "key [consistent]"),
        repeat: Repeat::Append,
        default: None,
        doc: "Picks by a key of text and variables. With `consistent` (ketama, the points where nginx has them) \
              a change of the group moves few keys. An empty key leaves the pick to round robin.",
        set: |upstream, given| {
            let key = given.word(0).clone();
            upstream.choose(Method::Hash { key, consistent: given.len() > 1 }, given)
        },
    },
    Directive {
        name: "random",
        contexts: BOTH,
        args: Args::between(0, 2, &[Value::OneOf(&["two"]), Value::OneOf(&["least_conn"])], "[two [least_conn]]"),
        repeat: Repeat::Append,
        default: None,
        doc: "Picks by chance and weight; with `two` the one of two that has fewer connections in progress for \
              its weight.",
        set: |upstream, given| upstream.choose(Method::Random { two: !given.is_empty() }, given),
    },
    Directive {
        name: "keepalive",
        contexts: Contexts::UPSTREAM,
        args: Args::between(1, 2, &[Value::Int(0..=1_000_000), Value::OneOf(&["local"])], "connections [local]"),
        repeat: Repeat::Once,
        default: Some("32"),
        doc: "Idle connections to the group's peers that each worker keeps open; 0 keeps none. The least \
              recently used are closed first.",
        set: |upstream, given| {
            upstream.keepalive.connections = usize::try_from(given.int(0)?).unwrap_or_default();
            Ok(())
        },
    },
    Directive {
        name: "keepalive_requests",
        contexts: Contexts::UPSTREAM,
        args: Args::exactly(&[Value::Int(0..=i64::MAX)], "number"),
        repeat: Repeat::Once,
        default: Some("1000"),
        doc: "Requests that one connection to a peer serves before it is closed.",
        set: |upstream, given| {
            upstream.keepalive.requests = given.int(0)?.unsigned_abs();
            Ok(())
        },
    },
    Directive {
        name: "keepalive_time",
        contexts: Contexts::UPSTREAM,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("1h"),
        doc: "Age from which on a connection to a peer is closed after the request it serves.",
        set: |upstream, given| {
            upstream.keepalive.time = given.time(0)?;
            Ok(())
        },
    },
    Directive {
        name: "keepalive_timeout",
        contexts: Contexts::UPSTREAM,
        args: Args::exactly(&[Value::Time], "timeout"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "How long an idle connection to a peer stays open.",
        set: |upstream, given| {
            upstream.keepalive.timeout = given.time(0)?;
            Ok(())
        },
    },
    Directive {
        name: "sticky",
        contexts: Contexts::UPSTREAM,
        args: Args::at_least(
            2,
            &[Value::OneOf(&["cookie", "route", "learn"]), Value::Text],
            "cookie name [expires=time|max] [domain=domain] [httponly] [samesite=strict|lax|none|$variable] [secure] \
             [path=path]",
        ),
        repeat: Repeat::Once,
        default: None,
        doc: "Keeps a client with the peer that served it first, by a cookie that holds the peer's id.",
        set: |upstream, given| {
            upstream.sticky = Some(server::parse_sticky(given)?);
            Ok(())
        },
    },
];
