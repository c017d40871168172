//! `secure_link`: links that only who knows a secret can make, in both of
//! nginx's forms: `$secure_link` says whether this one is real and still good.

use super::{Row, Variable, compile, decode_base64, push};
use crate::directives::{ALL, LOCATION};
use crate::exchange::Exchange;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Template, Value};
use fairlead_core::clock::unix_millis;
use md5::{Digest, Md5};
use std::sync::Arc;

/// What a level says.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    link: Option<Arc<Template<Variable>>>,
    md5: Option<Arc<Template<Variable>>>,
    secret: Option<Arc<str>>,
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "secure_link",
        contexts: ALL,
        args: Args::exactly(&[Value::Template], "expression"),
        repeat: Repeat::Once,
        default: None,
        doc: "What the request brings: the MD5 of `secure_link_md5` in base64url, and behind a comma the second since \
              1970 until which the link is good, as `$arg_md5,$arg_expires`.",
        set: |secure, given| {
            secure.link = Some(Arc::new(compile(given.word(0), given.cx)?));
            secure.check(given)
        },
    },
    Directive {
        name: "secure_link_md5",
        contexts: ALL,
        args: Args::exactly(&[Value::Template], "expression"),
        repeat: Repeat::Once,
        default: None,
        doc: "What the MD5 of a link is made of, a secret among it: `$secure_link_expires$uri secret`.",
        set: |secure, given| {
            secure.md5 = Some(Arc::new(compile(given.word(0), given.cx)?));
            secure.check(given)
        },
    },
    Directive {
        name: "secure_link_secret",
        contexts: LOCATION,
        args: Args::exactly(&[Value::Text], "word"),
        repeat: Repeat::Once,
        default: None,
        doc: "The secret of links of the form `/prefix/hash/link`, whose hash is the MD5 of link and secret in \
              hexadecimal.",
        set: |secure, given| {
            secure.secret = Some(given.text(0).into());
            secure.check(given)
        },
    },
];

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "secure_link",
        doc: "`1` for a link that is real, `0` for one whose time is over, none otherwise; with `secure_link_secret` \
              the link behind the hash.",
        value: |x, out| {
            let secure = &x.location.secure_link;
            match &secure.secret {
                Some(secret) => push(secret_link(x.request.target_bytes(), secret.as_bytes()), out),
                None => push(secure.state(x), out),
            }
        },
    },
    Row {
        name: "secure_link_expires",
        doc: "The second until which the link of the request is good, as it says itself.",
        value: |x, out| {
            let brought = x.location.secure_link.brought(x);
            push(brought.as_ref().and_then(|(_, expires)| Some(expires.as_ref()?.1.as_slice())), out)
        },
    },
];

/// What a request brings: the hash, and with its digits the time it is good until.
type Brought = (Vec<u8>, Option<(u64, Vec<u8>)>);

impl Settings {
    fn check(&self, given: &Given<'_>) -> Result<(), Diagnostic> {
        if self.secret.is_some() && (self.link.is_some() || self.md5.is_some()) {
            let message = "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"";
            return Err(Diagnostic::error(given.statement.name.span, message));
        }
        Ok(())
    }

    /// `None` when there is no such thing, or its time is no time.
    fn brought(&self, exchange: &Exchange) -> Option<Brought> {
        let (Some(link), Some(_)) = (&self.link, &self.md5) else { return None };
        let mut text = Vec::new();
        exchange.render(link, &mut text);
        let Some(comma) = memchr::memchr(b',', &text) else { return Some((text, None)) };
        let digits = text.get(comma + 1..).filter(|digits| digits.iter().all(u8::is_ascii_digit))?.to_vec();
        let seconds = std::str::from_utf8(&digits).ok()?.parse().ok().filter(|seconds| *seconds > 0)?;
        text.truncate(comma);
        Some((text, Some((seconds, digits))))
    }

    fn state(&self, exchange: &Exchange) -> Option<&'static [u8]> {
        let (hash, expires) = self.brought(exchange)?;
        let mut made_of = Vec::new();
        exchange.render(self.md5.as_ref()?, &mut made_of);
        // 16 bytes in base64url are 22 digits, with or without padding.
        let hash: Vec<u8> = hash
            .iter()
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                byte => *byte,
            })
            .collect();
        let hash = decode_base64(&hash).filter(|_| hash.len() <= 24)?;
        if *hash != *Md5::digest(&made_of) {
            return None;
        }
        let over = expires.is_some_and(|(seconds, _)| seconds < unix_millis() / 1000);
        Some(if over { b"0" } else { b"1" })
    }
}

/// The link of `/prefix/hash/link`, if the hash is that of the link and the secret.
fn secret_link<'u>(target: &'u [u8], secret: &[u8]) -> Option<&'u [u8]> {
    let mut parts = target.get(1..)?.splitn(3, |byte| *byte == b'/');
    let (_, hash, link) = (parts.next()?, parts.next()?, parts.next()?);
    if hash.len() != 32 || link.is_empty() {
        return None;
    }
    let made = Md5::new().chain_update(link).chain_update(secret).finalize();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let same = hash.chunks(2).zip(made).all(|(pair, byte)| match pair {
        [high, low] => digit(*high).zip(digit(*low)).is_some_and(|(high, low)| high << 4 | low == u32::from(byte)),
        _ => false,
    });
    same.then_some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_with_a_secret_are_taken_apart() {
        let hash: String = Md5::digest(b"a/b?csecret").iter().map(|byte| format!("{byte:02x}")).collect();
        let found = |target: &str| {
            secret_link(target.as_bytes(), b"secret").map(|link| String::from_utf8_lossy(link).into_owned())
        };
        assert_eq!(found(&format!("/p/{hash}/a/b?c")).as_deref(), Some("a/b?c"));
        assert_eq!(found(&format!("/p/{}/a/b?c", hash.to_uppercase())).as_deref(), Some("a/b?c"));
        for wrong in
            ["", "/", "/p", "/p/", "/p/x/a", &format!("/p/{hash}/"), &format!("/p/{hash}"), &format!("/p/{hash}/x")]
        {
            assert_eq!(found(wrong), None, "{wrong}");
        }
    }
}
