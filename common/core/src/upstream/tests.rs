//! From the text of an `upstream` block to a group, and what is said about the wrong ones.

use super::*;
use crate::clock::Tick;
use crate::log::Registry;
use crate::net::Address;
use crate::plan::Build;
use crate::resolver::{self, ResolverSettings};
use fairlead_conf::{Contexts, Cx, Diagnostic, Level, Severity, Span, Tree, Word};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const HTTP: Contexts = Contexts::UPSTREAM;
const STREAM: Contexts = Contexts::STREAM_UPSTREAM;

fn word(text: &str) -> Word {
    Word { text: text.into(), span: Span::default(), quoted: false }
}

fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    match name {
        "two.example" => Ok(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn settings(text: &str, context: Contexts, cx: &Cx) -> Settings {
    let tree = Tree::parse(Path::new("test.conf"), text);
    assert!(tree.diagnostics.is_empty(), "{:?}", tree.diagnostics);
    let level = Level::new(context)
        .with(DIRECTIVES, |settings: &mut Settings| settings)
        .with(resolver::DIRECTIVES, |settings| &mut settings.names);
    let mut settings = Settings::new(word("app"));
    level.eval(&tree.root, &mut settings, cx);
    settings
}

fn build_over(text: &str, context: Contexts, previous: Option<&Group>) -> (Option<Arc<Group>>, Vec<Diagnostic>) {
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let settings = settings(text, context, &cx);
    let group = if cx.has_errors() {
        None
    } else {
        Group::build(&settings, previous, &Build { cx: &cx, resolve: &resolve, logs: &Registry::default() })
    };
    (group, cx.diagnostics.into_inner())
}

fn build(text: &str) -> Arc<Group> {
    let (group, diagnostics) = build_over(text, HTTP, None);
    group.unwrap_or_else(|| panic!("{text}: {diagnostics:?}"))
}

/// What is said about a block that is wrong.
fn problem(text: &str, context: Contexts) -> String {
    let (group, diagnostics) = build_over(text, context, None);
    assert!(group.is_none(), "{text}");
    diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect::<Vec<_>>().join("; ")
}

fn names(group: &Group) -> Vec<&str> {
    group.peers.iter().map(|peer| &*peer.name).collect()
}

#[test]
fn a_server_makes_a_peer_of_each_address() {
    let group =
        build("server two.example:81 weight=3; server 10.1.1.1 backup; server unix:/run/a.sock; server [::1]:9;");
    assert_eq!(names(&group), ["10.0.0.1:81", "10.0.0.2:81", "unix:/run/a.sock", "[::1]:9", "10.1.1.1:80"]);
    assert_eq!((group.peers[1].weight, &*group.peers[1].server), (3, "two.example:81"));
    assert!(group.peers[4].backup && group.primaries() == 4);
}

#[test]
fn a_server_line_has_nginx_s_defaults_and_parameters() {
    let group = build("server 10.0.0.1; server 10.0.0.2 weight=5 max_conns=7 max_fails=0 fail_timeout=1m30s down;");
    let said = |at: usize| {
        let peer = &group.peers[at];
        (peer.weight, peer.max_conns, peer.max_fails, peer.fail_timeout, peer.down)
    };
    assert_eq!(said(0), (1, 0, 1, 10_000, false));
    assert_eq!(said(1), (5, 7, 0, 90_000, true));
}

#[test]
fn methods_zone_and_keepalive_are_taken() {
    let server = "server 10.0.0.1;";
    let method = |text: &str| build(&format!("{text} {server}")).method.clone();
    assert!(matches!(method(""), Method::RoundRobin));
    assert!(matches!(method("least_conn;"), Method::LeastConn));
    assert!(matches!(method("ip_hash;"), Method::IpHash));
    assert!(matches!(method("random;"), Method::Random { two: None }));
    assert!(matches!(method("random two least_conn;"), Method::Random { two: Some(Measure::Conns) }));
    assert!(matches!(method("hash $a$b;"), Method::Hash { key, table: Hashing::Modulo } if &*key.text == "$a$b"));
    assert!(matches!(method("hash $a consistent;"), Method::Hash { table: Hashing::Ring, .. }));

    let group = build(&format!("{server} zone app 64k; keepalive 8; keepalive_requests 5; keepalive_timeout 2s;"));
    assert_eq!(group.zone.as_deref(), Some("app"));
    let keepalive = &group.keepalive;
    assert_eq!((keepalive.connections, keepalive.requests), (8, 5));
    assert_eq!((keepalive.time, keepalive.timeout), (Duration::from_secs(3600), Duration::from_secs(2)));
}

#[test]
fn each_plane_has_its_own_words_for_times() {
    let method = |text: &str, context| {
        let (group, diagnostics) = build_over(&format!("{text}; server 10.0.0.1:1; server 10.0.0.2:1;"), context, None);
        group.unwrap_or_else(|| panic!("{text}: {diagnostics:?}")).method.clone()
    };
    let time = |metric, inflight| Some(Measure::Time { metric, inflight });
    for (text, context, expected) in [
        ("least_time header", HTTP, time(Metric::FirstByte, false)),
        ("least_time last_byte inflight", HTTP, time(Metric::LastByte, true)),
        ("least_time connect", STREAM, time(Metric::Connect, false)),
        ("least_time first_byte inflight", STREAM, time(Metric::FirstByte, true)),
        ("least_conn", STREAM, Some(Measure::Conns)),
        ("random two", STREAM, None),
    ] {
        assert_eq!(method(text, context).measure(), expected, "{text}");
    }
    let two = |text: &str, context| match method(text, context) {
        Method::Random { two } => two,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(two("random", STREAM), None);
    assert_eq!(two("random two", STREAM), Some(Measure::Conns));
    assert_eq!(two("random two least_time=header", HTTP), time(Metric::FirstByte, false));
    assert_eq!(two("random two least_time=connect", STREAM), time(Metric::Connect, false));
    assert!(matches!(method("hash $a maglev", HTTP), Method::Hash { table: Hashing::Maglev, .. }));
    for (text, context) in [("least_time connect", HTTP), ("least_time header", STREAM), ("least_time", STREAM)] {
        assert!(!problem(&format!("{text}; server 10.0.0.1:1;"), context).is_empty(), "{text}");
    }
}

#[test]
fn sticky_source_has_a_time_and_a_size() {
    let build = |text: &str, previous| build_over(&format!("{text} server 10.0.0.1:1;"), STREAM, previous).0.unwrap();
    let group = build("sticky source;", None);
    let bindings = group.kept.bindings.as_ref().unwrap();
    assert_eq!(bindings.capacity(), 16_384);
    let same = build("sticky source timeout=60m zone=any:1m;", Some(&*group));
    assert!(Arc::ptr_eq(bindings, same.kept.bindings.as_ref().unwrap()));
    let larger = build("sticky source zone=any:2m;", Some(&*group));
    assert_eq!(larger.kept.bindings.as_ref().unwrap().capacity(), 32_768);
    assert!(build("least_conn;", Some(&*group)).kept.bindings.is_none());
    for text in ["sticky source timeout=0;", "sticky source zone=:1m;", "sticky source zone=a:1x;", "sticky route a;"] {
        assert!(!problem(&format!("{text} server 10.0.0.1:1;"), STREAM).is_empty(), "{text}");
    }
}

#[test]
fn the_defaults_of_the_rows_are_those_of_a_new_block() {
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let mut filled = Settings::new(word("app"));
    filled.keepalive =
        Keepalive { connections: 0, local: false, requests: 0, time: Duration::ZERO, timeout: Duration::ZERO };
    Level::new(HTTP).with(DIRECTIVES, |settings: &mut Settings| settings).defaults(&mut filled, &cx);
    assert_eq!(format!("{filled:?}"), format!("{:?}", Settings::new(word("app"))));
}

#[test]
fn a_sticky_cookie_is_taken_with_its_attributes() {
    let text = "server 10.0.0.1; sticky cookie srv expires=1h domain=.a.example path=/ httponly secure samesite=lax;";
    let cookie = |text: &str| match build(text).sticky.clone().unwrap() {
        Sticky::Cookie(cookie) => cookie,
        other => panic!("{other:?}"),
    };
    let sticky = cookie(text);
    assert_eq!((&*sticky.name.text, sticky.expires), ("srv", Some(Some(Duration::from_secs(3600)))));
    assert_eq!((&*sticky.domain.unwrap().text, &*sticky.path.unwrap().text), (".a.example", "/"));
    assert!(sticky.httponly && sticky.secure && &*sticky.samesite.unwrap().text == "lax");

    let sticky = cookie("server 10.0.0.1; sticky cookie srv expires=max samesite=$s;");
    assert_eq!(sticky.expires, Some(None));
    assert!(!sticky.httponly && sticky.path.is_none());
}

#[test]
fn sticky_learn_and_route_are_taken_with_their_variables() {
    let text = "server 10.0.0.1 route=a; server 10.0.0.2; sticky route $a $b;";
    let group = build(text);
    assert_eq!(&*group.peers[0].sid, "a");
    assert_eq!(group.peers[1].sid.len(), 32);
    assert!(matches!(&group.sticky, Some(Sticky::Route(words)) if words.len() == 2));
    assert!(group.kept.sessions.is_none());

    let text = "server 10.0.0.1; sticky learn create=$a create=$b lookup=$c zone=z:64k timeout=1m header;";
    let group = build(text);
    let Some(Sticky::Learn(learn)) = &group.sticky else { panic!("{:?}", group.sticky) };
    assert_eq!((learn.create.len(), learn.lookup.len(), &*learn.zone.text), (2, 1, "z"));
    assert!(learn.header && learn.timeout == Duration::from_secs(60));
    assert_eq!(group.kept.sessions.as_ref().unwrap().capacity(), 1024);
}

#[test]
fn sessions_and_the_queue_outlive_a_reload() {
    let text = "server 10.0.0.1; server 10.0.0.2; sticky learn create=$a lookup=$b zone=z:64k; queue 5;";
    let over = |text: &str, previous: &Group| build_over(text, HTTP, Some(previous)).0.unwrap();
    let group = build(text);
    group.learn(b"session", &group.peers[1], false, Tick(1));
    assert_eq!(group.session(b"session", Tick(1)), None, "nothing has begun it");
    group.learn(b"session", &group.peers[1], true, Tick(1));
    let next = over(text, &group);
    assert_eq!(next.session(b"session", Tick(2)), Some(&*group.peers[1].sid));
    assert_eq!(next.session(b"session", Tick(600_001)), None, "ten minutes");
    let without = over("server 10.0.0.1; sticky learn create=$a lookup=$b zone=z:64k;", &group);
    assert_eq!(without.session(b"session", Tick(2)), None, "its peer has left");
    let _place = group.kept.queue.as_ref().unwrap().join(false).unwrap();
    let next = over(text, &group);
    assert_eq!(next.kept.queue.as_ref().unwrap().len(), 1);
}

#[test]
fn a_wrong_block_is_refused_in_nginx_s_words() {
    for (text, said) in [
        ("server a route=;", "invalid parameter \"route=\""),
        ("server a route=012345678901234567890123456789012;", "route is longer than 32 bytes"),
        ("server a route=a,b;", "\",\" may not stand in a route"),
        ("sticky route a;", "invalid variable name \"a\""),
        ("sticky cookie \"\";", "empty cookie name"),
        ("sticky cookie a domain=;", "no value for \"domain\""),
        ("sticky cookie a secure secure;", "parameter \"secure\" is duplicate"),
        ("sticky cookie a expires=x;", "invalid \"expires\" parameter value"),
        ("sticky cookie a samesite=x;", "invalid \"samesite\" value \"x\""),
        ("sticky cookie a signed;", "\"signed\" needs a file"),
        ("sticky learn create=$a zone=z:1m;", "\"lookup\" parameter is not specified"),
        ("sticky learn lookup=$a zone=z:1m;", "\"create\" parameter is not specified"),
        ("sticky learn create=$a lookup=$a;", "\"zone\" parameter is not specified"),
        ("sticky learn create=a lookup=$a zone=z:1m;", "missing variable in the \"create\" parameter"),
        ("sticky learn create=$a lookup=$a zone=z;", "zone size is not specified"),
        ("sticky learn create=$a lookup=$a zone=z:1k;", "zone \"z:1k\" is too small"),
        ("sticky learn create=$a lookup=$a zone=z:1m timeout=0;", "invalid timeout"),
        (
            "sticky learn create=$a lookup=$a zone=z:1m sync;",
            "parameter \"sync\" is known to nginx, not built in fairlead yet",
        ),
        ("queue 1 timeout=0;", "invalid parameter \"timeout=0\""),
        ("", "no servers are inside upstream"),
        ("server 10.0.0.1 backup;", "no servers in upstream \"app\""),
        ("server nowhere.example:80;", "host not found in upstream \"nowhere.example:80\""),
        ("server 10.0.0.1:70000;", "invalid port in upstream \"10.0.0.1:70000\""),
        ("ip_hash; server 10.0.0.1; server 10.0.0.2 backup;", "balancing method does not support parameter \"backup\""),
        ("hash $a; server 10.0.0.1 backup;", "balancing method does not support parameter \"backup\""),
        ("random; server 10.0.0.1 slow_start=1s;", "balancing method does not support parameter \"slow_start\""),
        ("random; server 10.0.0.1 backup;", "balancing method does not support parameter \"backup\""),
    ] {
        assert_eq!(problem(text, HTTP), said, "{text}");
    }
    assert_eq!(problem("server 10.0.0.1;", STREAM), "no port in upstream \"10.0.0.1\"");
}

#[test]
fn what_is_wrong_with_the_only_server_is_all_that_is_said() {
    let level = Level::new(HTTP).with(DIRECTIVES, |settings: &mut Settings| settings);
    let tree = Tree::parse(Path::new("test.conf"), "app { server 10.0.0.1 weight=x; }");
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let block = tree.root.statements[0].block.as_ref().unwrap();
    let settings = Settings::read(&word("app"), block, &ResolverSettings::default(), (&level, &cx));
    let build = Build { cx: &cx, resolve: &resolve, logs: &Registry::default() };
    Group::build(&settings, None, &build);
    let said: Vec<String> = cx.diagnostics.into_inner().into_iter().map(|diagnostic| diagnostic.message).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("weight=x"), "{said:?}");
}

#[test]
fn names_looked_up_at_run_time_need_a_zone_a_resolver_and_a_name() {
    let zone = "zone app 64k;";
    for (text, said) in [
        (
            "server a.example resolve;".to_owned(),
            "resolving names at run time requires upstream \"app\" to be in shared memory",
        ),
        (
            format!("server a.example resolve; {zone}"),
            "no resolver defined to resolve names at run time in upstream \"app\"",
        ),
        (
            format!("server a.example service=http; {zone}"),
            "service upstream \"a.example\" requires \"resolve\" parameter",
        ),
        (
            format!("server a.example:80 service=http resolve; {zone}"),
            "service upstream \"a.example:80\" may not have port",
        ),
        (format!("server 10.0.0.1 service=http resolve; {zone}"), "service upstream \"10.0.0.1\" requires domain name"),
        (format!("server a.example service= resolve; {zone}"), "service is empty"),
    ] {
        assert_eq!(problem(&text, HTTP), said, "{text}");
    }
    let resolver = "resolver 127.0.0.1;";
    assert_eq!(
        problem(&format!("server a.example resolve; {zone} {resolver}"), STREAM),
        "no port in upstream \"a.example\""
    );
    let group = build(&format!("server a.example resolve; server b.example service=http resolve; {zone} {resolver}"));
    assert!(group.may_change() && group.peers.is_empty());
    let group = build("server 10.0.0.1 resolve;");
    assert!(!group.may_change() && group.peers.len() == 1, "an address needs no lookup");
}

#[test]
fn a_name_that_is_looked_up_from_now_on_keeps_its_addresses() {
    let old = build("server two.example;");
    let (new, _) = build_over("server two.example resolve; zone app 64k; resolver 127.0.0.1;", HTTP, Some(&old));
    let new = new.unwrap();
    assert_eq!(names(&new), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(Arc::ptr_eq(&old.peers[1].state, &new.peers[1].state));
    let (newer, _) = build_over("server two.example:81 resolve; zone app 64k; resolver 127.0.0.1;", HTTP, Some(&new));
    assert_eq!(names(&newer.unwrap()), ["10.0.0.1:81", "10.0.0.2:81"]);
}

#[test]
fn wrong_parameters_are_refused() {
    for text in [
        "server 10.0.0.1 weight=0;",
        "server 10.0.0.1 weight=x;",
        "server 10.0.0.1 max_fails=-1;",
        "server 10.0.0.1 fail_timeout=soon;",
        "server 10.0.0.1 slow_start=soon;",
        "server 10.0.0.1 drain=yes;",
        "server 10.0.0.1 heavy;",
        "server 10.0.0.1; random three;",
        "server 10.0.0.1; random two least_time;",
        "server 10.0.0.1; hash $a constant;",
        "server 10.0.0.1; sticky cookie;",
        "server 10.0.0.1; sticky cookie a unsafe;",
        "server 10.0.0.1; sticky cookie a secure=yes;",
        "server 10.0.0.1; sticky cookie a samesite=some;",
        "server 10.0.0.1; sticky cookie a expires=never;",
        "server 10.0.0.1 weight=100000000; hash $a consistent;",
    ] {
        assert!(!problem(text, HTTP).is_empty(), "{text}");
    }
    assert!(problem("server 10.0.0.1:80; keepalive 4;", STREAM).contains("keepalive"), "http only");
}

#[test]
fn a_second_method_is_warned_about_and_taken() {
    let (group, diagnostics) = build_over("least_conn; ip_hash; server 10.0.0.1;", HTTP, None);
    assert!(matches!(group.unwrap().method, Method::IpHash));
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].severity, Severity::Warning);
    assert_eq!(diagnostics[0].message, "load balancing method redefined");
}

#[test]
fn a_reload_keeps_the_state_of_the_peers_that_stay() {
    let old = build("server two.example; server 10.0.0.9;");
    old.peers[1].state.active.store(7, Ordering::Relaxed);
    let (new, _) = build_over("server 10.0.0.8; server two.example weight=4;", HTTP, Some(&old));
    let new = new.unwrap();
    assert_eq!(names(&new), ["10.0.0.8:80", "10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(new.peers[2].state.active.load(Ordering::Relaxed), 7);
    assert!(Arc::ptr_eq(&old.peers[0].state, &new.peers[1].state));
    // Workers of both generations hear of a change, of a new peer and of one that stays.
    let workers = [Balancer::new(old.clone(), 1), Balancer::new(new.clone(), 2)];
    let at = |now| Choice { now: crate::clock::Tick(now), client: None, key: b"", sid: None };
    new.peers[1].set_health(Availability::Unhealthy, crate::clock::Tick(1));
    for worker in &workers {
        for _ in 0..4 {
            assert_ne!(&*worker.pick(&at(1), &mut Tried::default()).unwrap().peer.name, "10.0.0.1:80");
        }
    }
    new.peers[1].set_health(Availability::Up, crate::clock::Tick(2));
    for worker in &workers {
        let mut names = (0..12).map(|_| worker.pick(&at(2), &mut Tried::default()).unwrap().peer.name.clone());
        assert!(names.any(|name| &*name == "10.0.0.1:80"));
    }
}

#[test]
fn a_peer_that_is_written_in_another_way_keeps_its_state_unless_another_is_written_as_it_was() {
    let old = build("server 10.0.0.1; server 10.0.0.2:80;");
    let (new, _) = build_over("server 10.0.0.1:80; server 10.0.0.2; server 10.0.0.2:80;", HTTP, Some(&old));
    let new = new.unwrap();
    let same = |before: usize, after: usize| Arc::ptr_eq(&old.peers[before].state, &new.peers[after].state);
    assert!(same(0, 0) && same(1, 2) && !same(1, 1));
}

#[test]
fn servers_written_alike_keep_a_state_each() {
    let old = build("server 10.0.0.1; server 10.0.0.1;");
    let (new, _) = build_over("server 10.0.0.1; server 10.0.0.1; server 10.0.0.1;", HTTP, Some(&old));
    let new = new.unwrap();
    let same = |old: &Peer, new: &Peer| Arc::ptr_eq(&old.state, &new.state);
    assert!(same(&old.peers[0], &new.peers[0]) && same(&old.peers[1], &new.peers[1]));
    assert!(!same(&new.peers[1], &new.peers[2]) && !same(&new.peers[0], &new.peers[1]));
}

#[test]
fn an_address_without_a_block_is_a_group() {
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let registry = Registry::default();
    let build = Build { cx: &cx, resolve: &resolve, logs: &registry };
    let group = Group::implicit(&word("two.example"), 8080, None, &build).unwrap();
    assert_eq!((&*group.name, names(&group)), ("two.example:8080", vec!["10.0.0.1:8080", "10.0.0.2:8080"]));
    let same = Group::implicit(&word("two.example"), 8080, Some(&group), &build).unwrap();
    assert!(Arc::ptr_eq(&group.peers[1].state, &same.peers[1].state));
    for (host, name) in [("[::1]", "[::1]:8080"), ("::1", "[::1]:8080"), ("unix:/run/a", "unix:/run/a")] {
        assert_eq!(names(&Group::implicit(&word(host), 8080, None, &build).unwrap()), [name]);
    }
    let unix = Group::implicit(&word("unix:/run/a"), 0, None, &build).unwrap();
    assert_eq!(unix.peers[0].address, Address::Unix("/run/a".into()));
    assert!(!cx.has_errors());
    assert!(Group::implicit(&word("nowhere.example"), 80, None, &build).is_none());
    assert_eq!(cx.diagnostics.borrow()[0].message, "host not found in upstream \"nowhere.example\"");
}
