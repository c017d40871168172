//! After 101 (RFC 9110 section 7.8) both sides speak a protocol of their own:
//! bytes are copied both ways until either ends or `proxy_read_timeout` passes in silence.

use crate::client::Client;
use crate::exchange::{After, Ended, Exchange};
use crate::proxy::Proxy;
use crate::proxy::pool::PeerConnection;
use crate::respond;
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::{End, Limits, Tunnel};

/// `early` came from the peer behind its head.
pub(super) async fn run(
    client: &mut Client,
    exchange: &mut Exchange,
    proxy: &Proxy,
    peer: PeerConnection,
    early: Vec<u8>,
) -> Ended {
    if !respond::flush(client, exchange).await {
        return Ended::Broken;
    }
    let from_client = exchange.request.buffer.get(exchange.consumed..).unwrap_or_default().to_vec();
    exchange.consumed = exchange.request.buffer.len();
    let worker = exchange.worker.clone();
    let tunnel = Tunnel {
        client: &client.stream,
        peer: &peer.stream,
        scratch: &worker.context.scratch,
        idle: proxy.read_timeout,
        half_close: false,
        limits: Limits::default(),
        to_peer: from_client,
        to_client: early,
    };
    let mut relay = Box::pin(tunnel.run());
    let relayed = relay.as_mut().await;
    let fault = relay.take_fault();
    client.sent += relayed.to_client;
    exchange.body_bytes_sent = relayed.to_client;
    exchange.request_length += relayed.from_client;
    if let Some(attempt) = exchange.attempts.last_mut() {
        attempt.bytes_sent += relayed.to_peer;
        attempt.bytes_received += relayed.from_peer;
        attempt.response_length = relayed.to_client;
        let age = fairlead_core::clock::tick().since(attempt.started);
        attempt.response_time = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    }
    let error = match (relayed.end, fault) {
        (End::TimedOut, _) => {
            exchange.log(
                Level::Info,
                format_args!("upstream timed out (110: Connection timed out) while proxying upgraded connection"),
            );
            None
        }
        (End::Failed(_, error), _) => Some(error),
        (End::Closed(_), fault) => fault.map(|(_, error)| error),
    };
    if let Some(error) = error {
        exchange.log(Level::Info, format_args!("{:#} while proxying upgraded connection", OsError(&error)));
    }
    exchange.completed = true;
    Ended::Sent(After::Close)
}
