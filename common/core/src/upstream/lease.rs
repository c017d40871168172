//! One counted use of a peer. Dropping it is the only way to give it back.

use crate::clock::Tick;
use crate::upstream::{Balancer, Peer};
use std::rc::Rc;
use std::sync::Arc;

/// Made by [`Balancer::pick`] alone. Dropping it without [`Lease::succeed`] or [`Lease::fail`]
/// says nothing about the peer.
pub struct Lease {
    pub peer: Arc<Peer>,
    /// Position in [`crate::upstream::Group::peers`].
    pub index: usize,
    balancer: Rc<Balancer>,
    /// What was counted: writing to the public fields cannot unbalance the count.
    counted: usize,
}

impl Lease {
    /// `balancer` has counted one use of peer `index`.
    pub(super) fn new(balancer: Rc<Balancer>, peer: Arc<Peer>, index: usize) -> Lease {
        Lease { peer, index, balancer, counted: index }
    }

    /// The peer answered: clears its failures when it was on trial.
    pub fn succeed(&mut self, now: Tick) {
        self.balancer.succeeded(self.counted, now);
    }

    /// The peer failed this use; counts towards `max_fails`. Whether the peer is over it now,
    /// which nginx logs as `upstream server temporarily disabled`.
    pub fn fail(&mut self, now: Tick) -> bool {
        self.balancer.failed(self.counted, now)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.balancer.released(self.counted);
    }
}
