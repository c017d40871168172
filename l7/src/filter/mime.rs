//! Lists of content types that a filter is for: `gzip_types` and its like.

use fairlead_conf::{Diagnostic, Given};

#[derive(Clone, Debug, Default)]
pub(super) struct Types {
    all: bool,
    names: Vec<Box<str>>,
}

impl Types {
    /// Whether a `Content-Type` is in the list; its parameters do not count. As nginx: `*` is also none.
    pub fn has(&self, content_type: &[u8]) -> bool {
        let name = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
        self.all || (!name.is_empty() && self.names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)))
    }

    /// Adds the arguments of a directive; `always` are in every list.
    pub fn take(&mut self, given: &Given<'_>, always: &[&str]) -> Result<(), Diagnostic> {
        for name in always.iter().copied().chain(given.words().iter().map(|word| &*word.text)) {
            if name == "*" {
                self.all = true;
            } else if !self.names.iter().any(|known| **known == *name) {
                self.names.push(name.to_ascii_lowercase().into());
            }
        }
        Ok(())
    }

    pub fn clear(&mut self) {
        *self = Types::default();
    }
}
