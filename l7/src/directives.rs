//! The levels of `http { … }` and every row that may stand in each. A feature's
//! rows live in the feature's file; blocks are here.

use crate::rewrite::{self, Condition};
use crate::route::Kind;
use crate::settings::LocationName;
use crate::settings::{self, Http, LocationBlock, Scope, ServerBlock};
use crate::variables::custom::Blocks;
use crate::variables::{referer, secure_link};
use crate::{content, filter, listen, phase, proxy};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Level, Page, Repeat, Value, pages as pages_of};
use fairlead_core::health::{MATCH_HTTP_DIRECTIVES, MatchSettings};
use fairlead_core::{limit, log, resolver, upstream};
use std::sync::{Arc, LazyLock};

pub(crate) const HTTP: Contexts = Contexts::HTTP;
pub(crate) const SERVER: Contexts = Contexts::SERVER;
pub(crate) const LOCATION: Contexts = Contexts::LOCATION;
pub(crate) const IF_LOCATION: Contexts = Contexts::IF_LOCATION;
/// In the block of an `if`, wherever that stands.
pub(crate) const IF: Contexts = Contexts::IF_SERVER.or(IF_LOCATION);
/// Where most directives may stand.
pub(crate) const ALL: Contexts = HTTP.or(SERVER).or(LOCATION);

/// Rows of the `http` block.
pub(crate) static HTTP_LEVEL: LazyLock<Level<Http>> = LazyLock::new(|| {
    inherited(Level::new(HTTP))
        .with(BLOCKS, |http: &mut Http| http)
        .with(settings::logs::FORMATS, |http| &mut http.shared.formats)
        .with(Blocks::DIRECTIVES, |http| &mut http.shared.variables)
        .with(limit::ZONE_DIRECTIVES, |http| &mut http.shared.conn_zones)
        .with(phase::REQ_ZONES, |http| &mut http.shared.req_zones)
        .with(filter::CHARSET_MAPS, |http| &mut http.shared.charsets)
        .with(settings::heads::DIRECTIVES, |http| &mut http.heads)
});

/// Rows of a `server` block.
pub(crate) static SERVER_LEVEL: LazyLock<Level<ServerBlock>> = LazyLock::new(|| {
    inherited(Level::new(SERVER))
        .with(SERVER_LOCATION, |server: &mut ServerBlock| server)
        .with(settings::heads::DIRECTIVES, |server| &mut server.heads)
        .with(settings::names::DIRECTIVES, |server| &mut server.names)
        .with(listen::DIRECTIVES, |server| &mut server.listens)
        .with(rewrite::RULES, |server| &mut server.rules)
        .with(content::TRY_FILES, |server| &mut server.tries)
        .with(content::STUB_STATUS, |server| &mut server.made)
        .with(SERVER_IF, |server| server)
});

/// Rows of a `location` block.
pub(crate) static LOCATION_LEVEL: LazyLock<Level<LocationBlock>> = LazyLock::new(|| {
    inherited(Level::new(LOCATION))
        .with(NESTED_LOCATION, |location: &mut LocationBlock| location)
        .with(settings::files::ALIAS, |location| location)
        .with(settings::errors::INTERNAL, |location| &mut location.inherited.errors)
        .with(proxy::settings::PASS, |location| location)
        .with(rewrite::RULES, |location| &mut location.rules)
        .with(content::TRY_FILES, |location| &mut location.tries)
        .with(content::STUB_STATUS, |location| &mut location.made)
        .with(content::EMPTY_GIF, |location| &mut location.made)
        .with(content::RANDOM_INDEX, |location| &mut Arc::make_mut(&mut location.inherited.files).listing)
        .with(LOCATION_IF, |location| location)
        .with(phase::EXCEPT, |location| location)
});

/// Rows of a `limit_except` block.
pub(crate) static EXCEPT_LEVEL: LazyLock<Level<LocationBlock>> = LazyLock::new(|| {
    inherited(Level::new(Contexts::LIMIT_EXCEPT)).with(proxy::settings::PASS, |location: &mut LocationBlock| location)
});

/// Rows of an `if` block of a server.
static IF_SERVER_LEVEL: LazyLock<Level<LocationBlock>> = LazyLock::new(|| if_level(Contexts::IF_SERVER));

/// Rows of an `if` block of a location: it is a location of its own, without a name.
static IF_LOCATION_LEVEL: LazyLock<Level<LocationBlock>> =
    LazyLock::new(|| if_level(IF_LOCATION).with(proxy::settings::PASS, |location| location));

