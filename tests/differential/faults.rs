//! The table of faults played to Debian's nginx: where it ends them as we do, and where its row says
//! that it does not and why.

use fairlead_harness::Setup;

#[path = "../http/faults_table.rs"]
mod table;

use table::{FAULTS, Stage};

#[test]
fn the_table_says_what_nginx_does() {
    let stage = Stage::start(Setup::nginx());
    let mut wrong = Vec::new();
    for fault in FAULTS {
        let (answers, lines) = fault.nginx.map_or((fault.answers, fault.lines), |(answers, lines, _)| (answers, lines));
        let found = stage.play(fault, lines);
        if !says(&found.0, answers) || !says(&found.1, lines) {
            wrong.push(format!("{}: {found:?}, not {:?}", fault.name, (answers, lines)));
        }
        if let Some((_, _, why)) = fault.nginx {
            assert!(!why.is_empty() && (answers, lines) != (fault.answers, fault.lines), "{}", fault.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether it is what was expected; an ellipsis stands for any end.
fn says(found: &str, expected: &str) -> bool {
    expected.strip_suffix('…').map_or(found == expected, |beginning| found.starts_with(beginning))
}
