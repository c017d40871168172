//! The master process: holds the sockets, the logs and the pid file, answers
//! signals, and keeps a worker process serving. One thread, one loop, never
//! any traffic.

mod reload;
mod upgrade;

use crate::cli::Invocation;
use crate::daemon::Readiness;
use crate::handoff;
use crate::load::{self, Loaded};
use crate::messages::{Answer, Configure, Order, Socket};
use crate::pidfile::PidFile;
use crate::privileges;
use crate::signals::{Event, Received, Signals};
use crate::sockets::{Prepared, Sockets};
use crate::supervise::{Ending, Respawn, WorkerHandle};
use crate::temp_folders::{self, Unnamed};
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::{Destination, Level};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

/// How long a worker process may take to end when told to stop at once.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// The process before us may still be closing an address that we take over.
const UPGRADE_BIND_TRIES: usize = 5;
const UPGRADE_BIND_PAUSE: Duration = Duration::from_millis(500);

/// How this master was started.
pub struct Start {
    pub invocation: Invocation,
    /// What an upgrade runs: the path this program was started by.
    pub program: OsString,
    /// When in the background.
    pub readiness: Option<Readiness>,
    /// The master before us left us its sockets.
    pub upgrade: bool,
}

pub struct Master {
    invocation: Invocation,
    program: OsString,
    signals: Signals,
    /// What is served.
    loaded: Loaded,
    sockets: Sockets,
    /// What a reload has sent to the worker process and is not confirmed.
    pending: Option<Pending>,
    reload_again: bool,
    /// The reload under way is the second try of one that a worker process did not survive.
    retrying: bool,
    last_generation: u64,
    workers: Vec<WorkerHandle>,
    respawn: Respawn,
    /// False between WINCH and HUP: no worker process is wanted.
    accepting: bool,
    pid_file: PidFile,
    successor: Option<Child>,
    /// The master before us, while it lives.
    predecessor: Option<i32>,
    background: bool,
    readiness: Option<Readiness>,
    /// A failure before that is a failure to start.
    ever_served: bool,
    life: Life,
}

struct Pending {
    loaded: Loaded,
    prepared: Prepared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    /// Gracefully.
    Quitting,
    Stopping,
    /// The first worker process could not serve.
    Failed,
}

/// Starts, serves and stops. False when it could not start; why has been said.
pub fn run(start: Start) -> bool {
    match Master::start(start) {
        Ok(mut master) => {
            let served = master.serve();
            if let Err(error) = &served {
                master.say(Level::Emerg, &error.to_string());
            }
            master.leave();
            served.is_ok() && master.life != Life::Failed
        }
        Err(messages) => {
            messages.iter().for_each(|message| load::complain(Level::Emerg, message));
            false
        }
    }
}