fn if_level(context: Contexts) -> Level<LocationBlock> {
    inherited(Level::new(context)).with(rewrite::RULES, |location: &mut LocationBlock| &mut location.rules)
}

/// Rows of an `upstream` block.
static UPSTREAM_LEVEL: LazyLock<Level<upstream::Settings>> = LazyLock::new(|| {
    Level::new(Contexts::UPSTREAM)
        .with(upstream::DIRECTIVES, |settings: &mut upstream::Settings| settings)
        .with(resolver::DIRECTIVES, |settings| &mut settings.names)
});

/// Rows of a `match` block.
static MATCH_LEVEL: LazyLock<Level<MatchSettings>> =
    LazyLock::new(|| Level::new(Contexts::MATCH).with(MATCH_HTTP_DIRECTIVES, |settings: &mut MatchSettings| settings));

/// Adds the rows whose settings blocks hand down to the blocks inside them.
fn inherited<S: Scope>(level: Level<S>) -> Level<S> {
    filters(phase::inherited(level))
        .with(referer::DIRECTIVES, |scope| &mut scope.inherited().referers)
        .with(secure_link::DIRECTIVES, |scope| &mut scope.inherited().secure_link)
        .with(settings::client::DIRECTIVES, |scope| Arc::make_mut(&mut scope.inherited().client))
        .with(settings::bodies::DIRECTIVES, |scope| Arc::make_mut(&mut scope.inherited().bodies))
        .with(settings::rates::DIRECTIVES, |scope| Arc::make_mut(&mut scope.inherited().rates))
        .with(settings::files::DIRECTIVES, |scope| Arc::make_mut(&mut scope.inherited().files))
        .with(content::AUTOINDEX, |scope| &mut Arc::make_mut(&mut scope.inherited().files).listing)
        .with(settings::logs::DIRECTIVES, |scope| Arc::make_mut(&mut scope.inherited().access_logs))
        .with(log::FILE_CACHE_DIRECTIVES, |scope| &mut scope.inherited().log_files)
        .with(resolver::DIRECTIVES, |scope| Arc::make_mut(&mut scope.inherited().resolver))
        .with(log::DIRECTIVES, |scope| Arc::make_mut(&mut scope.inherited().error_logs))
        .with(proxy::settings::DIRECTIVES, |scope| Arc::make_mut(&mut scope.inherited().proxy))
        .with(proxy::settings::STORE, |scope| Arc::make_mut(&mut scope.inherited().proxy))
        .with(proxy::settings::BUFFERS, |scope| Arc::make_mut(&mut scope.inherited().proxy))
        .with(proxy::settings::CONNECT, |scope| Arc::make_mut(&mut scope.inherited().proxy))
        .with(proxy::settings::ANSWERS, |scope| Arc::make_mut(&mut scope.inherited().proxy))
        .with(proxy::settings::COOKIES, |scope| Arc::make_mut(&mut scope.inherited().proxy))
        .with(rewrite::SETTINGS, |scope| &mut scope.inherited().rewrite)
        .with(phase::MIRROR, |scope| &mut scope.inherited().mirror)
        .with(settings::errors::DIRECTIVES, |scope| &mut scope.inherited().errors)
}

fn filters<S: Scope>(level: Level<S>) -> Level<S> {
    let add = |level: Level<S>, table| level.with(table, |scope| Arc::make_mut(&mut scope.inherited().filters));
    filter::TABLES.iter().fold(level, |level, (table, _)| add(level, table))
}

