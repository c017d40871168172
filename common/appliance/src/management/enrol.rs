//! How a key becomes known without another: by a code that the console shows once.
//!
//! Both sides prove that they know the code by a MAC over the two keys of their TLS session. Whoever
//! stands between has other keys, so neither proof is worth anything to him; and the code is long
//! enough (60 bits) that it is not found from a proof while it lives. Pure: the time and the
//! randomness come in, PID 1 owns the one code there is.

use super::Fingerprint;
use crate::store::{hex, unhex};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use fairlead_core::clock::Tick;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long a code may be used.
pub const CODE_LIFE: Duration = Duration::from_secs(600);
/// Wrong proofs after which a code is gone.
const MOST_TRIES: u32 = 5;
/// Without letters that look like others (Crockford's base 32).
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 12;

/// Twelve letters in three groups.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// That somebody knows the code, said of two keys. Hexadecimal where it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof([u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no key can be enrolled now: ask for a code at the console (it is good for ten minutes)")]
    Closed,
    #[error("the code is wrong, or somebody stands between you and the appliance")]
    Wrong,
}

/// The one code that is open, if any.
#[derive(Debug, Default)]
pub struct Enrolment {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    code: Code,
    until: Tick,
    tries: u32,
}

impl Enrolment {
    /// A new code; the one before it is gone.
    pub fn open(&mut self, random: [u8; 8], now: Tick) -> Code {
        let code = Code::of(random);
        self.open = Some(Open { code: code.clone(), until: now.after(CODE_LIFE), tries: 0 });
        code
    }

    /// The server's own proof for one that is right; the code is used up by it.
    pub fn attempt(
        &mut self,
        proof: &Proof,
        server: Fingerprint,
        client: Fingerprint,
        now: Tick,
    ) -> Result<Proof, Refused> {
        let open = self.open.as_mut().filter(|open| now < open.until && open.tries < MOST_TRIES);
        let Some(open) = open else {
            self.open = None;
            return Err(Refused::Closed);
        };
        if !open.code.is_proved_by(proof, server, client, Side::Client) {
            open.tries += 1;
            return Err(Refused::Wrong);
        }
        let answer = prove(&open.code, server, client, Side::Server);
        self.open = None;
        Ok(answer)
    }
}

/// What `side` says to show that it knows the code.
pub fn prove(code: &Code, server: Fingerprint, client: Fingerprint, side: Side) -> Proof {
    let tag = hmac::sign(&code.key(), &message(server, client, side));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    Proof(bytes)
}

fn message(server: Fingerprint, client: Fingerprint, side: Side) -> Vec<u8> {
    let who: &[u8] = match side {
        Side::Client => b"fairlead enrolment, client\0",
        Side::Server => b"fairlead enrolment, server\0",
    };
    [who, &server.0, &client.0].concat()
}

impl Code {
    fn of(random: [u8; 8]) -> Code {
        let bits = u64::from_be_bytes(random);
        let letter = |at: usize| LETTERS.get((bits >> (at * 5)) as usize & 31).copied().map_or('0', char::from);
        Code((0..LENGTH).map(letter).collect())
    }

