//! What PID 1 answers about configuration, keys and enrolment, whoever asks: the network through the
//! management's server, or the console. Everything that changes a machine goes through one order
//! here: check, write, put into force, settle. It touches the machine only through [`Machine`].

mod restore;

use super::confirm::words;
use super::enrol::Enrolment;
use super::request::{Answer, Asked, By, Request};
use super::{Confirm, Fingerprint};
use crate::store::{AuthorizedKey, Boot, Disk, Files, Info, Number, Origin, Store, StoreError, System, sum_of};
use fairlead_core::clock::Tick;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A window that is longer is a mistake.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// What the desk needs of the machine it stands in.
pub trait Machine {
    /// What `fairlead -t` says of `fairlead.conf` in this folder: warnings, or every diagnostic.
    fn check(&mut self, folder: &Path) -> Result<Vec<String>, Vec<String>>;
    /// Puts a configuration into force; `None` is what a machine without one does. What went wrong
    /// is undone as far as it can be: the desk puts the version before into force again.
    fn apply(&mut self, files: Option<&Files>) -> Result<(), Vec<String>>;
    /// How long a change waits to be confirmed when whoever makes it does not say: some time when
    /// it changes how the machine is reached, `None` otherwise.
    fn window(&self, files: &Files) -> Option<Duration>;
    /// Those that the configuration in force names.
    fn authorized_keys(&self) -> Vec<AuthorizedKey>;
    /// Makes the configuration partition writable, or read-only again.
    fn writable(&mut self, yes: bool) -> std::io::Result<()>;
    /// Good randomness.
    fn random(&mut self) -> [u8; 8];
    fn log(&mut self, line: &str);
}

/// Both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub tick: Tick,
    /// Seconds since 1970.
    pub unix: u64,
}

/// What a start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// What to put into force; `None` when the machine has no configuration that can be read.
    pub boot: Option<Boot>,
    /// What a person should know about it, a line each.
    pub notes: Vec<String>,
}

pub struct Desk<D = System> {
    store: Store<D>,
    confirm: Confirm,
    enrolment: Enrolment,
    /// The version in force that survives a restart.
    settled: Option<Number>,
    /// Where configurations are checked; on no disk.
    scratch: PathBuf,
}

type Outcome = Result<Answer, Answer>;

impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Answer {
        Answer::refused(error.to_string())
    }
}

impl<D: Disk> Desk<D> {
    /// After a start: what to put into force, and what to say about it. Writes nothing.
    pub fn start(store: Store<D>, scratch: &Path) -> Result<(Desk<D>, Start), StoreError> {
        let (boot, notes) = store.boot()?;
        let settled = boot.as_ref().map(|boot| boot.number);
        let (confirm, enrolment, scratch) = (Confirm::default(), Enrolment::default(), scratch.to_owned());
        Ok((Desk { store, confirm, enrolment, settled, scratch }, Start { boot, notes }))
    }

    pub fn store(&self) -> &Store<D> {
        &self.store
    }

    /// When [`Desk::tick`] has something to do.
    pub fn deadline(&self) -> Option<Tick> {
        self.confirm.trial().map(|trial| trial.until)
    }

    /// The version in force.
    pub fn in_force(&self) -> Option<Number> {
        self.confirm.trial().map(|trial| trial.number).or(self.settled)
    }

    /// Takes back what nobody confirmed in time.
    pub fn tick(&mut self, now: Now, machine: &mut impl Machine) {
        if let Some(trial) = self.confirm.expire(now.tick) {
            let back = self.words_of(trial.back_to);
            machine.log(&format!(
                "version {} was not confirmed within {}; {back} is back",
                trial.number,
                words(trial.window)
            ));
            self.go_back(trial.back_to, machine);
        }
    }

    /// `None` for what is not about configuration or keys.
    pub fn answer(&mut self, asked: &Asked, now: Now, machine: &mut impl Machine) -> Option<Answer> {
        let by = &asked.by;
        let outcome = match &asked.request {
            Request::Push { files, dry_run, confirm, note } => {
                Files::from_wire(files).map_err(|error| Answer::refused(error.to_string())).and_then(|files| {
                    self.push(Change { files, confirm: *confirm, note, dry_run: *dry_run }, by, now, machine)
                })
            }
            Request::Use { version, confirm } => self.use_again(*version, *confirm, by, now, machine),
            Request::Confirm => self.keep(by, machine),
            Request::Cancel => self.cancel(by, machine),
            Request::Pull { version } => self.pull(*version),
            Request::Versions => self.versions(),
            Request::Backup { only_configuration } => self.backup(*only_configuration),
            Request::Restore { data, confirm } => self.restore(data, *confirm, by, now, machine),
            Request::Authorize { key } => self.owner(*key, machine),
            Request::EnrollCode => Ok(self.open_enrolment(now, machine)),
            Request::Enroll { proof, server, client, name } => {
                let attempt = self.enrolment.attempt(proof, *server, *client, now.tick);
                attempt.map_err(|refused| Answer::refused(refused.to_string())).and_then(|proof| {
                    self.enroll(AuthorizedKey { key: *client, name: name.clone() }, machine)?;
                    Ok(Answer::done().with("proof", json!(proof)))
                })
            }
            _ => return None,
        };
        Some(outcome.unwrap_or_else(|refused| refused))
    }

