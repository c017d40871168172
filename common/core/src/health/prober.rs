//! The thread that runs all active health checks of the process.
//!
//! Each check of each peer is a small task that sleeps until its machine says
//! so, probes, and tells the machine. A new generation's checks take the place
//! of the old ones in place: what is the same goes on, probes in flight too. The
//! lookups of groups whose members change run here too, so that the checks of a
//! peer begin before it gets traffic. Not on any hot path: workers only read what this thread stores in the peers.

use crate::clock::{Tick, tick};
use crate::health::machine::{Machine, Rules};
use crate::health::probe::{Failure, Line, probe};
use crate::health::{Check, Kind, Settings};
use crate::log::{ErrorLog, Level};
use crate::upstream::{Availability, Group, Keeper, Peer, State};
use ahash::AHashMap;
use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::timeout;

/// Probes in flight at once; others wait for their turn. Each holds one or two descriptors.
const IN_FLIGHT: usize = 1024;

/// How long [`Prober::replace`] waits for the thread to have taken the checks.
const TAKEN: Duration = Duration::from_secs(5);

/// The thread that runs all checks of the process.
pub struct Prober {
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// How long [`Prober::resolve`] waits for the first answers about names that are new: whoever has
/// nothing to serve with had better wait for them, but not for a name server that is down. What
/// came in time is then waited for until the groups have it.
const FIRST_ANSWERS: Duration = Duration::from_millis(500);

enum Order {
    Checks(Vec<Check>, Taken),
    Groups(Vec<Arc<Group>>, Taken),
    Log(ErrorLog),
}

/// Tells who gave an order that it is carried out.
type Taken = mpsc::Sender<()>;

impl Prober {
    /// Starts the thread; it stops when the prober is dropped.
    pub fn start(log: ErrorLog) -> Prober {
        let (orders, received) = unbounded_channel();
        let their_log = log.clone();
        let thread = std::thread::Builder::new().name("health".into()).spawn(move || {
            if let Err(error) = run(received, their_log.clone()) {
                their_log.write(Level::Alert, 0, format_args!("health checks cannot run: {error}"));
            }
        });
        match thread {
            Ok(thread) => Prober { orders: Some(orders), thread: Some(thread) },
            Err(error) => {
                log.write(Level::Alert, 0, format_args!("health checks cannot run: {error}"));
                Prober { orders: None, thread: None }
            }
        }
    }

    /// Takes a new generation's checks in place of the old ones. A check of the same group and the
    /// same peer goes on where it was. Returns when every peer's state says what it starts with, so
    /// that no traffic goes to a `mandatory` peer before its first check.
    pub fn replace(&self, checks: Vec<Check>) {
        self.order(|taken| Order::Checks(checks, taken));
    }

    /// Looks up the names of a new generation's groups in place of the old ones', from now on. Returns
    /// when each name has been looked up once, or half a second has passed, and the groups are as was found.
    pub fn resolve(&self, groups: Vec<Arc<Group>>) {
        self.order(|taken| Order::Groups(groups, taken));
    }

    /// Writes to the newest generation's log from now on.
    pub fn log_to(&self, log: ErrorLog) {
        if let Some(orders) = &self.orders {
            // It has said why it ended, if it has.
            let _ = orders.send(Order::Log(log));
        }
    }

    fn order(&self, order: impl FnOnce(Taken) -> Order) {
        let (taken, wait) = mpsc::channel();
        if self.orders.as_ref().is_some_and(|orders| orders.send(order(taken)).is_ok()) {
            // Ended by the thread's answer, or by its end.
            let _ = wait.recv_timeout(TAKEN);
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but timers and sockets, and drops those.
            let _ = thread.join();
        }
    }
}

fn run(mut orders: UnboundedReceiver<Order>, log: ErrorLog) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let board = Rc::new(RefCell::new(Board::new(log.clone())));
        let followed = board.clone();
        let mut keeper = Keeper::new(log, move || followed.borrow_mut().follow(tick()));
        while let Some(order) = orders.recv().await {
            match order {
                Order::Checks(checks, taken) => {
                    board.borrow_mut().replace(checks, tick());
                    // Whoever asked may have stopped waiting.
                    let _ = taken.send(());
                }
                Order::Groups(groups, taken) => {
                    keeper.take(&groups);
                    let (answers, settled) = (keeper.answers(), keeper.settled());
                    spawn_local(async move {
                        // In time or not.
                        let _ = timeout(FIRST_ANSWERS, answers).await;
                        settled.await;
                        let _ = taken.send(());
                    });
                }
                Order::Log(log) => {
                    board.borrow().shared.log.replace(log.clone());
                    keeper.log_to(log);
                }
            }
        }
    });
    // Not to wait for a table that is being made for nobody.
    runtime.shutdown_background();
    Ok(())
}