    pub fn is_proved_by(&self, proof: &Proof, server: Fingerprint, client: Fingerprint, side: Side) -> bool {
        // In constant time.
        hmac::verify(&self.key(), &message(server, client, side), &proof.0).is_ok()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(HMAC_SHA256, self.0.as_bytes())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<&str> = (0..3).filter_map(|group| self.0.get(group * 4..group * 4 + 4)).collect();
        out.write_str(&groups.join("-"))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Code(…)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code is twelve letters and digits, as K7QF-2M9X-WB4T")]
pub struct NoCode;

impl FromStr for Code {
    type Err = NoCode;

    /// Either case, with or without the lines between; letters that look like a digit are that digit.
    fn from_str(text: &str) -> Result<Code, NoCode> {
        let letters = text.chars().filter(|letter| !matches!(letter, '-' | ' ')).map(|letter| {
            let letter = match letter.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            LETTERS.iter().any(|known| char::from(*known) == letter).then_some(letter)
        });
        let code: Option<String> = letters.collect();
        code.filter(|code| code.len() == LENGTH).map(Code).ok_or(NoCode)
    }
}

impl Serialize for Proof {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Proof {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Proof, D::Error> {
        let text = String::deserialize(from)?;
        unhex(&text).map(Proof).ok_or_else(|| serde::de::Error::custom("a proof is 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Fingerprint = Fingerprint([1; 32]);
    const CLIENT: Fingerprint = Fingerprint([2; 32]);
    const THIRD: Fingerprint = Fingerprint([3; 32]);

    fn open() -> (Enrolment, Code) {
        let mut enrolment = Enrolment::default();
        let code = enrolment.open([7, 6, 5, 4, 3, 2, 1, 0], Tick(0));
        (enrolment, code)
    }

    #[test]
    fn a_code_is_good_once() {
        let (mut enrolment, code) = open();
        let proof = prove(&code, SERVER, CLIENT, Side::Client);
        let answer = enrolment.attempt(&proof, SERVER, CLIENT, Tick(1)).unwrap();
        assert!(code.is_proved_by(&answer, SERVER, CLIENT, Side::Server));
        assert_eq!(enrolment.attempt(&proof, SERVER, CLIENT, Tick(2)), Err(Refused::Closed));
    }

    #[test]
    fn a_code_is_good_for_ten_minutes() {
        let (mut enrolment, code) = open();
        let proof = prove(&code, SERVER, CLIENT, Side::Client);
        assert_eq!(enrolment.attempt(&proof, SERVER, CLIENT, Tick(0).after(CODE_LIFE)), Err(Refused::Closed));
        assert_eq!(enrolment.attempt(&proof, SERVER, CLIENT, Tick(1)), Err(Refused::Closed));
        assert_eq!(Enrolment::default().attempt(&proof, SERVER, CLIENT, Tick(0)), Err(Refused::Closed));
    }

    #[test]
    fn five_wrong_codes_close_it() {
        let (mut enrolment, code) = open();
        let wrong = prove(&"0000-0000-0000".parse().unwrap(), SERVER, CLIENT, Side::Client);
        for _ in 0..MOST_TRIES {
            assert_eq!(enrolment.attempt(&wrong, SERVER, CLIENT, Tick(1)), Err(Refused::Wrong));
        }
        let right = prove(&code, SERVER, CLIENT, Side::Client);
        assert_eq!(enrolment.attempt(&right, SERVER, CLIENT, Tick(1)), Err(Refused::Closed));
    }

    #[test]
    fn a_proof_is_worth_nothing_between_other_keys() {
        let (mut enrolment, code) = open();
        // What the client says to one who stands between, and what he makes of it.
        let said = prove(&code, THIRD, CLIENT, Side::Client);
        assert_eq!(enrolment.attempt(&said, SERVER, CLIENT, Tick(1)), Err(Refused::Wrong));
        assert_eq!(enrolment.attempt(&said, SERVER, THIRD, Tick(1)), Err(Refused::Wrong));
        // What the server says is no client's proof.
        let said = prove(&code, SERVER, CLIENT, Side::Server);
        assert_eq!(enrolment.attempt(&said, SERVER, CLIENT, Tick(1)), Err(Refused::Wrong));
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let (_, code) = open();
        let text = code.to_string();
        assert_eq!(text.len(), 14);
        for typed in
            [text.clone(), text.to_lowercase(), text.replace('-', " "), text.replace('0', "o").replace('1', "l")]
        {
            assert_eq!(typed.parse().as_ref(), Ok(&code), "{typed}");
        }
        for typed in ["", "K7QF", "K7QF-2M9X-WB4U", "K7QF-2M9X-WB4T-", "K7QF-2M9X-WB4TT"].iter().enumerate() {
            let good = typed.0 == 3;
            assert_eq!(typed.1.parse::<Code>().is_ok(), good, "{}", typed.1);
        }
        assert!(!format!("{code:?}").contains(&text[..4]));
    }
}
