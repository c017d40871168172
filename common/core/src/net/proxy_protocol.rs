//! The PROXY protocol, versions 1 and 2, as HAProxy's `doc/proxy-protocol.txt` defines it.
//! No I/O: bytes in, header and its length out.

use std::net::SocketAddr;

/// Who the client really is, and which address it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// `None` for `UNKNOWN` and `LOCAL`: keep the connection's own addresses.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Type and value of each TLV (version 2).
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProtocolError {
    #[error("more bytes are needed")]
    Incomplete,
    #[error("broken header")]
    Broken,
}

/// The header at the start of `bytes` and how many bytes it takes.
///
/// # Errors
/// `Incomplete` while `bytes` may still become a header, `Broken` when it cannot.
pub fn parse_proxy_header(_bytes: &[u8]) -> Result<(ProxyHeader, usize), ProxyProtocolError> {
    Err(ProxyProtocolError::Incomplete)
}

/// Version 1: `PROXY TCP4 source destination sport dport\r\n`.
pub fn write_proxy_v1(_source: Option<SocketAddr>, _destination: Option<SocketAddr>, _out: &mut Vec<u8>) {}

/// Version 2; `datagram` says UDP.
pub fn write_proxy_v2(
    _source: Option<SocketAddr>,
    _destination: Option<SocketAddr>,
    _datagram: bool,
    _out: &mut Vec<u8>,
) {
}
