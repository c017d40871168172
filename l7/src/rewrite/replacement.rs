//! What a `rewrite` puts in place of path and arguments.

use crate::variables::Variable;
use fairlead_conf::{Piece, Template};

/// The second argument of a `rewrite`, taken apart.
#[derive(Clone)]
pub(crate) struct Replacement {
    /// Up to the question mark; all of it when it is a redirect.
    pub path: Template<Variable>,
    /// What follows the question mark.
    pub args: Option<Template<Variable>>,
    /// A redirect with a question mark in it: further arguments follow an `&`.
    has_args: bool,
    /// No `?` at its end: the arguments the request has follow the new ones.
    keeps_args: bool,
}

impl Replacement {
    /// `template` is without the final question mark that `keeps_args` tells of.
    pub fn new(template: Template<Variable>, keeps_args: bool, redirect: bool) -> Replacement {
        let is_mark = |piece: &Piece<Variable>| matches!(piece, Piece::Text(text) if text.contains('?'));
        let mark = template.pieces.iter().position(is_mark);
        let Some(at) = mark.filter(|_| !redirect) else {
            return Replacement { path: template, args: None, has_args: mark.is_some(), keeps_args };
        };
        let mut path = template.pieces;
        let mut args = path.split_off(at);
        if let Some(Piece::Text(text)) = args.first_mut()
            && let Some((before, after)) = text.split_once('?')
        {
            if !before.is_empty() {
                path.push(Piece::Text(before.into()));
            }
            *text = after.into();
        }
        Replacement {
            path: Template { pieces: path },
            args: Some(Template { pieces: args }),
            has_args: true,
            keeps_args,
        }
    }

    /// `args` are the new ones, if there are any: those the request has are put behind them, stay, or go.
    pub fn finish_args(&self, args: &mut Option<Vec<u8>>, old: Option<&[u8]>) {
        let old = old.filter(|old| !old.is_empty());
        match (args.as_mut(), old) {
            (Some(args), Some(old)) if self.keeps_args => {
                args.push(b'&');
                args.extend_from_slice(old);
            }
            (None, Some(_)) if !self.keeps_args => *args = Some(Vec::new()),
            _ => {}
        }
    }

    /// The same for the target of a redirect, whose path is unescaped as far as that is safe.
    pub fn finish_redirect(&self, target: &mut Vec<u8>, old: Option<&[u8]>) {
        unescape_redirect(target);
        if let Some(old) = old.filter(|old| self.keeps_args && !old.is_empty()) {
            target.push(if self.has_args { b'&' } else { b'?' });
            target.extend_from_slice(old);
        }
    }
}

/// Appends a byte as it may stand in an argument.
pub(super) fn push_argument(byte: u8, out: &mut Vec<u8>) {
    let plain = !matches!(byte, 0..=b' ' | 0x7f.. | b'"' | b'#' | b'%' | b'&' | b'+' | b';' | b'<' | b'>' | b'?' | b'\\'
        | b'^' | b'`' | b'{' | b'|' | b'}');
    if plain {
        return out.push(byte);
    }
    crate::uri::push_hex(byte, out);
}

/// As nginx: before the question mark what stands for a visible character above `%` becomes that
/// character, other escapes stay, and a percent sign that begins none is dropped.
fn unescape_redirect(target: &mut Vec<u8>) {
    if !target.contains(&b'%') {
        return;
    }
    let mut out = Vec::with_capacity(target.len());
    let mut at = 0;
    while let Some(&byte) = target.get(at) {
        at += 1;
        match byte {
            b'?' => {
                at -= 1;
                break;
            }
            b'%' => {
                let (used, ended) = unescape_one(target.get(at..).unwrap_or_default(), &mut out);
                at += used;
                if ended {
                    break;
                }
            }
            _ => out.push(byte),
        }
    }
    out.extend_from_slice(target.get(at..).unwrap_or_default());
    *target = out;
}