    fn push(&mut self, change: Change<'_>, by: &By, now: Now, machine: &mut impl Machine) -> Outcome {
        let warnings = self.check(&change.files, machine)?;
        let answer = Answer::done().with("warnings", warnings);
        if change.dry_run {
            return Ok(answer.with("dry_run", true));
        }
        if let Some(same) = self.in_force().filter(|number| self.is_version(*number, &change.files)) {
            return Ok(answer.with("version", same.0).with("unchanged", true));
        }
        let origin = Origin { made: now.unix, by: by.words(), note: change.note.to_owned() };
        let store = &self.store;
        let number = write(machine, |_| store.add(&change.files, &origin).map_err(Answer::from))?;
        let window = self.put_into_force(number, &change, now, machine)?;
        machine.log(&format!("version {number} is in force, by {}{}", by.words(), until_words(window)));
        Ok(answer.with("version", number.0).with("confirm", window.map(|window| window.as_secs())))
    }

    fn use_again(
        &mut self,
        number: Number,
        confirm: Option<u64>,
        by: &By,
        now: Now,
        machine: &mut impl Machine,
    ) -> Outcome {
        let change = Change { files: self.store.read(number)?, confirm, note: "", dry_run: false };
        let warnings = self.check(&change.files, machine)?;
        let window = self.put_into_force(number, &change, now, machine)?;
        machine.log(&format!("version {number} is in force again, by {}{}", by.words(), until_words(window)));
        let answer = Answer::done().with("warnings", warnings).with("version", number.0);
        Ok(answer.with("confirm", window.map(|window| window.as_secs())))
    }

