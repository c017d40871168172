//! The terminal as it is: raw keys in, bytes out. Restored by nobody: the next program on it sets it anew.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, Read, Write};
use std::time::Duration;

/// What every terminal has.
const SMALLEST: Size = Size { columns: 80, rows: 24 };
const LARGEST: Size = Size { columns: 200, rows: 60 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Letter(char),
    Enter,
    Back,
    Escape,
    Redraw,
}

pub struct Terminal {
    unfinished: Vec<u8>,
}

impl Terminal {
    pub fn open() -> io::Result<Terminal> {
        let stdin = io::stdin();
        let mut modes = tcgetattr(&stdin)?;
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        modes.input_modes -= InputModes::IXON | InputModes::ICRNL | InputModes::INLCR;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Flush, &modes)?;
        Ok(Terminal { unfinished: Vec::new() })
    }

    pub fn size(&self) -> Size {
        let given = tcgetwinsize(io::stdout()).ok();
        let (columns, rows) = given.map_or((0, 0), |size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let or = |given: usize, least: usize, most: usize| if given == 0 { least } else { given.clamp(least, most) };
        Size { columns: or(columns, SMALLEST.columns, LARGEST.columns), rows: or(rows, SMALLEST.rows, LARGEST.rows) }
    }

    pub fn write(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// What was typed within `wait`.
    pub fn keys(&mut self, wait: Duration) -> io::Result<Vec<Key>> {
        let stdin = io::stdin();
        let timeout = Timespec::try_from(wait).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 256];
        let read = stdin.lock().read(&mut bytes)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unfinished.extend_from_slice(bytes.get(..read).unwrap_or_default());
        Ok(keys_of(&mut self.unfinished))
    }
}

/// Whole keys; the arrows and their like are passed over.
fn keys_of(bytes: &mut Vec<u8>) -> Vec<Key> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(error) if error.error_len().is_none() && bytes.len() < 8 => return Vec::new(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    };
    bytes.clear();
    let mut keys = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' | '\n' => keys.push(Key::Enter),
            '\u{8}' | '\u{7f}' => keys.push(Key::Back),
            '\u{c}' => keys.push(Key::Redraw),
            '\u{3}' | '\u{4}' => keys.push(Key::Escape),
            '\u{1b}' if matches!(letters.peek(), Some('[' | 'O')) => {
                letters.next();
                while letters.next_if(|letter| !letter.is_ascii_alphabetic() && *letter != '~').is_some() {}
                letters.next();
            }
            '\u{1b}' => keys.push(Key::Escape),
            letter if letter.is_control() => {}
            letter => keys.push(Key::Letter(letter)),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let mut bytes = b"1\r\x7f\x1b[A\x1b[3~x\x0c\x1b".to_vec();
        let keys = keys_of(&mut bytes);
        assert_eq!(keys, [Key::Letter('1'), Key::Enter, Key::Back, Key::Letter('x'), Key::Redraw, Key::Escape]);
        let mut half = vec![0xc3];
        assert!(keys_of(&mut half).is_empty());
        half.push(0xbc);
        assert_eq!(keys_of(&mut half), [Key::Letter('ü')]);
    }
}
