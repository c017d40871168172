//! Starting worker processes and knowing how they end. When to start the next
//! one is decided purely in [`Respawn`].

use crate::control::Control;
use crate::main_conf::Main;
use crate::worker_process::{self, Place};
use fairlead_core::clock::Tick;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// Tells this program that it is a worker process; its standard input is the control socket.
pub const WORKER_MARK: &str = "FAIRLEAD_WORKER";
/// Exit code of a worker process that could not serve, so that another would not either.
pub const FATAL: u8 = 2;

/// Our own binary, even when another has taken its place on disk.
const OURSELVES: &str = "/proc/self/exe";
/// A worker process that lives shorter than this counts as failing to start.
const INFANCY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One worker process, or the thread that stands for it.
pub struct WorkerHandle {
    body: Body,
    pub control: Control,
    pub started: Tick,
    /// It accepts no more and ends with its last connection.
    pub draining: bool,
    /// When it is killed if it has not ended.
    pub kill_at: Option<Tick>,
    /// Its end of the control socket is closed.
    pub silent: bool,
}

enum Body {
    Process(Child),
    Thread(Option<JoinHandle<io::Result<()>>>),
}

/// How a worker process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Exited,
    Fatal(String),
    Died(String),
}

impl WorkerHandle {
    /// Starts a worker process with nothing but its control socket, the environment the
    /// configuration gives it, and `standard_error` (ours when `None`).
    ///
    /// # Errors
    /// Those of `socketpair`, `fork` and `exec`.
    pub fn start(main: &Main, standard_error: Option<OwnedFd>, now: Tick) -> io::Result<WorkerHandle> {
        let (control, theirs) = Control::pair()?;
        let body = if main.master_process {
            let child = Command::new(OURSELVES)
                .arg0("fairlead: worker process")
                .env_clear()
                .envs(environment(main))
                .env(WORKER_MARK, "1")
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(Stdio::null())
                .stderr(standard_error.map_or_else(Stdio::inherit, Stdio::from))
                .spawn()?;
            Body::Process(child)
        } else {
            let serve = move || worker_process::run(theirs, Place::InMaster);
            Body::Thread(Some(std::thread::Builder::new().name("control".into()).spawn(serve)?))
        };
        Ok(WorkerHandle { body, control, started: now, draining: false, kill_at: None, silent: false })
    }

    pub fn pid(&self) -> u32 {
        match &self.body {
            Body::Process(child) => child.id(),
            Body::Thread(_) => std::process::id(),
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<Ending> {
        match &mut self.body {
            Body::Process(child) => match child.try_wait() {
                Ok(status) => status.map(ending),
                Err(error) => Some(Ending::Died(format!("was lost ({error})"))),
            },
            // It closes the socket last of all.
            Body::Thread(Some(thread)) if !self.silent && !thread.is_finished() => None,
            Body::Thread(thread) => Some(match thread.take().map(JoinHandle::join) {
                Some(Ok(Ok(()))) | None => Ending::Exited,
                Some(Ok(Err(error))) => Ending::Fatal(error.to_string()),
                Some(Err(_)) => Ending::Died("panicked".into()),
            }),
        }
    }

    /// Ends a process that did not answer; a thread ends with ours.
    pub fn kill(&mut self) {
        if let Body::Process(child) = &mut self.body {
            // It has just ended by itself: good.
            let _ = child.kill();
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    match (status.signal(), status.code()) {
        (Some(signal), _) if status.core_dumped() => Ending::Died(format!("exited on signal {signal} (core dumped)")),
        (Some(signal), _) => Ending::Died(format!("exited on signal {signal}")),
        (None, Some(0)) => Ending::Exited,
        (None, Some(code)) if code == i32::from(FATAL) => Ending::Fatal(format!("exited with fatal code {code}")),
        (None, code) => Ending::Died(format!("exited with code {}", code.unwrap_or(-1))),
    }
}

/// TZ, what `env` keeps, and what it sets.
fn environment(main: &Main) -> BTreeMap<OsString, OsString> {
    let mut environment = BTreeMap::new();
    let kept = main.env.iter().filter(|variable| variable.value.is_none()).map(|variable| &*variable.name);
    for name in std::iter::once("TZ").chain(kept) {
        if let Some(value) = std::env::var_os(name) {
            environment.insert(name.into(), value);
        }
    }
    for variable in &main.env {
        if let Some(value) = &variable.value {
            environment.insert((&*variable.name).into(), (&**value).into());
        }
    }
    environment
}

/// When to start a worker process in place of one that died.
#[derive(Debug, Default)]
pub struct Respawn {
    pause: Duration,
    at: Option<Tick>,
}

impl Respawn {
    /// The first death is answered at once; those of processes that die as soon as they are
    /// started, after a pause that doubles.
    pub fn died(&mut self, started: Tick, now: Tick) {
        let young = now.since(started) < INFANCY;
        self.at = Some(if young { now.after(self.pause) } else { now });
        self.pause = if young { (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) } else { Duration::ZERO };
    }

    /// True once when it is time.
    pub fn due(&mut self, now: Tick) -> bool {
        let due = self.at.is_some_and(|at| now >= at);
        if due {
            self.at = None;
        }
        due
    }

    pub fn at(&self) -> Option<Tick> {
        self.at
    }

    pub fn cancel(&mut self) {
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_is_answered_at_once() {
        let mut respawn = Respawn::default();
        respawn.died(Tick(0), Tick(50_000));
        assert!(respawn.due(Tick(50_000)));
        assert!(!respawn.due(Tick(60_000)), "once");
        respawn.died(Tick(50_000), Tick(50_001));
        assert!(respawn.due(Tick(50_001)), "even of a young one");
    }

    #[test]
    fn dying_at_once_again_and_again_is_slowed_down_and_forgiven() {
        let mut respawn = Respawn::default();
        let mut now = Tick(1_000);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            respawn.died(now, now);
            let at = respawn.at().unwrap();
            pauses.push(at.since(now).as_millis());
            assert!(at == now || !respawn.due(Tick(at.0 - 1)));
            now = at;
            assert!(respawn.due(now));
        }
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        respawn.died(now, now.after(INFANCY));
        assert_eq!(respawn.at(), Some(now.after(INFANCY)));
    }

    #[test]
    fn an_ending_is_told_as_nginx_tells_it() {
        assert_eq!(ending(ExitStatus::from_raw(0)), Ending::Exited);
        assert_eq!(ending(ExitStatus::from_raw(9)), Ending::Died("exited on signal 9".into()));
        assert_eq!(ending(ExitStatus::from_raw(0x8b)), Ending::Died("exited on signal 11 (core dumped)".into()));
        assert_eq!(ending(ExitStatus::from_raw(0x0200)), Ending::Fatal("exited with fatal code 2".into()));
        assert_eq!(ending(ExitStatus::from_raw(0x0100)), Ending::Died("exited with code 1".into()));
    }
}
