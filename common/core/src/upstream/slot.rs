//! One worker's balancer of a group, renewed when the group's members change.

use crate::upstream::{Balancer, Group};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// What a worker keeps for each group of its plan.
pub struct Slot {
    /// As the plan has it.
    planned: Arc<Group>,
    seed: u64,
    /// The edition that the balancer was made for, or a newer one it has already.
    seen: Cell<u64>,
    balancer: RefCell<Rc<Balancer>>,
}

impl Slot {
    /// `seed` as for [`Balancer::new`].
    pub fn new(planned: Arc<Group>, seed: u64) -> Slot {
        let group = planned.current();
        let seen = Cell::new(group.edition());
        let balancer = RefCell::new(Balancer::new(group, seed));
        Slot { planned, seed, seen, balancer }
    }

    /// The balancer over the group's members as they are now. Leases of an earlier one stay good. For
    /// a group that cannot change this costs nothing, for others one load while nothing has changed.
    pub fn balancer(&self) -> Rc<Balancer> {
        if let Some(roster) = self.planned.roster()
            && roster.edition() != self.seen.get()
        {
            self.renew(roster.edition());
        }
        self.balancer.borrow().clone()
    }

    #[cold]
    fn renew(&self, edition: u64) {
        let group = self.planned.current();
        self.seen.set(edition);
        if group.edition() != self.balancer.borrow().group.edition() {
            self.balancer.replace(Balancer::new(group, self.seed));
        }
    }
}