/// Documentation of every directive of the plane.
pub fn pages() -> Vec<Page> {
    [
        pages_of(BLOCKS, "http"),
        pages_of(SERVER_LOCATION, "http"),
        pages_of(listen::DIRECTIVES, "http"),
        pages_of(settings::names::DIRECTIVES, "http"),
        pages_of(settings::heads::DIRECTIVES, "http"),
        pages_of(settings::client::DIRECTIVES, "http"),
        pages_of(settings::bodies::DIRECTIVES, "http"),
        pages_of(settings::rates::DIRECTIVES, "http"),
        pages_of(settings::files::DIRECTIVES, "http"),
        pages_of(settings::files::ALIAS, "http"),
        pages_of(content::TRY_FILES, "http"),
        pages_of(content::AUTOINDEX, "http autoindex"),
        pages_of(content::RANDOM_INDEX, "http random index"),
        pages_of(content::EMPTY_GIF, "http empty gif"),
        pages_of(content::STUB_STATUS, "http stub status"),
        pages_of(settings::errors::DIRECTIVES, "http"),
        pages_of(settings::errors::INTERNAL, "http"),
        pages_of(rewrite::RULES, "http rewrite"),
        pages_of(LOCATION_IF, "http rewrite")
            .into_iter()
            .map(|page| Page { contexts: SERVER.or(LOCATION), ..page })
            .collect(),
        pages_of(rewrite::SETTINGS, "http rewrite"),
        pages_of(filter::CHARSET_MAPS, "http charset"),
        filter::TABLES.iter().flat_map(|(table, title)| pages_of(table, title)).collect(),
        pages_of(settings::logs::FORMATS, "http log"),
        pages_of(settings::logs::DIRECTIVES, "http log"),
        file_cache_pages(),
        variable_pages(),
        phase::pages(),
        pages_of(phase::MIRROR, "http mirror"),
        pages_of(referer::DIRECTIVES, "http referer"),
        pages_of(secure_link::DIRECTIVES, "http secure link"),
        pages_of(MATCH_HTTP_DIRECTIVES, "http health checks"),
        pages_of(proxy::settings::PASS, "http proxy"),
        pages_of(proxy::settings::DIRECTIVES, "http proxy"),
        pages_of(proxy::settings::STORE, "http proxy"),
        pages_of(proxy::settings::BUFFERS, "http proxy"),
        pages_of(proxy::settings::CONNECT, "http proxy"),
        pages_of(proxy::settings::ANSWERS, "http proxy"),
        pages_of(proxy::settings::COOKIES, "http proxy"),
    ]
    .concat()
}

/// Core's row, as it stands in this plane.
fn file_cache_pages() -> Vec<Page> {
    let contexts = HTTP.or(SERVER).or(LOCATION);
    pages_of(log::FILE_CACHE_DIRECTIVES, "http log").into_iter().map(|page| Page { contexts, ..page }).collect()
}

/// The same of those that make variables.
fn variable_pages() -> Vec<Page> {
    let pages = pages_of(Blocks::DIRECTIVES, "http variables").into_iter();
    pages.map(|page| Page { contexts: HTTP, ..page }).collect()
}

const BLOCKS: &[Directive<Http>] = &[
    Directive {
        name: "server",
        contexts: HTTP,
        args: Args::none().with_block(),
        repeat: Repeat::Append,
        default: None,
        doc: "A virtual server: the addresses it listens on, the host names it answers for and its locations.",
        set: |http, given| {
            let mut server = ServerBlock::new(http, given.statement.name.span);
            SERVER_LEVEL.eval(given.block(), &mut server, given.cx);
            http.servers.push(server);
            Ok(())
        },
    },
    Directive {
        name: "upstream",
        contexts: HTTP,
        args: Args::exactly(&[Value::Text], "name").with_block(),
        repeat: Repeat::Append,
        default: None,
        doc: "A group of peers that `proxy_pass http://NAME` balances over.",
        set: |http, given| {
            let name = given.word(0);
            if http.shared.upstreams.iter().any(|other| other.name.text.eq_ignore_ascii_case(&name.text)) {
                return Err(given.error(0, format!("duplicate upstream \"{}\"", name.text)));
            }
            let (names, read) = (&http.inherited.resolver, (&*UPSTREAM_LEVEL, given.cx));
            http.shared.upstreams.push(upstream::Settings::read(name, given.block(), names, read));
            Ok(())
        },
    },
    Directive {
        name: "match",
        contexts: HTTP,
        args: Args::exactly(&[Value::Text], "name").with_block(),
        repeat: Repeat::Append,
        default: None,
        doc: "What the answer to a health check must be: status, headers, body. `health_check match=NAME` uses it.",
        set: |http, given| {
            let name = given.word(0);
            if http.shared.matches.iter().any(|other| other.name.text == name.text) {
                return Err(given.error(0, format!("duplicate match \"{}\"", name.text)));
            }
            let mut settings = MatchSettings::new(name.clone());
            MATCH_LEVEL.eval(given.block(), &mut settings, given.cx);
            http.shared.matches.push(settings);
            Ok(())
        },
    },
];

const LOCATION_SYNTAX: &str = "[ = | ~ | ~* | ^~ ] uri";
const LOCATION_DOC: &str = "Settings for the paths it matches: `= /path` exactly, `/prefix` the longest one, \
    `~ regex` (`~*` in any case) the first in file order; `^~ /prefix` keeps regexes out. \
    Paths are compared decoded and normalised, without the query. Example: `location /api/ { … }`.";

