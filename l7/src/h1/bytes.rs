//! Positions in a message's buffer, and the character classes of RFC 9110.

/// A range of a message's buffer. Messages are bounded well below 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub start: u32,
    pub len: u32,
}

impl Slice {
    pub fn new(start: usize, end: usize) -> Slice {
        Slice { start: start as u32, len: end.saturating_sub(start) as u32 }
    }

    /// The bytes; empty when the buffer is shorter than the slice says.
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        let start = self.start as usize;
        buffer.get(start..start + self.len as usize).unwrap_or_default()
    }

    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// `token` of RFC 9110 section 5.6.2.
pub fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// What ends a field's name: its colon, and what no name may hold.
pub(super) static ENDS_NAME: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        ends[byte] = byte <= b' ' as usize || byte == b':' as usize || byte == 0x7f;
        byte += 1;
    }
    ends
};

/// Length of the name at the front of `line`, up to and without its colon; `None` when it has none or
/// holds what no name may hold.
pub(super) fn name_len(line: &[u8]) -> Option<usize> {
    let end = line.iter().position(|byte| ENDS_NAME[usize::from(*byte)])?;
    (end > 0 && line.get(end) == Some(&b':')).then_some(end)
}

/// Digits only, no sign, no overflow.
pub fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether a comma-separated list holds `member`, in any case.
pub fn is_list_member(list: &[u8], member: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(member))
}
