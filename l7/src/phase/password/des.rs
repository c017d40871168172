//! crypt(3) of old: 25 rounds of DES whose expansion the salt changes. Too weak
//! for new passwords; files that hold such hashes still work.

use super::DIGITS;

const PC1: [u8; 56] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36, 63, 55,
    47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];
const PC2: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30,
    40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];
const SHIFTS: [u32; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];
const EXPAND: [u8; 48] = [
    32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17, 16, 17, 18, 19, 20, 21, 20, 21,
    22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
];
const P: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4,
    25,
];
const FINAL: [u8; 64] = [
    40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31, 38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21,
    61, 29, 36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27, 34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9,
    49, 17, 57, 25,
];
/// FIPS 46-3, appendix 1: four rows of sixteen for each box.
const BOXES: [[u8; 64]; 8] = [
    [
        14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8, 4,
        1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13,
    ],
    [
        15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5, 0,
        14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9,
    ],
    [
        10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1, 13,
        6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12,
    ],
    [
        7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9, 10,
        6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14,
    ],
    [
        2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6, 4,
        2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3,
    ],
    [
        12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8, 9,
        14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13,
    ],
    [
        4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6, 1,
        4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12,
    ],
    [
        13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2, 7,
        11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11,
    ],
];

/// The hash of a password with the salt of `hash`; `None` when that is no hash of this kind.
pub(super) fn crypt(password: &[u8], hash: &[u8]) -> Option<[u8; 13]> {
    let digit = |byte: &u8| DIGITS.iter().position(|digit| digit == byte);
    if hash.len() != 13 || !hash.iter().all(|byte| digit(byte).is_some()) {
        return None;
    }
    let (first, second) = (*hash.first()?, *hash.get(1)?);
    let salt = digit(&first)? | digit(&second)? << 6;
    let keys = keys(password);
    let (mut left, mut right) = (0_u32, 0_u32);
    for _ in 0..25 {
        for key in keys {
            (left, right) = (right, left ^ scramble(right, key, salt));
        }
        // The permutations between two rounds of DES cancel each other, the exchange does not.
        (left, right) = (right, left);
    }
    let block = permute(u64::from(left) << 32 | u64::from(right), 64, &FINAL);
    let mut out = [0; 13];
    for (at, place) in out.iter_mut().enumerate() {
        *place = match at {
            0 => first,
            1 => second,
            // Eleven digits hold 66 bits, of which the last two are none.
            12 => *DIGITS.get((block << 2) as usize & 63)?,
            at => *DIGITS.get((block >> (64 - 6 * (at - 1))) as usize & 63)?,
        };
    }
    Some(out)
}

/// Takes bits out of the lowest `width` bits of `value`, which are numbered from 1 on the left.
fn permute(value: u64, width: u32, table: &[u8]) -> u64 {
    table.iter().fold(0, |out, place| out << 1 | value >> (width - u32::from(*place)) & 1)
}

fn keys(password: &[u8]) -> [u64; 16] {
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(password).for_each(|(place, byte)| *place = byte << 1);
    let both = permute(u64::from_be_bytes(bytes), 64, &PC1);
    let (mut c, mut d) = (both >> 28, both & 0x0fff_ffff);
    let turned = |half: u64, by: u32| (half << by | half >> (28 - by)) & 0x0fff_ffff;
    SHIFTS.map(|by| {
        (c, d) = (turned(c, by), turned(d, by));
        permute(c << 28 | d, 56, &PC2)
    })
}

/// The function of a round: the salt exchanges bits of the expanded half.
fn scramble(half: u32, key: u64, salt: usize) -> u32 {
    let expanded = permute(u64::from(half), 32, &EXPAND);
    let (high, low) = (expanded >> 24, expanded & 0xff_ffff);
    // Bit 0 of the salt is the leftmost of each half.
    let mask = (0..24).fold(0, |mask, bit| mask | ((salt >> bit & 1) as u64) << (23 - bit));
    let exchanged = (high ^ low) & mask;
    let input = ((high ^ exchanged) << 24 | (low ^ exchanged)) ^ key;
    let boxes = BOXES.iter().enumerate().fold(0, |out, (number, table)| {
        let six = input >> (42 - 6 * number) & 63;
        let at = (six & 0x20 | (six & 1) << 4 | six >> 1 & 0xf) as usize;
        out << 4 | u64::from(table.get(at).copied().unwrap_or(0))
    });
    permute(boxes, 32, &P) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_system() {
        for (password, hash) in
            [("password", "abJnggxhB/yWI"), ("", "..X8NBuQ4l6uQ"), ("longer than eight", "ZzLkyOkBTeqXA")]
        {
            let made = crypt(password.as_bytes(), hash.as_bytes()).unwrap();
            assert_eq!(std::str::from_utf8(&made).unwrap(), hash, "{password}");
        }
        assert!(crypt(b"x", b"ab").is_none() && crypt(b"x", b"abJnggxhB/yW!").is_none());
    }
}
