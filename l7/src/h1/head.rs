//! Header fields as slices of the buffer they were read into.

use crate::h1::Slice;

#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub name: Slice,
    pub value: Slice,
    pub known: Known,
}

impl Header {
    /// As log lines show it; `bytes` are those it was read from.
    pub fn shown(&self, bytes: &[u8]) -> String {
        format!("{}: {}", self.name.of(bytes).escape_ascii(), self.value.of(bytes).escape_ascii())
    }
}

/// Fields whose meaning the proxy must know; recognised once, while parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Other,
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Te,
    Trailer,
    Upgrade,
    Expect,
    KeepAlive,
    ProxyConnection,
    Cookie,
    ContentType,
    Date,
    Server,
    LastModified,
    Location,
    SetCookie,
    XAccel,
    IfMatch,
    IfNoneMatch,
    IfModifiedSince,
    IfUnmodifiedSince,
    IfRange,
    ContentRange,
    Authorization,
}

impl Known {
    /// Case does not matter. `name` holds no control character.
    pub fn of(name: &[u8]) -> Known {
        let candidate = match name.len() {
            2 if is(name, b"te") => Known::Te,
            4 if is(name, b"host") => Known::Host,
            4 if is(name, b"date") => Known::Date,
            6 if is(name, b"cookie") => Known::Cookie,
            6 if is(name, b"expect") => Known::Expect,
            6 if is(name, b"server") => Known::Server,
            7 if is(name, b"upgrade") => Known::Upgrade,
            7 if is(name, b"trailer") => Known::Trailer,
            8 if is(name, b"location") => Known::Location,
            8 if is(name, b"if-match") => Known::IfMatch,
            8 if is(name, b"if-range") => Known::IfRange,
            10 if is(name, b"connection") => Known::Connection,
            10 if is(name, b"keep-alive") => Known::KeepAlive,
            10 if is(name, b"set-cookie") => Known::SetCookie,
            12 if is(name, b"content-type") => Known::ContentType,
            13 if is(name, b"last-modified") => Known::LastModified,
            13 if is(name, b"if-none-match") => Known::IfNoneMatch,
            13 if is(name, b"authorization") => Known::Authorization,
            13 if is(name, b"content-range") => Known::ContentRange,
            14 if is(name, b"content-length") => Known::ContentLength,
            16 if is(name, b"proxy-connection") => Known::ProxyConnection,
            17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
            17 if is(name, b"if-modified-since") => Known::IfModifiedSince,
            19 if is(name, b"if-unmodified-since") => Known::IfUnmodifiedSince,
            _ => Known::Other,
        };
        match candidate {
            Known::Other if name.first_chunk::<8>().is_some_and(|front| is(front, b"x-accel-")) && name.len() > 8 => {
                Known::XAccel
            }
            known => known,
        }
    }
}

/// Whether `name` is `text` in any case. All letters at once: the bit that tells their case makes
/// a hyphen of nothing but a control character.
fn is<const LEN: usize>(name: &[u8], text: &[u8; LEN]) -> bool {
    let Ok(name) = <&[u8; LEN]>::try_from(name) else { return false };
    let mut differs = 0;
    for (byte, lower) in name.iter().zip(text) {
        differs |= (byte | 0x20) ^ lower;
    }
    differs == 0
}
