//! IPv4 and UDP headers around a DHCP message: what is sent before there is an address, and what is
//! read before there is one (RFC 791, RFC 768).

use std::net::Ipv4Addr;

pub(super) const CLIENT_PORT: u16 = 68;
pub(super) const SERVER_PORT: u16 = 67;
const IP: usize = 20;
const UDP: usize = 8;
/// UDP's number in IPv4.
const PROTOCOL: u8 = 17;

/// From no address to all.
pub(super) fn to_everyone(payload: &[u8]) -> Vec<u8> {
    let udp = u16::try_from(UDP + payload.len()).unwrap_or(u16::MAX);
    let total = u16::try_from(IP + UDP + payload.len()).unwrap_or(u16::MAX);
    let (source, target) = (Ipv4Addr::UNSPECIFIED.octets(), Ipv4Addr::BROADCAST.octets());

    let mut datagram = Vec::with_capacity(UDP + payload.len());
    for number in [CLIENT_PORT, SERVER_PORT, udp, 0] {
        datagram.extend_from_slice(&number.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    let mut pseudo = [&source[..], &target[..], &[0, PROTOCOL], &udp.to_be_bytes()].concat();
    pseudo.extend_from_slice(&datagram);
    // Zero would say that there is none.
    let sum = match checksum(&pseudo) {
        0 => u16::MAX,
        sum => sum,
    };
    put(&mut datagram, 6, sum);

    let mut out = vec![0x45, 0x10];
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 64, PROTOCOL, 0, 0]);
    out.extend_from_slice(&source);
    out.extend_from_slice(&target);
    let sum = checksum(&out);
    put(&mut out, 10, sum);
    out.extend_from_slice(&datagram);
    out
}

/// What a server sent to a client's port, out of a whole IPv4 packet. The checksum of UDP is not
/// looked at: between virtual machines it is often not filled in, and the frame had its own.
pub(super) fn payload(packet: &[u8]) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 15) * 4;
    let total = usize::from(short(packet, 2)?);
    let fragment = short(packet, 6)? & 0x3fff;
    if packet.first()? >> 4 != 4 || header < IP || *packet.get(9)? != PROTOCOL || fragment != 0 {
        return None;
    }
    if checksum(packet.get(..header)?) != 0 {
        return None;
    }
    let datagram = packet.get(header..total)?;
    if short(datagram, 0)? != SERVER_PORT || short(datagram, 2)? != CLIENT_PORT {
        return None;
    }
    datagram.get(UDP..usize::from(short(datagram, 4)?))
}

fn put(out: &mut [u8], at: usize, value: u16) {
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

/// RFC 1071; 0 over what holds its own checksum.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let high = u32::from(pair.first().copied().unwrap_or(0)) << 8;
        sum += high + u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    fn answer(message: &[u8]) -> Vec<u8> {
        let mut packet = to_everyone(message);
        packet.swap(20, 22);
        packet.swap(21, 23);
        packet
    }

    #[test]
    fn what_is_sent_has_sums_that_fit() {
        let packet = to_everyone(b"hello");
        assert_eq!(packet.len(), 33);
        assert_eq!(checksum(&packet[..20]), 0);
        let pseudo = [&packet[12..20], &[0, 17], &packet[24..26], &packet[20..]].concat();
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(payload(&answer(b"hello")), Some(&b"hello"[..]));
        assert_eq!(payload(&packet), None, "from a client to a server");
    }

    #[test]
    fn no_packet_stops_the_reader() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let mut packet = answer(&[7; 40]);
            for _ in 0..4 {
                let at = dice.roll(packet.len() as u64) as usize;
                packet[at] = dice.roll(256) as u8;
            }
            packet.truncate(dice.roll(packet.len() as u64 + 1) as usize);
            assert!(payload(&packet).is_none_or(|found| found.len() <= packet.len()), "seed {seed}");
        }
        assert_eq!(payload(&[]), None);
    }
}
