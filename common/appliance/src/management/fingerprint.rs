//! What a key is known by: SHA-256 of its SubjectPublicKeyInfo (RFC 5280 section 4.1).

use crate::store::{hex, unhex};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits")]
pub struct NoFingerprint;

impl Fingerprint {
    /// Of a SubjectPublicKeyInfo, DER.
    pub fn of(public_key: &[u8]) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, public_key).as_ref());
        Fingerprint(bytes)
    }

    /// Enough of it for a log line.
    pub fn short(&self) -> String {
        hex(self.0.first_chunk::<4>().unwrap_or(&[0; 4]))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// Colons and what other programs put before it are left out.
    fn from_str(text: &str) -> Result<Fingerprint, NoFingerprint> {
        let digits = text.trim().trim_start_matches("SHA256:").replace(':', "");
        unhex(&digits).map(Fingerprint).ok_or(NoFingerprint)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fingerprint, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AuthorizedKey, authorized_keys_text, parse_authorized_keys};

    #[test]
    fn a_fingerprint_is_read_as_people_write_it() {
        let print = Fingerprint::of(b"key");
        let text = print.to_string();
        assert_eq!(text.len(), 64);
        let pairs: Vec<&str> = (0..32).map(|at| &text[at * 2..at * 2 + 2]).collect();
        for text in [text.clone(), text.to_uppercase(), format!("SHA256:{text}\n"), pairs.join(":")] {
            assert_eq!(text.parse(), Ok(print), "{text}");
        }
        for text in ["", "00", &text[1..], &format!("{text}0"), &"g".repeat(64)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint), "{text}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_authorises_nobody() {
        let key =
            |text: &str, name: &str| AuthorizedKey { key: Fingerprint::of(text.as_bytes()), name: name.to_owned() };
        let keys = [key("a", "laptop of Ann"), key("b", "")];
        let text = format!("# who\n\nnonsense\n{}00 short\n", authorized_keys_text(&keys));
        assert_eq!(parse_authorized_keys(&text), keys);
        let odd = authorized_keys_text(&[key("a", "x\n\u{1b}[2J")]);
        assert_eq!(odd.lines().count(), 1);
        assert!(!odd.contains('\u{1b}'));
    }
}