const SERVER_LOCATION: &[Directive<ServerBlock>] = &[Directive {
    name: "location",
    contexts: SERVER,
    args: Args::between(1, 2, &[Value::Text], LOCATION_SYNTAX).with_block(),
    repeat: Repeat::Append,
    default: None,
    doc: LOCATION_DOC,
    set: |server, given| {
        let name = LocationName::parse(given)?;
        let block = location_block(LocationBlock::new(&server.inherited, name, given), given);
        server.locations.push(block);
        Ok(())
    },
}];

const NESTED_LOCATION: &[Directive<LocationBlock>] = &[Directive {
    name: "location",
    contexts: LOCATION,
    args: Args::between(1, 2, &[Value::Text], LOCATION_SYNTAX).with_block(),
    repeat: Repeat::Append,
    default: None,
    doc: LOCATION_DOC,
    set: |outer, given| {
        let name = LocationName::parse(given)?;
        check_nesting(&outer.name, &name, given)?;
        let block = location_block(LocationBlock::new(&outer.inherited, name, given), given);
        outer.locations.push(block);
        Ok(())
    },
}];

const IF_ARGS: Args = Args::at_least(1, &[Value::Text], "(condition)").with_block();
const IF_DOC: &str = "Rules, and in a location settings, for requests of which the condition is true: a variable that is \
    neither empty nor `0`; `$variable = text` or `!=`; `$variable ~ regex` (`~*` in any case; negated `!~`, `!~*`), \
    whose groups may be used; `-f path` is a file, `-d` a folder, `-e` either, `-x` executable (negated `!-f` …). Of \
    several in a location the last that is true serves the request, with what it inherits from the location. \
    Example: `if ($request_method = POST) { return 405; }`.";

const SERVER_IF: &[Directive<ServerBlock>] = &[Directive {
    name: "if",
    contexts: SERVER,
    args: IF_ARGS,
    repeat: Repeat::Append,
    default: None,
    doc: IF_DOC,
    set: |server, given| {
        let order = given.order();
        let name = LocationName { kind: Kind::Prefix, text: "".into() };
        let mut block = LocationBlock::new(&server.inherited, name, given);
        IF_SERVER_LEVEL.eval(given.block(), &mut block, given.cx);
        server.rules.ifs.push((order, Condition::parse(given)?, Box::new(block)));
        Ok(())
    },
}];

const LOCATION_IF: &[Directive<LocationBlock>] = &[Directive {
    name: "if",
    contexts: LOCATION,
    args: IF_ARGS,
    repeat: Repeat::Append,
    default: None,
    doc: IF_DOC,
    set: |location, given| {
        let order = given.order();
        let mut block = LocationBlock::new(&location.inherited, location.name.clone(), given);
        IF_LOCATION_LEVEL.eval(given.block(), &mut block, given.cx);
        location.rules.ifs.push((order, Condition::parse(given)?, Box::new(block)));
        Ok(())
    },
}];

fn location_block(mut location: LocationBlock, given: &Given<'_>) -> LocationBlock {
    LOCATION_LEVEL.eval(given.block(), &mut location, given.cx);
    if let Some(second) = settings::files::root_and_alias(given.block()) {
        given.cx.report(second);
    }
    location
}

fn check_nesting(outer: &LocationName, inner: &LocationName, given: &Given<'_>) -> Result<(), Diagnostic> {
    let last = given.len().saturating_sub(1);
    if matches!(inner.kind, Kind::Named) {
        let message = format!("named location \"{}\" can be on the server level only", inner.text);
        return Err(given.error(last, message));
    }
    if matches!(outer.kind, Kind::Named) {
        let message = format!("location \"{}\" cannot be inside the named location \"{}\"", inner.text, outer.text);
        return Err(given.error(last, message));
    }
    if matches!(outer.kind, Kind::Exact) {
        let message = format!("location \"{}\" cannot be inside the exact location \"{}\"", inner.text, outer.text);
        return Err(given.error(last, message));
    }
    if !matches!(inner.kind, Kind::Regex(_)) && !inner.text.starts_with(&*outer.text) {
        let message = format!("location \"{}\" is outside location \"{}\"", inner.text, outer.text);
        return Err(given.error(last, message).help(format!("begin its path with \"{}\"", outer.text)));
    }
    Ok(())
}
