//! Every row of the `stream` block and of its `server` blocks, and the levels
//! they stand in. A feature's rows live in the feature's file.

use crate::settings::{Content, Server, Session, Stream};
use crate::{custom, health_check, listen, pass, phases, preread, proxy, rates, returns, servers, udp};
use fairlead_conf::{Args, Block, Contexts, Cx, Diagnostic, Directive, Level, Page, Repeat, Value};
use fairlead_core::{access, health, limit, log, resolver, upstream};
use std::sync::LazyLock;

pub(crate) const STREAM: Contexts = Contexts::STREAM;
pub(crate) const SERVER: Contexts = Contexts::STREAM_SERVER;

/// Rows of the `stream` block.
pub(crate) static STREAM_LEVEL: LazyLock<Level<Stream>> = LazyLock::new(|| {
    Level::new(STREAM)
        .with(BLOCKS, |stream: &mut Stream| stream)
        .with(custom::Blocks::DIRECTIVES, |stream| &mut stream.variables)
        .with(log::FORMAT_DIRECTIVES, |stream| &mut stream.formats)
        .with(SESSION, |stream| &mut stream.inherited.session)
        .with(preread::DIRECTIVES, |stream| &mut stream.inherited.preread)
        .with(proxy::DIRECTIVES, |stream| &mut stream.inherited.proxy)
        .with(rates::DIRECTIVES, |stream| &mut stream.inherited.rates)
        .with(udp::DIRECTIVES, |stream| &mut stream.inherited.udp)
        .with(resolver::DIRECTIVES, |stream| &mut stream.inherited.names)
        .with(log::DIRECTIVES, |stream| &mut stream.inherited.error_logs)
        .with(log::ACCESS_DIRECTIVES, |stream| &mut stream.inherited.access_logs)
        .with(log::FILE_CACHE_DIRECTIVES, |stream| &mut stream.inherited.log_files)
        .with(health_check::DIRECTIVES, |stream| &mut stream.inherited.health)
        .with(limit::ZONE_DIRECTIVES, |stream| &mut stream.limit_zones)
        .with(limit::CONN_DIRECTIVES, |stream| &mut stream.inherited.phases.limits)
        .with(access::DIRECTIVES, |stream| &mut stream.inherited.phases.access)
        .with(access::REAL_IP_DIRECTIVES, |stream| &mut stream.inherited.phases.trusted)
});

/// Rows of a `server` block.
pub(crate) static SERVER_LEVEL: LazyLock<Level<Server>> = LazyLock::new(|| {
    Level::new(SERVER)
        .with(listen::DIRECTIVES, |server: &mut Server| &mut server.listens)
        .with(servers::DIRECTIVES, |server| &mut server.server_names)
        .with(custom::SET, |server| &mut server.sets)
        .with(SESSION, |server| &mut server.session)
        .with(preread::DIRECTIVES, |server| &mut server.preread)
        .with(proxy::DIRECTIVES, |server| &mut server.proxy)
        .with(pass::DIRECTIVES, |server| &mut server.pass)
        .with(returns::DIRECTIVES, |server| &mut server.returns)
        .with(rates::DIRECTIVES, |server| &mut server.rates)
        .with(udp::DIRECTIVES, |server| &mut server.udp)
        .with(resolver::DIRECTIVES, |server| &mut server.names)
        .with(log::DIRECTIVES, |server| &mut server.error_logs)
        .with(log::ACCESS_DIRECTIVES, |server| &mut server.access_logs)
        .with(log::FILE_CACHE_DIRECTIVES, |server| &mut server.log_files)
        .with(health_check::DIRECTIVES, |server| &mut server.health)
        .with(limit::CONN_DIRECTIVES, |server| &mut server.phases.limits)
        .with(access::DIRECTIVES, |server| &mut server.phases.access)
        .with(access::REAL_IP_DIRECTIVES, |server| &mut server.phases.trusted)
});

/// Rows of a `match` block.
static MATCH_LEVEL: LazyLock<Level<health::MatchSettings>> = LazyLock::new(|| {
    Level::new(Contexts::STREAM_MATCH)
        .with(health::MATCH_STREAM_DIRECTIVES, |settings: &mut health::MatchSettings| settings)
});

/// Rows of an `upstream` block.
static UPSTREAM_LEVEL: LazyLock<Level<upstream::Settings>> = LazyLock::new(|| {
    Level::new(Contexts::STREAM_UPSTREAM)
        .with(upstream::DIRECTIVES, |settings: &mut upstream::Settings| settings)
        .with(resolver::DIRECTIVES, |settings| &mut settings.names)
});

