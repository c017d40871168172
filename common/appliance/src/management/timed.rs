//! A TCP connection that must get something done by a time, however slowly its other end drips.

use fairlead_core::clock::{Tick, tick};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Debug)]
pub struct Timed {
    stream: TcpStream,
    until: Tick,
}

impl Timed {
    pub fn new(stream: TcpStream, within: Duration) -> Timed {
        // Frames are written whole; nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        Timed { stream, until: tick().after(within) }
    }

    /// What comes next must be over within this time.
    pub fn allow(&mut self, time: Duration) {
        self.until = tick().after(time);
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.since(tick());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// A socket's own timeout has this name on Linux.
fn named(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer).map_err(named)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
