//! Looks up the names of groups whose members change while the process runs.
//!
//! One task for each name of the newest generation, on the thread that runs the
//! health checks: it asks, tells the groups what it found, sleeps until that is no
//! longer to be believed. A reload keeps the tasks of names that stay. One task for
//! each group gathers what is heard in a moment and makes the next edition from it,
//! on a thread where nobody waits for tables that take long. No worker waits for any
//! of it or asks anything itself.

use crate::clock::tick;
use crate::log::{ErrorLog, Level};
use crate::resolver::{self, Addresses, ResolveError, Resolver, Service};
use crate::upstream::Group;
use crate::upstream::members::{Answer, Member, Source};
use crate::upstream::roster::{Heard, Next, Roster};
use ahash::{AHashMap, AHashSet};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, spawn_blocking, spawn_local};

/// Shortest time between two lookups of a name, and after a lookup that failed for the first time.
const SHORTEST: Duration = Duration::from_secs(1);
/// Added to what is left of a TTL: the cache still answers within a tick of its end.
const AFTER: Duration = Duration::from_millis(20);
/// From the first news about a group to its next edition: names are often looked up together.
const GATHERING: Duration = Duration::from_millis(10);
/// Host names of one service that are looked up.
const MOST_TARGETS: usize = 256;

/// Runs inside a `LocalSet`.
pub(crate) struct Keeper {
    shared: Rc<Shared>,
    watches: AHashMap<Key, (Rc<Watch>, AbortHandle)>,
    renewals: Vec<(Rc<Renewal>, AbortHandle)>,
    resolvers: AHashMap<resolver::Settings, Rc<Resolver>>,
}

struct Shared {
    log: RefCell<ErrorLog>,
    /// Called between the making of a group's next edition and its announcement.
    before_news: Box<dyn Fn()>,
    /// Some name was looked up for the first time, or some group is as its names say.
    progress: Notify,
    /// To make an edition: one at a time, since it takes a processor from the workers.
    turns: Semaphore,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    resolver: resolver::Settings,
    host: Box<str>,
    service: Option<Box<str>>,
}

/// One name and those who want to know.
struct Watch {
    source: Source,
    resolver: Rc<Resolver>,
    /// The first lookup is over, whatever came of it.
    answered: Cell<bool>,
    latest: RefCell<Option<Answer>>,
    lines: RefCell<Vec<(Rc<Renewal>, usize)>>,
}

/// One group and what was heard of its names since its last edition.
struct Renewal {
    roster: Arc<Roster>,
    heard: RefCell<Heard>,
    news: Notify,
    /// There is news that is not in an edition yet.
    pending: Cell<bool>,
}

impl Keeper {
    /// `before_news` is called whenever a group has new members that no worker knows of yet.
    pub fn new(log: ErrorLog, before_news: impl Fn() + 'static) -> Keeper {
        let (log, before_news) = (RefCell::new(log), Box::new(before_news));
        let shared = Rc::new(Shared { log, before_news, progress: Notify::new(), turns: Semaphore::new(1) });
        Keeper { shared, watches: AHashMap::new(), renewals: Vec::new(), resolvers: AHashMap::new() }
    }

    pub fn log_to(&self, log: ErrorLog) {
        self.shared.log.replace(log);
    }

    /// Takes the groups of a new generation in place of the old ones. What is known of their names
    /// already they are told at once.
    pub fn take(&mut self, groups: &[Arc<Group>]) {
        let mut old = std::mem::take(&mut self.watches);
        let old_resolvers = std::mem::take(&mut self.resolvers);
        old.values().for_each(|(watch, _)| watch.lines.borrow_mut().clear());
        self.stop_renewals();
        let mut taken = AHashSet::new();
        let rosters = groups.iter().filter_map(|group| group.roster());
        // Each has one task, which alone makes its editions.
        for roster in rosters.filter(|roster| taken.insert(Arc::as_ptr(roster))) {
            let renewal = Renewal::new(roster);
            let task = spawn_local(renew(renewal.clone(), self.shared.clone()));
            self.renewals.push((renewal.clone(), task.abort_handle()));
            let settings = &roster.resolver;
            let resolver = self.resolvers.entry(settings.clone()).or_insert_with(|| {
                old_resolvers.get(settings).cloned().unwrap_or_else(|| Resolver::new(settings.clone()))
            });
            for (line, source) in roster.sources() {
                let key =
                    Key { resolver: settings.clone(), host: source.host.clone(), service: source.service.clone() };
                let entry = self.watches.entry(key);
                let (watch, _) = entry.or_insert_with_key(|key| {
                    old.remove(key).unwrap_or_else(|| begin(source, resolver, roster.answer(line), &self.shared))
                });
                watch.lines.borrow_mut().push((renewal.clone(), line));
            }
        }
        old.into_values().for_each(|(_, task)| task.abort());
        for (watch, _) in self.watches.values() {
            let known = watch.latest.borrow().clone();
            if let Some(answer) = known {
                watch.tell(&answer);
            }
        }
    }

