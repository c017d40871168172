//! One question to process 1.

use crate::control::PATH;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A change of the configuration is checked first, which takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: u64 = 16 << 20;

pub struct Ask;

impl Ask {
    /// The answer; one that says why when there is none.
    pub fn once(request: &Value) -> Value {
        let failed = |error: io::Error| json!({"ok": false, "errors": [format!("process 1 does not answer: {error}")]});
        Ask::exchange(request).unwrap_or_else(failed)
    }

    fn exchange(request: &Value) -> io::Result<Value> {
        let mut stream = UnixStream::connect(PATH)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}
