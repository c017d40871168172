//! The first bytes of a TLS connection, as a client sends them: enough for whoever reads names,
//! not enough for a handshake.

/// A ClientHello of TLS 1.2 in one record, which asks for `name` and offers `protocols`.
pub fn client_hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    in_records(&hello_message(name, protocols), usize::from(u16::MAX))
}

/// The same cut into records of `size` bytes.
pub fn client_hello_in_records(name: &str, protocols: &[&str], size: usize) -> Vec<u8> {
    in_records(&hello_message(name, protocols), size)
}

fn hello_message(name: &str, protocols: &[&str]) -> Vec<u8> {
    const VERSION: [u8; 2] = [3, 3];
    let mut extensions = Vec::new();
    if !name.is_empty() {
        extensions.extend(extension(0, &counted(2, &[&[0], &counted(2, name.as_bytes())[..]].concat())));
    }
    if !protocols.is_empty() {
        let list: Vec<u8> = protocols.iter().flat_map(|protocol| counted(1, protocol.as_bytes())).collect();
        extensions.extend(extension(16, &counted(2, &list)));
    }
    let random = [7; 32];
    let body =
        [&VERSION[..], &random, &counted(1, &[]), &counted(2, &[0x13, 1]), &counted(1, &[0]), &counted(2, &extensions)]
            .concat();
    [&[1], &counted(3, &body)[..]].concat()
}

fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|piece| [&[22, 3, 1], &counted(2, piece)[..]].concat()).collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &counted(2, data)].concat()
}

/// The bytes behind their count, which has `size` bytes.
fn counted(size: usize, bytes: &[u8]) -> Vec<u8> {
    let count = bytes.len().to_be_bytes();
    [&count[count.len() - size..], bytes].concat()
}