    fn stop_renewals(&mut self) {
        for (renewal, task) in self.renewals.drain(..) {
            task.abort();
            renewal.pending.set(false);
        }
        self.shared.progress.notify_waiters();
    }

    /// Ready when every name has been looked up once.
    pub fn answers(&self) -> impl Future<Output = ()> + use<> {
        let waiting: Vec<Rc<Watch>> = self.watches.values().map(|(watch, _)| watch.clone()).collect();
        let shared = self.shared.clone();
        async move {
            // Each name is answered once.
            while !waiting.iter().all(|watch| watch.answered.get()) {
                shared.progress.notified().await;
            }
        }
    }

    /// Ready when every group is as was heard of its names.
    pub fn settled(&self) -> impl Future<Output = ()> + use<> {
        let waiting: Vec<Rc<Renewal>> = self.renewals.iter().map(|(renewal, _)| renewal.clone()).collect();
        let shared = self.shared.clone();
        async move {
            while waiting.iter().any(|renewal| renewal.pending.get()) {
                shared.progress.notified().await;
            }
        }
    }
}

impl Renewal {
    fn new(roster: &Arc<Roster>) -> Rc<Renewal> {
        let (heard, news, pending) = (RefCell::default(), Notify::new(), Cell::new(false));
        Rc::new(Renewal { roster: roster.clone(), heard, news, pending })
    }

    fn hear(&self, line: usize, answer: Answer) {
        self.heard.borrow_mut().insert(line, answer);
        self.pending.set(true);
        self.news.notify_one();
    }
}

/// Makes a group's editions for as long as the task lives.
async fn renew(renewal: Rc<Renewal>, shared: Rc<Shared>) {
    loop {
        renewal.news.notified().await;
        tokio::time::sleep(GATHERING).await;
        // Closed never; and if it were, there is nothing left to bound.
        let turn = shared.turns.acquire().await;
        let (roster, heard) = (renewal.roster.clone(), renewal.heard.take());
        let made = spawn_blocking(move || roster.make(heard)).await;
        drop(turn);
        // The other case is a panic, which says itself where it was.
        if let Ok(made) = made {
            shared.put_in_place(&renewal.roster, made);
        }
        renewal.pending.set(!renewal.heard.borrow().is_empty());
        shared.progress.notify_waiters();
    }
}

fn begin(
    source: &Source,
    resolver: &Rc<Resolver>,
    known: Option<Answer>,
    shared: &Rc<Shared>,
) -> (Rc<Watch>, AbortHandle) {
    let watch = Rc::new(Watch {
        source: source.clone(),
        resolver: resolver.clone(),
        // Who has something to serve with need not wait.
        answered: Cell::new(known.is_some()),
        latest: RefCell::new(known),
        lines: RefCell::default(),
    });
    let task = spawn_local(keep(watch.clone(), shared.clone()));
    (watch, task.abort_handle())
}

/// Looks a name up for as long as the task lives.
async fn keep(watch: Rc<Watch>, shared: Rc<Shared>) {
    let mut failures = 0;
    loop {
        let (found, lifetime) = look_up(&watch, &shared).await;
        let wait = match found {
            Ok(answer) => {
                failures = 0;
                watch.learn(answer);
                lifetime.max(SHORTEST)
            }
            Err(error) => {
                shared.complain(format_args!("{} could not be resolved ({}: {error})", watch.source, error.code()));
                if error == ResolveError::NotFound {
                    // That is an answer too.
                    failures = 0;
                    watch.learn(Answer::new());
                    lifetime.max(SHORTEST)
                } else {
                    failures += 1;
                    patience(failures, watch.resolver.settings().timeout)
                }
            }
        };
        watch.answered.set(true);
        shared.progress.notify_waiters();
        tokio::time::sleep(wait + AFTER).await;
    }
}

/// A lookup that fails is repeated soon, then ever later, up to `resolver_timeout` as in nginx.
fn patience(failures: u32, limit: Duration) -> Duration {
    SHORTEST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(limit.max(SHORTEST))
}

