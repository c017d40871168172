//! One member of a group: its address and everything workers share about it.

use crate::net::Address;
use crate::stats::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// A peer of one generation's group. What must outlive a reload is in `state`.
#[derive(Debug)]
pub struct Peer {
    pub address: Address,
    /// The address as nginx prints it in `$upstream_addr`.
    pub name: Box<str>,
    /// `server`'s own words: what `hash … consistent` places on the ring.
    pub server: Box<str>,
    /// Lowercase hex MD5 of `name`: the value of a sticky cookie.
    pub sid: Box<str>,
    pub weight: u32,
    pub max_conns: u32,
    pub max_fails: u32,
    /// Milliseconds.
    pub fail_timeout: u64,
    pub backup: bool,
    pub down: bool,
    pub state: Arc<State>,
}

/// What reloads carry over and all threads share.
#[derive(Debug, Default)]
pub struct State {
    /// Connections or requests in progress.
    pub active: AtomicU32,
    pub fails: AtomicU32,
    /// Ticks of the last failure and of the last time the peer was tried after one.
    pub accessed: AtomicU64,
    pub checked: AtomicU64,
    /// An [`Availability`] as active health checks set it.
    pub health: AtomicU8,
    pub picks: Counter,
    pub failures: Counter,
    pub bytes_sent: Counter,
    pub bytes_received: Counter,
}

/// What active health checks say about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Availability {
    /// No active checks, or they pass.
    #[default]
    Up = 0,
    /// `mandatory`, and not yet passed once.
    Checking = 1,
    Unhealthy = 2,
}
