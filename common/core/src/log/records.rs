//! Messages that wait in one buffer and are told apart again: those of syslog,
//! and lines whose file has a name of its own.

const LENGTH: usize = size_of::<u32>();

/// Appends what `build` writes with its length before it.
pub(super) fn push_record(out: &mut Vec<u8>, build: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    build(out);
    let length = u32::try_from(out.len() - start - LENGTH).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + LENGTH) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// The messages in a buffer of records.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
        let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went_in() {
        let mut bytes = Vec::new();
        for message in [&b"one"[..], b"", b"two\nlines"] {
            push_record(&mut bytes, |out| out.extend_from_slice(message));
        }
        assert_eq!(records(&bytes).collect::<Vec<_>>(), [&b"one"[..], b"", b"two\nlines"]);
        assert_eq!(records(&bytes[..bytes.len() - 1]).count(), 2, "a torn record is no record");
    }
}
