//! The worker process: takes generations and sockets from the master and
//! hands them to its threads. Its main thread waits for the master, never for
//! traffic. It parses what the master read and opens nothing itself.

use crate::control::Control;
use crate::generation::{Built, Generation, Inputs, Plane, build, has_errors};
use crate::main_conf::WorkerSeccomp;
use crate::messages::{Answer, Configure, Order};
use crate::privileges;
use crate::signals::{Event, Signals};
use crate::worker_thread::{self, Assigned, Replies, Reply};
use fairlead_conf::Tree;
use fairlead_core::clock::{Tick, tick};
use fairlead_core::health::Prober;
use fairlead_core::log::{Level, Registry};
use fairlead_core::net::{Address, ListenerKey};
use fairlead_core::upstream::retire;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How long threads may take to let go of what they do; the master kills us soon after.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// Whether the process is the worker's own or the master's (`master_process off`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    OwnProcess,
    InMaster,
}

struct Worker {
    /// `None` when the master is gone.
    master: Option<Control>,
    place: Place,
    logs: Option<Registry>,
    serving: Option<Arc<Generation>>,
    /// Taken by the threads, not yet confirmed by all of them.
    taken: Option<Arc<Generation>>,
    sockets: BTreeMap<u64, (ListenerKey, OwnedFd)>,
    /// By the order they were started in.
    threads: BTreeMap<usize, Thread>,
    started: usize,
    prober: Option<Prober>,
    /// What the kernel holds this process to.
    seccomp: WorkerSeccomp,
    replies: Replies,
    answers: Receiver<Reply>,
    /// Connections that ended threads have cut off.
    cut: usize,
    life: Life,
}

struct Thread {
    /// Its place among those that accept, for `worker_cpu_affinity`.
    number: usize,
    orders: UnboundedSender<worker_thread::Order>,
    /// Generation it has confirmed.
    serving: u64,
    retired: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    /// Until the last connection ends, or this moment.
    Draining {
        deadline: Option<Tick>,
    },
    /// Until every thread has dropped its connections and handed over its log lines.
    Stopping {
        deadline: Tick,
    },
    Over,
}

/// What [`Worker::wait`] found.
struct Ready {
    replied: bool,
    signalled: bool,
    ordered: bool,
}

