//! Levels over a small language of two blocks, as a plane would declare it.

use super::*;
use crate::{Param, Tree, pages};
use std::sync::LazyLock;
use std::time::Duration;

#[derive(Clone, Default)]
struct Inner {
    size: u64,
    timeout: Duration,
    headers: Vec<String>,
    status: i64,
    path: PathBuf,
    weight: Option<String>,
}

#[derive(Default)]
struct Outer {
    inner: Inner,
    servers: Vec<Inner>,
    order: Vec<(usize, String)>,
}

const HTTP: Contexts = Contexts::HTTP;
const SERVER: Contexts = Contexts::SERVER;

const BLOCKS: &[Directive<Outer>] = &[Directive {
    name: "server",
    contexts: HTTP,
    args: Args::none().with_block(),
    repeat: Repeat::Append,
    default: None,
    doc: "A server.",
    set: |outer, given| {
        let mut inner = outer.inner.clone();
        INNER_LEVEL.eval(given.block(), &mut inner, given.cx);
        outer.servers.push(inner);
        outer.order.push((given.order(), "server".into()));
        Ok(())
    },
}];

const ORDERED: &[Directive<Outer>] = &[Directive {
    name: "rule",
    contexts: HTTP,
    args: Args::exactly(&[Value::Text], "name"),
    repeat: Repeat::Append,
    default: None,
    doc: "A rule.",
    set: |outer, given| {
        outer.order.push((given.order(), given.text(0).into()));
        Ok(())
    },
}];

const PARAMS: &[Param] = &[
    Param { name: "weight", value: Some(Value::Int(1..=100)), doc: "Its share." },
    Param { name: "backup", value: None, doc: "Used last." },
];

const ROWS: &[Directive<Inner>] = &[
    Directive {
        name: "buffer",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("8k"),
        doc: "Buffer.",
        set: |inner, given| given.size(0).map(|size| inner.size = size),
    },
    Directive {
        name: "timeout",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("1m"),
        doc: "Timeout.",
        set: |inner, given| given.time(0).map(|time| inner.timeout = time),
    },
    Directive {
        name: "header",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Text], "name"),
        repeat: Repeat::List(|inner| inner.headers.clear()),
        default: Some("\"a default\""),
        doc: "Header.",
        set: |inner, given| {
            inner.headers.push(given.text(0).into());
            Ok(())
        },
    },
    Directive {
        name: "status",
        contexts: SERVER,
        args: Args::exactly(&[Value::Int(400..=599)], "code"),
        repeat: Repeat::Once,
        default: None,
        doc: "Status.",
        set: |inner, given| given.int(0).map(|status| inner.status = status),
    },
    Directive {
        name: "folder",
        contexts: SERVER,
        args: Args::between(1, 3, &[Value::Path, Value::Params(PARAMS)], "path [weight=number] [backup]"),
        repeat: Repeat::Once,
        default: None,
        doc: "Folder.",
        set: |inner, given| {
            inner.path = given.path(0);
            inner.weight = given.param(1, "weight").map(|word| word.text.into());
            Ok(())
        },
    },
];

static OUTER_LEVEL: LazyLock<Level<Outer>> = LazyLock::new(|| {
    let level = Level::new(HTTP).with(BLOCKS, |outer: &mut Outer| outer).with(ORDERED, |outer| outer);
    level.with(ROWS, |outer| &mut outer.inner)
});
static INNER_LEVEL: LazyLock<Level<Inner>> = LazyLock::new(|| Level::new(SERVER).with(ROWS, |inner: &mut Inner| inner));
static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::new([pages(BLOCKS, "blocks"), pages(ORDERED, "blocks"), pages(ROWS, "rows")].concat()));

fn run(text: &str) -> (Outer, Vec<Diagnostic>) {
    let tree = Tree::parse(Path::new("test.conf"), text);
    assert_eq!(tree.diagnostics, [], "{text}");
    let cx = Cx { catalog: &CATALOG, ..Cx::new(Path::new("/prefix"), Path::new("/conf")) };
    let mut outer = Outer::default();
    OUTER_LEVEL.defaults(&mut outer, &cx);
    OUTER_LEVEL.eval(&tree.root, &mut outer, &cx);
    (outer, cx.diagnostics.into_inner())
}

fn told(text: &str) -> Vec<String> {
    let help = |wrong: &Diagnostic| wrong.help.as_ref().map_or_else(String::new, |help| format!(" | {help}"));
    run(text).1.iter().map(|wrong| format!("{}{}", wrong.message, help(wrong))).collect()
}

#[test]
fn defaults_go_through_set() {
    let (outer, wrong) = run("");
    assert_eq!(wrong, []);
    assert_eq!((outer.inner.size, outer.inner.timeout), (8192, Duration::from_secs(60)));
    assert_eq!(outer.inner.headers, ["a default"]);
}

#[test]
fn a_block_starts_from_its_finished_parent() {
    let (outer, wrong) = run("server { timeout 5s; } server { header c; header d; } buffer 1k; header a; header b;");
    assert_eq!(wrong, []);
    let [first, second] = outer.servers.as_slice() else { panic!("two servers") };
    assert_eq!((first.size, first.timeout), (1024, Duration::from_secs(5)));
    assert_eq!(first.headers, ["a", "b"]);
    assert_eq!((second.timeout, second.headers.join("")), (Duration::from_secs(60), "cd".into()));
}

#[test]
fn order_counts_blocks_and_statements_alike() {
    let mut order = run("rule a; server { buffer 1; timeout 2; } rule b; server {} rule c;").0.order;
    order.sort();
    let names: Vec<&str> = order.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["a", "server", "b", "server", "c"]);
}

