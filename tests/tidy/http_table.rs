//! `tests/http/README.md` names, for each directive and variable of the http plane, the test that proves it.
//! The table is whole, names nothing that does not exist, and every test it names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use fairlead_core::{log, resolver, upstream};

use crate::{assert_none, is_a_test, root};

const TABLE: &str = "tests/http/README.md";

/// Name to tests, by the first two cells of a row: `` | `a`, `b` | file::test, … ``. Names of one row
/// share its tests. What follows a name (`` `sticky cookie` ``, `` `location @name` ``) is a form of it,
/// and what ends in an equals sign is a parameter.
fn rows() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join(TABLE)).unwrap_or_default();
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("| `")) {
        let Some((names, tests)) = line.split_once(" | ") else { continue };
        let tests = tests.trim_end_matches('|').split(',').map(|test| test.trim().to_owned());
        let tests: Vec<String> = tests.filter(|test| !test.is_empty()).collect();
        for text in names.split('`').step_by(2).filter(|text| !text.ends_with('=') || text.contains(' ')) {
            let name = text.split_whitespace().next().unwrap_or_default();
            rows.entry(shared_prefix(name)).or_default().extend(tests.clone());
        }
    }
    rows
}

/// `$arg_name` stands for `$arg_`, where it is no variable itself.
fn shared_prefix(name: &str) -> String {
    if variables().contains(name) {
        return name.to_owned();
    }
    name.strip_suffix("_name").filter(|rest| rest.starts_with('$')).map_or(name.to_owned(), |rest| format!("{rest}_"))
}

/// Every directive of the http plane that has an effect.
fn directives() -> BTreeSet<String> {
    let shared = [
        fairlead_conf::pages(upstream::DIRECTIVES, "upstream"),
        fairlead_conf::pages(resolver::DIRECTIVES, "resolver"),
        fairlead_conf::pages(log::DIRECTIVES, "log"),
    ];
    let all = fairlead_l7::pages().into_iter().chain(shared.into_iter().flatten());
    let idle = without_effect();
    all.map(|page| page.name.to_owned()).filter(|name| !idle.contains(name)).collect()
}

/// Directives that are checked and then have no effect.
fn without_effect() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("common/conf/src/no_effect.tsv")).unwrap();
    text.lines().skip(1).filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
}

/// Every variable; a shared prefix ends in `_`.
fn variables() -> BTreeSet<String> {
    fairlead_l7::variables().map(|(name, _)| format!("${name}")).collect()
}

#[test]
fn every_http_directive_and_variable_has_a_row() {
    let rows = rows();
    let names = directives().into_iter().chain(variables());
    let missing: Vec<String> = names
        .filter(|name| rows.get(name).is_none_or(Vec::is_empty))
        .map(|name| format!("{TABLE}: no test for {name}"))
        .collect();
    assert_none(&missing);
}

#[test]
fn no_row_of_the_http_table_names_what_does_not_exist() {
    let (directives, variables, idle) = (directives(), variables(), without_effect());
    let known = |name: &String| directives.contains(name) || variables.contains(name) || idle.contains(name);
    let strange: Vec<String> = rows()
        .into_keys()
        .filter(|name| !known(name))
        .map(|name| format!("{TABLE}: {name} is no directive and no variable of the http plane"))
        .collect();
    assert_none(&strange);
}

#[test]
fn every_test_that_the_http_table_names_exists() {
    let mut missing = Vec::new();
    for (name, tests) in rows() {
        missing.extend(
            tests.iter().filter(|test| !is_a_test(test, "http")).map(|test| format!("{TABLE}: {name}: no {test}")),
        );
    }
    assert_none(&missing);
}
