//! Looking for bytes eight at a time, in portable arithmetic: for what is looked at on every request,
//! where most values are some ten bytes long and hold nothing of what is looked for.
//!
//! A test gives a word whose high bits say what it found. It is exact as a whole (some byte passes or
//! none does), not by position.

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// Whether some word of `bytes` passes the test. What is missing in the last word is made up of
/// bytes that are there, or of `filler`, which must not pass.
pub fn any(bytes: &[u8], filler: u8, test: impl Fn(u64) -> u64) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut found = words.iter().fold(0, |found, word| found | test(u64::from_le_bytes(*word)));
    if !rest.is_empty() {
        let last = match bytes.last_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => rest.iter().fold(ONES * u64::from(filler), |word, byte| word << 8 | u64::from(*byte)),
        };
        found |= test(last);
    }
    found & HIGH != 0
}

/// Some byte is below `bound`, which is at most 128.
pub const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * bound as u64) & !word
}

/// Some byte is this one.
pub const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

/// Some byte is above `bound`, which is at most 127.
pub const fn above(word: u64, bound: u8) -> u64 {
    word.wrapping_add(ONES * (127 - bound) as u64) | word
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place of values up to three words long.
    fn agree(test: fn(u64) -> u64, plain: fn(u8) -> bool) {
        for len in 1..=24 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut value = vec![b'm'; len];
                    value[at] = byte;
                    assert_eq!(any(&value, b'm', test), plain(byte), "byte {byte} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn words_find_what_bytes_find() {
        agree(|word| below(word, 0x20), |byte| byte < 0x20);
        agree(|word| equal(word, 0), |byte| byte == 0);
        agree(|word| equal(word, 0xe9), |byte| byte == 0xe9);
        agree(|word| above(word, 0x7e), |byte| byte > 0x7e);
        assert!(!any(b"", b'm', |word| above(word, 0)));
    }

    #[test]
    fn neighbours_do_not_hide_each_other() {
        for first in 0..=255 {
            for second in 0..=255 {
                let value = [b'm', first, second, b'm', b'm', b'm', b'm', b'm'];
                let found = any(&value, b'm', |word| below(word, 0x20) | equal(word, b'"') | above(word, 0x7e));
                let plain = |byte: u8| byte < 0x20 || byte == b'"' || byte > 0x7e;
                assert_eq!(found, plain(first) || plain(second), "{first} {second}");
            }
        }
    }
}
