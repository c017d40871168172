//! An SNTP packet as bytes, and what an answer says of our clock (RFC 5905 sections 7.3 and 8).

use fairlead_core::clock::Tick;

pub(super) const LENGTH: usize = 48;
/// No warning, version 4, a client.
const CLIENT: u8 = 4 << 3 | 3;
const SERVER: u8 = 4;
/// Seconds from 1900, NTP's beginning, to 1970.
const TO_1970: i64 = 2_208_988_800;
const ERA: i64 = 1 << 32;
const SECOND: i64 = 1_000_000_000;
/// A server that is itself further than this from a clock is none.
const FURTHEST: i64 = 1_500_000_000;

/// Nanoseconds since 1970.
pub type Nanos = i64;

/// What one answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// To be added to our clock, in nanoseconds.
    pub offset: i64,
    /// Of the way there and back, in nanoseconds. The offset is wrong by at most half of it.
    pub delay: i64,
    /// How far the server is from a clock that keeps time by itself, in nanoseconds.
    pub distance: i64,
    pub at: Tick,
}

/// An answer, or that there is none to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Sample {
        offset: i64,
        delay: i64,
        distance: i64,
    },
    /// It asks to be left alone.
    GoAway,
}

/// A question. `nonce` stands where our time would: it comes back, and tells nobody anything.
pub(super) fn question(nonce: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (head, tail) = bytes.split_at_mut(40);
    if let Some(first) = head.first_mut() {
        *first = CLIENT;
    }
    tail.copy_from_slice(&nonce.to_be_bytes());
    bytes
}

/// `None` when it is no answer to `nonce` or makes no sense. `sent` and `came` are by our clock.
pub(super) fn answer(bytes: &[u8], nonce: u64, (sent, came): (Nanos, Nanos)) -> Option<Answer> {
    let bytes: &[u8; LENGTH] = bytes.first_chunk()?;
    let [first, stratum, ..] = *bytes;
    let (leap, version, mode) = (first >> 6, first >> 3 & 7, first & 7);
    let origin = u64::from_be_bytes(chunk(bytes, 24)?);
    if mode != SERVER || !(3..=4).contains(&version) || origin != nonce {
        return None;
    }
    if stratum == 0 {
        return Some(Answer::GoAway);
    }
    let (received, transmitted) = (nanos(chunk(bytes, 32)?)?, nanos(chunk(bytes, 40)?)?);
    let distance = short(chunk(bytes, 4)?) / 2 + short(chunk(bytes, 8)?);
    if leap == 3 || stratum > 15 || distance > FURTHEST || transmitted < received {
        return None;
    }
    let delay = came.checked_sub(sent)?.checked_sub(transmitted.checked_sub(received)?)?;
    let offset = received.checked_sub(sent)?.checked_add(transmitted.checked_sub(came)?)? / 2;
    // The server's clock may be coarser than the way is long.
    (delay > -SECOND / 1000).then_some(Answer::Sample { offset, delay: delay.max(0), distance })
}

fn chunk<const N: usize>(bytes: &[u8; LENGTH], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Seconds since 1900 modulo 2³², and a fraction. The first half of the numbers is the era that
/// begins in 2036. Zero is no time.
fn nanos(bytes: [u8; 8]) -> Option<Nanos> {
    let number = u64::from_be_bytes(bytes);
    let seconds = i64::try_from(number >> 32).ok().filter(|_| number != 0)?;
    let fraction = i64::try_from(((number & 0xffff_ffff) * 1_000_000_000) >> 32).ok()?;
    let era = if seconds < ERA / 2 { ERA } else { 0 };
    (seconds + era - TO_1970).checked_mul(SECOND)?.checked_add(fraction)
}

/// 16 bits of seconds, 16 of a fraction.
fn short(bytes: [u8; 4]) -> i64 {
    (i64::from(u32::from_be_bytes(bytes)) * SECOND) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    /// What a server whose clock says `now` answers.
    fn reply(question: &[u8], now: Nanos) -> Vec<u8> {
        let seconds = (now / SECOND + TO_1970).rem_euclid(ERA) as u64;
        let fraction = ((now % SECOND) as u64 * (1 << 32)) / SECOND as u64;
        let time = (seconds << 32 | fraction & 0xffff_ffff).to_be_bytes();
        let mut bytes = vec![0; LENGTH];
        (bytes[0], bytes[1]) = (4 << 3 | 4, 2);
        bytes[24..32].copy_from_slice(&question[40..48]);
        bytes[32..40].copy_from_slice(&time);
        bytes[40..48].copy_from_slice(&time);
        bytes
    }

    const NOW: Nanos = 1_790_000_000 * SECOND;

    #[test]
    fn the_offset_is_halfway_between_there_and_back() {
        // Ten milliseconds there, ten back; the server is five seconds ahead.
        let bytes = reply(&question(7), NOW + 5 * SECOND + SECOND / 100);
        let Some(Answer::Sample { offset, delay, .. }) = answer(&bytes, 7, (NOW, NOW + SECOND / 50)) else { panic!() };
        assert!((offset - 5 * SECOND).abs() < 1000 && delay == SECOND / 50, "{offset} {delay}");
    }

    #[test]
    fn the_era_after_2036_is_told_from_this_one() {
        let later = 2_200_000_000 * SECOND;
        let Some(Answer::Sample { offset, .. }) = answer(&reply(&question(1), later), 1, (NOW, NOW)) else { panic!() };
        assert!((offset - (later - NOW)).abs() < 1000);
    }

    #[test]
    fn what_is_no_answer_is_not_believed() {
        let good = reply(&question(7), NOW);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            answer(&bytes, 7, (NOW, NOW))
        };
        assert!(matches!(with(1, 2), Some(Answer::Sample { .. })));
        assert_eq!(with(1, 0), Some(Answer::GoAway));
        let wrong = [(0, 0xe4), (0, 0x23), (0, 0x0c), (1, 16), (24, 9), (4, 4), (32, 0xff)];
        for (at, value) in wrong {
            assert_eq!(with(at, value), None, "byte {at} as {value}");
        }
        assert_eq!(answer(&good[..47], 7, (NOW, NOW)), None);
        assert_eq!(answer(&good, 8, (NOW, NOW)), None);
    }

    #[test]
    fn no_bytes_stop_the_reader() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let mut bytes: Vec<u8> = (0..dice.roll(60)).map(|_| dice.roll(256) as u8).collect();
            if let Some(nonce) = bytes.get_mut(24..32) {
                nonce.copy_from_slice(&7_u64.to_be_bytes());
            }
            let _ = answer(&bytes, 7, (dice.roll(u64::MAX) as i64, dice.roll(u64::MAX) as i64));
        }
    }
}
