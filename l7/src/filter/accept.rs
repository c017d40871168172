//! `Accept-Encoding`, read as nginx reads it: one name is looked for, `*` is not understood.

/// The weight of a content coding in thousandths, `None` when the client does not take it.
pub(super) fn weight(field: &[u8], coding: &[u8]) -> Option<u16> {
    let starts = memchr::memmem::find_iter(&field.to_ascii_lowercase(), coding).collect::<Vec<_>>();
    let begins = |&at: &usize| at == 0 || field.get(at - 1).is_some_and(|byte| matches!(byte, b',' | b' '));
    // As nginx: the first that looks like it decides.
    let at = starts.into_iter().find(begins)?;
    let rest = field.get(at + coding.len()..)?.trim_ascii_start();
    match rest.first() {
        None | Some(b',') => Some(1000),
        Some(b';') => parameter(rest.get(1..)?.trim_ascii_start()),
        Some(_) => None,
    }
    .filter(|&weight| weight > 0)
}

/// What follows the semicolon: `q=0.5`.
fn parameter(text: &[u8]) -> Option<u16> {
    let Some((b'q' | b'Q', rest)) = text.split_first() else { return text.is_empty().then_some(1000) };
    let value = rest.strip_prefix(b"=")?;
    let value = value.split(|byte| matches!(byte, b',' | b' ')).next()?;
    let (whole, rest) = value.split_first()?;
    let whole = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let Some((dot, digits)) = rest.split_first() else { return Some(whole) };
    if *dot != b'.' || digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let scale = [100, 10, 1];
    let part: u16 = digits.iter().zip(scale).map(|(digit, scale)| u16::from(digit - b'0') * scale).sum();
    Some(whole + part).filter(|&weight| weight <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_nginx_reads_them() {
        for (field, expected) in [
            ("gzip", Some(1000)),
            ("GZip, deflate", Some(1000)),
            ("deflate,gzip", Some(1000)),
            ("deflate, gzip;q=0.5", Some(500)),
            ("gzip ; q=0.25, br", Some(250)),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip;q=1.000", Some(1000)),
            ("gzip;q=1.001", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=x", None),
            ("gzip;q", None),
            ("gzip;", Some(1000)),
            ("gzip;x=1", None),
            ("gzipx", None),
            ("x-gzip", None),
            ("x-gzip, gzip", Some(1000)),
            ("identity, *", None),
            ("", None),
        ] {
            assert_eq!(weight(field.as_bytes(), b"gzip"), expected, "{field}");
        }
    }
}
