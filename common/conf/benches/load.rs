//! How long a large configuration takes to read: 10,000 servers on 100,000 lines.
//!
//! Prints the best of ten readings, and the memory a tree takes.
#![allow(clippy::print_stdout, reason = "a bench tells its figures")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::unwrap_used, reason = "a bench may stop")]

use fairlead_conf::{Args, Contexts, Cx, Directive, Level, Repeat, Tree, Value};
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

struct Count(usize);

const BLOCKS: &[Directive<Count>] = &[
    block("http", Contexts::MAIN, |count, given| {
        HTTP.eval(given.block(), count, given.cx);
        Ok(())
    }),
    block("server", Contexts::HTTP, |count, given| {
        SERVER.eval(given.block(), count, given.cx);
        Ok(())
    }),
    block("location", Contexts::SERVER, |count, given| {
        LOCATION.eval(given.block(), count, given.cx);
        Ok(())
    }),
];

const ROWS: &[Directive<Count>] = &[
    row("listen", Contexts::SERVER, Args::exactly(&[Value::Address], "address")),
    row("server_name", Contexts::SERVER, Args::at_least(1, &[Value::Text], "name ...")),
    row("proxy_pass", Contexts::LOCATION, Args::exactly(&[Value::Template], "URL")),
    row("proxy_set_header", Contexts::LOCATION, Args::exactly(&[Value::Text, Value::Template], "field value")),
    row("proxy_read_timeout", Contexts::LOCATION, Args::exactly(&[Value::Time], "time")),
];

type Set = fn(&mut Count, &fairlead_conf::Given<'_>) -> Result<(), fairlead_conf::Diagnostic>;

const fn block(name: &'static str, contexts: Contexts, set: Set) -> Directive<Count> {
    let args = Args::between(0, 1, &[Value::Text], "").with_block();
    Directive { name, contexts, args, repeat: Repeat::Append, default: None, doc: "", set }
}

const fn row(name: &'static str, contexts: Contexts, args: Args) -> Directive<Count> {
    let set: Set = |count, _| {
        count.0 += 1;
        Ok(())
    };
    Directive { name, contexts, args, repeat: Repeat::Append, default: None, doc: "", set }
}

fn level(context: Contexts) -> Level<Count> {
    Level::new(context).with(BLOCKS, |count: &mut Count| count).with(ROWS, |count| count)
}

static MAIN: LazyLock<Level<Count>> = LazyLock::new(|| level(Contexts::MAIN));
static HTTP: LazyLock<Level<Count>> = LazyLock::new(|| level(Contexts::HTTP));
static SERVER: LazyLock<Level<Count>> = LazyLock::new(|| level(Contexts::SERVER));
static LOCATION: LazyLock<Level<Count>> = LazyLock::new(|| level(Contexts::LOCATION));

fn configuration(servers: usize) -> String {
    let mut text = String::from("http {\n");
    for number in 0..servers {
        writeln!(
            text,
            "    server {{\n        listen 127.0.0.1:8080;\n        server_name \"www{number}.example.com\" *.s{number}.example.com;\n        \
             location / {{\n            # to the peers\n            proxy_pass http://backend{number}$request_uri;\n            \
             proxy_set_header Host $host;\n            proxy_read_timeout 1m30s;\n        }}\n    }}"
        )
        .unwrap();
    }
    text + "}\n"
}

fn main() {
    for servers in [1_000, 10_000] {
        let text = configuration(servers);
        let (mut parse, mut eval) = (Duration::MAX, Duration::MAX);
        for _ in 0..10 {
            let start = Instant::now();
            let tree = Tree::parse(Path::new("bench.conf"), &text);
            let parsed = Instant::now();
            let cx = Cx::new(Path::new("/"), Path::new("/"));
            let mut count = Count(0);
            MAIN.eval(&tree.root, &mut count, &cx);
            eval = eval.min(parsed.elapsed());
            parse = parse.min(parsed - start);
            assert_eq!(count.0, servers * 5, "{:?}", cx.diagnostics.borrow().first());
        }
        let lines = text.lines().count();
        println!("{servers} servers, {lines} lines, {} KiB: read {parse:?}, checked {eval:?}", text.len() >> 10);
    }
    // Errors on every line must not be slower than their number.
    let wrong = "    lsiten 80;\n".repeat(100_000);
    let tree = Tree::parse(Path::new("bench.conf"), &wrong);
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let start = Instant::now();
    SERVER.eval(&tree.root, &mut Count(0), &cx);
    let told = fairlead_conf::render_all(&cx.diagnostics.into_inner(), &tree.sources);
    println!("100000 errors, {} KiB: told in {:?}", told.len() >> 10, start.elapsed());
}
