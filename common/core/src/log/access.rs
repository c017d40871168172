//! What an access log line is made of: escaping as nginx does it, and the
//! handle of the place it goes to. Lines wait in a [`Writer`](crate::log::Writer).

use crate::log::registry::Destination;
use crate::log::sink::Sink;
use crate::words;
use fairlead_conf::Word;
use std::sync::Arc;
use std::time::Duration;

/// `escape=` of `log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Escape {
    #[default]
    Default,
    Json,
    None,
}

/// A `log_format` as written; the plane compiles `text` with its own variables.
#[derive(Clone, Debug)]
pub struct Format {
    pub name: Box<str>,
    pub escape: Escape,
    /// The strings after the name, to be joined.
    pub text: Vec<Word>,
}

/// Where the lines of one `access_log` go. Cheap to clone, and valid across reopening.
#[derive(Clone, Debug)]
pub struct AccessLog {
    pub destination: Destination,
    pub buffer: Option<usize>,
    pub flush: Option<Duration>,
    /// Level of `gzip=`, from 1 to 9.
    pub gzip: Option<u8>,
    pub(super) sink: Arc<Sink>,
}

impl AccessLog {
    /// The same log, compressed at this level if there is one.
    pub fn compressed(self, gzip: Option<u8>) -> AccessLog {
        AccessLog { gzip, ..self }
    }
}

/// The value of `if=` that lets a line through: not empty and not `0`.
pub fn is_true(value: &[u8]) -> bool {
    !matches!(value, b"" | b"0")
}

/// Appends the variable's value that `push` gives, as the format's escape mode writes it; `push` says
/// whether there is one (`-` in the default mode when there is not). Few values hold what is escaped:
/// they are written where they belong, and written again only where they do.
pub fn push_escaped(escape: Escape, out: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>) -> bool) {
    let start = out.len();
    let exists = push(out);
    if !exists {
        out.truncate(start);
        if escape == Escape::Default {
            out.push(b'-');
        }
        return;
    }
    let written = out.get(start..).unwrap_or_default();
    match escape {
        Escape::Default if is_hostile(written) => rewrite(out, start, &HOSTILE, push_hex),
        Escape::Json if written.iter().any(|byte| NOT_JSON[usize::from(*byte)]) => {
            rewrite(out, start, &NOT_JSON, push_json);
        }
        _ => {}
    }
}

fn rewrite(out: &mut Vec<u8>, start: usize, table: &Table, push: fn(u8, &mut Vec<u8>)) {
    let value = out.split_off(start);
    push_runs(&value, table, push, out);
}

/// Whether the default mode has something to escape in `value`.
fn is_hostile(value: &[u8]) -> bool {
    use words::{above, below, equal};
    words::any(value, b' ', |word| below(word, 0x20) | equal(word, b'"') | equal(word, b'\\') | above(word, 0x7e))
}

type Table = [bool; 256];

/// `"`, `\`, and what is not printable ASCII.
static HOSTILE: Table = table(0x7f);
/// `"`, `\` and control characters; JSON is UTF-8, so the rest passes.
static NOT_JSON: Table = table(256);

const fn table(above: usize) -> Table {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte < 0x20 || byte >= above || byte == b'"' as usize || byte == b'\\' as usize;
        byte += 1;
    }
    table
}

/// Copies what needs no escape in whole runs: most values are one.
fn push_runs(mut value: &[u8], table: &Table, push: fn(u8, &mut Vec<u8>), out: &mut Vec<u8>) {
    while let Some(at) = value.iter().position(|byte| table[usize::from(*byte)]) {
        let (run, rest) = value.split_at(at);
        out.extend_from_slice(run);
        let Some((escaped, rest)) = rest.split_first() else { return };
        push(*escaped, out);
        value = rest;
    }
    out.extend_from_slice(value);
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    let [high, low] = hex(byte);
    out.extend_from_slice(&[b'\\', b'x', high, low]);
}

fn push_json(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let [high, low] = hex(byte);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 0xf)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: Escape, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_escaped(escape, &mut out, |out| {
            out.extend_from_slice(value);
            true
        });
        out
    }

    #[test]
    fn default_mode_escapes_quotes_backslashes_and_what_is_not_printable() {
        assert_eq!(escaped(Escape::Default, b"a\"b\\c\n\x7f\xe9 ~"), b"a\\x22b\\x5Cc\\x0A\\x7F\\xE9 ~");
        for byte in 0..=255u8 {
            let plain = (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
            let length = if plain { 1 } else { 4 };
            assert_eq!(escaped(Escape::Default, &[byte]).len(), length, "byte {byte}");
            for at in 0..19 {
                let mut value = *b"GET /index.html?a=~";
                value[at] = byte;
                assert_eq!(escaped(Escape::Default, &value).len(), 18 + length, "byte {byte} at {at}");
            }
        }
    }

    #[test]
    fn json_mode_gives_json_strings() {
        assert_eq!(
            escaped(Escape::Json, "q\"\\\n\r\t\x08\x0c\x1fé/".as_bytes()),
            "q\\\"\\\\\\n\\r\\t\\b\\f\\u001Fé/".as_bytes()
        );
    }

    #[test]
    fn none_mode_copies() {
        assert_eq!(escaped(Escape::None, b"\"\n\xff"), b"\"\n\xff");
    }

    #[test]
    fn missing_values_are_a_dash_only_in_the_default_mode() {
        for (escape, expected) in [(Escape::Default, &b"-"[..]), (Escape::Json, b""), (Escape::None, b"")] {
            let mut out = Vec::new();
            push_escaped(escape, &mut out, |_| false);
            assert_eq!(out, expected);
        }
        assert_eq!(escaped(Escape::Default, b""), b"", "an empty value exists");
    }

    #[test]
    fn conditions_are_true_unless_empty_or_zero() {
        assert!(is_true(b"1") && is_true(b"00") && is_true(b"no"));
        assert!(!is_true(b"") && !is_true(b"0"));
    }
}
