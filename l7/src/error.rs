//! How operating system errors are written: `(111: Connection refused)` as nginx does.

use std::fmt;
use std::io;

/// `111: Connection refused`.
pub(crate) struct Os<'a>(pub &'a io::Error);

impl fmt::Display for Os<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.0.raw_os_error() else {
            return write!(f, "{}", self.0);
        };
        let text = self.0.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        write!(f, "{code}: {text}")
    }
}
