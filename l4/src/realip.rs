//! `set_real_ip_from`: a trusted client's PROXY header says who the client is.

use crate::record::Record;
use fairlead_core::access::Networks;
use std::net::SocketAddr;

/// Who connected to us in the name of the client; `None` inside is a Unix socket.
pub(crate) struct Forwarder(Option<SocketAddr>);

/// Everything after this (limits, access, balancing, our own PROXY header, logs) sees the new client.
pub(crate) fn apply(record: &mut Record, trusted: &Networks) {
    let Some((source, _)) = record.header.as_ref().and_then(|header| header.addresses) else { return };
    if trusted.contains(record.client.map(|client| client.ip())) {
        record.forwarder = Some(Forwarder(record.client.replace(source)));
    }
}

impl Record {
    /// The connection's own address, whatever a PROXY header says.
    pub fn connected(&self) -> Option<SocketAddr> {
        self.forwarder.as_ref().map_or(self.client, |forwarder| forwarder.0)
    }
}
