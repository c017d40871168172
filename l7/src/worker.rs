//! One worker thread's http plane: its balancers, idle connections and recycled memory.

use crate::Plan;
use crate::disk;
use crate::exchange::Memory;
use crate::filter::UserIdSequence;
use crate::proxy::Pool;
use ahash::AHashMap;
use fairlead_core::resolver::{self, Resolver};
use fairlead_core::upstream::Slot;
use fairlead_core::worker::Context;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A generation's plan with this thread's balancers.
pub struct Worker {
    pub plan: Arc<Plan>,
    pub context: Rc<Context>,
    /// One per group of the plan.
    pub(crate) balancers: Vec<Slot>,
    pub(crate) pool: Rc<Pool>,
    /// What `userid` counts.
    pub(crate) uids: UserIdSequence,
    resolvers: RefCell<AHashMap<resolver::Settings, Rc<Resolver>>>,
    memory: RefCell<Vec<Memory>>,
    /// `open_file_cache`: one for each way to write it.
    open_files: RefCell<OpenFiles>,
    /// Small files that are asked for all the time.
    pub(crate) hot: Rc<disk::Hot>,
    /// Bytes of bodies in memory beyond `client_body_buffer_size`.
    pub(crate) held: Rc<Cell<usize>>,
}

/// By what they are kept for and how they are read.
type OpenFiles = AHashMap<(usize, Duration, Option<(u64, usize)>), disk::Cache>;

/// Recycled exchanges that a worker keeps.
const MEMORY_KEPT: usize = 64;

impl Worker {
    pub fn new(plan: Arc<Plan>, context: Rc<Context>) -> Rc<Worker> {
        let seed = fairlead_core::clock::unix_millis() ^ (context.id as u64) << 48;
        let balancers = plan.groups.iter().map(|group| Slot::new(group.clone(), seed)).collect();
        let pool = Pool::new(&plan.groups);
        Worker::with(plan, context, balancers, pool)
    }

    /// One that passes nothing on: variables are looked up with it where no request is served.
    pub(crate) fn idle(plan: Arc<Plan>) -> Rc<Worker> {
        Worker::with(plan, Context::new(0), Vec::new(), Pool::new(&[]))
    }

    fn with(plan: Arc<Plan>, context: Rc<Context>, balancers: Vec<Slot>, pool: Rc<Pool>) -> Rc<Worker> {
        Rc::new(Worker {
            plan,
            context,
            balancers,
            pool,
            uids: UserIdSequence::default(),
            resolvers: RefCell::default(),
            memory: RefCell::default(),
            open_files: RefCell::default(),
            hot: Rc::default(),
            held: Rc::default(),
        })
    }

    /// The resolver of these settings; its cache is shared by all locations that say the same.
    pub(crate) fn resolver(&self, settings: &resolver::Settings) -> Rc<Resolver> {
        let mut resolvers = self.resolvers.borrow_mut();
        if let Some(resolver) = resolvers.get(settings) {
            return resolver.clone();
        }
        let resolver = Resolver::new(settings.clone());
        resolvers.insert(settings.clone(), resolver.clone());
        resolver
    }

    /// Lends the files kept open by these settings and this `directio`.
    pub(crate) fn with_open_files<R>(
        &self,
        (settings, direct): (&disk::CacheSettings, Option<(u64, usize)>),
        use_them: impl FnOnce(&mut disk::Cache) -> R,
    ) -> R {
        use_them(self.open_files.borrow_mut().entry((settings.most, settings.inactive, direct)).or_default())
    }

    pub(crate) fn take_memory(&self) -> Memory {
        self.memory.borrow_mut().pop().unwrap_or_default()
    }

    /// What is left of a connection that ended must not become the beginning of another.
    pub(crate) fn give_back(&self, mut memory: Memory) {
        memory.request.buffer.clear();
        let mut kept = self.memory.borrow_mut();
        if kept.len() < MEMORY_KEPT && memory.is_small() {
            kept.push(memory);
        }
    }
}