/// What follows a percent sign: how much of it is used up, and whether it was a question mark.
fn unescape_one(rest: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
    let digit = |index: usize| rest.get(index).and_then(|&byte| char::from(byte).to_digit(16));
    let Some(high) = digit(0) else {
        out.extend(rest.first());
        return (rest.len().min(1), false);
    };
    let Some(low) = digit(1) else { return (rest.len().min(2), false) };
    match u8::try_from(high * 16 + low) {
        Ok(b'?') => {
            out.push(b'?');
            return (2, true);
        }
        Ok(byte @ b'&'..=b'~') => out.push(byte),
        _ => {
            out.push(b'%');
            out.extend(rest.iter().take(2));
        }
    }
    (2, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacement(text: &str, redirect: bool) -> Replacement {
        let (text, keeps) = text.strip_suffix('?').map_or((text, true), |text| (text, false));
        let word = fairlead_conf::Word { text: text.into(), span: fairlead_conf::Span::default(), quoted: false };
        let template = Template::compile(&word, &|name| name.parse().ok().map(Variable::Group)).unwrap();
        Replacement::new(template, keeps, redirect)
    }

    /// Path and arguments for the groups `one` and `two` and the arguments `x=1`.
    fn made(text: &str, old: Option<&str>) -> (String, Option<String>) {
        let replacement = replacement(text, false);
        let render = |template: &Template<Variable>| {
            let mut out = Vec::new();
            template.render(&mut out, |variable, out| {
                let Variable::Group(number) = variable else { panic!("no group") };
                out.extend_from_slice([&b"zero"[..], b"one", b"two"][*number]);
            });
            out
        };
        let mut args = replacement.args.as_ref().map(render);
        replacement.finish_args(&mut args, old.map(str::as_bytes));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(render(&replacement.path)), args.map(text))
    }

    #[test]
    fn the_first_question_mark_begins_the_arguments() {
        let some = |text: &str| Some(text.to_owned());
        for (text, old, path, args) in [
            ("/a", Some("x=1"), "/a", None),
            ("/a?", Some("x=1"), "/a", some("")),
            ("/a?", None, "/a", None),
            ("/a?b=$1", Some("x=1"), "/a", some("b=one&x=1")),
            ("/a?b=$1", None, "/a", some("b=one")),
            ("/a?b=$1?", Some("x=1"), "/a", some("b=one")),
            ("/$1?$2?$1", Some(""), "/one", some("two?one")),
            ("/$1$2?", None, "/onetwo", None),
            ("?$1", Some("x=1"), "", some("one&x=1")),
            ("/a??", Some("x=1"), "/a", some("")),
        ] {
            assert_eq!(made(text, old), (path.to_owned(), args), "{text}");
        }
    }

    #[test]
    fn redirects_keep_one_text_and_add_the_arguments() {
        for (text, expected) in [
            ("http://a/b", "http://a/b?x=1"),
            ("http://a/b?", "http://a/b"),
            ("http://a/b?c", "http://a/b?c&x=1"),
            ("http://a/b?c?", "http://a/b?c"),
        ] {
            let replacement = replacement(text, true);
            let mut target = replacement.path.literal().unwrap().as_bytes().to_vec();
            replacement.finish_redirect(&mut target, Some(b"x=1"));
            assert_eq!(String::from_utf8(target).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn redirects_are_unescaped_where_that_is_safe() {
        for (escaped, plain) in [
            ("/%41%2f%7e", "/A/~"),
            ("/%20%25%0a%0D%7f%c3%A9", "/%20%25%0a%0D%7f%c3%A9"),
            ("/%41?%41", "/A?%41"),
            ("/%3f%41", "/?%41"),
            ("/%zz%4", "/zz"),
            ("/a%", "/a"),
            ("/%4z%41", "/A"),
        ] {
            let mut target = escaped.as_bytes().to_vec();
            unescape_redirect(&mut target);
            assert_eq!(String::from_utf8(target).unwrap(), plain, "{escaped}");
        }
    }
}
