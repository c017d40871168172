//! What a reader finds about a directive.

use super::*;
use crate::{Args, Contexts, Directive, Param, Repeat, pages};

struct Nothing;

const ROW: Directive<Nothing> = Directive {
    name: "",
    contexts: Contexts::HTTP,
    args: Args::none(),
    repeat: Repeat::Once,
    default: None,
    doc: "",
    set: |_, _| Ok(()),
};

const PARAMS: &[Param] = &[
    Param { name: "weight", value: Some(Value::Int(1..=i64::MAX)), doc: "Share of the load." },
    Param { name: "down", value: None, doc: "Not used." },
];

const ROWS: &[Directive<Nothing>] = &[
    Directive {
        name: "limit_conn_status",
        contexts: Contexts::HTTP.or(Contexts::SERVER),
        args: Args::exactly(&[Value::Int(400..=599)], "code"),
        default: Some("503"),
        doc: "Status of a request refused by `limit_conn`, for which see there, since this line is long enough to wrap.",
        ..ROW
    },
    Directive {
        name: "server",
        contexts: Contexts::UPSTREAM.or(Contexts::STREAM_UPSTREAM),
        args: Args::at_least(1, &[Value::Address, Value::Params(PARAMS)], "address [parameters]"),
        repeat: Repeat::Append,
        doc: "A peer.",
        ..ROW
    },
    Directive { name: "upstream", args: Args::exactly(&[Value::Text], "name").with_block(), doc: "A group.", ..ROW },
];

fn catalog() -> Catalog {
    Catalog::new(pages(ROWS, "upstream"))
}

fn explain(name: &str) -> String {
    catalog().explain(name).unwrap()
}

#[test]
fn a_page_tells_all_of_its_row() {
    let expected = "limit_conn_status

  Syntax:   limit_conn_status code;
  Default:  limit_conn_status 503;
  Context:  http, server
  Module:   upstream

  Status of a request refused by `limit_conn`, for which see there, since this
  line is long enough to wrap.

  argument 1: a whole number from 400 to 599

  Example:  limit_conn_status 503;
";
    assert_eq!(explain("limit_conn_status"), expected);
}

#[test]
fn parameters_and_blocks_are_shown() {
    let page = explain("server");
    for part in [
        "  Default:  none\n",
        "  Context:  upstream, stream upstream\n",
        "  weight=number: Share of the load. (a whole number from 1 on)\n",
        "  down: Not used.\n",
        "  may be written more than once in a block\n",
        "  Example:  server 127.0.0.1:8080;\n",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(explain("upstream").contains("  Syntax:   upstream name { ... }\n"));
    assert!(explain("upstream").ends_with("  Example:  upstream name { ... }\n"));
}

#[test]
fn names_without_a_page_are_explained_too() {
    assert!(explain("include").contains("  Context:  any\n"));
    assert!(explain("gzip").ends_with("Known to nginx, but not built in fairlead yet.\n"));
    assert!(explain("tcp_nopush").contains("Accepted, no effect: "));
    assert_eq!(explain("upstraem"), "unknown directive \"upstraem\": did you mean \"upstream\"?\n");
    assert_eq!(catalog().explain("nothing_like_it"), None);
}

#[test]
fn the_reference_puts_every_directive_in_one_list() {
    let text = reference_markdown(catalog().pages());
    let at = |heading: &str| text.find(heading).unwrap_or_else(|| panic!("no {heading}"));
    let (built, accepted, missing) =
        (at("\n## upstream\n"), at("\n## Accepted, no effect\n"), at("\n## Known to nginx, not built"));
    assert!(at("\n## language\n") < built && built < accepted && accepted < missing);
    assert!(text[built..accepted].contains("### limit_conn_status\n"));
    assert!(text[accepted..missing].contains("| tcp_nopush | on \\| off | http, server, location |"));
    let missing = &text[missing..];
    assert!(missing.contains("gzip_static"));
    assert!(!missing.contains("tcp_nopush,") && !missing.contains(" include"));
    // Built for http only, so that of `stream` is still missing.
    let row = |module: &str| missing.lines().find(|line| line.starts_with(&format!("| {module} |"))).unwrap();
    assert!(!row("http_upstream").contains("| upstream,") && !row("http_upstream").contains(" server,"));
    assert!(row("stream_upstream").contains("| upstream,"));
}
