//! The lexer against nginx's own answers, and properties for any text.

use super::*;
use crate::{Tree, quote};
use proptest::prelude::*;
use std::path::Path;

/// The first thing nginx would complain about if it knew no directive at all: it reads
/// statement by statement, so what comes first in the text is told first.
fn first_complaint(text: &str) -> String {
    let mut lexer = Lexer::new(FileId(0), text);
    let item = lexer.next();
    if let Some(wrong) = lexer.diagnostics.first() {
        return wrong.message.clone();
    }
    match item {
        Item::Statement(words, _) => format!("unknown directive \"{}\"", words[0].text),
        Item::Close(_) => "unexpected \"}\"".into(),
        Item::End => "ok".into(),
    }
}

fn unescape_tsv(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                _ => '\\',
            }),
            c => out.push(c),
        }
    }
    out
}

#[test]
fn says_what_nginx_says_first() {
    for line in include_str!("nginx-answers.tsv").lines().skip(1) {
        let (text, answer) = line.split_once('\t').unwrap();
        let (text, answer) = (unescape_tsv(text), unescape_tsv(answer));
        assert_eq!(first_complaint(&text), answer, "{text:?}");
    }
}

fn parse(text: &str) -> Tree {
    Tree::parse(Path::new("test.conf"), text)
}

fn messages(tree: &Tree) -> Vec<&str> {
    tree.diagnostics.iter().map(|wrong| wrong.message.as_str()).collect()
}

fn words(tree: &Tree) -> Vec<&str> {
    tree.root.statements.iter().flat_map(|s| std::iter::once(&s.name).chain(&s.args)).map(|w| &*w.text).collect()
}

#[test]
fn keeps_what_stands_around_an_error() {
    let tree = parse("a 1\n}\nb 2;;\nc 3; d \"x\"y; e {\n f 1; }\n");
    assert_eq!(messages(&tree), ["unexpected \"}\"", "unexpected \"}\"", "unexpected \";\"", "unexpected \"y\""]);
    assert_eq!(words(&tree), ["a", "1", "b", "2", "c", "3", "d", "x", "e"]);
}

#[test]
fn goes_on_after_a_quote_that_never_closes() {
    let tree = parse("a;\nb \"x y;\nc;\nd {\n e 'z {\n f;\n }\n}\n");
    assert_eq!(messages(&tree), ["unexpected end of file, expecting \";\" or \"}\""; 2]);
    assert_eq!(words(&tree), ["a", "b", "x y", "c", "d"]);
    let inner = &tree.root.statements[3].block.as_ref().unwrap().statements[0];
    assert_eq!((&*inner.name.text, inner.block.as_ref().unwrap().statements.len()), ("e", 1));
}

#[test]
fn marks_places_by_byte_and_quotes() {
    let tree = parse("\u{feff}ab \"c d\" e;");
    let spans: Vec<_> = tree.root.statements[0].args.iter().map(|w| (w.span.start, w.span.end, w.quoted)).collect();
    assert_eq!(spans, [(6, 11, true), (12, 13, false)]);
    let word = &tree.root.statements[0].args[0];
    assert_eq!(word.part(2..3), Span { start: 9, end: 10, ..word.span });
}

#[test]
fn a_part_of_an_escaped_word_is_the_whole_word() {
    let tree = parse("a b\\\"c;");
    let word = &tree.root.statements[0].args[0];
    assert_eq!((&*word.text, word.part(0..1)), ("b\"c", word.span));
}

#[test]
fn bytes_that_are_not_utf8_are_for_comments_only() {
    let text = String::from_utf8_lossy(b"# caf\xe9\na caf\xe9;");
    let tree = parse(&text);
    assert_eq!(messages(&tree), ["invalid UTF-8 in a word"]);
    assert_eq!(tree.sources.position(tree.diagnostics[0].span.unwrap()), (2, 3));
}

#[test]
fn depth_is_bounded() {
    let deep = "a{".repeat(100_000);
    let tree = parse(&deep);
    assert!(messages(&tree).contains(&"blocks are nested more than 100 deep"));
}

fn any_text() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{", "}", ";", "\"", "'", "\\", "$", "${", "#", " ", "\n", "\t", "\r\n", "a", "é", "\u{fffd}", "\u{feff}",
        "\0", ")", "word", "=",
    ]);
    prop_oneof![
        prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat()),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_and_every_place_lies_in_it(text in any_text()) {
        let tree = parse(&text);
        for wrong in &tree.diagnostics {
            let span = wrong.span.unwrap();
            prop_assert!(span.start <= span.end && span.end as usize <= text.len());
            prop_assert!(wrong.render(&tree.sources).starts_with("fairlead: [emerg] "));
        }
        let mut blocks = vec![&tree.root];
        while let Some(block) = blocks.pop() {
            for statement in &block.statements {
                for word in std::iter::once(&statement.name).chain(&statement.args) {
                    let written = text.get(word.span.start as usize..word.span.end as usize);
                    prop_assert!(written.is_some_and(|written| written.len() >= word.text.len()), "{word:?}");
                }
                blocks.extend(&statement.block);
            }
        }
    }

    #[test]
    fn quoted_words_read_back_as_themselves(list in prop::collection::vec("\\PC*|[ \t\n\r\"'\\\\;{}$#a)]*", 1..6)) {
        prop_assume!(!list.iter().any(|word| word.contains('\u{fffd}')));
        let text = format!("name {};", list.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "));
        let tree = parse(&text);
        prop_assert_eq!(messages(&tree), Vec::<&str>::new());
        let expected: Vec<&str> = std::iter::once("name").chain(list.iter().map(String::as_str)).collect();
        prop_assert_eq!(words(&tree), expected);
    }
}
