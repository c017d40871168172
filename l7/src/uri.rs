//! Request targets: decoding and normalising paths exactly as nginx does.
//!
//! Percent-escapes are decoded, `.` and `..` resolved and slashes merged in one
//! pass. A decoded byte counts as if it had been sent plain (`%2e%2e%2f` climbs),
//! but for `%23`, `%25` and `%3f`, which become ordinary characters.

/// A path that nginx answers 400 for: `%00`, broken escapes, `..` above the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUri;

/// Appends the normalised path of `target` (percent-decoded, `.` and `..` resolved, slashes merged
/// when asked) to `path`; returns where the query begins (after its question mark), if there is one.
/// The query ends where [`query_end`] says.
///
/// # Errors
/// [`BadUri`] for what nginx refuses; `path` is as it was.
pub fn normalize(target: &[u8], merge_slashes: bool, path: &mut Vec<u8>) -> Result<Option<usize>, BadUri> {
    match plain_len(target) {
        Some(len) => {
            path.extend_from_slice(target.get(..len).unwrap_or_default());
            Ok((len < target.len()).then_some(len + 1))
        }
        None => {
            let start = path.len();
            let normalizer = Normalizer { target, at: 0, start, merge_slashes };
            normalizer.run(path).inspect_err(|_| path.truncate(start))
        }
    }
}

/// Where a query that begins at `start` ends: at a `#`, else with the target.
pub fn query_end(target: &[u8], start: usize) -> usize {
    let query = target.get(start..).unwrap_or_default();
    memchr::memchr(b'#', query).map_or(target.len(), |hash| start + hash)
}

/// Appends a byte of a decoded path as it may stand in a request line or a `Location`.
pub fn push_escaped(byte: u8, out: &mut Vec<u8>) {
    let plain = !matches!(byte, 0..=b' ' | 0x7f.. | b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
    if plain {
        return out.push(byte);
    }
    push_hex(byte, out);
}

/// Appends `%` and two digits.
pub(crate) fn push_hex(byte: u8, out: &mut Vec<u8>) {
    let hex = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
    out.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte & 15)]);
}

/// Appends text that variables may have made. Control characters are escaped: a decoded line end
/// would begin a field, or a request, that nobody sent.
pub(crate) fn push_without_controls(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            0..b' ' => push_hex(byte, out),
            _ => out.push(byte),
        }
    }
}

/// Length of the path when nothing in it needs work: no escape, no `//`, no `/.`, no fragment.
fn plain_len(target: &[u8]) -> Option<usize> {
    let mut after_slash = false;
    for (index, &byte) in target.iter().enumerate() {
        match byte {
            b'?' => return Some(index),
            b'%' | b'#' => return None,
            b'/' | b'.' if after_slash => return None,
            _ => after_slash = byte == b'/',
        }
    }
    Some(target.len())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Usual,
    Slash,
    Dot,
    DotDot,
}

/// What a byte does to the path.
enum Step {
    Go(State),
    Query,
    Fragment,
}

struct Normalizer<'a> {
    target: &'a [u8],
    at: usize,
    /// Where this path begins in the output.
    start: usize,
    merge_slashes: bool,
}

impl Normalizer<'_> {
    fn run(mut self, path: &mut Vec<u8>) -> Result<Option<usize>, BadUri> {
        let mut state = State::Usual;
        while let Some(&raw) = self.target.get(self.at) {
            self.at += 1;
            let byte = if raw == b'%' { self.escape()? } else { raw };
            if raw == b'%' && matches!(byte, b'%' | b'#' | b'?') {
                path.push(byte);
                state = State::Usual;
                continue;
            }
            match self.step(state, byte, path)? {
                Step::Go(next) => state = next,
                Step::Query => return Ok(Some(self.at)),
                Step::Fragment => return Ok(None),
            }
        }
        self.close(state, path)?;
        Ok(None)
    }

    /// The byte of the escape whose percent sign was just read.
    fn escape(&mut self) -> Result<u8, BadUri> {
        let digits = self.target.get(self.at..self.at + 2).ok_or(BadUri)?;
        self.at += 2;
        let byte = digits.iter().try_fold(0u32, |value, &digit| Some(value * 16 + char::from(digit).to_digit(16)?));
        match byte.and_then(|byte| u8::try_from(byte).ok()) {
            None | Some(0) => Err(BadUri),
            Some(byte) => Ok(byte),
        }
    }

    fn step(&self, state: State, byte: u8, path: &mut Vec<u8>) -> Result<Step, BadUri> {
        match (state, byte) {
            (_, b'?') => {
                self.close(state, path)?;
                return Ok(Step::Query);
            }
            (_, b'#') => {
                self.close(state, path)?;
                return Ok(Step::Fragment);
            }
            (State::Slash, b'/') => {
                if !self.merge_slashes {
                    path.push(byte);
                }
                return Ok(Step::Go(State::Slash));
            }
            (State::Dot | State::DotDot, b'/') => {
                self.close(state, path)?;
                return Ok(Step::Go(State::Slash));
            }
            _ => path.push(byte),
        }
        Ok(Step::Go(match (state, byte) {
            (_, b'/') => State::Slash,
            (State::Slash, b'.') => State::Dot,
            (State::Dot, b'.') => State::DotDot,
            _ => State::Usual,
        }))
    }

    /// Resolves a final `.` or `..` segment.
    fn close(&self, state: State, path: &mut Vec<u8>) -> Result<(), BadUri> {
        match state {
            State::Usual | State::Slash => {}
            State::Dot => {
                path.pop();
            }
            State::DotDot => {
                // Takes off `/..`, then the segment before it, and keeps that one's slash.
                let end = path.len().checked_sub(3).filter(|&end| end > self.start).ok_or(BadUri)?;
                let above = path.get(self.start..end).and_then(|path| memchr::memrchr(b'/', path)).ok_or(BadUri)?;
                path.truncate(self.start + above + 1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
