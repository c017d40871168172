//! Netlink's messages as bytes: a header, a fixed part, attributes with their lengths (RFC 3549).
//! The kernel is trusted to mean well, and its lengths are checked all the same.

/// Bytes of a message's header and of an attribute's.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// The attribute holds attributes.
const NESTED: u16 = 1 << 15;

/// A request being written.
pub(crate) struct Message {
    kind: u16,
    flags: i32,
    body: Vec<u8>,
}

impl Message {
    /// `fixed` is the structure that the kind of message begins with.
    pub fn new(kind: u16, fixed: &[u8]) -> Message {
        Message { kind, flags: 0, body: fixed.to_vec() }
    }

    pub fn flags(mut self, flags: i32) -> Message {
        self.flags = flags;
        self
    }

    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Message {
        put(&mut self.body, kind, value);
        self
    }

    pub fn text(self, kind: u16, value: &str) -> Message {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub fn number(self, kind: u16, value: u32) -> Message {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// An attribute of the attributes that `inner` holds.
    pub fn nested(self, kind: u16, inner: Message) -> Message {
        self.bytes(kind | NESTED, &inner.body)
    }

    pub fn finish(self, flags: i32, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        let flags = u16::try_from(self.flags | flags | libc::NLM_F_REQUEST).unwrap_or(0);
        let mut out = length.to_ne_bytes().to_vec();
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&flags.to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&0_u32.to_ne_bytes());
        out.extend_from_slice(&self.body);
        out
    }
}

/// What holds nested attributes only.
pub(crate) fn inner() -> Message {
    Message::new(0, &[])
}

fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(aligned(out.len()), 0);
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// One message of an answer.
pub(crate) enum Reply<'b> {
    /// Its kind, and what follows its header.
    Part { sequence: u32, kind: u16, body: &'b [u8] },
    /// The answer is over; `error` is an errno, or 0.
    Done { sequence: u32, error: i32 },
}

/// The messages of what was received at once. What is cut off is left out.
pub(crate) fn replies(mut rest: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(number(rest, 0)?).ok().filter(|length| *length >= HEADER)?;
        let message = rest.get(..length)?;
        rest = rest.get(aligned(length)..).unwrap_or(&[]);
        let sequence = number(message, 8)?;
        let kind = short(message, 4)?;
        let body = message.get(HEADER..)?;
        Some(match i32::from(kind) {
            libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                let error = number(body, 0).map_or(0, |error| error.cast_signed());
                Reply::Done { sequence, error: error.checked_neg().unwrap_or(libc::EIO) }
            }
            _ => Reply::Part { sequence, kind, body },
        })
    })
}

/// Every attribute with its kind. What is cut off is left out.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(short(rest, 0)?);
        let kind = short(rest, 2)? & !NESTED;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(aligned(length)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_ne_bytes(*four))
}

pub(crate) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_ne_bytes(*two))
}

/// Text that may end in a zero.
pub(crate) fn text(bytes: &[u8]) -> Box<str> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(bytes)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let bytes = Message::new(1, &[])
            .text(3, "eth0")
            .number(4, 9000)
            .nested(18, inner().text(1, "vlan").bytes(2, &[10]))
            .finish(0, 7);
        let replies: Vec<_> = replies(&bytes).collect();
        let [Reply::Part { sequence: 7, kind: 1, body }] = replies[..] else { panic!("one message") };
        let all: Vec<_> = attributes(body).collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].0, &*text(all[0].1), number(all[1].1, 0)), (3, "eth0", Some(9000)));
        let nested: Vec<_> = attributes(all[2].1).collect();
        assert_eq!((&*text(nested[0].1), nested[1].1), ("vlan", &[10][..]));
    }

    #[test]
    fn any_bytes_are_read_to_an_end() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let bytes: Vec<u8> = (0..dice.roll(200)).map(|_| dice.roll(40) as u8).collect();
            let parts = replies(&bytes).filter_map(|reply| match reply {
                Reply::Part { body, .. } => Some(attributes(body).count()),
                Reply::Done { .. } => None,
            });
            assert!(parts.sum::<usize>() <= bytes.len() && attributes(&bytes).count() <= bytes.len(), "seed {seed}");
        }
    }
}
