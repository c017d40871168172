//! The configuration language through the program: what is shipped loads, what the articles about
//! nginx show loads or is refused by the name of what is missing, what is wrong is told all at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "tests stand outside the data plane")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fairlead_harness::Directory;

mod examples;
mod seeds;

/// Blocks from articles about nginx: `None` loads, otherwise the first directive that is not built.
const SEEDS: &[(&str, Option<&str>)] = &[
    ("application-site", None),
    ("best-practices", None),
    ("canonical-name", None),
    ("content-cache", Some("proxy_cache_path")),
    ("local-site", None),
    ("microcache", Some("proxy_cache_path")),
    ("one-proxy", None),
    ("rewrite", None),
    ("static-expiry", Some("fastcgi_pass")),
    ("sticky", None),
    ("uwsgi", Some("uwsgi_pass")),
    ("weights", None),
    ("whole-server", None),
];

#[test]
fn every_shipped_configuration_loads() {
    for path in configurations("conf") {
        assert_loads(&path);
    }
}

#[test]
fn what_articles_show_loads_or_is_refused_by_name() {
    let known: Vec<PathBuf> = SEEDS.iter().map(|(name, _)| seed(name)).collect();
    assert_eq!(configurations("tests/conf/seeds"), known, "every file has its row");
    for (name, missing) in SEEDS {
        let path = seed(name);
        let Some(directive) = missing else {
            assert_loads(&path);
            continue;
        };
        let (loads, printed) = check(&path);
        let first = printed.lines().find(|line| line.contains("[emerg]")).unwrap_or_default();
        let refusal = format!("\"{directive}\" directive is known to nginx, but not built in fairlead yet in ");
        assert!(!loads && first.contains(&refusal), "{name}: not refused for {directive}\n{printed}");
    }
}

/// `UPDATE_GOLDEN=1` writes the answer anew; read it before it is kept.
#[test]
fn twenty_mistakes_are_told_at_once() {
    let path = root().join("tests/conf/mistakes.conf");
    let golden = path.with_extension("txt");
    let (loads, printed) = check(&path);
    assert!(!loads, "{printed}");
    let folder = root().join("tests/conf").display().to_string();
    let printed = printed.replace(&format!("{folder}/"), "").replace(&folder, "FOLDER");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &printed).expect("the golden file can be written");
    }
    assert_eq!(printed, fs::read_to_string(golden).expect("the golden file can be read"));
    assert_eq!(diagnostics(&printed).len(), 20, "{printed}");
    for diagnostic in diagnostics(&printed) {
        assert_explained(&diagnostic);
    }
}

/// One problem: where it is, the line, what of it, what to write instead.
#[track_caller]
fn assert_explained(lines: &[&str]) {
    let [message, source, carets, help] = lines else { panic!("four lines, not {lines:?}") };
    let place = message.rsplit(" in ").next().unwrap_or_default();
    let [file, line, column] = place.split(':').collect::<Vec<_>>()[..] else { panic!("no place in {message}") };
    assert_eq!(file, "mistakes.conf", "{message}");
    let (line, column): (usize, usize) = (line.parse().expect("a line"), column.parse().expect("a column"));
    let text = fs::read_to_string(root().join("tests/conf").join(file)).expect("the file can be read");
    let shown = text.lines().nth(line - 1).expect("the line exists");
    assert_eq!(source.trim_start(), format!("{line} | {shown}"), "{message}");
    let margin = source.len() - shown.len();
    assert_eq!(carets.find('^'), Some(margin + column - 1), "{message}\n{source}\n{carets}");
    assert!(help.starts_with("    help: ") && help.len() > 15, "{help}");
}

fn diagnostics(printed: &str) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    for line in printed.lines() {
        match found.last_mut() {
            Some(diagnostic) if line.starts_with(' ') => diagnostic.push(line),
            _ if line.starts_with("fairlead: [") => found.push(vec![line]),
            _ => {}
        }
    }
    found
}

#[test]
fn the_reference_is_current() {
    let output = fairlead(&["reference"]);
    assert!(output.status.success());
    let written = fs::read_to_string(root().join("conf/REFERENCE.md")).unwrap_or_default();
    assert!(text(&output.stdout) == written, "conf/REFERENCE.md is not what the tables say: make reference");
}

#[test]
fn every_directive_of_the_reference_has_a_page() {
    let reference = text(&fairlead(&["reference"]).stdout);
    let names: Vec<&str> = reference.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(names.len() > 100, "{} directives", names.len());
    for name in names.iter().step_by(10) {
        let page = text(&fairlead(&["-h", name]).stdout);
        assert!(page.contains(name) && page.contains("Syntax"), "{name}: {page}");
    }
}

#[test]
fn ten_thousand_servers_load() {
    let mut configuration = String::from("events {\n}\n\nhttp {\n    access_log off;\n");
    for number in 0..10_000 {
        configuration.push_str(&format!(
            "    server {{\n        listen 127.0.0.1:8080;\n        server_name s{number}.test *.s{number}.test;\n\
             \x20       location / {{\n            proxy_pass http://127.0.0.1:8001;\n\
             \x20           proxy_set_header Host $host;\n        }}\n\
             \x20       location ~ \\.php$ {{ return 403; }}\n        location = /exact {{ return 204; }}\n    }}\n"
        ));
    }
    configuration.push_str("}\n");
    assert!(configuration.lines().count() > 100_000);
    let directory = prefix();
    assert_loads(&directory.write("large.conf", configuration));
}

#[test]
fn what_includes_bring_in_is_told_with_its_own_place() {
    let directory = prefix();
    directory.write("sites/a.conf", "server {\n    listen 127.0.0.1:1;\n    lissten 80;\n}\n");
    directory.write("sites/b.conf", "server {\n    root;\n}\n");
    let path = directory.write("main.conf", "events { }\nhttp { include sites/*.conf; }\n");
    let (loads, printed) = check(&path);
    assert!(!loads);
    for place in ["sites/a.conf:3:5", "sites/b.conf:2:5"] {
        assert!(printed.contains(place), "{place} is not in\n{printed}");
    }
}

#[track_caller]
fn assert_loads(path: &Path) {
    let (loads, printed) = check(path);
    assert!(loads, "{} does not load\n{printed}", path.display());
}

/// `-t`: the exit code's verdict, and what was printed.
fn check(path: &Path) -> (bool, String) {
    let directory = prefix();
    let paths = [directory.path(), path].map(|path| path.display().to_string());
    let output = fairlead(&["-t", "-p", &paths[0], "-c", &paths[1]]);
    (output.status.success(), text(&output.stderr))
}

fn fairlead(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairlead")).args(arguments).output().expect("the program starts")
}

/// A prefix with the folders that logs and process ids go to.
fn prefix() -> Directory {
    let directory = Directory::new();
    for folder in ["logs", "run"] {
        fs::create_dir(directory.join(folder)).expect("a folder can be made");
    }
    directory
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn seed(name: &str) -> PathBuf {
    root().join(format!("tests/conf/seeds/{name}.conf"))
}

fn configurations(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("its entries too").path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    assert!(!found.is_empty(), "{folder} holds configurations");
    found.sort();
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
