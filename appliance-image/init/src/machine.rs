//! The machine while it runs: one loop that waits for whatever happens first. What has to be decided is
//! decided elsewhere; here it is done.

use crate::cmdline::Cmdline;
use crate::control::Control;
use crate::managed::Managed;
use crate::partition::Partition;
use crate::password::Attempts;
use crate::power::{self, End};
use crate::service::{self, Service};
use crate::slot::Slot;
use crate::supervise::Verdict;
use crate::terminals::Terminals;
use crate::uplink::Uplink;
use crate::watchdog::Watchdog;
use crate::{check, children, entropy, first, kernel, logs, say, uplink, working};
use fairlead_appliance::management::{self, Desk, Fingerprint, Now};
use fairlead_appliance::store::{AuthorizedKey, Files};
use fairlead_appliance::{Settings, Watchdog as Wanted};
use fairlead_core::clock::{tick, unix_millis};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

const TICK: u64 = 1000;
/// How long `fairlead` may finish what it serves, and then may take to end at once.
const DRAIN: u64 = 15_000;
const STOP: u64 = 3_000;
/// When a machine that serves has all its devices.
const SETTLED: u64 = 15_000;

pub struct Machine {
    signals: Option<SignalFd>,
    pub line: Cmdline,
    pub partition: Partition,
    watchdog: Option<Watchdog>,
    pub service: Service,
    pub settings: Settings,
    pub uplink: Uplink,
    pub slot: Slot,
    managed: Managed,
    /// Configuration and keys; away while it answers.
    pub desk: Option<Desk>,
    control: Option<Control>,
    terminals: Terminals,
    buttons: Vec<File>,
    phase: Phase,
    next_tick: u64,
    pub serves: bool,
    served_since: Option<u64>,
    modules_off: bool,
    /// What is served, as it was given.
    pub files: Files,
    /// Of the management's key.
    pub fingerprint: Option<String>,
    pub attempts: Attempts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Up,
    /// `fairlead` finishes what it serves, until then.
    Draining(End, u64),
    /// It was told to end at once, and is killed then.
    Stopping(End, u64),
}

impl Machine {
    pub fn new(signals: Option<SignalFd>, line: Cmdline, partition: Partition, watchdog: Option<Watchdog>) -> Machine {
        let control = Control::open().map_err(|error| {
            say::trouble(format!("the control socket cannot be made: {error}"), "console and management do not work");
        });
        let terminals = Terminals::new(line.draw);
        let slot = Slot::open(&line);
        Machine {
            signals,
            line,
            partition,
            watchdog,
            service: Service::new(say::uptime()),
            settings: Settings::default(),
            uplink: Uplink::open(entropy::bytes().map_or(0, u64::from_ne_bytes)),
            managed: Managed::new(say::uptime()),
            desk: None,
            slot,
            control: control.ok(),
            terminals,
            buttons: Vec::new(),
            phase: Phase::Up,
            next_tick: 0,
            serves: false,
            served_since: None,
            modules_off: false,
            files: Files::default(),
            fingerprint: None,
            attempts: Attempts::default(),
        }
    }

    /// What is asked of the desk, by somebody or by the machine itself.
    pub fn desk<T>(&mut self, act: impl FnOnce(&mut Desk, Now, &mut Machine) -> T) -> Option<T> {
        let mut desk = self.desk.take()?;
        let now = Now { tick: tick(), unix: unix_millis() / 1000 };
        let done = act(&mut desk, now, self);
        self.desk = Some(desk);
        Some(done)
    }

    /// The files become what `fairlead` and the machine work by; `None` is the built-in default.
    ///
    /// # Errors
    /// What could not be done.
    pub fn use_files(&mut self, files: Option<&Files>) -> Result<(), Vec<String>> {
        let files = files.cloned().unwrap_or_else(first::default_files);
        working::write(&files).map_err(|error| vec![format!("{}: {error}", working::FOLDER)])?;
        self.files = files;
        let reading = fairlead_appliance::read(Path::new(working::MAIN));
        let complaints = || vec![reading.complaints()];
        let settings = reading.settings.clone().ok_or_else(complaints)?;
        self.uplink.apply(&settings, &self.line)?;
        self.settle_watchdog(&settings);
        self.slot.trust(&settings.update_keys);
        self.managed.want(&settings.management, say::uptime());
        self.settings = settings;
        self.service.supervisor.hurry(say::uptime());
        self.service.send(Signal::SIGHUP);
        Ok(())
    }

