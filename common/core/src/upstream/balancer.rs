//! One worker's view of a group: picks peers in O(1) or O(log n).

use crate::clock::Tick;
use crate::upstream::{Group, Lease};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

pub struct Balancer {
    pub group: Arc<Group>,
}

/// What a pick may depend on.
pub struct Choice<'a> {
    pub now: Tick,
    /// `ip_hash`; `None` for a client on a Unix socket.
    pub client: Option<IpAddr>,
    /// The text of `hash`'s key; empty for the other methods.
    pub key: &'a [u8],
    /// Server id a sticky cookie asks for.
    pub sid: Option<&'a [u8]>,
}

/// The peers this request or session has tried already.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    pub first: u64,
    pub rest: Vec<u64>,
}

/// Nobody is left: nginx's `no live upstreams while connecting to upstream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPeer;

impl Balancer {
    /// `seed` feeds `random` and nothing else.
    pub fn new(group: Arc<Group>, _seed: u64) -> Rc<Balancer> {
        Rc::new(Balancer { group })
    }

    /// Picks a peer that `tried` does not hold, and adds it there.
    ///
    /// # Errors
    /// [`NoPeer`] when every peer is down, failed, full or tried.
    pub fn pick(self: &Rc<Self>, _choice: &Choice<'_>, _tried: &mut Tried) -> Result<Lease, NoPeer> {
        Err(NoPeer)
    }
}
