//! Compiles servers and their locations.

use super::build::{Planner, identity};
use super::{Content, Except, Location, Root, Server, Types};
use crate::phase;
use crate::proxy::settings::{self as proxy, PassTo};
use crate::proxy::{Proxy, Target};
use crate::rewrite::{Branch, Rules, Step, steps};
use crate::route::{Kind, Level, LevelBuilder, Node};
use crate::settings::files::compile_types;
use crate::settings::{Inherited, LocationBlock, LocationName, ServerBlock};
use crate::variables::referer::Referers;
use ahash::AHashMap;
use fairlead_conf::Diagnostic;
use std::sync::Arc;

pub(super) fn server(block: &ServerBlock, planner: &Planner<'_>) -> Server {
    let name: Box<str> =
        block.names.first().map_or("".into(), |name| name.text.strip_prefix('.').unwrap_or(&name.text).into());
    planner.server_name.replace(name.clone());
    let root = Location {
        rules: rules(&block.rules, None, planner),
        tries: block.tries.clone(),
        ..location("", &block.inherited, block.made.map_or(Content::Static, Content::Made), planner)
    };
    Server {
        name,
        names: block.names.iter().map(|name| name.name.clone()).collect(),
        limits: block.heads.limits(),
        client_header_timeout: block.heads.client_header_timeout,
        merge_slashes: block.heads.merge_slashes,
        root: Arc::new(root),
        locations: level(&block.locations, planner),
        named: named(&block.locations, planner),
    }
}

fn level(blocks: &[LocationBlock], planner: &Planner<'_>) -> Level {
    let mut level = LevelBuilder::default();
    for block in blocks.iter().filter(|block| !matches!(block.name.kind, Kind::Named)) {
        let redirects = block.pass.is_some();
        let compiled = written(block, planner);
        let nested = if block.locations.is_empty() { None } else { Some(self::level(&block.locations, planner)) };
        let node = Node { location: Arc::new(compiled), nested };
        if !level.add(&block.name.text, block.name.kind.clone(), redirects, node) {
            let message = format!("duplicate location \"{}\"", block.name.text);
            planner.report(Diagnostic::error(block.span, message).help("write both as one, or remove one of them"));
        }
    }
    level.finish()
}

/// The locations that only the server itself can go to.
fn named(blocks: &[LocationBlock], planner: &Planner<'_>) -> AHashMap<Box<str>, Arc<Location>> {
    let mut named = AHashMap::new();
    for block in blocks.iter().filter(|block| matches!(block.name.kind, Kind::Named)) {
        let compiled = Arc::new(written(block, planner));
        // As nginx: nobody else gets there.
        if named.contains_key(&block.name.text) {
            let message = format!("duplicate location \"{}\", ignored", block.name.text);
            planner.report(Diagnostic::warning(block.span, message));
            continue;
        }
        named.insert(block.name.text.clone(), compiled);
    }
    named
}

/// A location that has a block of its own.
fn written(block: &LocationBlock, planner: &Planner<'_>) -> Location {
    if block.pass.is_none() {
        for check in &block.checks {
            let message = "\"health_check\" needs a \"proxy_pass\" in the same location";
            planner.report(Diagnostic::error(check.span, message));
        }
    }
    let content = match (content(block, block.pass.as_ref(), planner), block.made) {
        (Content::Static, Some(made)) => Content::Made(made),
        (content, _) => content,
    };
    Location {
        rules: rules(&block.rules, Some(block), planner),
        tries: block.tries.clone(),
        except: block.except.as_ref().map(|written| except(block, written, planner)),
        ..location(&block.name.text, &block.inherited, content, planner)
    }
}

/// The rules of a block; `outer` is the location they stand in.
fn rules(rules: &Rules, outer: Option<&LocationBlock>, planner: &Planner<'_>) -> Box<[Step]> {
    steps(rules, |block| {
        let settings = block.inherited.rewrite;
        let location = outer.map(|outer| {
            // As nginx: an `if` that passes nowhere itself goes where its location does.
            let content = match (content(block, block.pass.as_ref().or(outer.pass.as_ref()), planner), outer.made) {
                (Content::Static, Some(made)) => Content::Made(made),
                (content, _) => content,
            };
            Arc::new(location(&block.name.text, &block.inherited, content, planner))
        });
        let rules = block.rules.plain.iter().map(|(_, rule)| rule.clone()).collect();
        Branch { rules, location, log: settings.log, warn: settings.warn }
    })
}

fn content(block: &LocationBlock, pass: Option<&PassTo>, planner: &Planner<'_>) -> Content {
    let proxy = pass.and_then(|pass| proxy(block, pass, planner));
    proxy.map_or(Content::Static, |proxy| Content::Proxy(Box::new(proxy)))
}

/// `limit_except` passes where the location around it does, unless it says where itself.
fn except(outer: &LocationBlock, written: &phase::Except, planner: &Planner<'_>) -> Except {
    let block = &written.block;
    let content = content(block, block.pass.as_ref().or(outer.pass.as_ref()), planner);
    let compiled = location(&outer.name.text, &block.inherited, content, planner);
    Except { allowed: written.allowed.clone(), location: Arc::new(compiled) }
}

