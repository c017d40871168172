//! Every diagnostic as a reader sees it: each `golden/NAME.conf` is read with a small
//! language and must print `golden/NAME.txt`.
//!
//! `UPDATE_GOLDEN=1` writes the answers anew; read them before they are kept.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use fairlead_conf::{
    Args, Catalog, Contexts, Cx, Directive, Level, Param, Repeat, Template, Tree, Value, pages, render_all,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// These tests are about what is said, so nothing is stored.
struct Nothing;

const HTTP: Contexts = Contexts::HTTP;
const SERVER: Contexts = Contexts::SERVER;
const LOCATION: Contexts = Contexts::LOCATION;

/// What all rows of the small language share.
const ROW: Directive<Nothing> = Directive {
    name: "",
    contexts: HTTP,
    args: Args::none(),
    repeat: Repeat::Once,
    default: None,
    doc: "",
    set: |_, _| Ok(()),
};

const BLOCKS: &[Directive<Nothing>] = &[
    Directive {
        name: "http",
        contexts: Contexts::MAIN,
        args: Args::none().with_block(),
        set: |nothing, given| {
            LEVELS.http.eval(given.block(), nothing, given.cx);
            Ok(())
        },
        ..ROW
    },
    Directive {
        name: "events",
        contexts: Contexts::MAIN,
        args: Args::none().with_block(),
        set: |nothing, given| {
            LEVELS.events.eval(given.block(), nothing, given.cx);
            Ok(())
        },
        ..ROW
    },
    Directive {
        name: "server",
        args: Args::none().with_block(),
        repeat: Repeat::Append,
        set: |nothing, given| {
            LEVELS.server.eval(given.block(), nothing, given.cx);
            Ok(())
        },
        ..ROW
    },
    Directive {
        name: "location",
        contexts: SERVER,
        args: Args::between(1, 2, &[Value::Text], "[ = | ~ | ~* | ^~ ] uri").with_block(),
        repeat: Repeat::Append,
        set: |nothing, given| {
            LEVELS.location.eval(given.block(), nothing, given.cx);
            Ok(())
        },
        ..ROW
    },
];

const PARAMS: &[Param] = &[
    Param { name: "backlog", value: Some(Value::Int(1..=65535)), doc: "Length of the queue." },
    Param { name: "rcvbuf", value: Some(Value::Size), doc: "Receive buffer." },
    Param { name: "ipv6only", value: Some(Value::Flag), doc: "No IPv4 on an IPv6 socket." },
    Param { name: "ssl", value: None, doc: "Speaks TLS." },
];

const ROWS: &[Directive<Nothing>] = &[
    Directive {
        name: "error_log",
        contexts: Contexts::MAIN.or(HTTP),
        args: Args::between(1, 2, &[Value::Path, Value::OneOf(&["error", "warn", "info"])], "file [level]"),
        repeat: Repeat::Append,
        ..ROW
    },
    Directive {
        name: "listen",
        contexts: SERVER,
        args: Args::at_least(1, &[Value::Address, Value::Params(PARAMS)], "address[:port] [parameters]"),
        repeat: Repeat::Append,
        ..ROW
    },
    Directive {
        name: "root",
        contexts: HTTP.or(SERVER).or(LOCATION),
        args: Args::exactly(&[Value::Path], "path"),
        ..ROW
    },
    Directive {
        name: "limit_conn_status",
        contexts: HTTP.or(SERVER).or(LOCATION),
        args: Args::exactly(&[Value::Int(400..=599)], "code"),
        ..ROW
    },
    Directive {
        name: "keepalive_requests",
        contexts: HTTP.or(SERVER).or(LOCATION),
        args: Args::exactly(&[Value::Int(0..=i64::MAX)], "number"),
        ..ROW
    },
    Directive {
        name: "proxy_connect_timeout",
        contexts: HTTP.or(SERVER).or(LOCATION),
        args: Args::exactly(&[Value::Time], "time"),
        ..ROW
    },
    Directive {
        name: "client_max_body_size",
        contexts: HTTP.or(SERVER).or(LOCATION),
        args: Args::exactly(&[Value::Size], "size"),
        ..ROW
    },
    Directive {
        name: "proxy_buffering",
        contexts: HTTP.or(SERVER).or(LOCATION),
        args: Args::exactly(&[Value::Flag], "on | off"),
        ..ROW
    },
    Directive {
        name: "allow",
        contexts: HTTP.or(SERVER).or(LOCATION),
        args: Args::exactly(&[Value::Cidr], "address | CIDR | unix: | all"),
        repeat: Repeat::Append,
        ..ROW
    },
    Directive {
        name: "proxy_pass",
        contexts: LOCATION,
        args: Args::exactly(&[Value::Template], "URL"),
        set: |_, given| {
            let known = |name: &str| (name == "host").then_some(());
            given.template(0, &known).map(|_: Template<()>| ())
        },
        ..ROW
    },
];

struct Levels {
    main: Level<Nothing>,
    events: Level<Nothing>,
    http: Level<Nothing>,
    server: Level<Nothing>,
    location: Level<Nothing>,
}

static LEVELS: LazyLock<Levels> = LazyLock::new(|| {
    let level =
        |context| Level::new(context).with(BLOCKS, |nothing: &mut Nothing| nothing).with(ROWS, |nothing| nothing);
    Levels {
        main: level(Contexts::MAIN),
        events: level(Contexts::EVENTS),
        http: level(HTTP),
        server: level(SERVER),
        location: level(LOCATION),
    }
});

fn told(path: &Path) -> String {
    Catalog::install([pages(BLOCKS, "blocks"), pages(ROWS, "rows")].concat());
    let globals = path.ends_with("globals.conf").then_some("events {} pid");
    let tree = Tree::read(path, globals);
    let cx = Cx::new(Path::new("/prefix"), Path::new("golden"));
    LEVELS.main.eval(&tree.root, &mut Nothing, &cx);
    let all = [tree.diagnostics, cx.diagnostics.into_inner()].concat();
    render_all(&all, &tree.sources)
}

fn configurations() -> Vec<PathBuf> {
    // Relative, so that the answers name no folder of this machine.
    let entries = fs::read_dir("tests/golden").unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    found.sort();
    found
}

#[test]
fn diagnostics_read_as_the_golden_files() {
    let mut wrong = Vec::new();
    let found = configurations();
    assert!(found.len() > 15, "{found:?}");
    for path in found {
        let (told, golden) = (told(&path), path.with_extension("txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &told).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if told != expected {
            wrong.push(format!("{}\nsays:\n{told}\nand not:\n{expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn twenty_mistakes_are_twenty_diagnostics_with_a_place_and_a_hint() {
    let told = told(Path::new("tests/golden/twenty.conf"));
    let firsts: Vec<&str> = told.lines().filter(|line| line.starts_with("fairlead: ")).collect();
    assert_eq!(firsts.len(), 20, "{told}");
    assert!(firsts.iter().all(|line| line.contains(" in tests/golden/twenty.conf:")), "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("    help: ")).count(), 20, "{told}");
}
