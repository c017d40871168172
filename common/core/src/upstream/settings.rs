//! What `upstream { … }` says, before addresses are resolved: the settings and
//! the rows of both planes' blocks.

use crate::resolver::ResolverSettings;
use crate::upstream::server::{self, SERVER_PARAMS};
use crate::upstream::sticky::{self, Sticky, StickySource};
use fairlead_conf::value::parse_time;
use fairlead_conf::{Args, Block, Contexts, Cx, Diagnostic, Directive, Given, Level, Param, Repeat, Value, Word};
use std::sync::LazyLock;
use std::time::Duration;

/// One `upstream` block.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: Word,
    pub servers: Vec<Server>,
    /// The block has a `server` line, even if what it says is wrong.
    pub names_server: bool,
    /// The servers come from a file, and may be none.
    pub state: bool,
    /// `resolver` and `resolver_timeout`, the enclosing block's where this one has none.
    pub names: ResolverSettings,
    pub method: Method,
    /// Name and bytes of `zone`.
    pub zone: Option<(Word, u64)>,
    /// Idle connections kept per worker (http only).
    pub keepalive: Keepalive,
    /// http only.
    pub sticky: Option<Sticky>,
    /// `ntlm`: a client's connection has one of its own to a peer (http only).
    pub ntlm: bool,
    /// http only.
    pub queue: Option<Queueing>,
    /// `sticky source` (stream only).
    pub sticky_source: Option<StickySource>,
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
    /// Takes only what a sticky session binds to it.
    pub drain: bool,
    /// How long its weight takes to recover; zero, no time.
    pub slow_start: Duration,
    /// The name is looked up while the process runs.
    pub resolve: bool,
    /// Its SRV records are.
    pub service: Option<Word>,
    /// What sticky sessions know it by, in place of the MD5 of its address.
    pub route: Option<Word>,
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
    /// Always a [`Measure::Time`].
    LeastTime(Measure),
    IpHash,
    Hash {
        key: Word,
        table: Hashing,
    },
    Random {
        /// With `two`, what decides between them.
        two: Option<Measure>,
    },
}

/// What a key's hash is looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    Modulo,
    /// `consistent`: nginx's ketama ring.
    Ring,
    /// `maglev`.
    Maglev,
}

/// What peers are compared by, beside their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Conns,
    Time { metric: Metric, inflight: bool },
}

/// Which time of a peer `least_time` looks at. http's `header` is the first byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Connect,
    FirstByte,
    LastByte,
}

/// `keepalive`, `keepalive_requests`, `keepalive_time`, `keepalive_timeout`.
#[derive(Clone, Debug)]
pub struct Keepalive {
    pub connections: usize,
    /// `local`: each location has its own.
    pub local: bool,
    pub requests: u64,
    pub time: Duration,
    pub timeout: Duration,
}

/// `queue number [timeout=time]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queueing {
    /// Requests that may wait at a time, of all workers together.
    pub most: usize,
    pub timeout: Duration,
}

impl Settings {
    /// An empty block: round robin, and nginx's defaults.
    pub fn new(name: Word) -> Settings {
        Settings {
            name,
            servers: Vec::new(),
            names_server: false,
            state: false,
            names: ResolverSettings::default(),
            method: Method::default(),
            zone: None,
            keepalive: Keepalive::default(),
            sticky: None,
            ntlm: false,
            queue: None,
            sticky_source: None,
        }
    }

    /// Reads a block with `level`, whose rows are [`DIRECTIVES`] and those of `resolver`; `names` is
    /// what the enclosing block says of resolvers.
    pub fn read(
        name: &Word,
        block: &Block,
        names: &ResolverSettings,
        (level, cx): (&Level<Settings>, &Cx),
    ) -> Settings {
        let mut settings = Settings::new(name.clone());
        level.defaults(&mut settings, cx);
        settings.names = names.clone();
        settings.names_server = block.statements.iter().any(|statement| &*statement.name.text == "server");
        level.eval(block, &mut settings, cx);
        settings
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
            drain: false,
            slow_start: Duration::ZERO,
            resolve: false,
            service: None,
            route: None,
            default_port: None,
        }
    }
}