fn proxy(block: &LocationBlock, pass: &PassTo, planner: &Planner<'_>) -> Option<Proxy> {
    let build = planner.build;
    let (target, url) = match pass {
        PassTo::Url(url) => (Target::Group(planner.groups.borrow_mut().of(url, build)?), Some(url)),
        PassTo::Variables(template) => (Target::Variables(template.clone()), None),
    };
    let place = (location_path(&block.name), build.cx);
    planner.temp_folder(&block.inherited.proxy.temp_path);
    let compiled = proxy::compile(&block.inherited.proxy, target, url, place);
    let proxy = compiled.map_err(|diagnostic| planner.report(diagnostic)).ok()?;
    planner.transparent.set(planner.transparent.get() || proxy.bind.as_ref().is_some_and(|bind| bind.transparent));
    for check in &block.checks {
        match proxy.target {
            Target::Group(index) => {
                let server = planner.server_name.borrow();
                planner.groups.borrow_mut().check(check, index, (&proxy, &server), build);
            }
            Target::Variables(_) => {
                let message = "\"health_check\" requires \"proxy_pass\" without variables";
                planner.report(Diagnostic::error(check.span, message));
            }
        }
    }
    Some(proxy)
}

/// What `proxy_redirect default` puts in place of the URL of `proxy_pass`.
fn location_path(name: &LocationName) -> &str {
    match name.kind {
        Kind::Regex(_) | Kind::Named => "",
        Kind::Exact | Kind::Prefix | Kind::FinalPrefix => &name.text,
    }
}

/// Without rules.
fn location(name: &str, inherited: &Inherited, content: Content, planner: &Planner<'_>) -> Location {
    let Inherited { client, bodies, files, .. } = inherited;
    if let Some(wrong) = inherited.filters.check_charsets(&planner.charsets) {
        planner.report(wrong);
    }
    if let Some(wrong) = inherited.proxy.sizes.check() {
        planner.report(wrong);
    }
    Location {
        name: name.into(),
        content,
        rules: Box::default(),
        rewrite_log: inherited.rewrite.log,
        warn_uninitialized: inherited.rewrite.warn,
        root: Root {
            path: files.root.path.clone(),
            alias: files.root.alias.is_some(),
            replaced: files.root.alias.unwrap_or(0),
            prefix: planner.build.cx.prefix.clone(),
        },
        files: files.clone(),
        tries: None,
        types: types(inherited, planner),
        keepalive_timeout: client.keepalive_timeout,
        keepalive_header: client.keepalive_header,
        keepalive_requests: client.keepalive_requests,
        keepalive_time: client.keepalive_time,
        keepalive_min_timeout: client.keepalive_min,
        keepalive_disable: client.keepalive_disable,
        msie_padding: client.msie_padding,
        msie_refresh: client.msie_refresh,
        early_hints: client.early_hints.clone(),
        internal_redirect: client.internal_redirect.clone(),
        client_max_body_size: bodies.most,
        client_body_buffer_size: usize::try_from(bodies.buffer).unwrap_or(usize::MAX),
        client_body_timeout: bodies.timeout,
        client_body_temp_path: planner.temp_folder(&bodies.folder),
        client_body_in_file: bodies.in_file,
        send_timeout: client.send_timeout,
        limit_rate: inherited.rates.rate.clone(),
        limit_rate_after: inherited.rates.after.clone(),
        lingering: client.lingering,
        lingering_time: client.lingering_time,
        lingering_timeout: client.lingering_timeout,
        server_tokens: client.server_tokens,
        log_subrequest: client.log_subrequest,
        server_text: client.server_text.clone(),
        tcp_nodelay: client.tcp_nodelay,
        chunked_transfer_encoding: client.chunked,
        reset_timedout_connection: client.reset_timedout,
        absolute_redirect: client.absolute_redirect,
        port_in_redirect: client.port_in_redirect,
        server_name_in_redirect: client.server_name_in_redirect,
        access_logs: planner.access_logs(&inherited.access_logs, inherited.log_files),
        error_log: planner.error_log(&inherited.error_logs),
        resolver: planner.resolver(&inherited.resolver),
        error_pages: inherited.errors.pages.clone(),
        recursive_error_pages: inherited.errors.recursive,
        internal: inherited.errors.internal,
        gates: planner.gates(&inherited.phase),
        mirror: inherited.mirror.compile(),
        referers: Referers::new(&inherited.referers),
        secure_link: inherited.secure_link.clone(),
        except: None,
        filters: inherited.filters.compile(&planner.charsets),
    }
}

fn types(inherited: &Inherited, planner: &Planner<'_>) -> Arc<Types> {
    let files = &inherited.files;
    let mut known = planner.shared.types.borrow_mut();
    let key = (files.types.as_ref().map_or(0, identity), files.default_type.clone());
    known.entry(key).or_insert_with(|| Arc::new(compile_types(files))).clone()
}
