//! What `upstream { … }` says, before addresses are resolved.

use fairlead_conf::{Directive, Word};
use std::time::Duration;

/// One `upstream` block.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: Word,
    pub servers: Vec<Server>,
    pub method: Method,
    /// Name and bytes of `zone`.
    pub zone: Option<(Word, u64)>,
    /// Idle connections kept per worker (http only).
    pub keepalive: Keepalive,
    pub sticky: Option<Sticky>,
}

/// One `server` of an upstream.
#[derive(Clone, Debug)]
pub struct Server {
    pub address: Word,
    pub weight: u32,
    pub max_conns: u32,
    pub max_fails: u32,
    pub fail_timeout: Duration,
    pub backup: bool,
    pub down: bool,
}

/// How a peer is chosen. The plane compiles `key` with its own variables and
/// gives the text in [`crate::upstream::Choice::key`].
#[derive(Clone, Debug, Default)]
pub enum Method {
    #[default]
    RoundRobin,
    LeastConn,
    IpHash,
    Hash {
        key: Word,
        consistent: bool,
    },
    Random {
        two: bool,
    },
}

/// `keepalive`, `keepalive_requests`, `keepalive_time`, `keepalive_timeout`.
#[derive(Clone, Debug)]
pub struct Keepalive {
    pub connections: usize,
    pub requests: u64,
    pub time: Duration,
    pub timeout: Duration,
}

/// `sticky cookie NAME [expires=] [domain=] [path=] [httponly] [secure] [samesite=]`:
/// the words as written; http compiles what may hold variables.
#[derive(Clone, Debug)]
pub struct Sticky {
    pub name: Word,
    /// `Some(None)` is `expires=max`.
    pub expires: Option<Option<Duration>>,
    pub domain: Option<Word>,
    pub path: Option<Word>,
    pub httponly: bool,
    pub secure: bool,
    pub samesite: Option<Word>,
}

/// Rows of the `upstream` block for both planes.
pub const DIRECTIVES: &[Directive<Settings>] = &[];
