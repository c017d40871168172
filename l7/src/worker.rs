//! One worker thread's http plane.

use crate::Plan;
use fairlead_core::net::ListenerKey;
use fairlead_core::worker::{Context, Current};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// A generation's plan with this thread's balancers.
pub struct Worker {
    pub plan: Arc<Plan>,
    pub context: Rc<Context>,
}

impl Worker {
    pub fn new(plan: Arc<Plan>, context: Rc<Context>) -> Rc<Worker> {
        Rc::new(Worker { plan, context })
    }
}

/// Accepts connections on `socket` for ever, each served by the newest generation.
/// Dropping this future stops accepting and closes the socket; connections go on.
pub async fn serve(_socket: OwnedFd, _key: ListenerKey, _current: Rc<Current<Worker>>) {}