    fn settle_watchdog(&mut self, settings: &Settings) {
        match settings.watchdog {
            Wanted::Off => {
                if let Some(watchdog) = self.watchdog.take() {
                    watchdog.disarm();
                    say::step("watchdog: off, as configured");
                }
            }
            Wanted::After(period) => {
                if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.wanted() != period) {
                    watchdog.wait_for(period);
                    say::step(format!("watchdog: {} s, as configured", watchdog.period().as_secs()));
                }
            }
        }
    }

    /// The management's key, made at the first start.
    pub fn prepare_management(&mut self) {
        self.fingerprint = self.managed.prepare(&self.partition);
        match &self.fingerprint {
            Some(fingerprint) => say::step(format!("management: key {fingerprint}")),
            None => say::trouble("the management has no key", "give the virtual machine a virtio-rng device"),
        }
    }

    pub fn run(mut self) -> ! {
        self.buttons = power::buttons();
        loop {
            let now = say::uptime();
            if self.service.supervisor.is_due(now) {
                let verdict = self.service.start(now, self.on_trial());
                self.follow(verdict);
            }
            if now >= self.next_tick {
                self.tick(now);
                self.next_tick = now + TICK;
            }
            self.go_down(now);
            let next = self.service.supervisor.next().unwrap_or(u64::MAX).min(self.next_tick);
            let network = self.uplink.deadline().map_or(TICK, |at| millis(at.since(tick())));
            self.wait(next.saturating_sub(now).min(network));
            self.hear();
            self.uplink.look();
        }
    }

    /// Whether this system has yet to prove itself.
    pub fn on_trial(&self) -> bool {
        self.slot.is_on_trial()
    }

    /// Waits for anything, `millis` at most.
    fn wait(&self, millis: u64) {
        let mut fds = Vec::new();
        fds.extend(self.signals.as_ref().map(AsFd::as_fd));
        fds.extend(self.buttons.iter().map(AsFd::as_fd));
        fds.extend(self.service.output());
        fds.extend(self.uplink.fds());
        if let Some(control) = &self.control {
            fds.extend(control.waits_on());
        }
        let mut fds: Vec<PollFd<'_>> = fds.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let millis = u16::try_from(millis).unwrap_or(u16::MAX);
        let _ = poll(&mut fds, PollTimeout::from(millis));
    }

    /// Takes in what has happened.
    fn hear(&mut self) {
        while let Some(Ok(Some(signal))) = self.signals.as_ref().map(SignalFd::read_signal) {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGTERM | Signal::SIGPWR)) => self.end("SIGTERM", End::PowerOff),
                Ok(Ok(Signal::SIGINT)) => self.end("Ctrl-Alt-Del", End::Reboot),
                _ => {}
            }
        }
        if self.buttons.iter_mut().any(power::is_pressed) {
            self.end("the power button", End::PowerOff);
        }
        while let Some(ended) = children::reap() {
            if self.service.is(ended.pid) {
                let (verdict, stillborn) = self.service.ended(&ended.how, say::uptime(), self.on_trial());
                self.follow(Some(verdict));
                if stillborn {
                    self.fall_back();
                }
            } else if self.managed.is(ended.pid) {
                self.managed.ended(say::uptime());
            } else {
                self.terminals.ended(ended.pid, say::uptime());
            }
        }
        self.service.listen();
        if let Some(mut control) = self.control.take() {
            control.serve(|request| crate::verbs::answer(self, request));
            self.control = Some(control);
        }
    }

    fn follow(&mut self, verdict: Option<Verdict>) {
        if verdict != Some(Verdict::GiveUp) {
            return;
        }
        if self.slot.give_up("fairlead ended five times in a minute") {
            self.end("a version on trial that does not serve", End::Reboot);
        } else {
            self.service.supervisor.hurry(say::uptime());
        }
    }

    /// A configuration that is not served at all gives way to the default, so that somebody can be told.
    fn fall_back(&mut self) {
        if self.phase != Phase::Up || self.service.supervisor.crashes < 3 || self.serves {
            return;
        }
        self.service.supervisor.crashes = 0;
        say::trouble("the configuration cannot be served", "the built-in default is, until another one is pushed");
        if let Err(errors) = self.use_files(None) {
            say::trouble(errors.join("; "), "start the machine again");
        }
    }

    fn tick(&mut self, now: u64) {
        self.serves = self.service.look(now);
        self.served_since = if self.serves { self.served_since.or(Some(now)) } else { None };
        if self.phase == Phase::Up && self.slot.look_at_trial(now, self.served_since) {
            self.end("a version on trial that does not serve", End::Reboot);
        }
        // A machine on which fairlead hangs however often it is started is left to its watchdog.
        if !self.service.is_hopeless(now)
            && let Some(watchdog) = &mut self.watchdog
        {
            watchdog.sign(now);
        }
        if logs::rotate(Path::new("/run/log"), service::LOG_NAME) {
            self.service.send(Signal::SIGUSR1);
        }
        if self.buttons.is_empty() {
            self.buttons = power::buttons();
        }
        if self.phase == Phase::Up {
            self.terminals.keep(now);
            self.managed.keep(now);
            self.desk(|desk, now, machine| desk.tick(now, machine));
        }
        if !self.modules_off && self.served_since.is_some_and(|since| now - since >= SETTLED) {
            self.modules_off = true;
            if let Err(error) = kernel::write("kernel.modules_disabled", "1") {
                say::trouble(format!("module loading stays on: {error}"), "the machine works, with one guard less");
            } else {
                say::step("kernel: no module is loaded from here on");
            }
        }
    }

    /// Begins the end. Asked a second time, it hurries.
    pub fn end(&mut self, why: &str, how: End) {
        let now = say::uptime();
        match self.phase {
            Phase::Up => {
                self.terminals.stop();
                say::draw_over(false);
                say::step(format!("going down: {why}"));
                self.service.stop(Signal::SIGQUIT);
                self.phase = Phase::Draining(how, now + DRAIN);
            }
            Phase::Draining(_, _) => self.phase = Phase::Draining(how, now),
            Phase::Stopping(_, _) => self.phase = Phase::Stopping(how, now),
        }
    }

    fn go_down(&mut self, now: u64) {
        match self.phase {
            Phase::Up => {}
            Phase::Draining(how, _) | Phase::Stopping(how, _) if !self.service.is_ending() => self.leave(how),
            Phase::Draining(how, until) if now >= until => {
                say::step("fairlead still serves; it is told to end at once");
                self.service.stop(Signal::SIGTERM);
                self.phase = Phase::Stopping(how, now + STOP);
            }
            Phase::Stopping(how, until) if now >= until => {
                self.service.stop(Signal::SIGKILL);
                self.leave(how);
            }
            Phase::Draining(..) | Phase::Stopping(..) => {}
        }
    }

    /// A machine that is switched off needs its addresses no more; one that restarts asks for them again.
    fn leave(&mut self, how: End) -> ! {
        if how == End::PowerOff {
            self.uplink.release();
        }
        power::end(how)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl management::Machine for Machine {
    fn check(&mut self, folder: &Path) -> Result<Vec<String>, Vec<String>> {
        check::folder(folder)
    }

    fn apply(&mut self, files: Option<&Files>) -> Result<(), Vec<String>> {
        self.use_files(files)
    }

    fn window(&self, files: &Files) -> Option<Duration> {
        let new = check::settings(files)?;
        uplink::differ_in_reach(&self.settings, &new).then_some(new.management.confirm)
    }

    fn authorized_keys(&self) -> Vec<AuthorizedKey> {
        let keys = self.settings.management.authorized_keys.iter();
        keys.map(|key| AuthorizedKey { key: Fingerprint(key.digest), name: key.comment.to_string() }).collect()
    }

    fn writable(&mut self, yes: bool) -> std::io::Result<()> {
        self.partition.writable(yes)
    }

    fn random(&mut self) -> [u8; 8] {
        entropy::bytes().unwrap_or_default()
    }

    fn log(&mut self, line: &str) {
        say::step(format!("management: {line}"));
    }
}
