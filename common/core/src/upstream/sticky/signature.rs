//! Signed server ids: what a client brings back is what it was given, or it is worth nothing.
//!
//! `ID.MAC`, where MAC is the HMAC-SHA256 (RFC 2104) of the upstream's name, the cookie's name and
//! the id, in base64url. The first key signs and all of them verify, so that a key is changed
//! without anybody losing his peer: put the new one first, reload, and take the old one out when
//! its cookies are gone. Keeps no client and reads no file.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Keys of one file.
const MOST_KEYS: usize = 16;
/// RFC 2104 section 3 advises against keys shorter than the hash; half of it is still beyond guessing.
const LEAST_BYTES: usize = 16;
/// Digits of a MAC in base64url.
const DIGITS: usize = 43;

/// The keys, made ready for the names that they sign ids for.
#[derive(Clone)]
pub struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

/// It holds secrets.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer of {} keys", self.keys.len())
    }
}

impl Signer {
    /// One key a line; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn from_text(text: &str, context: &[u8]) -> Result<Signer, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let written = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut keys = Vec::new();
        for (number, line) in written {
            if line.len() < LEAST_BYTES {
                return Err(format!("the key in line {} has less than {LEAST_BYTES} bytes", number + 1));
            }
            let key = Hmac::new_from_slice(line.as_bytes()).map_err(|error| error.to_string())?;
            keys.push(chain(key, context));
        }
        match keys.len() {
            0 => Err("there is no key in the file".into()),
            1..=MOST_KEYS => Ok(Signer { keys }),
            _ => Err(format!("there are more than {MOST_KEYS} keys in the file")),
        }
    }

    /// The same keys for ids of this upstream alone.
    pub fn within(&self, upstream: &str) -> Signer {
        let keys = self.keys.iter().map(|key| chain(key.clone(), upstream.as_bytes()));
        Signer { keys: keys.collect() }
    }

    /// Appends the signed id.
    pub fn push(&self, id: &[u8], out: &mut Vec<u8>) {
        let Some(key) = self.keys.first() else { return };
        out.extend_from_slice(id);
        out.push(b'.');
        out.extend_from_slice(&encode(&chain(key.clone(), id).finalize().into_bytes().into()));
    }

    /// The id in what a client brings, and whether the newest key signed it; `None` when none of
    /// the keys did.
    pub fn verify<'a>(&self, value: &'a [u8]) -> Option<(&'a [u8], bool)> {
        let (rest, digits) = value.split_at_checked(value.len().checked_sub(DIGITS)?)?;
        let id = rest.strip_suffix(b".")?;
        let mac = decode(digits)?;
        // Compares in constant time.
        let signed = |key: &Hmac<Sha256>| chain(key.clone(), id).verify_slice(&mac).is_ok();
        self.keys.iter().position(signed).map(|key| (id, key == 0))
    }
}

/// Goes on with a text of any length: what is behind it cannot be taken for a part of it.
fn chain(mut key: Hmac<Sha256>, text: &[u8]) -> Hmac<Sha256> {
    key.update(&(text.len() as u64).to_le_bytes());
    key.update(text);
    key
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(mac: &[u8; 32]) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (place, digit) in digits.iter_mut().enumerate() {
        let bit = place * 6;
        let byte = |at: usize| u16::from(mac.get(at).copied().unwrap_or(0));
        let pair = byte(bit / 8) << 8 | byte(bit / 8 + 1);
        *digit = ALPHABET.get(usize::from(pair >> (10 - bit % 8) & 63)).copied().unwrap_or(b'A');
    }
    digits
}

/// `None` for what [`encode`] does not give: one MAC has one form.
fn decode(digits: &[u8]) -> Option<[u8; 32]> {
    let mut mac = [0; 32];
    for (place, digit) in digits.iter().enumerate() {
        let value = u16::from(match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        });
        let bit = place * 6;
        let pair = (value << (10 - bit % 8)).to_be_bytes();
        for (byte, part) in mac.iter_mut().skip(bit / 8).zip(pair) {
            *byte |= part;
        }
    }
    (encode(&mac) == *digits).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    const KEYS: &str = "# newest first\n0123456789abcdef\n\n  fedcba9876543210  \n";

    fn signer(text: &str) -> Signer {
        Signer::from_text(text, b"sticky cookie srv").unwrap().within("app")
    }

    fn signed(signer: &Signer, id: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        signer.push(id, &mut out);
        out
    }

    #[test]
    fn what_was_signed_verifies_and_nothing_else() {
        let both = signer(KEYS);
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let id: Vec<u8> = (0..dice.roll(33)).map(|_| b"abcdef0123456789."[dice.roll(17) as usize]).collect();
            let value = signed(&both, &id);
            assert_eq!(both.verify(&value), Some((&id[..], true)), "seed {seed}");
            let mut forged = value.clone();
            let at = dice.roll(forged.len() as u64) as usize;
            forged[at] = forged[at].wrapping_add(1 + dice.roll(255) as u8);
            assert_eq!(both.verify(&forged), None, "seed {seed}");
            assert_eq!(both.verify(&value[..at]), None, "seed {seed}");
        }
        for short in [&b""[..], b".", b"abc", b"abc.def"] {
            assert_eq!(both.verify(short), None);
        }
    }

    #[test]
    fn an_old_key_still_verifies_and_is_known_to_be_old() {
        let (old, both) = (signer("fedcba9876543210"), signer(KEYS));
        assert_eq!(both.verify(&signed(&old, b"id")), Some((&b"id"[..], false)));
        assert_eq!(old.verify(&signed(&both, b"id")), None);
    }

    #[test]
    fn names_are_part_of_what_is_signed() {
        let value = signed(&signer(KEYS), b"id");
        let other = |context: &[u8], upstream: &str| Signer::from_text(KEYS, context).unwrap().within(upstream);
        assert!(other(b"sticky cookie srv", "app").verify(&value).is_some());
        assert!(other(b"sticky cookie srv", "ap").verify(&value).is_none());
        assert!(other(b"sticky cookie sr", "vapp").verify(&value).is_none());
    }

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let key = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        let mac = key.chain_update(b"what do ya want for nothing?").finalize().into_bytes();
        assert_eq!(&encode(&mac.into()), b"W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM");
    }

    #[test]
    fn what_is_no_file_of_keys_is_told() {
        let problem = |text: &str| Signer::from_text(text, b"").unwrap_err();
        assert_eq!(problem("# nothing\n\n"), "there is no key in the file");
        assert_eq!(problem("0123456789abcdef\nshort\n"), "the key in line 2 has less than 16 bytes");
        assert_eq!(problem(&"0123456789abcdef\n".repeat(17)), "there are more than 16 keys in the file");
    }
}
