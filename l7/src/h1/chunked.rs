//! The chunked transfer coding (RFC 9112 section 7.1), strict: CRLF only,
//! bounded sizes, extensions and trailers. Decodes in place: events are
//! lengths within the caller's bytes.

/// Where a decoder stands in the stream of chunks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunked {
    state: State,
    /// Bytes of the present chunk that are still to come.
    left: u64,
    /// Bytes of extensions or trailers so far.
    overhead: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    SizeStart,
    Size(u8),
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All bytes are consumed and more are needed.
    NeedMore,
    /// The last `usize` of the consumed bytes are body.
    Data(usize),
    /// The body and its trailers have ended.
    End,
}

/// The bytes are not a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkError;

/// Longest extension of one chunk, and all trailers together.
const MAX_OVERHEAD: usize = 8 << 10;

impl Chunked {
    /// Consumes bytes up to the next event; gives how many, and the event.
    ///
    /// # Errors
    /// [`ChunkError`] at the first byte that RFC 9112 does not allow there.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, Event), ChunkError> {
        self.advance(bytes, |_| ())
    }

    /// The same; what is part of the trailers is added to `trailers`, line ends and all.
    ///
    /// # Errors
    /// As [`Chunked::next`].
    pub fn next_with_trailers(&mut self, bytes: &[u8], trailers: &mut Vec<u8>) -> Result<(usize, Event), ChunkError> {
        self.advance(bytes, |byte| trailers.push(byte))
    }

    fn advance(&mut self, bytes: &[u8], mut trailer: impl FnMut(u8)) -> Result<(usize, Event), ChunkError> {
        let mut used = 0;
        loop {
            if self.state == State::Done {
                return Ok((used, Event::End));
            }
            let Some(&byte) = bytes.get(used) else {
                return Ok((used, Event::NeedMore));
            };
            if self.state == State::Data {
                let available = bytes.len() - used;
                let data = usize::try_from(self.left).map_or(available, |left| left.min(available));
                self.left -= data as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok((used + data, Event::Data(data)));
            }
            let before = self.state;
            self.state = self.step(byte)?;
            if matches!(before, State::TrailerStart | State::TrailerName | State::Trailer | State::TrailerLf) {
                trailer(byte);
            }
            used += 1;
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        Ok(match (self.state, byte) {
            (State::SizeStart, _) => {
                self.left = hex(byte)?;
                self.overhead = 0;
                State::Size(1)
            }
            (State::Size(_), b'\r') => State::SizeLf,
            (State::Size(_), b';' | b' ' | b'\t') => State::Extension,
            (State::Size(digits), _) => {
                // 15 digits: sizes below 2^60 never overflow sums of lengths.
                if digits >= 15 {
                    return Err(ChunkError);
                }
                self.left = self.left << 4 | hex(byte)?;
                State::Size(digits + 1)
            }
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) => {
                self.count(byte)?;
                State::Extension
            }
            (State::SizeLf, b'\n') if self.left == 0 => {
                self.overhead = 0;
                State::TrailerStart
            }
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart, b' ' | b'\t' | b':') => return Err(ChunkError),
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerName, b':') => State::Trailer,
            (State::TrailerName, b'\r' | b' ' | b'\t') => return Err(ChunkError),
            (State::TrailerStart | State::TrailerName, _) => {
                self.count(byte)?;
                State::TrailerName
            }
            (State::Trailer, _) => {
                self.count(byte)?;
                State::Trailer
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(ChunkError),
        })
    }

    fn count(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.overhead += 1;
        if (byte < b' ' && byte != b'\t') || byte == 0x7f || self.overhead > MAX_OVERHEAD {
            return Err(ChunkError);
        }
        Ok(())
    }
}

fn hex(byte: u8) -> Result<u64, ChunkError> {
    match byte {
        b'0'..=b'9' => Ok(u64::from(byte - b'0')),
        b'a'..=b'f' => Ok(u64::from(byte - b'a') + 10),
        b'A'..=b'F' => Ok(u64::from(byte - b'A') + 10),
        _ => Err(ChunkError),
    }
}

/// Appends the size line of a chunk of `len` bytes.
pub fn push_chunk_size(len: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let nibble = (len >> (digit * 4)) & 0xf;
        out.push(b"0123456789abcdef".get(nibble).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), ChunkError> {
        let mut decoder = Chunked::default();
        let (mut out, mut at) = (Vec::new(), 0);
        loop {
            let window = &bytes[at..bytes.len().min(at + step)];
            let (used, event) = decoder.next(window)?;
            at += used;
            match event {
                Event::Data(len) => out.extend_from_slice(&bytes[at - len..at]),
                Event::End => return Ok((out, at, true)),
                Event::NeedMore if at == bytes.len() => return Ok((out, at, false)),
                Event::NeedMore => {}
            }
        }
    }

    #[test]
    fn decodes_extensions_and_trailers() {
        let bytes = b"5;a=b\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX: y\r\n\r\nnext";
        for step in 1..bytes.len() {
            assert_eq!(decode(bytes, step), Ok((b"hello0123456789".to_vec(), bytes.len() - 4, true)), "step {step}");
        }
    }

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        for bytes in [
            "5\nhello\r\n0\r\n\r\n",
            "\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n0\r\n\r\n",
            "-1\r\n",
            "0x5\r\n",
            "g\r\n",
            "1000000000000000\r\n",
            "5;a\nb\r\n",
            "5;a\0\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            " 5\r\n",
        ] {
            assert_eq!(decode(bytes.as_bytes(), 1 << 20), Err(ChunkError), "{bytes:?}");
        }
        assert_eq!(decode(format!("1;{}", "a".repeat(9000)).as_bytes(), 1 << 20), Err(ChunkError));
    }

    #[test]
    fn size_lines_are_hexadecimal() {
        let size = |len| {
            let mut out = Vec::new();
            push_chunk_size(len, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            (size(0), size(15), size(16), size(65536)),
            ("0\r\n".into(), "f\r\n".into(), "10\r\n".into(), "10000\r\n".into())
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), step in 1usize..50) {
            let _ = decode(&bytes, step);
        }

        #[test]
        fn reads_back_what_it_writes(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8), step in 1usize..30) {
            let mut bytes = Vec::new();
            for part in &parts {
                push_chunk_size(part.len(), &mut bytes);
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let total = bytes.len();
            prop_assert_eq!(decode(&bytes, step), Ok((parts.concat(), total, true)));
        }
    }
}
