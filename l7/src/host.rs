//! Host names as clients send them, checked and brought to one form as nginx does.

/// Appends `text` in lower case, without port and final dot; false when it is no host.
pub(crate) fn push_valid(text: &[u8], out: &mut Vec<u8>) -> bool {
    let end = if text.first() == Some(&b'[') {
        match text.iter().position(|&byte| byte == b']') {
            Some(close) => close + 1,
            None => return false,
        }
    } else {
        text.iter().position(|&byte| byte == b':').unwrap_or(text.len())
    };
    let name = text.get(..end).unwrap_or_default();
    let port = text.get(end..).unwrap_or_default();
    let good_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() || name.ends_with(b".") || !good_port {
        return false;
    }
    let bad =
        |byte: u8| matches!(byte, 0..=b' ' | 0x7f | b'/' | b'\\' | b'"' | b'#' | b'%' | b'?' | b'@' | b'<' | b'>');
    let mut before = 0;
    for &byte in name {
        if bad(byte) || (byte == b'.' && before == b'.') {
            return false;
        }
        before = byte;
    }
    let start = out.len();
    out.extend_from_slice(name);
    if let Some(copied) = out.get_mut(start..) {
        copied.make_ascii_lowercase();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(text: &str) -> Option<String> {
        let mut out = Vec::new();
        push_valid(text.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn brings_names_to_one_form() {
        assert_eq!(valid("Example.COM:8080").as_deref(), Some("example.com"));
        assert_eq!(valid("example.com.").as_deref(), Some("example.com"));
        assert_eq!(valid("[::1]:80").as_deref(), Some("[::1]"));
    }

    #[test]
    fn refuses_what_is_no_host() {
        for text in ["", ".", "..", "a..", "a..b", "a/b", "a b", "a:80x", "[::1", "a@b", "a\0"] {
            assert_eq!(valid(text), None, "{text:?}");
        }
    }
}