/// The plane's pages, for `-h` and REFERENCE.md. Rows of core that mean the same everywhere (`error_log`,
/// `resolver`, those of `upstream`) have theirs with the process.
pub fn pages() -> Vec<Page> {
    let mut all = fairlead_conf::pages(BLOCKS, "stream");
    all.extend(fairlead_conf::pages(listen::DIRECTIVES, "stream"));
    all.extend(fairlead_conf::pages(servers::DIRECTIVES, "stream"));
    all.extend(fairlead_conf::pages(SESSION, "stream"));
    all.extend(fairlead_conf::pages(preread::DIRECTIVES, "stream"));
    all.extend(fairlead_conf::pages(pass::DIRECTIVES, "stream"));
    all.extend(fairlead_conf::pages(returns::DIRECTIVES, "stream"));
    let blocks = fairlead_conf::pages(custom::Blocks::DIRECTIVES, "stream variables").into_iter();
    all.extend(blocks.map(|page| Page { contexts: STREAM, ..page }));
    all.extend(fairlead_conf::pages(custom::SET, "stream variables"));
    all.extend(fairlead_conf::pages(proxy::DIRECTIVES, "stream proxy"));
    all.extend(fairlead_conf::pages(rates::DIRECTIVES, "stream proxy"));
    all.extend(fairlead_conf::pages(udp::DIRECTIVES, "stream proxy"));
    all.extend(fairlead_conf::pages(health_check::DIRECTIVES, "stream health check"));
    all.extend(fairlead_conf::pages(health::MATCH_STREAM_DIRECTIVES, "stream health check"));
    all.extend(phases::pages());
    let logs = fairlead_conf::pages(log::FORMAT_DIRECTIVES, "stream log").into_iter();
    let logs = logs.chain(fairlead_conf::pages(log::ACCESS_DIRECTIVES, "stream log"));
    for mut page in logs.chain(fairlead_conf::pages(log::FILE_CACHE_DIRECTIVES, "stream log")) {
        page.contexts = if page.name == "log_format" { STREAM } else { STREAM.or(SERVER) };
        all.push(page);
    }
    all
}

const BLOCKS: &[Directive<Stream>] = &[
    Directive {
        name: "server",
        contexts: STREAM,
        args: Args::none().with_block(),
        repeat: Repeat::Append,
        default: None,
        doc: "A virtual server: where it listens, and where its sessions go.",
        set: |stream, given| {
            let mut server = stream.inherited.clone();
            server.span = given.statement.name.span;
            let mut statements = given.block().statements.iter();
            server.names_listen = statements.any(|statement| &*statement.name.text == "listen");
            server.content = content(given.block(), given.cx);
            SERVER_LEVEL.eval(given.block(), &mut server, given.cx);
            stream.servers.push(server);
            Ok(())
        },
    },
    Directive {
        name: "upstream",
        contexts: STREAM,
        args: Args::exactly(&[Value::Text], "name").with_block(),
        repeat: Repeat::Append,
        default: None,
        doc: "A group of peers that `proxy_pass` can name.",
        set: |stream, given| {
            let name = given.word(0);
            if stream.upstreams.iter().any(|other| other.name.text.eq_ignore_ascii_case(&name.text)) {
                return Err(given.error(0, format!("duplicate upstream \"{}\"", name.text)));
            }
            let read = (&*UPSTREAM_LEVEL, given.cx);
            stream.upstreams.push(upstream::Settings::read(name, given.block(), &stream.inherited.names, read));
            Ok(())
        },
    },
    Directive {
        name: "match",
        contexts: STREAM,
        args: Args::exactly(&[Value::Text], "name").with_block(),
        repeat: Repeat::Append,
        default: None,
        doc: "What a health check sends and what it expects back.",
        set: |stream, given| {
            let name = given.word(0);
            if stream.matches.iter().any(|other| other.name.text == name.text) {
                return Err(given.error(0, format!("duplicate match \"{}\"", name.text)));
            }
            let mut settings = health::MatchSettings::new(name.clone());
            MATCH_LEVEL.eval(given.block(), &mut settings, given.cx);
            stream.matches.push(settings);
            Ok(())
        },
    },
];

/// Each of the three takes the place of the one before it, as in nginx, which does not say so.
fn content(block: &Block, cx: &Cx) -> Option<Content> {
    let mut last = None;
    for statement in &block.statements {
        let content = match &*statement.name.text {
            "proxy_pass" => Content::Proxy,
            "pass" => Content::Pass,
            "return" => Content::Return,
            _ => continue,
        };
        let before = last.replace((content, &statement.name)).filter(|(before, _)| *before != content);
        if let Some((_, name)) = before {
            let message = format!("\"{}\" has no effect", name.text);
            let help = format!("\"{}\" below it takes its place", statement.name.text);
            cx.report(Diagnostic::warning(name.span, message).help(help));
        }
    }
    last.map(|(content, _)| content)
}

const SESSION: &[Directive<Session>] = &[
    Directive {
        name: "tcp_nodelay",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Sets `TCP_NODELAY` on client and peer connections.",
        set: |session, given| given.flag(0).map(|on| session.tcp_nodelay = on),
    },
    Directive {
        name: "proxy_protocol_timeout",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Time], "timeout"),
        repeat: Repeat::Once,
        default: Some("30s"),
        doc: "How long a client may take to send its whole PROXY protocol header.",
        set: |session, given| given.time(0).map(|timeout| session.proxy_protocol_timeout = timeout),
    },
];
