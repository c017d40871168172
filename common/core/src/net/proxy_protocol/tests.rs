//! Claims about the PROXY protocol: every cut, any bytes, what we write we read.

use super::*;
use proptest::prelude::*;

fn parsed(bytes: &[u8]) -> (ProxyHeader, usize) {
    parse_proxy_header(bytes).unwrap_or_else(|error| panic!("{error:?}: {}", bytes.escape_ascii()))
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The v2 header of these bytes after the signature.
fn v2(rest: &[u8]) -> Vec<u8> {
    [V2, rest].concat()
}

/// A PROXY header over IPv4 with `tlvs` after its addresses.
fn v2_with(tlvs: &[u8]) -> Vec<u8> {
    let length = u16::try_from(12 + tlvs.len()).unwrap().to_be_bytes();
    let head = [0x21, 0x11, length[0], length[1]];
    v2(&[&head[..], &[192, 0, 2, 1, 192, 0, 2, 2, 0x1f, 0x90, 0, 80], tlvs].concat())
}

#[test]
fn reads_version_1_of_both_families() {
    let (header, length) = parsed(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET /");
    assert_eq!(header.addresses, Some((socket("192.168.0.1:56324"), socket("192.168.0.11:443"))));
    assert_eq!(length, 47);
    let (header, _) = parsed(b"PROXY TCP6 2001:DB8::1 ::ffff:10.0.0.1 0 65535\r\n");
    assert_eq!(header.addresses, Some((socket("[2001:db8::1]:0"), socket("[::ffff:10.0.0.1]:65535"))));
}

#[test]
fn takes_the_longest_lines_and_none_longer() {
    let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {address} {address} 65535 65535\r\n");
    assert_eq!(longest.len(), PROXY_V1_MAX);
    assert_eq!(parsed(longest.as_bytes()), (ProxyHeader { addresses: None, tlvs: vec![] }, PROXY_V1_MAX));
    let longer = longest.replace("UNKNOWN ", "UNKNOWN  ");
    assert_eq!(parse_proxy_header(longer.as_bytes()), Err(Broken));
    assert_eq!(parse_proxy_header(&longer.as_bytes()[..106]), Err(Broken));
    assert!(parsed(format!("PROXY TCP6 {address} {address} 65535 65535\r\n").as_bytes()).0.addresses.is_some());
}

#[test]
fn unknown_ignores_what_follows_up_to_the_crlf() {
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN a\rb\nc \u{e9}\r\n"] {
        assert_eq!(parsed(line.as_bytes()), (ProxyHeader { addresses: None, tlvs: vec![] }, line.len()), "{line:?}");
    }
}

#[test]
fn refuses_lines_the_document_forbids() {
    for line in [
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOW\r\n",
        "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 256.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 ::1 ::1 1 1\r\n",
        "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP6 1::2::3 ::1 1 1\r\n",
        "PROXY TCP6 fe80::1%lo ::1 1 1\r\n",
        "PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rx\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        assert_eq!(parse_proxy_header(line.as_bytes()), Err(Broken), "{line:?}");
    }
}

#[test]
fn breaks_at_the_first_byte_that_cannot_be_mended() {
    for (good, bad) in [
        ("PROXY TCP4 1.1.1.1 2", "5555"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 6553", "6"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 0", "1"),
        ("PROXY TCP6 1:2:3:4:5:6:7:8", ":"),
        ("PROXY TCP6 ::1:2:3:4:5:6:7", ":"),
        ("PROXY TCP6 ::ffff:1.2.3", ".x"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1", " "),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r", "x"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1", "\r"),
        ("PROXY U", "\r"),
        ("PROXY TC", "X"),
        ("PRO", "P"),
        ("\r\n\r", "\r"),
    ] {
        assert_eq!(parse_proxy_header(good.as_bytes()), Err(Incomplete), "{good:?}");
        assert_eq!(parse_proxy_header([good, bad].concat().as_bytes()), Err(Broken), "{good:?}{bad:?}");
    }
}

#[test]
fn reads_version_2_with_its_vectors() {
    let bytes = v2_with(&[0x02, 0, 3, b'a', b'.', b'b', 0x04, 0, 0, 0xe0, 0, 1, 9]);
    let (header, length) = parsed(&[&bytes[..], b"more"].concat());
    assert_eq!(length, bytes.len());
    assert_eq!(header.addresses, Some((socket("192.0.2.1:8080"), socket("192.0.2.2:80"))));
    assert_eq!(header.tlvs, [(0x02, b"a.b".to_vec()), (0x04, vec![]), (0xe0, vec![9])]);
}

#[test]
fn version_2_without_usable_addresses_keeps_the_connection_s_own() {
    let unix = [&[0x21, 0x31, 0, 216][..], &[7; 216]].concat();
    for rest in [
        &[0x20, 0x00, 0, 0][..],
        // LOCAL ignores the family and what it carries.
        &[0x20, 0xff, 0, 2, 1, 2],
        &[0x21, 0x00, 0, 0],
        // An unspecified family may carry what nobody can read.
        &[0x21, 0x00, 0, 2, 1, 2],
        &[0x21, 0x10, 0, 12, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2],
        &unix,
    ] {
        let bytes = v2(rest);
        assert_eq!(parsed(&bytes), (ProxyHeader { addresses: None, tlvs: vec![] }, bytes.len()), "{rest:?}");
    }
}

#[test]
fn refuses_version_2_headers_as_soon_as_they_are_wrong() {
    for rest in [
        &[0x31][..],
        &[0x22],
        &[0x21, 0x41],
        &[0x21, 0x13],
        &[0x21, 0x11, 0, 11],
        &[0x21, 0x21, 0, 35],
        &[0x21, 0x31, 0, 215],
        // One or two bytes are no vector.
        &[0x21, 0x11, 0, 13],
        &[0x21, 0x11, 0, 14],
    ] {
        assert_eq!(parse_proxy_header(&v2(rest)), Err(Broken), "{rest:?}");
        assert_eq!(parse_proxy_header(&v2(&rest[..rest.len() - 1])), Err(Incomplete), "{rest:?}");
    }
    let overrun = v2_with(&[1, 0, 9, 1, 2, 3]);
    assert_eq!(parse_proxy_header(&overrun), Err(Broken));
    assert_eq!(parse_proxy_header(&overrun[..31]), Err(Broken));
    assert_eq!(parse_proxy_header(&overrun[..30]), Err(Incomplete));
}

#[test]
fn a_checksum_that_is_there_must_be_right() {
    // The check value of CRC-32C.
    assert_eq!(crc32c(b"123456789", 0..0), 0xe306_9283);
    let mut bytes = v2_with(&[CRC32C, 0, 4, 0, 0, 0, 0]);
    let at = bytes.len() - 4;
    let sum = crc32c(&bytes, at..at + 4).to_be_bytes();
    bytes[at..].copy_from_slice(&sum);
    assert!(parse_proxy_header(&bytes).is_ok());
    bytes[20] ^= 1;
    assert_eq!(parse_proxy_header(&bytes), Err(Broken));
    assert_eq!(parse_proxy_header(&v2_with(&[CRC32C, 0, 1, 0])), Err(Broken));
}

#[test]
fn writes_what_the_document_shows() {
    let mut out = Vec::new();
    write_proxy_v1(Some(socket("192.168.0.1:56324")), Some(socket("192.168.0.11:443")), &mut out);
    assert_eq!(out, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
    out.clear();
    write_proxy_v1(Some(socket("10.0.0.1:1")), Some(socket("[2001:db8::1]:2")), &mut out);
    assert_eq!(out, b"PROXY TCP6 ::ffff:10.0.0.1 2001:db8::1 1 2\r\n");
    out.clear();
    write_proxy_v1(None, Some(socket("192.168.0.11:443")), &mut out);
    assert_eq!(out, b"PROXY UNKNOWN\r\n");
    out.clear();
    write_proxy_v2(None, None, false, &mut out);
    assert_eq!(out, v2(&[0x20, 0, 0, 0]));
}

fn any_socket() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.into(), port)),
        (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.into(), port)),
        (0..3u8, any::<u16>()).prop_map(|(last, port)| SocketAddr::new(Ipv6Addr::from(u128::from(last)).into(), port)),
    ]
}

