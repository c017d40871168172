//! Settings applied, and kept true: the thread that owns a [`Network`] polls for it.

use crate::machine::Places;
use crate::netlink::{Changes, Netlink};
use fairlead_appliance::plan::{Kernel, KernelLink, Lease, Step, Wanted, plan};
use fairlead_appliance::{LinkName, Settings};
use fairlead_core::clock::Tick;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What could not be done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "could not {}: {}", self.what, self.why)
    }
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, why: &io::Error) -> Problem {
        Problem { what: what.into(), why: why.to_string() }
    }
}

/// What was done. Nothing, where all was as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Each as a line for the log.
    pub steps: Vec<String>,
    /// Cards that the settings name and the machine does not have; their part is done when they come.
    pub missing: Vec<LinkName>,
}

/// What has happened since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link got its carrier, or lost it.
    Carrier {
        link: Box<str>,
        up: bool,
    },
    /// Something was done to keep the settings true: a card has come, a lease has changed.
    Applied(Applied),
    Problem(Problem),
}

pub struct Network {
    netlink: Netlink,
    changes: Changes,
    places: Places,
    settings: Settings,
    carriers: BTreeMap<Box<str>, bool>,
}

impl Network {
    /// Nothing is changed yet. `seed` is for numbers that others should not guess.
    ///
    /// # Errors
    /// The system has no netlink.
    pub fn open(places: Places, _seed: u64) -> io::Result<Network> {
        let (netlink, changes) = (Netlink::open()?, Changes::open()?);
        let mut network =
            Network { netlink, changes, places, settings: Settings::default(), carriers: BTreeMap::new() };
        network.look_at_carriers()?;
        Ok(network)
    }

    /// Makes the machine what `settings` say, or leaves it as it was.
    ///
    /// # Errors
    /// What failed; and what then could not be taken back, which is rare and leaves the machine
    /// between the two.
    pub fn apply(&mut self, settings: &Settings, now: Tick) -> Result<Applied, Vec<Problem>> {
        let _ = now;
        let applied = self.reach(settings)?;
        self.settings = settings.clone();
        Ok(applied)
    }

    /// What to wait on: each is readable when [`Network::on_ready`] has something to do.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.changes.as_fd()]
    }

    /// When to call [`Network::on_ready`] at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        None
    }

    /// Looks at what has come and at what is due.
    pub fn on_ready(&mut self, now: Tick) -> Vec<Event> {
        let _ = now;
        if !self.changes.seen() {
            return Vec::new();
        }
        let mut events = self
            .look_at_carriers()
            .unwrap_or_else(|error| vec![Event::Problem(Problem::new("read the links", &error))]);
        match self.reach(&self.settings.clone()) {
            Ok(applied) if applied.steps.is_empty() => {}
            Ok(applied) => events.push(Event::Applied(applied)),
            Err(problems) => events.extend(problems.into_iter().map(Event::Problem)),
        }
        events
    }

    /// Every link with its state, for a page of status.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn kernel(&mut self) -> io::Result<Kernel> {
        let mut kernel = self.netlink.kernel()?;
        self.places.read(&mut kernel);
        Ok(kernel)
    }

    /// Links of the settings that are up and have nothing at their other end. At start one waits a
    /// few seconds for them: cards take that long.
    pub fn without_carrier(&self) -> Vec<&str> {
        let down = self.carriers.iter().filter(|(_, up)| !**up);
        down.map(|(name, _)| &**name).collect()
    }

    /// What DHCP has given, by link.
    pub fn leases(&self) -> Vec<Lease> {
        Vec::new()
    }

    fn reach(&mut self, settings: &Settings) -> Result<Applied, Vec<Problem>> {
        let read = |error: io::Error| vec![Problem::new("read what the kernel has", &error)];
        let mut before = self.kernel().map_err(read)?;
        let wanted = Wanted::of(settings, &before, &self.leases());
        self.places.read_sysctls(&mut before, &wanted);
        let steps = plan(&before, &wanted);
        let mut done = Vec::new();
        for step in &steps {
            if let Err(error) = self.take(step) {
                let mut problems = vec![Problem::new(step.to_string(), &error)];
                problems.extend(self.go_back(&before));
                return Err(problems);
            }
            done.push(step.to_string());
        }
        Ok(Applied { steps: done, missing: wanted.missing })
    }

    fn take(&mut self, step: &Step) -> io::Result<()> {
        if self.netlink.take(step)? { Ok(()) } else { self.places.take(step) }
    }

    /// Undoes what was done since `before`, as far as that goes.
    fn go_back(&mut self, before: &Kernel) -> Vec<Problem> {
        let mut problems = Vec::new();
        let wanted = Wanted::as_it_was(before);
        match self.kernel() {
            Ok(mut present) => {
                self.places.read_sysctls(&mut present, &wanted);
                for step in plan(&present, &wanted) {
                    if let Err(error) = self.take(&step) {
                        problems.push(Problem::new(step.to_string(), &error));
                    }
                }
            }
            Err(error) => problems.push(Problem::new("read what the kernel has", &error)),
        }
        problems
    }

    fn look_at_carriers(&mut self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let links = self.netlink.links()?;
        let of_settings = |link: &&KernelLink| link.up && &*link.name != "lo";
        let now: BTreeMap<Box<str>, bool> =
            links.iter().filter(of_settings).map(|link| (link.name.clone(), link.carrier)).collect();
        for (link, up) in &now {
            if self.carriers.get(link) != Some(up) {
                events.push(Event::Carrier { link: link.clone(), up: *up });
            }
        }
        self.carriers = now;
        Ok(events)
    }
}
