//! One counted use of a peer. Dropping it is the only way to give it back.

use crate::clock::Tick;
use crate::upstream::{Balancer, Peer};
use std::rc::Rc;
use std::sync::Arc;

pub struct Lease {
    pub peer: Arc<Peer>,
    /// Position in [`crate::upstream::Group::peers`].
    pub index: usize,
    _balancer: Rc<Balancer>,
}

impl Lease {
    /// The peer answered: clears its failures when it was on trial.
    pub fn succeed(&mut self, _now: Tick) {}

    /// The peer failed this use; counts towards `max_fails`.
    pub fn fail(&mut self, _now: Tick) {}
}
