//! The unit of the protocol: eight bytes of header, then JSON. `FL`, the protocol's version, what it
//! is, and the length of the rest, big-endian. Nothing is read, or kept room for, that the header
//! does not announce within bounds.

use std::io::{self, Read, Write};

/// Bytes of the longest frame: a configuration in base64, and room for its names.
pub const MOST_BYTES: usize = 4 << 20;
/// Bytes of the longest frame from a key that nobody knows.
pub const MOST_BYTES_OF_STRANGER: usize = 4 << 10;

const MARK: [u8; 2] = *b"FL";
const VERSION: u8 = 1;
const HEADER: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Answer,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    #[error("this is not the management protocol of fairlead")]
    Mark,
    #[error("version {0} of the management protocol is spoken there, and {VERSION} here")]
    Version(u8),
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame of {length} bytes; {most} are allowed")]
    TooLong { length: usize, most: usize },
}

/// What the header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub length: usize,
}

impl Header {
    pub fn parse(bytes: [u8; HEADER], most: usize) -> Result<Header, BadFrame> {
        let [first, second, version, kind, length @ ..] = bytes;
        if [first, second] != MARK {
            return Err(BadFrame::Mark);
        }
        if version != VERSION {
            return Err(BadFrame::Version(version));
        }
        let kind = match kind {
            1 => Kind::Request,
            2 => Kind::Answer,
            other => return Err(BadFrame::Kind(other)),
        };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > most { Err(BadFrame::TooLong { length, most }) } else { Ok(Header { kind, length }) }
    }
}

/// The whole frame, written at once.
pub fn write(kind: Kind, body: &[u8], to: &mut impl Write) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MOST_BYTES);
    let length = length.ok_or(BadFrame::TooLong { length: body.len(), most: MOST_BYTES }).map_err(invalid)?;
    let kind = match kind {
        Kind::Request => 1,
        Kind::Answer => 2,
    };
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    to.write_all(&bytes)?;
    to.flush()
}

/// `None` when the other side has nothing more to say.
pub fn read(most: usize, from: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut header = [0; HEADER];
    let Some((first, rest)) = header.split_first_mut() else { return Ok(None) };
    if from.read(std::slice::from_mut(first))? == 0 {
        return Ok(None);
    }
    from.read_exact(rest)?;
    let Header { kind, length } = Header::parse(header, most).map_err(invalid)?;
    let mut body = Vec::new();
    // Room is made as bytes arrive, not as they are announced.
    if from.take(length as u64).read_to_end(&mut body)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((kind, body)))
}

fn invalid(error: BadFrame) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for body in [&b""[..], b"{}", &[0; 70_000]] {
            let mut bytes = Vec::new();
            write(Kind::Answer, body, &mut bytes).unwrap();
            assert_eq!(read(MOST_BYTES, &mut &bytes[..]).unwrap(), Some((Kind::Answer, body.to_vec())));
            for length in 1..bytes.len().min(40) {
                assert!(read(MOST_BYTES, &mut &bytes[..length]).is_err(), "{length}");
            }
        }
        assert_eq!(read(MOST_BYTES, &mut &b""[..]).unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_says_why() {
        let parse = |bytes: &[u8; 8]| Header::parse(*bytes, 100).unwrap_err();
        assert_eq!(parse(b"GET / HT"), BadFrame::Mark);
        assert_eq!(parse(b"FL\x02\x01\0\0\0\0"), BadFrame::Version(2));
        assert_eq!(parse(b"FL\x01\x03\0\0\0\0"), BadFrame::Kind(3));
        assert_eq!(parse(b"FL\x01\x01\0\0\0\x65"), BadFrame::TooLong { length: 101, most: 100 });
        assert!(matches!(parse(b"FL\x01\x01\xff\xff\xff\xff"), BadFrame::TooLong { .. }));
        assert!(write(Kind::Request, &vec![0; MOST_BYTES + 1], &mut Vec::new()).is_err());
    }
}
