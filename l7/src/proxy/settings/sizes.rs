//! Whether the sizes of the buffers of one place go together, asked when its block has been read whole.
//!
//! Knows what was written and nothing of how responses wait here: a configuration that nginx refuses
//! is refused, one that nginx takes is taken. What is not written counts as in nginx, where a page
//! has 4k, whatever the default is here.

use fairlead_conf::{Diagnostic, Given, Span};

/// What the rows said, each `None` until it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    /// Of the row that was written last.
    span: Span,
    pub head: Option<u64>,
    /// Number and size.
    pub buffers: Option<(u64, u64)>,
    pub busy: Option<u64>,
    pub file_write: Option<u64>,
    pub file: Option<u64>,
}

const PAGE: u64 = 4 << 10;

impl Sizes {
    /// Keeps what a row says, unless it is the row's default that speaks.
    pub fn keep(&mut self, given: &Given<'_>, keep: impl FnOnce(&mut Sizes)) {
        if given.is_written() {
            self.span = given.statement.name.span;
            keep(self);
        }
    }

    /// What is wrong, in nginx's words.
    pub fn check(&self) -> Option<Diagnostic> {
        let (number, size) = self.buffers.unwrap_or((8, PAGE));
        if number < 2 {
            return Some(Diagnostic::error(self.span, "there must be at least 2 \"proxy_buffers\""));
        }
        let least = self.head.unwrap_or(PAGE).max(size);
        let twice = least.saturating_mul(2);
        let busy = self.busy.unwrap_or(twice);
        let message = if busy < least {
            format!("\"proxy_busy_buffers_size\" {AT_LEAST}")
        } else if busy > size.saturating_mul(number - 1) {
            "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer".into()
        } else if self.file_write.unwrap_or(twice) < least {
            format!("\"proxy_temp_file_write_size\" {AT_LEAST}")
        } else if self.file.is_some_and(|file| file != 0 && file < least) {
            let zero = "must be equal to zero to disable temporary files usage or";
            format!("\"proxy_max_temp_file_size\" {zero} {AT_LEAST}")
        } else {
            return None;
        };
        Some(Diagnostic::error(self.span, message))
    }
}

const AT_LEAST: &str = "must be equal to or greater than the maximum of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"";

#[cfg(test)]
mod tests {
    use super::Sizes;

    const K: u64 = 1 << 10;

    fn of(head: u64, buffers: (u64, u64)) -> Sizes {
        Sizes { head: Some(head), buffers: Some(buffers), ..Sizes::default() }
    }

    fn words(sizes: Sizes) -> String {
        sizes.check().map(|wrong| wrong.message).unwrap_or_default()
    }

    #[test]
    fn each_size_may_be_just_as_large_as_it_must() {
        assert_eq!(words(Sizes::default()), "");
        assert_eq!(words(of(8 * K, (3, 8 * K))), "");
        assert!(words(of(8 * K, (2, 8 * K))).contains("minus one buffer"));
        assert!(words(of(K, (1, K))).contains("at least 2"));
        let named = of(8 * K, (2, 8 * K));
        assert_eq!(words(Sizes { busy: Some(8 * K), ..named }), "");
        assert!(
            words(Sizes { busy: Some(8 * K - 1), ..named }).starts_with("\"proxy_busy_buffers_size\" must be equal")
        );
        assert!(words(Sizes { busy: Some(8 * K + 1), ..named }).contains("minus one buffer"));
        let most = of(K, (u64::MAX, u64::MAX));
        assert_eq!(words(most), "", "however large they are");
        for (file, fits) in [(0, true), (4 * K - 1, false), (4 * K, true)] {
            assert_eq!(words(Sizes { file: Some(file), ..Sizes::default() }).is_empty(), fits, "{file}");
        }
        for (write, fits) in [(0, false), (4 * K - 1, false), (4 * K, true)] {
            assert_eq!(words(Sizes { file_write: Some(write), ..Sizes::default() }).is_empty(), fits, "{write}");
        }
    }
}
