//! MurmurHash2 with seed 0, by which `split_clients` deals out its clients:
//! 32 bits, little endian, as Austin Appleby published it.

const MIX: u32 = 0x5bd1_e995;

pub(super) fn murmur2(key: &[u8]) -> u32 {
    let mut hash = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MIX) ^ word.wrapping_mul(MIX);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last.iter_mut().zip(tail).for_each(|(place, byte)| *place = *byte);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}