impl Default for Keepalive {
    /// As nginx since 1.29.7.
    fn default() -> Keepalive {
        Keepalive {
            connections: 32,
            local: true,
            requests: 1000,
            time: Duration::from_secs(3600),
            timeout: Duration::from_secs(60),
        }
    }
}

impl Method {
    /// Whether nginx takes `backup` servers beside it.
    pub(super) fn allows_backup(&self) -> bool {
        matches!(self, Method::RoundRobin | Method::LeastConn | Method::LeastTime(_))
    }

    /// Whether a weight that recovers slowly means anything to it.
    pub(super) fn allows_slow_start(&self) -> bool {
        self.allows_backup()
    }

    /// What all peers of the group are compared by before their turns.
    pub(super) fn measure(&self) -> Option<Measure> {
        match self {
            Method::LeastConn => Some(Measure::Conns),
            Method::LeastTime(by) => Some(*by),
            _ => None,
        }
    }
}

impl Measure {
    fn time(name: &str, inflight: bool) -> Measure {
        let metric = match name {
            "connect" => Metric::Connect,
            "header" | "first_byte" => Metric::FirstByte,
            _ => Metric::LastByte,
        };
        Measure::Time { metric, inflight }
    }
}

fn least_time(upstream: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    upstream.choose(Method::LeastTime(Measure::time(given.text(0), given.len() > 1)), given)
}

/// The planes have other words for times.
const fn random_row(contexts: Contexts, words: &'static [Value], usage: &'static str) -> Directive<Settings> {
    Directive {
        name: "random",
        contexts,
        args: Args::between(0, 2, words, usage),
        repeat: Repeat::Append,
        default: None,
        doc: "Picks by chance and weight; with `two` the one of two that has fewer connections in progress for \
              its weight, or is better by `least_time`.",
        set: random,
    }
}

fn random(upstream: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    let by = || match given.text(1).split_once('=') {
        Some((_, metric)) if given.len() > 1 => Measure::time(metric, false),
        _ => Measure::Conns,
    };
    upstream.choose(Method::Random { two: (!given.is_empty()).then(by) }, given)
}

/// Each takes some hundred bytes, beside its connection.
const MOST_QUEUED: i64 = 1_000_000;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
const QUEUE_PARAMS: &[Param] =
    &[Param { name: "timeout", value: Some(Value::Time), doc: "How long a request waits before it gets 502; 60s." }];

const BOTH: Contexts = Contexts::UPSTREAM.or(Contexts::STREAM_UPSTREAM);

const SERVER: Directive<Settings> = Directive {
    name: "server",
    contexts: BOTH,
    args: Args::at_least(1, &[Value::Address, Value::Params(SERVER_PARAMS)], "address [parameters]"),
    repeat: Repeat::Append,
    default: None,
    doc: "A member of the group: an IP address or a host name with an optional port (80 in http; stream \
          needs one), or `unix:` and a path. A name with several addresses makes a peer of each; with `resolve` \
          it is looked up again whenever its TTL has passed, and the peers follow it without a reload.",
    set: |upstream, given| {
        let server = server::parse(given, &upstream.method)?;
        upstream.servers.push(server);
        Ok(())
    },
};

/// Rows of a file that `state` names.
const STATE_DIRECTIVES: &[Directive<Settings>] = &[SERVER];
static STATE_LEVEL: LazyLock<Level<Settings>> = LazyLock::new(|| state_level(Contexts::UPSTREAM));
static STREAM_STATE_LEVEL: LazyLock<Level<Settings>> = LazyLock::new(|| state_level(Contexts::STREAM_UPSTREAM));

fn state_level(context: Contexts) -> Level<Settings> {
    Level::new(context).with(STATE_DIRECTIVES, |settings: &mut Settings| settings)
}