/// What makes two checks the same over a reload.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    group: Box<str>,
    peer: Box<str>,
    kind: Kind,
    port: Option<u16>,
    uri: Box<str>,
    matching: Option<Box<str>>,
}

/// All checks in force.
struct Board {
    jobs: AHashMap<Key, (Rc<Job>, AbortHandle)>,
    /// What they follow from, with the members of the groups at the time.
    checks: Vec<Check>,
    shared: Rc<Shared>,
    random: RandomState,
}

struct Shared {
    log: RefCell<ErrorLog>,
    turns: Semaphore,
    /// A peer may be checked in several ways, and is as good as the worst of them says.
    verdicts: RefCell<AHashMap<usize, Vec<(u64, Availability)>>>,
}

/// One check of one peer, for as long as generations ask for it.
struct Job {
    id: u64,
    machine: RefCell<Machine>,
    /// The newest generation's words for it.
    subject: RefCell<Rc<Subject>>,
    /// The machine's time to probe has been moved forward.
    moved: Notify,
    /// The connection of the last probe, where the next one may use it.
    line: RefCell<Option<Line>>,
}

struct Subject {
    check: Rc<Check>,
    peer: Arc<Peer>,
}

impl Board {
    fn new(log: ErrorLog) -> Board {
        let log = RefCell::new(log);
        let shared = Shared { log, turns: Semaphore::new(IN_FLIGHT), verdicts: RefCell::default() };
        Board { jobs: AHashMap::new(), checks: Vec::new(), shared: Rc::new(shared), random: RandomState::new() }
    }

    /// A new generation's checks.
    fn replace(&mut self, checks: Vec<Check>, now: Tick) {
        self.checks = checks;
        self.lay_out(now, |board, job, subject| board.adopt(job, subject, now));
    }

    /// The same checks of the groups' members as they are now.
    fn follow(&mut self, now: Tick) {
        self.lay_out(now, Board::redirect);
    }

    /// `keep` gives a job that goes on its new subject.
    fn lay_out(&mut self, now: Tick, keep: impl Fn(&Board, &Rc<Job>, Rc<Subject>)) {
        let mut old = std::mem::take(&mut self.jobs);
        for check in self.checks.clone() {
            let group = check.group.current();
            let check = Rc::new(check);
            let spread = spread(&check, group.peers.len());
            for peer in group.peers.iter().filter(|peer| !peer.down) {
                let key = key(&check, peer);
                if self.jobs.contains_key(&key) {
                    continue;
                }
                let subject = Rc::new(Subject { check: check.clone(), peer: peer.clone() });
                let entry = match old.remove(&key) {
                    Some((job, task)) => {
                        keep(self, &job, subject);
                        (job, task)
                    }
                    None => self.begin(subject, spread, now),
                };
                self.jobs.insert(key, entry);
            }
        }
        for (job, task) in old.into_values() {
            task.abort();
            self.shared.forget(&job);
        }
    }

    fn begin(&mut self, subject: Rc<Subject>, spread: Duration, now: Tick) -> (Rc<Job>, AbortHandle) {
        let seed = self.random.hash_one((&subject.peer.name, now.0, self.jobs.len()));
        let machine = Machine::new(rules(&subject.check.settings), now, spread, seed);
        let job = Rc::new(Job {
            id: next_id(),
            machine: RefCell::new(machine),
            subject: RefCell::new(subject),
            moved: Notify::new(),
            line: RefCell::default(),
        });
        self.shared.publish(&job);
        let task = spawn_local(watch(job.clone(), self.shared.clone()));
        (job, task.abort_handle())
    }

    fn adopt(&self, job: &Rc<Job>, subject: Rc<Subject>, now: Tick) {
        job.machine.borrow_mut().adopt(rules(&subject.check.settings), now);
        self.redirect(job, subject);
        job.moved.notify_one();
    }

    fn redirect(&self, job: &Rc<Job>, subject: Rc<Subject>) {
        // There may be a new state for this peer.
        let same = Arc::ptr_eq(&job.subject.borrow().peer.state, &subject.peer.state);
        if !same {
            self.shared.forget(job);
        }
        job.subject.replace(subject);
        self.shared.publish(job);
    }
}

