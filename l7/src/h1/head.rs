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
    /// Case does not matter.
    pub fn of(name: &[u8]) -> Known {
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        let candidate = match name.len() {
            2 if is("te") => Known::Te,
            4 if is("host") => Known::Host,
            4 if is("date") => Known::Date,
            6 if is("cookie") => Known::Cookie,
            6 if is("expect") => Known::Expect,
            6 if is("server") => Known::Server,
            7 if is("upgrade") => Known::Upgrade,
            7 if is("trailer") => Known::Trailer,
            8 if is("location") => Known::Location,
            8 if is("if-match") => Known::IfMatch,
            8 if is("if-range") => Known::IfRange,
            10 if is("connection") => Known::Connection,
            10 if is("keep-alive") => Known::KeepAlive,
            10 if is("set-cookie") => Known::SetCookie,
            12 if is("content-type") => Known::ContentType,
            13 if is("last-modified") => Known::LastModified,
            13 if is("if-none-match") => Known::IfNoneMatch,
            13 if is("authorization") => Known::Authorization,
            13 if is("content-range") => Known::ContentRange,
            14 if is("content-length") => Known::ContentLength,
            16 if is("proxy-connection") => Known::ProxyConnection,
            17 if is("transfer-encoding") => Known::TransferEncoding,
            17 if is("if-modified-since") => Known::IfModifiedSince,
            19 if is("if-unmodified-since") => Known::IfUnmodifiedSince,
            _ => Known::Other,
        };
        match candidate {
            Known::Other if name.len() > 8 && name.get(..8).is_some_and(|p| p.eq_ignore_ascii_case(b"x-accel-")) => {
                Known::XAccel
            }
            known => known,
        }
    }
}
