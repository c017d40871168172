//! One version of the configuration: its number, and what is noted beside its files.

use super::files::Files;
use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Versions are numbered from 1, and a number is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(pub u32);

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:06}", self.0)
    }
}

impl FromStr for Number {
    type Err = NotANumber;

    /// With or without the zeros before it.
    fn from_str(text: &str) -> Result<Number, NotANumber> {
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && *number > 0);
        number.map(Number).ok_or(NotANumber)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is a number from 1")]
pub struct NotANumber;

/// Who made a version, when and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Seconds since 1970; zero while the machine does not know the time.
    pub made: u64,
    /// The name of the key, or what else it came from: `seed`, `console`.
    pub by: String,
    pub note: String,
}

/// What lies beside the files of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub made: u64,
    pub by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The language the files are written in.
    pub format: u32,
    /// The version that was served when this one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Number>,
    /// SHA-256 of names and contents, hexadecimal.
    pub sum: String,
}

/// A version as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    pub number: Number,
    #[serde(flatten)]
    pub card: Card,
}

/// Differs when a name or a byte differs.
pub fn sum_of(files: &Files) -> String {
    let mut sum = Context::new(&SHA256);
    for (name, contents) in files.iter() {
        for part in [name.as_bytes(), contents] {
            // Lengths keep a name and what follows it apart.
            sum.update(&(part.len() as u64).to_be_bytes());
            sum.update(part);
        }
    }
    hex(sum.finish().as_ref())
}

/// Lower case.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Either case; `None` unless there are exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_and_above_zero() {
        assert_eq!("000017".parse(), Ok(Number(17)));
        assert_eq!("17".parse(), Ok(Number(17)));
        assert_eq!(Number(17).to_string(), "000017");
        for text in ["", "0", "+1", "-1", "1 ", "x", ".new-000001", "9999999999"] {
            assert_eq!(text.parse::<Number>(), Err(NotANumber), "{text:?}");
        }
    }

    #[test]
    fn a_sum_tells_where_a_name_ends() {
        let sum = |name: &str, contents: &str| {
            let mut files = Files::default();
            files.add(name, contents.into()).unwrap();
            sum_of(&files)
        };
        assert_ne!(sum("ab", "c"), sum("a", "bc"));
        assert_eq!(sum("a", "b"), sum("a", "b"));
    }

    #[test]
    fn hexadecimal_goes_there_and_back() {
        assert_eq!(hex(&[0, 0xaf]), "00af");
        assert_eq!(unhex::<2>("00Af"), Some([0, 0xaf]));
        for text in ["00a", "00af0", "+0af", "zzzz"] {
            assert_eq!(unhex::<2>(text), None, "{text}");
        }
    }
}
