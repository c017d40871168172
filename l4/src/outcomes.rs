//! How the sessions of a server ended: one counter of one row per session.

use fairlead_core::stats::Counter;

/// `$status` of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 200,
    BadRequest = 400,
    /// `allow` and `deny` turned the client away.
    Forbidden = 403,
    InternalError = 500,
    BadGateway = 502,
    /// `limit_conn` turned the client away.
    Unavailable = 503,
}

impl Status {
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// Sessions of one server since the process started, carried over by reloads.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Sessions that ended with 2xx, 4xx and 5xx.
    pub ok: Counter,
    pub client_errors: Counter,
    pub server_errors: Counter,
    /// Connections and datagrams turned away because `worker_connections`, or `udp_sessions`, were in use.
    pub overflows: Counter,
    /// UDP sessions without an answer that were ended to make room for others.
    pub evictions: Counter,
    /// Datagrams of clients dropped because their session had used up its `proxy_upload_rate`.
    pub over_rate: Counter,
    pub bytes_received: Counter,
    pub bytes_sent: Counter,
}

impl Outcomes {
    pub(crate) fn count(&self, status: Status, received: u64, sent: u64) {
        match status {
            Status::Ok => &self.ok,
            Status::BadRequest | Status::Forbidden => &self.client_errors,
            Status::InternalError | Status::BadGateway | Status::Unavailable => &self.server_errors,
        }
        .add(1);
        self.bytes_received.add(received);
        self.bytes_sent.add(sent);
    }
}