async fn look_up(watch: &Watch, shared: &Shared) -> (Result<Answer, ResolveError>, Duration) {
    let Some(query) = watch.source.query() else {
        let (found, lifetime) = watch.resolver.lookup_for(&watch.source.host).await;
        return (found.map(|found| found.iter().copied().map(Member::plain).collect()), lifetime);
    };
    let (found, lifetime) = watch.resolver.services(&query).await;
    match found {
        Ok(services) => follow(watch, shared, &services, lifetime).await,
        Err(error) => (Err(error), lifetime),
    }
}

/// Looks up the hosts of a service. One whose lookup fails keeps the addresses it had.
async fn follow(
    watch: &Watch,
    shared: &Shared,
    services: &[Service],
    lifetime: Duration,
) -> (Result<Answer, ResolveError>, Duration) {
    let targets = look_up_targets(watch, services).await;
    let (mut answer, mut lifetime, mut worst) = (Answer::new(), lifetime, None);
    for (target, (found, target_lifetime)) in &targets {
        let of_target = services.iter().filter(|service| service.target == *target && service.port != 0);
        if let Err(error) = found {
            let code = error.code();
            shared.complain(format_args!(
                "{target} could not be resolved ({code}: {error}) while resolving {}",
                watch.source
            ));
        }
        lifetime = lifetime.min((*target_lifetime).max(SHORTEST));
        let addresses = match found {
            Ok(addresses) => addresses.to_vec(),
            Err(ResolveError::NotFound) => Vec::new(),
            Err(error) => {
                worst = Some(*error);
                had(watch, target)
            }
        };
        answer.extend(of_target.flat_map(|service| addresses.iter().map(|address| Member::of(service, *address))));
    }
    match worst {
        // Without one address of any host this is no answer.
        Some(error) if answer.is_empty() => (Err(error), Duration::ZERO),
        _ if answer.is_empty() => (Err(ResolveError::NotFound), lifetime),
        _ => (Ok(answer), lifetime),
    }
}

type Targets = AHashMap<Box<str>, (Addresses, Duration)>;

async fn look_up_targets(watch: &Watch, services: &[Service]) -> Targets {
    let mut asked = AHashMap::new();
    for service in services.iter().filter(|service| !service.target.is_empty()) {
        if asked.len() < MOST_TARGETS && !asked.contains_key(&service.target) {
            let (resolver, target) = (watch.resolver.clone(), service.target.clone());
            let lookup = spawn_local(async move { resolver.lookup_for(&target).await });
            asked.insert(service.target.clone(), lookup);
        }
    }
    let mut found = Targets::new();
    for (target, lookup) in asked {
        if let Ok(outcome) = lookup.await {
            found.insert(target, outcome);
        }
    }
    found
}

fn had(watch: &Watch, target: &str) -> Vec<std::net::IpAddr> {
    let latest = watch.latest.borrow();
    let of_target = latest.iter().flatten().filter(|member| *member.target == *target);
    let mut addresses: Vec<_> = of_target.map(|member| member.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

impl Watch {
    fn learn(&self, answer: Answer) {
        self.tell(&answer);
        self.latest.replace(Some(answer));
    }

    fn tell(&self, answer: &Answer) {
        for (renewal, line) in self.lines.borrow().iter() {
            renewal.hear(*line, answer.clone());
        }
    }
}

impl Shared {
    fn put_in_place(&self, roster: &Roster, made: Result<Next, String>) {
        let staged = match made {
            Ok(next) => roster.stage(next),
            Err(problem) => return self.complain(format_args!("{problem}: it stays as it is")),
        };
        let Some(change) = staged else { return };
        (self.before_news)();
        roster.announce(&change, tick());
        let ((new, gone), peers, name) = (change.counts(), change.after.peers.len(), roster.name());
        let what = format!("upstream \"{name}\" has {peers} peers now, {new} new and {gone} gone");
        let log = self.log.borrow();
        match change.cause(roster) {
            Some((source, 0)) => log.write(Level::Notice, 0, format_args!("{what}, by {source}")),
            Some((source, others)) => {
                log.write(Level::Notice, 0, format_args!("{what}, by {source} and {others} more"));
            }
            None => log.write(Level::Notice, 0, format_args!("{what}")),
        }
    }

    fn complain(&self, problem: fmt::Arguments<'_>) {
        self.log.borrow().write(Level::Error, 0, problem);
    }
}

/// As nginx names it in log lines.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => write!(f, "service {service} of {}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests;
