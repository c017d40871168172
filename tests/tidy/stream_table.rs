//! `tests/stream/README.md` names, for each directive and variable of the stream plane, the test that proves it.
//! The table is whole, and every test it names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::{assert_none, is_a_test, root};

const TABLE: &str = "tests/stream/README.md";

/// Modules whose rows are elsewhere or not built: TLS, state shared between nodes, scripts.
const ELSEWHERE: &[&str] = &["stream_ssl", "stream_zone_sync", "stream_keyval"];

/// Name to tests, by the row's first two cells: `` | `allow` | access::… | ``.
fn rows() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join(TABLE)).unwrap_or_default();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split('|').collect();
        let name = cells.first()?.split('`').next()?.to_owned();
        let tests = cells.get(1)?.split(',').map(|test| test.trim().trim_matches('`').to_owned());
        Some((name, tests.filter(|test| !test.is_empty()).collect()))
    });
    rows.collect()
}

#[test]
fn every_stream_directive_and_variable_has_a_row() {
    let (rows, mut missing) = (rows(), Vec::new());
    for name in directives().into_iter().chain(variables()) {
        if rows.get(&name).is_none_or(Vec::is_empty) {
            missing.push(format!("{TABLE}: no test for {name}"));
        }
    }
    assert_none(&missing);
}

#[test]
fn every_test_that_the_stream_table_names_exists() {
    let mut missing = Vec::new();
    for (name, tests) in rows() {
        missing.extend(
            tests.iter().filter(|test| !is_a_test(test, "stream")).map(|test| format!("{TABLE}: {name}: no {test}")),
        );
    }
    assert_none(&missing);
}

fn directives() -> BTreeSet<String> {
    let known = fs::read_to_string(root().join("common/conf/src/known.tsv")).unwrap();
    let rows = known.lines().skip(1).filter_map(|line| {
        let mut cells = line.split('\t');
        let (module, name) = (cells.next()?, cells.next()?);
        let here = module.starts_with("stream_") && !ELSEWHERE.contains(&module) && !name.starts_with("proxy_ssl");
        here.then(|| name.to_owned())
    });
    rows.collect()
}

/// The names in the plane's own table of variables.
fn variables() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("l4/src/variables.rs")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let (name, _) = line.trim().strip_prefix("(\"")?.split_once("\", V::")?;
        Some(format!("${name}"))
    });
    rows.collect()
}
