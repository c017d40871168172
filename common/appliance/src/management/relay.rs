//! The way from the management's server to PID 1: one line of JSON there, one line back, over a unix
//! socket that is opened again when PID 1 closed it.

use super::request::{Answer, Asked};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of the longest line, either way.
pub const MOST_LINE: usize = super::frame::MOST_BYTES + (64 << 10);
/// PID 1 may check a configuration, or verify a system that was just written.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Relay {
    path: PathBuf,
    connection: Option<BufReader<UnixStream>>,
}

impl Relay {
    pub fn to(path: &Path) -> Relay {
        Relay { path: path.to_owned(), connection: None }
    }

    /// PID 1's answer, or why there is none.
    pub fn ask(&mut self, asked: &Asked) -> Answer {
        let line = match serde_json::to_string(asked) {
            Ok(line) => line + "\n",
            Err(error) => return Answer::refused(format!("the request cannot be passed on: {error}")),
        };
        let answer = self.exchange(&line).and_then(|answer| {
            serde_json::from_slice(&answer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        });
        answer.unwrap_or_else(|error| {
            self.connection = None;
            Answer::refused(format!("the appliance's first process does not answer: {error}"))
        })
    }

    fn exchange(&mut self, line: &str) -> io::Result<Vec<u8>> {
        // A connection that was closed in the meantime is noticed by writing; nothing was asked yet.
        let sent = self.connection.as_mut().is_some_and(|open| open.get_mut().write_all(line.as_bytes()).is_ok());
        if !sent {
            self.connect()?.get_mut().write_all(line.as_bytes())?;
        }
        let Some(open) = self.connection.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut answer = Vec::new();
        open.take(MOST_LINE as u64).read_until(b'\n', &mut answer)?;
        if answer.last() == Some(&b'\n') { Ok(answer) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn connect(&mut self) -> io::Result<&mut BufReader<UnixStream>> {
        let stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(self.connection.insert(BufReader::new(stream)))
    }
}
