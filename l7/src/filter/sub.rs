//! `sub_filter`: strings in bodies are replaced by others.
//!
//! Holds back what may be the beginning of a string and nothing more, so that strings are found
//! wherever a body was cut.

use super::Settings as Filters;
use super::chain::End;
use super::mime::Types;
use crate::directives::ALL;
use crate::exchange::Exchange;
use crate::variables::{self, Variable};
use fairlead_conf::{Args, Directive, Repeat, Template, Value};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pairs: Arc<Vec<Pair>>,
    types: Types,
    repeatedly: bool,
    pub keeps_date: bool,
}

#[derive(Clone, Debug)]
struct Pair {
    string: Template<Variable>,
    replacement: Template<Variable>,
}

impl Settings {
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether bodies like this are looked through.
    pub fn suits(&self, content_type: &[u8], length: Option<u64>) -> bool {
        !self.pairs.is_empty() && length != Some(0) && self.types.has(content_type)
    }

    /// The search for one response; `None` when its strings are all empty.
    pub fn begin(&self, exchange: &Exchange) -> Option<Sub> {
        let render = |template: &Template<Variable>| {
            let mut text = Vec::new();
            exchange.render(template, &mut text);
            text
        };
        let strings = self.pairs.iter().map(|pair| (render(&pair.string), render(&pair.replacement)));
        Sub::new(strings.filter(|(string, _)| !string.is_empty()).collect(), !self.repeatedly)
    }
}

pub(crate) const DIRECTIVES: &[Directive<Filters>] = &[
    Directive {
        name: "sub_filter",
        contexts: ALL,
        args: Args::exactly(&[Value::Template, Value::Template], "string replacement"),
        repeat: Repeat::List(|filters| filters.sub.pairs = Arc::default()),
        default: None,
        doc: "Replaces a string in bodies of responses, in whatever case it stands there. Both may have variables; of \
              several strings the one that comes first in the body is replaced. Packed bodies are searched as they \
              are: see `gunzip`.",
        set: |filters, given| {
            if given.text(0).is_empty() {
                return Err(given.error(0, "empty search pattern"));
            }
            let string = variables::compile(given.word(0), given.cx)?;
            let replacement = variables::compile(given.word(1), given.cx)?;
            Arc::make_mut(&mut filters.sub.pairs).push(Pair { string, replacement });
            Ok(())
        },
    },
    Directive {
        name: "sub_filter_once",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Whether each string of `sub_filter` is replaced where it first stands only.",
        set: |filters, given| given.flag(0).map(|once| filters.sub.repeatedly = !once),
    },
    Directive {
        name: "sub_filter_types",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], "mime-type …"),
        repeat: Repeat::List(|filters| filters.sub.types.clear()),
        default: Some("text/html"),
        doc: "Content types that `sub_filter` looks through, besides `text/html`; `*` is any.",
        set: |filters, given| filters.sub.types.take(given, &["text/html"]),
    },
    Directive {
        name: "sub_filter_last_modified",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Keeps `Last-Modified`, and `ETag` as a weak one, of responses that `sub_filter` looks through.",
        set: |filters, given| given.flag(0).map(|on| filters.sub.keeps_date = on),
    },
];

pub(super) struct Sub {
    strings: Vec<Search>,
    once: bool,
    /// What may be the beginning of a string.
    held: Vec<u8>,
}

struct Search {
    string: Vec<u8>,
    replacement: Vec<u8>,
    active: bool,
}

impl Sub {
    fn new(strings: Vec<(Vec<u8>, Vec<u8>)>, once: bool) -> Option<Sub> {
        let of = |(string, replacement)| Search { string, replacement, active: true };
        let strings: Vec<Search> = strings.into_iter().map(of).collect();
        (!strings.is_empty()).then(|| Sub { strings, once, held: Vec::new() })
    }