impl Master {
    fn start(start: Start) -> Result<Master, Vec<String>> {
        let one = |error: io::Error| vec![error.to_string()];
        // First of all: before anything of ours can have the numbers of those descriptors.
        let inherited = if start.upgrade { handoff::inherited().map_err(one)? } else { Vec::new() };
        let signals = Signals::block().map_err(one)?;
        let reading = load::load(&start.invocation, 1);
        load::print(&reading.diagnostics, &reading.tree.sources, false);
        let loaded = reading.loaded.ok_or_else(Vec::new)?;
        temp_folders::make(&loaded.generation, Unnamed::Made)?;
        let sockets = bind(&loaded, inherited, start.upgrade).inspect_err(|messages| {
            for message in messages {
                loaded.generation.error_log.write(Level::Emerg, 0, format_args!("{message}"));
            }
        })?;
        let pid_file = PidFile::create(&loaded.generation.main.pid).map_err(one)?;
        let mut master = Master {
            invocation: start.invocation,
            program: start.program,
            signals,
            loaded,
            sockets,
            pending: None,
            reload_again: false,
            retrying: false,
            last_generation: 1,
            workers: Vec::new(),
            respawn: Respawn::default(),
            accepting: true,
            pid_file,
            successor: None,
            predecessor: start.upgrade.then(|| nix::unistd::getppid().as_raw()),
            background: start.upgrade || start.readiness.is_some(),
            readiness: start.readiness,
            ever_served: false,
            life: Life::Serving,
        };
        master.log(Level::Notice, &format!("fairlead/{}", env!("CARGO_PKG_VERSION")));
        if master.loaded.generation.main.master_process
            && let Err(error) = privileges::keep_the_masters()
        {
            master.log(Level::Alert, &error.to_string());
        }
        master.start_worker();
        Ok(master)
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.listen_to_workers()?;
            while let Some(received) = self.signals.next()? {
                self.obey(received);
            }
            self.reap();
            self.keep_time(tick());
            let over = self.life != Life::Serving && self.workers.is_empty();
            if over || self.life == Life::Failed {
                return Ok(());
            }
        }
    }

    /// Waits for signals, answers and the next deadline; notes the answers.
    fn listen_to_workers(&mut self) -> io::Result<()> {
        let timeout = self.next_deadline().map_or(PollTimeout::NONE, |at| {
            let left = at.since(tick()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let speaking = || self.workers.iter().filter(|worker| !worker.silent);
        fds.extend(speaking().map(|worker| PollFd::new(worker.control.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<u32> = speaking()
            .zip(fds.iter().skip(1))
            .filter(|(_, fd)| fd.any().unwrap_or(false))
            .map(|(worker, _)| worker.pid())
            .collect();
        for pid in ready {
            self.hear(pid);
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<Tick> {
        self.workers.iter().filter_map(|worker| worker.kill_at).chain(self.respawn.at()).min()
    }

    fn hear(&mut self, pid: u32) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.pid() == pid && !worker.silent) else { return };
        match worker.control.next_answer() {
            Ok(Some(Answer::Serving(generation))) => {
                self.confirmed(generation);
                self.up();
            }
            Ok(Some(Answer::Refused(generation, reason))) => self.refused(generation, &reason),
            Ok(None) => worker.silent = true,
            Err(error) => {
                worker.silent = true;
                worker.kill();
                self.log(Level::Alert, &format!("worker process {pid} is killed: {error}"));
            }
        }
    }

    /// The first worker process serves: whoever started us may go on.
    fn up(&mut self) {
        self.ever_served = true;
        let Some(readiness) = self.readiness.take() else { return };
        let up = self.daemon_stderr().and_then(|standard_error| readiness.up(standard_error));
        if let Err(error) = up {
            self.log(Level::Alert, &format!("cannot leave the terminal: {error}"));
        }
    }

    fn obey(&mut self, received: Received) {
        let Received { event, signal, from } = received;
        if event != Event::Child {
            self.log(Level::Notice, &format!("signal {} ({signal}) received from {from}", signal as i32));
        }
        match event {
            Event::Stop => self.stop(),
            Event::Quit => self.quit(),
            Event::Reload if self.life == Life::Serving => {
                self.retrying = false;
                self.reload();
            }
            Event::Reopen => self.reopen(),
            Event::Upgrade if self.life == Life::Serving => self.upgrade(),
            // A terminal sends it too, whenever its window is resized.
            Event::StopWorkers if self.background => self.stop_workers(),
            Event::Reload | Event::Upgrade | Event::StopWorkers | Event::Child => {}
        }
    }

    fn stop(&mut self) {
        self.life = Life::Stopping;
        self.respawn.cancel();
        let now = tick();
        for worker in &mut self.workers {
            worker.kill_at = Some(now.after(STOP_PATIENCE));
            // One that cannot hear it is killed when its time is over.
            let _ = worker.control.order(&Order::Stop);
        }
    }

    fn quit(&mut self) {
        if self.life == Life::Serving {
            self.life = Life::Quitting;
            self.respawn.cancel();
            self.drain_workers();
            self.close_sockets();
        }
    }

    fn stop_workers(&mut self) {
        self.accepting = false;
        self.respawn.cancel();
        self.drain_workers();
    }

    fn drain_workers(&mut self) {
        for worker in self.workers.iter_mut().filter(|worker| !worker.draining) {
            worker.draining = true;
            if worker.control.order(&Order::Drain).is_err() {
                worker.kill();
            }
        }
    }

    fn reopen(&mut self) {
        if let Err(error) = self.loaded.logs.reopen() {
            self.log(Level::Emerg, &error.to_string());
        }
        for worker in self.workers.iter().filter(|worker| !worker.silent) {
            let sent = self.loaded.logs.files().and_then(|files| worker.control.order(&Order::Logs(files)));
            if let Err(error) = sent {
                self.log(Level::Alert, &format!("worker process {} keeps its log files: {error}", worker.pid()));
            }
        }
    }

    fn keep_time(&mut self, now: Tick) {
        for worker in self.workers.iter_mut().filter(|worker| worker.kill_at.is_some_and(|at| now >= at)) {
            worker.kill_at = None;
            worker.kill();
        }
        if self.respawn.due(now) {
            self.start_worker();
        }
    }

    /// Starts a worker process on what is served now; tries again later if that fails.
    fn start_worker(&mut self) {
        let now = tick();
        let main = &self.loaded.generation.main;
        let standard_error = if self.background { self.daemon_stderr().ok().flatten() } else { None };
        let started = WorkerHandle::start(main, standard_error, now).and_then(|worker| {
            let order = Order::Configure(Box::new(self.configure(&self.loaded, self.sockets.all()?)?));
            worker.control.order(&order)?;
            Ok(worker)
        });
        match started {
            Ok(worker) => {
                self.log(Level::Notice, &format!("start worker process {}", worker.pid()));
                self.workers.push(worker);
            }
            Err(error) => {
                self.say(Level::Alert, &format!("cannot start a worker process: {error}"));
                self.respawn.died(now, now);
            }
        }
    }

    fn configure(&self, loaded: &Loaded, sockets: Vec<Socket>) -> io::Result<Configure> {
        Ok(Configure {
            generation: loaded.generation.id,
            invocation: self.invocation.clone(),
            snapshot: loaded.snapshot.clone(),
            names: loaded.names.clone(),
            logs: loaded.logs.files()?,
            sockets,
        })
    }

    /// Takes note of every process that has ended.
    fn reap(&mut self) {
        let mut at = 0;
        while let Some(worker) = self.workers.get_mut(at) {
            match worker.ended() {
                None => at += 1,
                Some(ending) => {
                    let worker = self.workers.remove(at);
                    self.mourn(&worker, ending);
                }
            }
        }
        self.reap_successor();
    }

    fn mourn(&mut self, worker: &WorkerHandle, ending: Ending) {
        let pid = worker.pid();
        match ending {
            Ending::Exited => self.log(Level::Notice, &format!("worker process {pid} exited with code 0")),
            Ending::Fatal(how) => self.log(Level::Alert, &format!("worker process {pid} {how}")),
            Ending::Died(how) => self.log(Level::Alert, &format!("worker process {pid} {how}")),
        }
        if worker.draining || self.life != Life::Serving || !self.accepting {
            return;
        }
        self.pending_died("the worker process died while taking it");
        if self.workers.iter().any(|other| !other.draining) {
            // One that was started in its place serves already.
            return;
        }
        if !self.ever_served {
            self.life = Life::Failed;
            return;
        }
        self.respawn.died(worker.started, tick());
    }

    /// Where standard error goes in the background: to the first error log file; `None` keeps it.
    fn daemon_stderr(&self) -> io::Result<Option<OwnedFd>> {
        let destinations = || self.loaded.generation.error_logs.0.iter().map(|(destination, _)| destination);
        if destinations().any(|destination| *destination == Destination::Stderr) {
            return Ok(None);
        }
        let file = destinations().find_map(|destination| match destination {
            Destination::File(path) => Some(path.as_path()),
            Destination::Stderr | Destination::Syslog(_) | Destination::Files { .. } => None,
        });
        let file = file.unwrap_or(std::path::Path::new("/dev/null"));
        Ok(Some(OpenOptions::new().append(true).open(file)?.into()))
    }

    /// The files of Unix sockets stay where another master listens on them.
    fn close_sockets(&mut self) {
        let sockets = std::mem::take(&mut self.sockets);
        let predecessor_lives = self.predecessor == Some(nix::unistd::getppid().as_raw());
        if self.successor.is_none() && !predecessor_lives {
            sockets.unlink();
        }
    }

    fn leave(&mut self) {
        self.close_sockets();
        self.log(Level::Notice, "exit");
    }

    fn log(&self, level: Level, message: &str) {
        self.loaded.generation.error_log.write(level, 0, format_args!("{message}"));
    }

    /// To the log, and to the terminal while someone may wait there for us to start.
    fn say(&self, level: Level, message: &str) {
        self.log(level, message);
        let logs_to_terminal =
            self.loaded.generation.error_logs.0.iter().any(|(destination, _)| *destination == Destination::Stderr);
        if !self.ever_served && !logs_to_terminal {
            load::complain(level, message);
        }
    }
}

fn bind(
    loaded: &Loaded,
    inherited: Vec<(fairlead_core::net::ListenerKey, Vec<OwnedFd>)>,
    upgrade: bool,
) -> Result<Sockets, Vec<String>> {
    let mut sockets = Sockets::default();
    sockets.adopt(inherited);
    let generation = &loaded.generation;
    let mut tries = if upgrade { UPGRADE_BIND_TRIES } else { 1 };
    loop {
        tries -= 1;
        match sockets.prepare(generation.listeners(), generation.main.workers) {
            Ok(prepared) => {
                sockets.commit(prepared);
                return Ok(sockets);
            }
            Err(messages) if tries == 0 => return Err(messages),
            Err(_) => std::thread::sleep(UPGRADE_BIND_PAUSE),
        }
    }
}
