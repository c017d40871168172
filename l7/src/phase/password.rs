//! Hashes of passwords, as `htpasswd`, `openssl passwd` and crypt(3) write them.
//!
//! Pure, and slow where the hash is: callers run it away from the event loop.

mod des;

use crate::variables::decode_base64;
use md5::{Digest, Md5};
use sha_crypt::{Sha256Params, Sha512Params, sha256_crypt_b64, sha512_crypt_b64};
use sha1::Sha1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Right,
    Wrong,
    /// No hash that is known here.
    Unknown,
}

/// Whether `password` is the one behind `hash`.
pub(super) fn check(hash: &[u8], password: &[u8]) -> Checked {
    if password.contains(&0) {
        // What C takes for its end: nobody's password holds it.
        return Checked::Wrong;
    }
    match right(hash, password) {
        Some(true) => Checked::Right,
        Some(false) => Checked::Wrong,
        None => Checked::Unknown,
    }
}

fn right(hash: &[u8], password: &[u8]) -> Option<bool> {
    if let Some(plain) = hash.strip_prefix(b"{PLAIN}") {
        return Some(same(plain, password));
    }
    if let Some(encoded) = hash.strip_prefix(b"{SSHA}") {
        let decoded = decode_base64(encoded)?;
        let (digest, salt) = decoded.split_at_checked(20)?;
        return Some(same(digest, &Sha1::new().chain_update(password).chain_update(salt).finalize()));
    }
    if let Some(encoded) = hash.strip_prefix(b"{SHA}") {
        return Some(same(&decode_base64(encoded)?, &Sha1::digest(password)));
    }
    let text = std::str::from_utf8(hash).ok()?;
    let mut parts = text.strip_prefix('$').unwrap_or_default().split('$');
    match parts.next()? {
        "apr1" => Some(same(parts.nth(1)?.as_bytes(), &md5_crypt("$apr1$", salt(hash, 6, 8), password))),
        "1" => Some(same(parts.nth(1)?.as_bytes(), &md5_crypt("$1$", salt(hash, 3, 8), password))),
        "2" | "2a" | "2b" | "2x" | "2y" => bcrypt::verify(password, text).ok(),
        kind @ ("5" | "6") => {
            let rest = text.get(3..)?;
            let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|rest| rest.split_once('$')) {
                Some((rounds, rest)) => (rounds.parse::<usize>().ok()?.clamp(1000, 999_999_999), rest),
                None => (5000, rest),
            };
            let (salt, digest) = rest.split_once('$')?;
            let salt = salt.as_bytes().get(..16).unwrap_or(salt.as_bytes());
            let made = if kind == "5" {
                sha256_crypt_b64(password, salt, &Sha256Params::new(rounds).ok()?).ok()?
            } else {
                sha512_crypt_b64(password, salt, &Sha512Params::new(rounds).ok()?).ok()?
            };
            Some(same(digest.as_bytes(), made.as_bytes()))
        }
        "" if !text.starts_with('$') => des::crypt(password, hash).map(|made| same(hash, &made)),
        _ => None,
    }
}

/// The salt of a hash, which begins at `from` and ends at a `$` or after `most` bytes.
fn salt(hash: &[u8], from: usize, most: usize) -> &[u8] {
    let rest = hash.get(from..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'$').unwrap_or(rest.len()).min(most);
    rest.get(..end).unwrap_or_default()
}

/// In a time that does not tell how much of it is the same.
fn same(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).fold(0, |different, (one, two)| different | (one ^ two)) == 0
}

/// Poul-Henning Kamp's MD5 crypt, as FreeBSD (`$1$`) and Apache (`$apr1$`) have it: what follows
/// the salt's `$`.
fn md5_crypt(magic: &str, salt: &[u8], password: &[u8]) -> Vec<u8> {
    let once = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut hasher = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        hasher.update(once.get(..left.min(16)).unwrap_or_default());
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        hasher.update(if bits & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
        bits >>= 1;
    }
    let mut digest = hasher.finalize();
    for round in 0..1000 {
        let mut hasher = Md5::new();
        let (first, last): (&[u8], &[u8]) = if round % 2 == 1 { (password, &digest) } else { (&digest, password) };
        hasher.update(first);
        if round % 3 != 0 {
            hasher.update(salt);
        }
        if round % 7 != 0 {
            hasher.update(password);
        }
        hasher.update(last);
        digest = hasher.finalize();
    }
    let byte = |at: usize| u32::from(digest.get(at).copied().unwrap_or(0));
    let mut out = Vec::with_capacity(22);
    for (high, middle, low) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        push_sextets(byte(high) << 16 | byte(middle) << 8 | byte(low), 4, &mut out);
    }
    push_sextets(byte(11), 2, &mut out);
    out
}

/// crypt's digits, the lowest six bits first.
fn push_sextets(mut bits: u32, count: usize, out: &mut Vec<u8>) {
    for _ in 0..count {
        out.push(DIGITS.get(bits as usize & 63).copied().unwrap_or(b'.'));
        bits >>= 6;
    }
}

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    /// As `openssl passwd`, `htpasswd` and libxcrypt made them.
    const SECRETS: [&str; 12] = [
        "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
        "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
        "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.",
        "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
        "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/",
        "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "{PLAIN}secret",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        SSHA,
        DES,
        "$1$ab$dslkcXxVH.x8LwW1W/oAB/",
        "$apr1$x$12YdXEY0/hH4rDNkmZupO0",
    ];
    const SSHA: &str = "{SSHA}1G904nLkTkGWjKNnQuB/hpWXC/hzYWx0c2FsdA==";
    const DES: &str = "Xy66mTkgaWMYA";

    #[test]
    fn known_hashes_know_their_password() {
        for hash in SECRETS {
            assert_eq!(check(hash.as_bytes(), b"secret"), Checked::Right, "{hash}");
            for wrong in ["secre", "secret!", "Secret", "", "secret\0"] {
                // DES looks at eight bytes; none of these is longer and equal in them.
                assert_eq!(check(hash.as_bytes(), wrong.as_bytes()), Checked::Wrong, "{hash} {wrong:?}");
            }
        }
    }

    #[test]
    fn what_is_no_hash_is_told_apart() {
        for hash in
            ["", "x", "$9$a$b", "$apr1$", "$6$salt", "{SHA}!!", "{SSHA}YQ==", "$2y$99$abc", "$2y$", "*", "secret\u{e9}"]
        {
            assert_eq!(check(hash.as_bytes(), b"secret"), Checked::Unknown, "{hash}");
        }
        assert_eq!(check(b"\xff\xfe", b"secret"), Checked::Unknown);
    }
}
