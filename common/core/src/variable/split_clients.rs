//! `split_clients`: a value for each of several parts of all clients, in the
//! same proportions and for the same clients as in nginx.

use crate::variable::{Compile, murmur::murmur2};
use fairlead_conf::{Diagnostic, Given, Statement, Template};

/// Hundredths of a percent in all.
const WHOLE: u32 = 10_000;

/// A `split_clients` block.
#[derive(Debug)]
pub struct SplitClients<V> {
    /// What is hashed.
    pub source: Template<V>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    /// Hashes below it belong to the part; `None` takes all that are left.
    below: Option<u32>,
    value: Box<str>,
}

impl<V> SplitClients<V> {
    /// Reads `split_clients string $variable { … }`; what is wrong in the block goes to `given.cx`.
    ///
    /// # Errors
    /// The source names a variable that does not exist.
    pub fn read(given: &Given<'_>, compile: Compile<'_, V>) -> Result<SplitClients<V>, Diagnostic> {
        let mut split = SplitClients { source: compile(given.word(0))?, parts: Vec::new() };
        let (mut sum, mut last) = (0_u32, 0_u32);
        for entry in given.entries() {
            let (share, value) = match part(entry) {
                Ok(part) => part,
                Err(wrong) => {
                    given.cx.report(wrong);
                    continue;
                }
            };
            sum = share.map_or(WHOLE, |share| sum.saturating_add(share));
            if sum > WHOLE {
                return Err(Diagnostic::error(entry.name.span, "percent total is greater than 100%"));
            }
            let below = share.map(|share| {
                // Rounded down for each part, as nginx does: the last hash of all may belong to none.
                let width = u64::from(share) * u64::from(u32::MAX) / u64::from(WHOLE);
                last = last.wrapping_add(u32::try_from(width).unwrap_or(u32::MAX));
                last
            });
            split.parts.push(Part { below, value });
        }
        Ok(split)
    }

    /// The value of the part that `key` belongs to; nothing when it belongs to none.
    pub fn find(&self, key: &[u8]) -> &str {
        let hash = murmur2(key);
        let part = self.parts.iter().find(|part| part.below.is_none_or(|below| hash < below));
        part.map_or("", |part| &part.value)
    }
}

/// `0.5% value` or `* value`: hundredths of a percent, `None` for the rest.
fn part(entry: &Statement) -> Result<(Option<u32>, Box<str>), Diagnostic> {
    let text = &entry.name.text;
    let [value] = entry.args.as_slice() else {
        let wrong = Diagnostic::error(entry.name.span, "invalid number of the split_clients parameters");
        return Err(wrong.help("write a percentage and its value: 0.5% .one;"));
    };
    if &**text == "*" {
        return Ok((None, value.text.clone()));
    }
    match text.strip_suffix('%').and_then(hundredths).filter(|share| *share > 0) {
        Some(share) => Ok((Some(share), value.text.clone())),
        None => {
            let wrong = Diagnostic::error(entry.name.span, format!("invalid percent value \"{text}\""));
            Err(wrong.help("write a number with at most two decimals: 0.5%"))
        }
    }
}

/// `0.5` is 50; at most two decimals.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 || text.is_empty() {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variable::testing::{compile, read};

    #[test]
    fn percentages_have_two_decimals_at_most() {
        for (text, expected) in [
            ("50", Some(5000)),
            ("0.5", Some(50)),
            ("0.05", Some(5)),
            (".5", Some(50)),
            ("100", Some(10_000)),
            ("5.", Some(500)),
            ("0.005", None),
            ("", None),
            ("-1", None),
            ("1.2.3", None),
            ("99999999999", None),
        ] {
            assert_eq!(hundredths(text), expected, "{text}");
        }
    }

    #[test]
    fn hashes_are_those_of_the_published_function() {
        for (key, hash) in
            [("", 0), ("a", 0x9268_5f5e_u32), ("abc", 0x1357_7c9b), ("abcd", 0x2687_3021), ("hello world", 0x44a8_1419)]
        {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn wrong_parts_are_told_in_nginx_s_words() {
        for (block, message) in [
            ("0% a;", "invalid percent value \"0%\""),
            ("5 a;", "invalid percent value \"5\""),
            ("0.005% a;", "invalid percent value \"0.005%\""),
            ("60% a; 41% b;", "percent total is greater than 100%"),
            ("* a; 1% b;", "percent total is greater than 100%"),
            ("50%;", "invalid number of the split_clients parameters"),
        ] {
            let (split, problems) =
                read(&format!("split_clients $x $y {{ {block} }}"), |given| SplitClients::read(given, &compile));
            let told = split.err().into_iter().map(|wrong| wrong.message).chain(problems);
            assert_eq!(told.collect::<Vec<_>>(), [message], "{block}");
        }
    }

    #[test]
    fn what_no_part_takes_is_empty() {
        let (split, _) = read("split_clients $x $y { 50% half; }", |given| SplitClients::read(given, &compile));
        let split = split.unwrap();
        let values: Vec<&str> = (0..8).map(|number| split.find(format!("{number}").as_bytes())).collect();
        assert!(values.contains(&"half") && values.contains(&""), "{values:?}");
    }
}
