//! The console's password: hashed as `crypt` does with SHA-512, compared in constant time, and not to
//! be guessed quickly.

use sha_crypt::{Sha256Params, Sha512Params, sha256_crypt_b64, sha512_crypt_b64};

const ROUNDS: usize = 20_000;
const MOST_ROUNDS: usize = 200_000;
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Attempts before one has to wait.
const FREE: u32 = 3;
const LONGEST_WAIT: u64 = 60_000;

/// What is kept of a password; `salt` is random.
pub fn hash(password: &str, salt: [u8; 12]) -> Option<String> {
    let salt: String = salt.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect();
    let params = Sha512Params::new(ROUNDS).ok()?;
    let digest = sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &params).ok()?;
    Some(format!("$6$rounds={ROUNDS}${salt}${digest}"))
}

/// Whether `password` is the one behind `hash` (`$5$` or `$6$`).
pub fn is_right(hash: &str, password: &str) -> bool {
    digest(hash, password).is_some_and(|(made, kept)| same(made.as_bytes(), kept.as_bytes()))
}

fn digest<'h>(hash: &'h str, password: &str) -> Option<(String, &'h str)> {
    let (kind, rest) = hash.strip_prefix('$')?.split_once('$')?;
    let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|rest| rest.split_once('$')) {
        Some((rounds, rest)) => (rounds.parse::<usize>().ok()?.clamp(1000, MOST_ROUNDS), rest),
        None => (5000, rest),
    };
    let (salt, kept) = rest.split_once('$')?;
    let salt = salt.as_bytes().get(..16).unwrap_or(salt.as_bytes());
    let made = match kind {
        "5" => sha256_crypt_b64(password.as_bytes(), salt, &Sha256Params::new(rounds).ok()?).ok()?,
        "6" => sha512_crypt_b64(password.as_bytes(), salt, &Sha512Params::new(rounds).ok()?).ok()?,
        _ => return None,
    };
    Some((made, kept))
}

fn same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |sum, (one, other)| sum | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

/// How soon the next attempt is looked at.
#[derive(Debug, Default)]
pub struct Attempts {
    failed: u32,
    next: u64,
}

impl Attempts {
    /// Milliseconds to wait before another attempt.
    pub fn wait(&self, now: u64) -> Option<u64> {
        Some(self.next.saturating_sub(now)).filter(|wait| *wait > 0)
    }

    pub fn succeeded(&mut self) {
        *self = Attempts::default();
    }

    pub fn failed(&mut self, now: u64) {
        self.failed += 1;
        let over = self.failed.saturating_sub(FREE);
        let wait = if over == 0 { 1000 } else { 1000u64.checked_shl(over.min(16)).unwrap_or(LONGEST_WAIT) };
        self.next = now + wait.min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_another_is_not() {
        let hash = hash("open sesame", *b"abcdefghijkl").unwrap();
        assert!(hash.starts_with("$6$rounds=20000$"), "{hash}");
        assert!(is_right(&hash, "open sesame") && !is_right(&hash, "open sesam") && !is_right(&hash, ""));
    }

    #[test]
    fn hashes_of_other_programs_are_known() {
        // openssl passwd -6 -salt salt secret; openssl passwd -5 -salt salt secret
        let six = "$6$salt$egUsAH6ugDfh0lADnd.PpbEwo35YUwrcpvBpdSp1YBtqi0i7iU4yMTqk.JO1/LqxlTLrzpzZ54y8ZFm.XSOuz/";
        assert!(!is_right(six, "wrong"));
        for broken in ["", "$", "$6$", "$6$salt", "$1$salt$x", "plain", "$6$rounds=x$salt$y"] {
            assert!(!is_right(broken, ""), "{broken:?}");
        }
    }

    #[test]
    fn guessing_gets_slower() {
        let mut attempts = Attempts::default();
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..9 {
            attempts.failed(now);
            let wait = attempts.wait(now).unwrap();
            waits.push(wait / 1000);
            now += wait;
            assert_eq!(attempts.wait(now), None);
        }
        assert_eq!(waits, [1, 1, 1, 2, 4, 8, 16, 32, 60]);
    }
}
