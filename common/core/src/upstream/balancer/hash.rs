//! `hash KEY`: nginx's modulo hash (as Cache::Memcached's), and the CRC32 that
//! it shares with the consistent one.

use super::search::Search;

/// Where one request's hash has got to.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::upstream) struct Rehash {
    pub hash: u32,
    /// Hashes tried so far: the prefix of the next one.
    pub rounds: u32,
    /// Hashes that led to nobody.
    pub tries: u32,
    pub started: bool,
}

/// The peer that `key` belongs to, or the next one by hash; `None` leaves the pick to round robin.
pub(super) fn pick(mut search: Search<'_>, key: &[u8]) -> Option<usize> {
    while search.goes_on() {
        let at = &mut search.tried.rehash;
        let round = crc32_of_round(at.rounds, key);
        at.hash = at.hash.wrapping_add((round >> 16) & 0x7fff);
        at.rounds += 1;
        let offset = u64::from(at.hash);
        let member = search.under(offset);
        if let Some(member) = search.take(member) {
            return Some(member);
        }
    }
    None
}

fn crc32_of_round(round: u32, key: &[u8]) -> u32 {
    let mut crc = Crc32::default();
    if round > 0 {
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut rest = round;
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        crc = crc.update(&digits[at..]);
    }
    crc.update(key).value()
}

/// CRC-32 of IEEE 802.3.
#[derive(Clone, Copy)]
pub(in crate::upstream) struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Crc32 {
        Crc32(u32::MAX)
    }
}

impl Crc32 {
    pub fn update(self, bytes: &[u8]) -> Crc32 {
        let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
        Crc32(bytes.iter().fold(self.0, step))
    }

    pub fn value(self) -> u32 {
        self.0 ^ u32::MAX
    }
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_has_the_check_value_of_ieee_802_3() {
        assert_eq!(Crc32::default().update(b"123456789").value(), 0xcbf4_3926);
    }

    #[test]
    fn later_rounds_hash_their_number_before_the_key() {
        assert_eq!(crc32_of_round(0, b"key"), Crc32::default().update(b"key").value());
        assert_eq!(crc32_of_round(17, b"key"), Crc32::default().update(b"17key").value());
    }
}