#[test]
fn parameters_and_paths_reach_set() {
    let (outer, wrong) = run("server { folder html weight=2 backup; } server { folder /html; }");
    assert_eq!(wrong, []);
    assert_eq!(outer.servers[0].path, Path::new("/prefix/html"));
    assert_eq!(outer.servers[0].weight.as_deref(), Some("2"));
    assert_eq!(outer.servers[1].path, Path::new("/html"));
    assert_eq!(outer.servers[1].weight, None);
}

#[test]
fn wrong_arguments_are_told_in_nginx_s_words() {
    for (text, expected) in [
        ("buffer 1k 2k;", "invalid number of arguments in \"buffer\" directive | write: buffer size;"),
        ("buffer;", "invalid number of arguments in \"buffer\" directive | write: buffer size;"),
        ("buffer 1x;", "\"buffer\" directive invalid value | write a size in bytes, or with k, m or g: 512, 8k, 1m"),
        ("server { status 40x; }", "\"status\" directive invalid number | write a whole number from 400 to 599"),
        ("server { status 700; }", "value must be between 400 and 599 | write a whole number from 400 to 599"),
        ("server { folder a weigth=1; }", "invalid parameter \"weigth=1\" | did you mean \"weight=number\"?"),
        ("server { folder a fast; }", "invalid parameter \"fast\" | allowed here: weight=number backup"),
        ("server { folder a backup=1; }", "invalid parameter \"backup=1\" | write backup"),
        ("server { folder a weight; }", "invalid parameter \"weight\" | write weight=number"),
        ("server { folder a weight=0; }", "invalid parameter \"weight=0\" | weight must be between 1 and 100"),
    ] {
        assert_eq!(told(text), [expected], "{text}");
    }
}

#[test]
fn statements_of_the_wrong_shape_are_told() {
    let told = told("server; buffer 1k { } buffer 1; buffer 2;");
    assert_eq!(
        told,
        [
            "directive \"server\" has no opening \"{\" | it takes a block: write \"{ … }\" instead of \";\"",
            "\"buffer\" directive is duplicate | it may be written once in a block: remove one of them",
            "directive \"buffer\" is not terminated by \";\" | it takes no block: write \";\" instead of \"{\"",
        ]
    );
}

#[test]
fn unknown_names_say_why() {
    for (text, expected) in [
        ("bufer 1k;", "unknown directive \"bufer\" | did you mean \"buffer\"?"),
        ("statsu 500;", "unknown directive \"statsu\" | did you mean \"status\"? it is allowed in: server"),
        ("status 500;", "\"status\" directive is not allowed here | it is allowed in: server"),
        (
            "server { server_name a; }",
            "\"server_name\" directive is known to nginx, but not built in fairlead yet | \
             REFERENCE.md lists what is built",
        ),
        ("multi_accept on;", "\"multi_accept\" directive is not allowed here | it is allowed in: events"),
        ("tcp_nopuhs on;", "unknown directive \"tcp_nopuhs\" | did you mean \"tcp_nopush\"?"),
        ("nothing_like_it 1;", "unknown directive \"nothing_like_it\" | REFERENCE.md lists every directive"),
        (
            "gizp on;",
            "unknown directive \"gizp\" | did you mean \"gzip\"? it is known to nginx, but not built in fairlead yet",
        ),
        (
            "round_robin;",
            "unknown directive \"round_robin\" | round robin is what happens without a method: remove this line",
        ),
    ] {
        assert_eq!(told(text), [expected], "{text}");
    }
}

#[test]
fn a_missing_semicolon_is_guessed() {
    let expected = "is a \";\" missing before \"timeout\"?";
    for text in ["buffer 1k\n timeout 5s;", "server { folder x\n timeout; }"] {
        let told = told(text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with(expected), "{told:?}");
    }
}

#[test]
fn blocks_with_wrong_heads_are_still_looked_into() {
    let told = told("server x { status 1; } sevrer { status 2; }");
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[1].starts_with("invalid number of arguments in \"server\""), "{told:?}");
    assert!(told[3].starts_with("unknown directive \"sevrer\" | did you mean \"server\"?"), "{told:?}");
}

#[test]
fn directives_without_effect_are_checked_and_pass() {
    assert_eq!(told("tcp_nopush on; gzip_buffers 2 32k; send_lowat 4m; server { tcp_nopush off; }"), [""; 0]);
    for (text, expected) in [
        (
            "tcp_nopush yes;",
            "invalid value \"yes\" in \"tcp_nopush\" directive, it must be \"on\" or \"off\" | write \"on\" or \"off\"",
        ),
        ("tcp_nopush on on;", "invalid number of arguments in \"tcp_nopush\" directive | write: tcp_nopush on | off;"),
        (
            "tcp_nopush on; tcp_nopush off;",
            "\"tcp_nopush\" directive is duplicate | it may be written once in a block: remove one of them",
        ),
        ("types_hash_max_size 1k;", "\"types_hash_max_size\" directive invalid number | write a number from 1 on"),
        ("send_lowat often;", "\"send_lowat\" directive invalid value | write size"),
    ] {
        assert_eq!(told(text), [expected], "{text}");
    }
}

#[test]
fn every_error_comes_in_one_run() {
    let wrong = run("a; b; c {} server { d; status 1; buffer x; } server { folder; e; } timeout z;").1;
    assert_eq!(wrong.len(), 9, "{wrong:?}");
}