/// Serves until the master says stop, or is gone and the last connection has ended.
///
/// # Errors
/// What makes it impossible to serve at all: the first generation does not build, the user does
/// not exist, no thread can be started.
pub fn run(control: Control, place: Place) -> io::Result<()> {
    let signals = if place == Place::OwnProcess { Some(Signals::block()?) } else { None };
    let (to, answers) = channel();
    let wake = Arc::new(EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
    let mut worker = Worker {
        master: Some(control),
        place,
        logs: None,
        serving: None,
        taken: None,
        sockets: BTreeMap::new(),
        threads: BTreeMap::new(),
        started: 0,
        prober: None,
        seccomp: WorkerSeccomp::Off,
        replies: Replies { to, wake },
        answers,
        cut: 0,
        life: Life::Serving,
    };
    while worker.life != Life::Over {
        if let Err(error) = worker.turn(signals.as_ref()) {
            // Best said where somebody waits for the start; the master may be gone.
            let _ = worker.answer(&Answer::Refused(0, error.to_string()));
            return Err(error);
        }
    }
    worker.say_totals();
    Ok(())
}

impl Worker {
    /// Waits for the next thing to happen, and does what it asks.
    fn turn(&mut self, signals: Option<&Signals>) -> io::Result<()> {
        let Ready { replied, signalled, ordered } = self.wait(signals)?;
        if replied {
            let _ = self.replies.wake.read();
            while let Ok(reply) = self.answers.try_recv() {
                self.note(reply)?;
            }
        }
        while let Some(received) = signals.filter(|_| signalled).map(Signals::next).transpose()?.flatten() {
            match received.event {
                Event::Stop => self.stop(),
                Event::Quit => self.drain(),
                // The master's business. WINCH also comes from a terminal whose window is resized.
                Event::Reload | Event::Reopen | Event::Upgrade | Event::StopWorkers | Event::Child => {}
            }
        }
        if let Some(master) = self.master.as_ref().filter(|_| ordered) {
            match master.next_order() {
                Ok(Some(order)) => self.obey(order)?,
                // Whoever comes after this master brings a worker process of its own.
                Ok(None) => {
                    self.master = None;
                    self.drain();
                }
                Err(error) => return Err(error),
            }
        }
        match self.life {
            Life::Draining { deadline: Some(deadline) } if tick() >= deadline => self.stop(),
            Life::Stopping { deadline } if tick() >= deadline => self.life = Life::Over,
            _ => {}
        }
        Ok(())
    }

    fn wait(&self, signals: Option<&Signals>) -> io::Result<Ready> {
        let timeout = match self.life {
            Life::Draining { deadline: Some(deadline) } | Life::Stopping { deadline } => {
                let left = deadline.since(tick()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
            _ => PollTimeout::NONE,
        };
        let wanted = [Some(self.replies.wake.as_fd()), signals.map(AsFd::as_fd), self.master.as_ref().map(AsFd::as_fd)];
        let mut fds: Vec<PollFd<'_>> = wanted.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut is_ready = |there: &Option<_>| there.is_some() && ready.next().unwrap_or(false);
        let [replied, signalled, ordered] = wanted.each_ref().map(&mut is_ready);
        Ok(Ready { replied, signalled, ordered })
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Configure(configure) if self.life == Life::Serving => return self.configure(*configure),
            // It crossed a signal on the way: this process serves nothing new.
            Order::Configure(_) => {}
            Order::Logs(files) => self.replace_logs(files),
            Order::Drain => self.drain(),
            Order::Stop => self.stop(),
        }
        Ok(())
    }

    fn answer(&self, answer: &Answer) -> io::Result<()> {
        self.master.as_ref().map_or(Ok(()), |master| master.answer(answer))
    }

    fn configure(&mut self, mut configure: Configure) -> io::Result<()> {
        let files = std::mem::take(&mut configure.logs);
        match &self.logs {
            None => self.logs = Some(Registry::with_files(files)),
            Some(logs) => files.into_iter().for_each(|(path, file)| logs.replace(&path, file)),
        }
        let id = configure.generation;
        let generation = match self.build(&configure) {
            Ok(generation) if self.lacks_privilege(&generation) => {
                let reason = "\"proxy_bind\" with \"transparent\" needs a privilege that the worker process gave up \
                              when it started: upgrade with USR2, or restart";
                return self.answer(&Answer::Refused(id, reason.into()));
            }
            Ok(generation) => Arc::new(generation),
            Err(reason) if self.serving.is_none() => return Err(io::Error::other(reason)),
            Err(reason) => return self.answer(&Answer::Refused(id, reason)),
        };
        self.settle(&generation)?;
        self.take_sockets(configure);
        self.start_threads(generation.main.workers)?;
        // First, so that a peer that must pass a check before its first request gets none earlier.
        let prober = self.prober.get_or_insert_with(|| Prober::start(generation.error_log.clone()));
        prober.log_to(generation.error_log.clone());
        prober.resolve(generation.groups().filter(|group| group.may_change()).cloned().collect());
        prober.replace(generation.checks());
        self.distribute(&generation)?;
        let before = self.taken.as_deref().or(self.serving.as_deref());
        retire(before.into_iter().flat_map(Generation::groups), generation.groups());
        self.taken = Some(generation);
        Ok(())
    }

    /// Gives up what this generation does not need, before anything of it is served.
    fn settle(&mut self, generation: &Generation) -> io::Result<()> {
        if self.place == Place::InMaster {
            return Ok(());
        }
        let wanted = generation.main.seccomp;
        if self.serving.is_none() && self.taken.is_none() {
            privileges::settle(&generation.main, &generation.error_log, generation.wants_transparent())?;
        } else if wanted == self.seccomp {
            return Ok(());
        } else if self.seccomp == WorkerSeccomp::On {
            let words =
                "\"worker_seccomp\" stays on until there is a new worker process: upgrade with USR2, or restart";
            generation.error_log.write(Level::Warn, 0, format_args!("{words}"));
            return Ok(());
        } else {
            // Filters add up: the strictest answers.
            privileges::filter_calls(wanted)?;
        }
        self.seccomp = wanted;
        Ok(())
    }

    /// What was given up at the start cannot be had back.
    fn lacks_privilege(&self, generation: &Generation) -> bool {
        let settled = self.place == Place::OwnProcess && (self.serving.is_some() || self.taken.is_some());
        settled && generation.wants_transparent() && !privileges::may_be_transparent()
    }

    /// The master found this configuration to be right; what differs here is said as it is.
    fn build(&self, configure: &Configure) -> Result<Generation, String> {
        let Some(logs) = &self.logs else { return Err("no log files".into()) };
        let invocation = &configure.invocation;
        let snapshot = configure.snapshot.clone();
        let tree = Tree::replay(&invocation.conf, invocation.globals.as_deref(), snapshot);
        let names = &configure.names;
        let resolve = |host: &str| {
            let unknown = || io::Error::new(io::ErrorKind::NotFound, "host not found");
            names.get(host).cloned().ok_or_else(unknown)
        };
        let previous = self.taken.as_deref().or(self.serving.as_deref());
        let Built { generation, diagnostics } =
            build(&Inputs { id: configure.generation, tree: &tree, invocation, resolve: &resolve, logs, previous });
        generation.ok_or_else(|| {
            let errors = diagnostics.iter().filter(|diagnostic| has_errors(std::slice::from_ref(diagnostic)));
            errors.map(|diagnostic| diagnostic.message.as_str()).collect::<Vec<_>>().join("; ")
        })
    }

    /// Keeps what the generation still listens on, adds what is new, closes the rest.
    fn take_sockets(&mut self, configure: Configure) {
        let mut held = std::mem::take(&mut self.sockets);
        for socket in configure.sockets {
            let before = held.remove(&socket.id).map(|(_, fd)| fd);
            if let Some(fd) = socket.fd.or(before) {
                self.sockets.insert(socket.id, (socket.key, fd));
            }
        }
    }

    /// Threads that are too many end when their last connection does.
    fn start_threads(&mut self, wanted: usize) -> io::Result<()> {
        let active = self.threads.values().filter(|thread| !thread.retired).count();
        for thread in self.threads.values_mut().filter(|thread| !thread.retired).skip(wanted) {
            thread.retired = true;
            // It has ended already if nobody listens.
            let _ = thread.orders.send(worker_thread::Order::Drain);
        }
        for _ in active..wanted {
            let number = self.free_number();
            let serial = self.started;
            self.started += 1;
            let (orders, inbox) = unbounded_channel();
            let replies = self.replies.clone();
            std::thread::Builder::new().name(format!("worker {number}")).spawn(move || {
                if worker_thread::run(number, serial, inbox, &replies).is_err() {
                    // Without its runtime the thread can serve nobody: better a new process than a deaf one.
                    std::process::abort();
                }
            })?;
            self.threads.insert(serial, Thread { number, orders, serving: 0, retired: false });
        }
        Ok(())
    }

    fn free_number(&self) -> usize {
        let taken = |number: &usize| self.threads.values().any(|thread| !thread.retired && thread.number == *number);
        (0..=self.threads.len()).find(|number| !taken(number)).unwrap_or(self.threads.len())
    }

    /// Gives each thread its share of the sockets: those of one address by turns, a Unix socket to all.
    fn distribute(&self, generation: &Arc<Generation>) -> io::Result<()> {
        let planes = generation.planes();
        let threads: Vec<&Thread> = self.threads.values().filter(|thread| !thread.retired).collect();
        let mut shares: Vec<Vec<Assigned>> = threads.iter().map(|_| Vec::new()).collect();
        let mut dealt: HashMap<&ListenerKey, usize> = HashMap::new();
        for (id, (key, fd)) in &self.sockets {
            let Some(plane) = planes.get(key).copied() else { continue };
            let turn = dealt.entry(key).or_default();
            let chosen = *turn % threads.len().max(1);
            *turn += 1;
            for (number, share) in shares.iter_mut().enumerate() {
                if number == chosen || matches!(key.address, Address::Unix(_)) {
                    share.push(assigned(*id, key, plane, fd)?);
                }
            }
        }
        for (thread, share) in threads.into_iter().zip(shares) {
            // It has ended already if nobody listens.
            let _ = thread.orders.send(worker_thread::Order::Serve(generation.clone(), share));
        }
        Ok(())
    }

    fn note(&mut self, reply: Reply) -> io::Result<()> {
        match reply {
            Reply::Serving { thread, generation } => {
                if let Some(thread) = self.threads.get_mut(&thread) {
                    thread.serving = generation;
                }
                self.confirm()
            }
            Reply::Ended { thread, cut } => {
                self.threads.remove(&thread);
                self.cut += cut;
                if self.threads.is_empty() && self.life != Life::Serving {
                    self.life = Life::Over;
                }
                Ok(())
            }
        }
    }

    /// Tells the master once every thread serves what was taken last.
    fn confirm(&mut self) -> io::Result<()> {
        let Some(taken) = &self.taken else { return Ok(()) };
        let id = taken.id;
        let all = self.threads.values().filter(|thread| !thread.retired).all(|thread| thread.serving == id);
        if !all {
            return Ok(());
        }
        if let Some(logs) = &self.logs {
            logs.complain_to(taken.error_log.clone());
        }
        self.serving = self.taken.take();
        self.logs.iter().for_each(Registry::close_unused);
        self.answer(&Answer::Serving(id))
    }

    fn replace_logs(&mut self, files: Vec<(std::path::PathBuf, OwnedFd)>) {
        if let Some(logs) = &self.logs {
            files.into_iter().for_each(|(path, file)| logs.replace(&path, file));
        }
    }

    fn drain(&mut self) {
        if self.life != Life::Serving {
            return;
        }
        let generation = self.serving.as_ref().or(self.taken.as_ref());
        if let Some(generation) = generation {
            generation.error_log.write(Level::Notice, 0, format_args!("gracefully shutting down"));
        }
        let timeout = generation.and_then(|generation| generation.main.shutdown_timeout);
        self.life = Life::Draining { deadline: timeout.map(|timeout| tick().after(timeout)) };
        self.prober = None;
        self.sockets.clear();
        for thread in self.threads.values_mut() {
            thread.retired = true;
            let _ = thread.orders.send(worker_thread::Order::Drain);
        }
        if self.threads.is_empty() {
            self.stop();
        }
    }

    /// The last words, in which counters are seen to have returned to zero.
    fn say_totals(&self) {
        let Some(generation) = self.serving.as_ref().or(self.taken.as_ref()) else { return };
        let cut = self.cut;
        generation.error_log.write(Level::Notice, 0, format_args!("exiting, {cut} connections cut off"));
        if let Some(stream) = &generation.stream {
            generation.error_log.write(Level::Notice, 0, format_args!("{}", stream.totals()));
        }
        if let Some(http) = &generation.http {
            generation.error_log.write(Level::Notice, 0, format_args!("{}", http.totals()));
        }
    }

    fn stop(&mut self) {
        if matches!(self.life, Life::Stopping { .. }) {
            return;
        }
        self.prober = None;
        self.life = Life::Stopping { deadline: tick().after(STOP_PATIENCE) };
        for thread in self.threads.values() {
            let _ = thread.orders.send(worker_thread::Order::Stop);
        }
        if self.threads.is_empty() {
            self.life = Life::Over;
        }
    }
}

fn assigned(id: u64, key: &ListenerKey, plane: Plane, fd: &OwnedFd) -> io::Result<Assigned> {
    Ok(Assigned { id, key: key.clone(), plane, socket: fd.try_clone()? })
}
