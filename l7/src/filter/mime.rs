//! Lists of content types that a filter is for: `gzip_types` and its like.

use fairlead_conf::{Diagnostic, Given};

#[derive(Clone, Debug, Default)]
pub(super) struct Types {
    all: bool,
    names: Vec<Box<str>>,
}

impl Types {
    /// Whether a `Content-Type` is in the list; a charset does not count. As nginx: `*` is also none.
    pub fn has(&self, content_type: &[u8]) -> bool {
        let (name, _) = media(content_type);
        self.all || (!name.is_empty() && self.names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)))
    }

    /// Adds the arguments of a directive; `always` are in every list.
    pub fn take(&mut self, given: &Given<'_>, always: &[&str]) -> Result<(), Diagnostic> {
        if self.names.is_empty() {
            self.names.extend(always.iter().map(|name| Box::from(*name)));
        }
        for word in given.words() {
            if self.all || &*word.text == "*" {
                self.all = true;
                break;
            }
            let name = word.text.to_ascii_lowercase();
            if !self.names.iter().any(|known| **known == *name) {
                self.names.push(name.into());
            } else if given.is_written() {
                given.cx.report(Diagnostic::warning(word.span, format!("duplicate MIME type \"{name}\"")));
            }
        }
        Ok(())
    }

    pub fn clear(&mut self) {
        *self = Types::default();
    }
}

/// What stands before the charset of a `Content-Type`, and the charset. As nginx: other parameters
/// are part of the type.
pub(super) fn media(content_type: &[u8]) -> (&[u8], Option<&[u8]>) {
    for at in memchr::memchr_iter(b';', content_type) {
        let rest = content_type.get(at + 1..).unwrap_or_default();
        let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
        let Some((name, value)) = rest.get(blanks..).and_then(|rest| rest.split_at_checked(CHARSET.len())) else {
            continue;
        };
        if name.eq_ignore_ascii_case(CHARSET) {
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            let value = value.strip_suffix(b"\"").unwrap_or(value);
            let kind = content_type.get(..at).unwrap_or_default();
            return (kind, (!value.is_empty()).then_some(value));
        }
    }
    (content_type, None)
}

const CHARSET: &[u8] = b"charset=";

#[cfg(test)]
mod tests {
    use super::media;

    #[test]
    fn a_charset_is_cut_off_and_no_other_parameter() {
        for (text, kind, charset) in [
            ("text/html", "text/html", None),
            ("text/html; charset=utf-8", "text/html", Some("utf-8")),
            ("text/html;Charset=\"koi8-r\"", "text/html", Some("koi8-r")),
            ("text/html; a=b; charset=x", "text/html; a=b", Some("x")),
            ("text/html; a=b", "text/html; a=b", None),
            ("text/html; charset=", "text/html", None),
            ("text/html;", "text/html;", None),
            ("", "", None),
        ] {
            assert_eq!(media(text.as_bytes()), (kind.as_bytes(), charset.map(str::as_bytes)), "{text}");
        }
    }
}
