//! The ClientHello that a TLS connection begins with (RFC 8446 section 4.1.2, RFC 6066 section 3,
//! RFC 7301), read without taking part in the handshake. No I/O: bytes in, what the client asks for out.
//!
//! Takes a hello in any number of records and pieces, looks at nothing it does not report, and says
//! that the bytes are no hello as soon as no more of them could make one. It checks no handshake: who
//! terminates TLS does. Who waits for a hello bounds how many bytes it waits for.

use std::borrow::Cow;

/// What a client says of itself before anything is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The highest version offered, as on the wire: `0x0303` is TLS 1.2. Versions that nobody has
    /// defined, as GREASE (RFC 8701) offers them, do not count.
    pub version: u16,
    /// `server_name`, as it was sent; empty when there is none. With ECH it is the outer one.
    pub server_name: Box<[u8]>,
    /// The protocols of ALPN in the client's order, with commas between them.
    pub alpn: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientHelloError {
    #[error("more bytes are needed")]
    Incomplete,
    #[error("not a ClientHello")]
    NotTls,
}

use ClientHelloError::{Incomplete, NotTls};

impl ClientHello {
    /// The name of the version, as OpenSSL has it; empty for one that it does not know.
    pub fn protocol(&self) -> &'static str {
        match self.version {
            0x0002 => "SSLv2",
            0x0300 => "SSLv3",
            0x0301 => "TLSv1",
            0x0302 => "TLSv1.1",
            0x0303 => "TLSv1.2",
            0x0304 => "TLSv1.3",
            _ => "",
        }
    }
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Reads the ClientHello at the start of `bytes`.
///
/// # Errors
/// `Incomplete` while `bytes` may still become one, `NotTls` when they cannot.
pub fn parse_client_hello(bytes: &[u8]) -> Result<ClientHello, ClientHelloError> {
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return version_2(bytes);
    }
    let message = message(bytes)?;
    let mut header = Reader { bytes: &message, missing: usize::MAX };
    if header.u8()? != CLIENT_HELLO {
        return Err(NotTls);
    }
    let length = header.length(3)?;
    let there = header.bytes.get(..length).unwrap_or(header.bytes);
    body(Reader { bytes: there, missing: length - there.len() })
}

/// The form of SSL 2, in which old clients offer newer versions too: two bytes of length, the type,
/// the version. It can name no server.
fn version_2(bytes: &[u8]) -> Result<ClientHello, ClientHelloError> {
    match bytes.get(2..).unwrap_or_default() {
        [CLIENT_HELLO, major @ (0 | 3), minor, ..] => {
            Ok(ClientHello { version: u16::from_be_bytes([*major, *minor]), ..ClientHello::default() })
        }
        [] | [CLIENT_HELLO] | [CLIENT_HELLO, 0 | 3] => Err(Incomplete),
        _ => Err(NotTls),
    }
}

/// What the records at the start of `bytes` carry, put together; copied only when they are several.
fn message(mut bytes: &[u8]) -> Result<Cow<'_, [u8]>, ClientHelloError> {
    let mut message = Cow::Borrowed(&[][..]);
    loop {
        let payload = match bytes {
            [HANDSHAKE, 3, _, high, low, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let (payload, next) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                bytes = next;
                payload
            }
            [] | [HANDSHAKE] | [HANDSHAKE, 3, ..] => return Ok(message),
            // What follows a whole hello is none of our business.
            _ if is_whole(&message) => return Ok(message),
            _ => return Err(NotTls),
        };
        if message.is_empty() {
            message = Cow::Borrowed(payload);
        } else {
            message.to_mut().extend_from_slice(payload);
        }
        if is_whole(&message) {
            return Ok(message);
        }
    }
}

fn is_whole(message: &[u8]) -> bool {
    let mut header = Reader { bytes: message.get(1..).unwrap_or_default(), missing: 0 };
    header.length(3).is_ok_and(|length| header.bytes.len() >= length)
}

fn body(mut body: Reader<'_>) -> Result<ClientHello, ClientHelloError> {
    const RANDOM: usize = 32;
    let mut hello = ClientHello { version: body.u16()?, ..ClientHello::default() };
    body.take(RANDOM)?;
    let session = body.length(1)?;
    body.take(session)?;
    let suites = body.length(2)?;
    body.take(suites)?;
    let compressions = body.length(1)?;
    body.take(compressions)?;
    if body.is_empty() {
        return Ok(hello);
    }
    // The length of all extensions says no more than the message's own.
    body.length(2)?;
    let (mut named, mut negotiates) = (false, false);
    while !body.is_empty() {
        let kind = body.u16()?;
        let length = body.length(2)?;
        let extension = Reader { bytes: body.take(length)?, missing: 0 };
        match kind {
            SERVER_NAME if !named => (named, hello.server_name) = (true, server_name(extension)?),
            ALPN if !negotiates => (negotiates, hello.alpn) = (true, alpn(extension)?),
            SUPPORTED_VERSIONS => hello.version = highest_version(extension)?.unwrap_or(hello.version),
            _ => {}
        }
    }
    Ok(hello)
}

/// The first name of the list; only names of hosts are defined.
fn server_name(mut extension: Reader<'_>) -> Result<Box<[u8]>, ClientHelloError> {
    let length = extension.length(2)?;
    let mut list = Reader { bytes: extension.take(length)?, missing: 0 };
    if list.u8()? != 0 {
        return Err(NotTls);
    }
    let length = list.length(2)?;
    Ok(list.take(length)?.into())
}

fn alpn(mut extension: Reader<'_>) -> Result<Box<[u8]>, ClientHelloError> {
    let length = extension.length(2)?;
    let mut list = Reader { bytes: extension.take(length)?, missing: 0 };
    let mut names = Vec::with_capacity(length);
    loop {
        match list.length(1)? {
            0 => return Err(NotTls),
            length => names.extend_from_slice(list.take(length)?),
        }
        if list.is_empty() {
            return Ok(names.into());
        }
        names.push(b',');
    }
}

fn highest_version(mut extension: Reader<'_>) -> Result<Option<u16>, ClientHelloError> {
    let length = extension.length(1)?;
    let versions = extension.take(length)?.chunks_exact(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    });
    Ok(versions.filter(|version| (0x0300..=0x0304).contains(version)).max())
}

/// Takes pieces off the front of a message of which `missing` bytes are still to come.
struct Reader<'a> {
    bytes: &'a [u8],
    missing: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ClientHelloError> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None if count <= self.bytes.len().saturating_add(self.missing) => Err(Incomplete),
            None => Err(NotTls),
        }
    }

    /// A number of `size` bytes.
    fn length(&mut self, size: usize) -> Result<usize, ClientHelloError> {
        Ok(self.take(size)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn u8(&mut self) -> Result<u8, ClientHelloError> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    fn u16(&mut self) -> Result<u16, ClientHelloError> {
        self.take(2).map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.missing == 0
    }
}

#[cfg(test)]
mod tests;