fn next_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn key(check: &Check, peer: &Peer) -> Key {
    Key {
        group: check.group.name.clone(),
        peer: peer.name.clone(),
        kind: check.kind.clone(),
        port: check.settings.port,
        uri: check.settings.uri.clone(),
        matching: check.matching.as_ref().map(|matching| matching.name.clone()),
    }
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        interval: settings.interval,
        jitter: settings.jitter,
        fails: settings.fails,
        passes: settings.passes,
        mandatory: settings.mandatory,
        persistent: settings.persistent,
    }
}

/// A millisecond for each peer, over the interval at most: few peers are known at once, and many
/// do not cost a burst every interval.
fn spread(check: &Check, peers: usize) -> Duration {
    let peers = u64::try_from(peers).unwrap_or(u64::MAX);
    Duration::from_millis(peers.saturating_sub(1)).min(check.settings.interval)
}

impl Shared {
    /// Stores the worst of the verdicts on the job's peer in its state.
    fn publish(&self, job: &Job) {
        let health = job.machine.borrow().health();
        let subject = job.subject.borrow();
        let mut verdicts = self.verdicts.borrow_mut();
        let verdicts = verdicts.entry(address_of(&subject.peer.state)).or_default();
        match verdicts.iter_mut().find(|(id, _)| *id == job.id) {
            Some((_, verdict)) => *verdict = health,
            None => verdicts.push((job.id, health)),
        }
        store(&subject.peer.state, verdicts);
    }

    /// Takes back what the job has said.
    fn forget(&self, job: &Job) {
        let subject = job.subject.borrow();
        let place = address_of(&subject.peer.state);
        let mut all = self.verdicts.borrow_mut();
        if let Some(verdicts) = all.get_mut(&place) {
            verdicts.retain(|(id, _)| *id != job.id);
            store(&subject.peer.state, verdicts);
            if verdicts.is_empty() {
                all.remove(&place);
            }
        }
    }
}

/// Names a state; the jobs that speak of it keep it alive.
fn address_of(state: &Arc<State>) -> usize {
    Arc::as_ptr(state).addr()
}

fn store(state: &State, verdicts: &[(u64, Availability)]) {
    let says = |health| verdicts.iter().any(|(_, verdict)| *verdict == health);
    let health = match () {
        () if says(Availability::Unhealthy) => Availability::Unhealthy,
        () if says(Availability::Checking) => Availability::Checking,
        () => Availability::Up,
    };
    state.set_health(health, tick());
}

/// Probes a peer for as long as the task lives.
async fn watch(job: Rc<Job>, shared: Rc<Shared>) {
    loop {
        sleep_until_due(&job).await;
        // Closed never; and if it were, there is nothing left to bound.
        let _turn = shared.turns.acquire().await;
        let subject = job.subject.borrow().clone();
        let mut line = job.line.take();
        let outcome = probe(&subject.check, &subject.peer, &mut line).await;
        job.line.replace(line);
        if let Err(failure) = &outcome
            && failure.is_ours()
        {
            job.machine.borrow_mut().postpone(tick());
            shared.log.borrow().write(Level::Crit, 0, format_args!("{failure}, {}", About(&subject)));
            continue;
        }
        let change = job.machine.borrow_mut().probed(tick(), outcome.is_ok());
        if change.is_some() {
            shared.publish(&job);
        }
        tell(&shared.log.borrow(), &subject, &outcome, change);
    }
}

async fn sleep_until_due(job: &Job) {
    loop {
        let wait = job.machine.borrow().due().since(tick());
        if wait.is_zero() {
            return;
        }
        // Either its time has come or it has been moved.
        let _ = timeout(wait, job.moved.notified()).await;
    }
}

/// The end of a line about a peer.
struct About<'a>(&'a Subject);

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { check, peer } = self.0;
        let block = check.matching.as_ref().map_or("", |matching| &*matching.name);
        write!(f, "health check \"{block}\" of peer {} in upstream \"{}\"", peer.name, check.group.name)
    }
}

fn tell(log: &ErrorLog, subject: &Subject, outcome: &Result<(), Failure>, change: Option<Availability>) {
    let about = About(subject);
    if let Err(failure) = outcome {
        log.write(Level::Info, 0, format_args!("{failure}, {about}"));
    }
    match (change, outcome) {
        (Some(Availability::Unhealthy), Err(failure)) => {
            log.write(Level::Warn, 0, format_args!("peer is unhealthy while {}, {about}", failure.doing));
        }
        (Some(Availability::Up), _) => {
            log.write(Level::Notice, 0, format_args!("peer is healthy while checking, {about}"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