fn read_state(upstream: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    if upstream.names_server {
        let problem = given.error(0, "\"state\" is incompatible with \"server\"");
        return Err(problem.help("the file lists the servers: move them there, or leave \"state\" out"));
    }
    upstream.state = true;
    let level = if given.context.contains(Contexts::UPSTREAM) { &STATE_LEVEL } else { &STREAM_STATE_LEVEL };
    if let Some(file) = given.attached(0) {
        level.eval(file, upstream, given.cx);
    }
    Ok(())
}

/// Rows of the `upstream` block for both planes.
pub const DIRECTIVES: &[Directive<Settings>] = &[
    SERVER,
    Directive {
        name: "state",
        contexts: BOTH,
        args: Args::exactly(&[Value::Path], "file"),
        repeat: Repeat::Once,
        default: None,
        doc: "Reads the group's `server` lines from a file in place of the block, relative to the folder of the main \
              configuration file. A file that does not exist is a group without servers. It is read when the \
              configuration is; nothing writes it yet, since nothing else changes the servers it lists.",
        set: read_state,
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
        name: "least_time",
        contexts: Contexts::UPSTREAM,
        args: Args::between(
            1,
            2,
            &[Value::OneOf(&["header", "last_byte"]), Value::OneOf(&["inflight"])],
            "header | last_byte [inflight]",
        ),
        repeat: Repeat::Append,
        default: None,
        doc: "Picks the peer with the lowest product of its average time (to the header or the last byte of an \
              answer) and its requests in progress plus one, for its weight; several such in turn, by their weights. \
              Times count in steps of 20 ms and up to 5 s, a new one by a twentieth. They halve for each `fail_timeout` \
              (10s at most) in which the peer is not picked, and so does their share in the average once it is; with `inflight` the mean age of the requests in progress counts when it \
              is higher.",
        set: least_time,
    },
    Directive {
        name: "least_time",
        contexts: Contexts::STREAM_UPSTREAM,
        args: Args::between(
            1,
            2,
            &[Value::OneOf(&["connect", "first_byte", "last_byte"]), Value::OneOf(&["inflight"])],
            "connect | first_byte | last_byte [inflight]",
        ),
        repeat: Repeat::Append,
        default: None,
        doc: "Picks the peer with the lowest product of its average time (to connect, to its first byte or to the end \
              of the session) and its sessions in progress plus one, for its weight; several such in turn, by their \
              weights. Times count in steps of 20 ms and up to 5 s, a new one by a twentieth. They halve for each \
              `fail_timeout` (10s at most) in which the peer is not picked, and so does their share in the average once \
              it is; with `inflight` the mean age of the sessions that are \
              not so far yet counts when it is higher.",
        set: least_time,
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
        args: Args::between(
            1,
            2,
            &[Value::Template, Value::OneOf(&["consistent", "maglev"])],
            "key [consistent | maglev]",
        ),
        repeat: Repeat::Append,
        default: None,
        doc: "Picks by a key of text and variables. With `consistent` (ketama, the points where nginx has them) \
              a change of the group moves few keys. With `maglev` (Google's tables; nginx has none) every peer has \
              its share to the key, all balancers with the same servers agree whatever their order, and while a peer \
              is unavailable or `down` its keys alone go elsewhere; one that is taken out of 128 or fewer moves \
              about 5 % more keys than it had. An empty key leaves the pick to round robin.",
        set: |upstream, given| {
            let table = match given.text(1) {
                "consistent" => Hashing::Ring,
                "maglev" => Hashing::Maglev,
                _ => Hashing::Modulo,
            };
            upstream.choose(Method::Hash { key: given.word(0).clone(), table }, given)
        },
    },
    random_row(
        Contexts::UPSTREAM,
        &[Value::OneOf(&["two"]), Value::OneOf(&["least_conn", "least_time=header", "least_time=last_byte"])],
        "[two [least_conn | least_time=header|last_byte]]",
    ),
    random_row(
        Contexts::STREAM_UPSTREAM,
        &[
            Value::OneOf(&["two"]),
            Value::OneOf(&["least_conn", "least_time=connect", "least_time=first_byte", "least_time=last_byte"]),
        ],
        "[two [least_conn | least_time=connect|first_byte|last_byte]]",
    ),
    Directive {
        name: "keepalive",
        contexts: Contexts::UPSTREAM,
        args: Args::between(1, 2, &[Value::Int(0..=1_000_000), Value::OneOf(&["local"])], "connections [local]"),
        repeat: Repeat::Once,
        default: Some("32 local"),
        doc: "Idle connections to the group's peers that each worker keeps open; 0 keeps none. The least \
              recently used are closed first. With `local` a location uses those alone that it has made itself.",
        set: |upstream, given| {
            upstream.keepalive.local = given.len() > 1;
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
        name: "ntlm",
        contexts: Contexts::UPSTREAM,
        args: Args::none(),
        repeat: Repeat::Once,
        default: None,
        doc: "From the first request whose Authorization begins with NTLM or Negotiate a client's connection has one to a \
              peer for itself, as these schemes want it: what they authenticate is the connection. It ends with the \
              client's, or after `keepalive_timeout` without a request.",
        set: |upstream, _| {
            upstream.ntlm = true;
            Ok(())
        },
    },
    Directive {
        name: "queue",
        contexts: Contexts::UPSTREAM,
        args: Args::between(1, 2, &[Value::Int(1..=MOST_QUEUED), Value::Params(QUEUE_PARAMS)], "number [timeout=time]"),
        repeat: Repeat::Once,
        default: None,
        doc: "Requests that find every server they could go to at its `max_conns` wait, up to this number of them over \
              all workers, and are served in the order they came. More are answered with 502.",
        set: |upstream, given| {
            let timeout = match given.param(1, "timeout") {
                None => QUEUE_TIMEOUT,
                Some(word) => {
                    let time = parse_time(&word.text).filter(|time| !time.is_zero());
                    time.ok_or_else(|| server::invalid(given, "timeout"))?
                }
            };
            let most = usize::try_from(given.int(0)?).unwrap_or(usize::MAX);
            upstream.queue = Some(Queueing { most, timeout });
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
             [path=path] [signed file] | route $variable ... | learn create=$variable lookup=$variable zone=name:size \
             [timeout=time] [header]",
        ),
        repeat: Repeat::Once,
        default: None,
        doc: "Keeps a client with one server, whatever the balancing method, for as long as that can be used. `cookie`: \
              the proxy sets a cookie that holds the server's id (its `route`, or the MD5 of its address); domain, path \
              and samesite may hold variables. With `signed` (nginx has it not) the id bears an HMAC-SHA256, so that \
              clients cannot choose servers: the file has a key of 16 bytes or more in each line, the first signs and all \
              verify; it is read when the configuration is. `route`: the first variable that is not empty holds the \
              `route` of a server. `learn`: servers begin sessions; the first `create` variable that is not empty after \
              an answer (after its header, with `header`) is a session of that server from then on, the first \
              `lookup` variable that is not empty is one that the request belongs to. A session that was not used for \
              `timeout`, 10m, is forgotten; a megabyte of the zone holds 16,384 of them, and a full one forgets those \
              that were away longest. Workers share them and reloads keep them.",
        set: |upstream, given| {
            upstream.sticky = Some(sticky::parse(given)?);
            Ok(())
        },
    },
    Directive {
        name: "sticky",
        contexts: Contexts::STREAM_UPSTREAM,
        args: Args::between(
            1,
            3,
            &[Value::OneOf(&["source"]), Value::Params(sticky::SOURCE_PARAMS)],
            "source [timeout=time] [zone=name:size]",
        ),
        repeat: Repeat::Once,
        default: None,
        doc: "Keeps a client's address with the peer that its last session went to, over all workers and reloads. \
              nginx has no `sticky` in stream.",
        set: |upstream, given| {
            upstream.sticky_source = Some(sticky::parse_source(given)?);
            Ok(())
        },
    },
];