    /// The window in which it must be confirmed, if it must.
    fn put_into_force(
        &mut self,
        number: Number,
        change: &Change<'_>,
        now: Now,
        machine: &mut impl Machine,
    ) -> Result<Option<Duration>, Answer> {
        let window = match change.confirm {
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds).min(LONGEST_WINDOW)),
            None => machine.window(&change.files),
        };
        let store = &self.store;
        if window.is_some() {
            // Before it is in force: should the machine go down by it, the next start says why.
            write(machine, |_| store.begin_trial(number).map_err(Answer::from))?;
        }
        if let Err(mut errors) = machine.apply(Some(&change.files)) {
            machine.log(&format!("version {number} could not be put into force: {}", errors.join("; ")));
            errors.push(format!("it could not be put into force; {} is back", self.give_up(machine)));
            return Err(Answer::failed(errors));
        }
        match window {
            Some(window) => self.confirm.begin(number, self.settled, window, now.tick),
            None => {
                if let Err(mut answer) = self.settle(number, machine) {
                    answer.errors.push(format!("it could not be kept; {} is back", self.give_up(machine)));
                    return Err(answer);
                }
            }
        }
        Ok(window)
    }

    /// Puts what was confirmed last into force again, and names it.
    fn give_up(&mut self, machine: &mut impl Machine) -> String {
        self.confirm.end();
        self.go_back(self.settled, machine);
        self.words_of(self.settled)
    }

    fn settle(&mut self, number: Number, machine: &mut impl Machine) -> Result<(), Answer> {
        let store = &self.store;
        write(machine, |_| {
            store.switch(number)?;
            store.end_trial()?;
            Ok(())
        })?;
        self.confirm.end();
        self.settled = Some(number);
        Ok(())
    }

    fn keep(&mut self, by: &By, machine: &mut impl Machine) -> Outcome {
        let trial = self.confirm.trial().ok_or_else(|| Answer::refused("nothing waits to be confirmed"))?;
        self.settle(trial.number, machine)?;
        machine.log(&format!("version {} is confirmed, by {}", trial.number, by.words()));
        Ok(Answer::done().with("version", trial.number.0))
    }

    fn cancel(&mut self, by: &By, machine: &mut impl Machine) -> Outcome {
        let trial = self.confirm.end().ok_or_else(|| Answer::refused("nothing waits to be confirmed"))?;
        let back = self.words_of(trial.back_to);
        machine.log(&format!("version {} is taken back, by {}; {back} is back", trial.number, by.words()));
        self.go_back(trial.back_to, machine);
        Ok(Answer::done().with("version", trial.back_to.map(|number| number.0)))
    }

    fn go_back(&mut self, to: Option<Number>, machine: &mut impl Machine) {
        let files = to.map(|number| self.store.read(number));
        let files = files.transpose().unwrap_or_else(|error| {
            machine.log(&error.to_string());
            None
        });
        if let Err(errors) = machine.apply(files.as_ref()) {
            machine.log(&format!("{} could not be put into force: {}", self.words_of(to), errors.join("; ")));
        }
        let store = &self.store;
        if let Err(answer) = write(machine, |_| store.end_trial().map_err(Answer::from)) {
            // The link says no more than what a restart would say anyway.
            machine.log(&answer.errors.join("; "));
        }
    }

    fn pull(&self, version: Option<Number>) -> Outcome {
        let number = version.or(self.in_force()).ok_or_else(|| Answer::refused("there is no configuration yet"))?;
        let files = self.store.read(number)?;
        Ok(Answer::done().with("version", number.0).with("files", json!(files.to_wire())))
    }

    fn versions(&self) -> Outcome {
        let versions: Vec<Info> = self.store.versions()?;
        let answer = Answer::done().with("versions", json!(versions));
        let trial = self.confirm.trial().map(|trial| trial.number.0);
        Ok(answer.with("current", self.settled.map(|number| number.0)).with("trial", trial))
    }

    /// Diagnostics name files as they were sent.
    fn check(&self, files: &Files, machine: &mut impl Machine) -> Result<Vec<String>, Answer> {
        let folder = self.scratch.join("check");
        // Left by a check that was cut short.
        let _ = fs::remove_dir_all(&folder);
        let written = fs::create_dir_all(&folder).and_then(|()| files.write_to(&folder));
        let checked = match written {
            Ok(()) => machine.check(&folder),
            Err(error) => Err(vec![format!("it cannot be checked: {error}")]),
        };
        let _ = fs::remove_dir_all(&folder);
        let prefix = format!("{}/", folder.display());
        let shorten = |lines: Vec<String>| lines.iter().map(|line| line.replace(&prefix, "")).collect::<Vec<_>>();
        checked.map(shorten).map_err(|errors| Answer::failed(shorten(errors)))
    }

    fn is_version(&self, number: Number, files: &Files) -> bool {
        self.confirm.trial().is_none() && self.store.card(number).is_ok_and(|card| card.sum == sum_of(files))
    }

    fn words_of(&self, number: Option<Number>) -> String {
        number.map_or("what a new machine does".to_owned(), |number| format!("version {number}"))
    }

    fn owner(&self, key: Fingerprint, machine: &impl Machine) -> Outcome {
        let mut known = machine.authorized_keys();
        // A partition that cannot be read keeps out only those it alone knows.
        known.extend(self.store.authorized_keys().unwrap_or_default());
        let owner = known.into_iter().find(|known| known.key == key);
        owner
            .map(|owner| Answer::done().with("name", owner.name))
            .ok_or_else(|| Answer::refused("the key is not known"))
    }

    fn open_enrolment(&mut self, now: Now, machine: &mut impl Machine) -> Answer {
        let random = machine.random();
        Answer::done().with("code", self.enrolment.open(random, now.tick).to_string())
    }

    fn enroll(&mut self, key: AuthorizedKey, machine: &mut impl Machine) -> Result<(), Answer> {
        let store = &self.store;
        write(machine, |_| store.authorize(key.clone()).map_err(Answer::from))?;
        machine.log(&format!("the key {} of \"{}\" may manage this appliance from now on", key.key, key.name));
        Ok(())
    }
}

/// A configuration that somebody wants in force.
struct Change<'c> {
    files: Files,
    confirm: Option<u64>,
    note: &'c str,
    dry_run: bool,
}

/// Runs `work` on a partition that can be written, and makes it read-only again whatever comes of it.
fn write<M: Machine, T>(machine: &mut M, work: impl FnOnce(&mut M) -> Result<T, Answer>) -> Result<T, Answer> {
    let cannot = |error| Answer::refused(format!("the configuration partition cannot be written: {error}"));
    machine.writable(true).map_err(cannot)?;
    let done = work(machine);
    if let Err(error) = machine.writable(false) {
        machine.log(&format!("the configuration partition stays writable: {error}"));
    }
    done
}

fn until_words(window: Option<Duration>) -> String {
    window.map_or(String::new(), |window| format!("; it must be confirmed within {}", words(window)))
}

#[cfg(test)]
mod tests;