    pub fn write(&mut self, bytes: &[u8], end: End, out: &mut Vec<u8>) {
        let mut body = std::mem::take(&mut self.held);
        body.extend_from_slice(bytes);
        let begins = self.first_bytes();
        let (mut at, mut copied, mut waits) = (0, 0, false);
        while let Some(skipped) =
            body.get(at..).and_then(|rest| rest.iter().position(|&byte| begins[usize::from(byte)]))
        {
            at += skipped;
            let rest = body.get(at..).unwrap_or_default();
            let more = end != End::Last;
            // One that may yet stand here makes those behind it wait.
            let first =
                self.strings.iter_mut().find(|search| search.stands_at(rest) || (more && search.may_begin(rest)));
            match first {
                None => at += 1,
                Some(found) if found.string.len() <= rest.len() => {
                    out.extend_from_slice(body.get(copied..at).unwrap_or_default());
                    out.extend_from_slice(&found.replacement);
                    found.active = !self.once;
                    at += found.string.len();
                    copied = at;
                }
                Some(_) => {
                    waits = true;
                    break;
                }
            }
        }
        let until = if waits { at } else { body.len() };
        out.extend_from_slice(body.get(copied..until).unwrap_or_default());
        self.held = body.split_off(until);
    }

    /// Which bytes a string may begin with.
    fn first_bytes(&self) -> [bool; 256] {
        let mut begins = [false; 256];
        for first in self.strings.iter().filter(|search| search.active).filter_map(|search| search.string.first()) {
            begins[usize::from(first.to_ascii_lowercase())] = true;
            begins[usize::from(first.to_ascii_uppercase())] = true;
        }
        begins
    }
}

impl Search {
    fn stands_at(&self, body: &[u8]) -> bool {
        let piece = body.get(..self.string.len());
        self.active && piece.is_some_and(|piece| piece.eq_ignore_ascii_case(&self.string))
    }

    /// The body ended too early to tell.
    fn may_begin(&self, body: &[u8]) -> bool {
        let start = self.string.get(..body.len());
        self.active && body.len() < self.string.len() && start.is_some_and(|start| start.eq_ignore_ascii_case(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(pairs: &[(&str, &str)], once: bool) -> Sub {
        Sub::new(pairs.iter().map(|(a, b)| (a.as_bytes().to_vec(), b.as_bytes().to_vec())).collect(), once).unwrap()
    }

    fn whole(pairs: &[(&str, &str)], once: bool, body: &str) -> String {
        let mut out = Vec::new();
        sub(pairs, once).write(body.as_bytes(), End::Last, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_replaced_in_any_case_once_or_always() {
        assert_eq!(whole(&[("abc", "x")], false, "ABC aabc ab"), "x ax ab");
        assert_eq!(whole(&[("abc", "x")], true, "ABC aabc ab"), "x aabc ab");
        assert_eq!(whole(&[("ab", "1"), ("abc", "2")], true, "abc abc abc"), "1c 2 abc");
        assert_eq!(whole(&[("aab", "")], false, "aaab"), "a");
        assert_eq!(whole(&[("a", "aa")], false, "aba"), "aabaa");
    }

    #[test]
    fn where_a_body_is_cut_does_not_matter() {
        for seed in 0..256u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let mut text =
                |most| (0..1 + next(most)).map(|_| ['a', 'b', 'B', 'c'][next(4) as usize]).collect::<String>();
            let (body, strings) = (text(60), [(text(4), text(3)), (text(3), String::new())]);
            let pairs: Vec<(&str, &str)> = strings.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let (once, mut out) = (seed % 2 == 0, Vec::new());
            let mut cut = sub(&pairs, once);
            let mut rest = body.as_bytes();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(1 + next(5) as usize));
                cut.write(piece, if next(2) == 0 { End::Not } else { End::Flush }, &mut out);
                assert!(cut.held.len() < 4, "seed {seed}: holds {}", cut.held.len());
                rest = after;
            }
            cut.write(b"", End::Last, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), whole(&pairs, once, &body), "seed {seed}: {pairs:?} in {body}");
        }
    }
}