/// Bytes that get far into the parsers before they are wrong.
fn nearly_a_header() -> impl Strategy<Value = Vec<u8>> {
    let line = proptest::collection::vec(
        prop_oneof![
            Just("TCP4"),
            Just("TCP6"),
            Just("UNKNOWN"),
            Just(" "),
            Just("1.2.3.4"),
            Just("::"),
            Just("1:"),
            Just("0"),
            Just("65535"),
            Just("."),
            Just("\r"),
            Just("\n"),
            Just("\r\n"),
            Just("ffff:"),
            Just("9")
        ],
        0..24,
    )
    .prop_map(|words| format!("PROXY {}", words.concat()).into_bytes());
    let binary = (0x1f..0x23u8, 0..0x42u8, 0..300u16, proptest::collection::vec(0..5u8, 0..300)).prop_map(
        |(command, kind, length, body)| {
            let [high, low] = length.to_be_bytes();
            v2(&[&[command, kind, high, low], &body[..]].concat())
        },
    );
    prop_oneof![line, binary, proptest::collection::vec(any::<u8>(), 0..64)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_at_every_cut(
        source in any_socket(), destination in any_socket(), form in 0..3u8, tail in any::<[u8; 3]>()
    ) {
        let mut bytes = Vec::new();
        match form {
            0 => write_proxy_v1(Some(source), Some(destination), &mut bytes),
            form => write_proxy_v2(Some(source), Some(destination), form == 2, &mut bytes),
        }
        let length = bytes.len();
        for cut in 0..length {
            prop_assert_eq!(parse_proxy_header(&bytes[..cut]), Err(Incomplete), "cut at {}", cut);
        }
        bytes.extend_from_slice(&tail);
        let (header, taken) = parse_proxy_header(&bytes).unwrap();
        prop_assert_eq!(taken, length);
        prop_assert_eq!(header.addresses, Some(of_one_family((source, destination))));
    }

    #[test]
    fn a_verdict_stands_whatever_bytes_follow(bytes in nearly_a_header()) {
        let mut verdict = Err(Incomplete);
        for cut in 0..=bytes.len() {
            let now = parse_proxy_header(&bytes[..cut]);
            match &verdict {
                Err(Incomplete) => verdict = now,
                decided => prop_assert_eq!(&now, decided, "at {} of {}", cut, bytes.escape_ascii()),
            }
        }
    }
}
