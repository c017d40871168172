//! Settings applied, and kept true: the thread that owns a [`Network`] polls for it.

use crate::dhcp::{Dhcp, Outcome};
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
    /// Parameters that the settings name and this kernel does not have.
    pub unknown: Vec<Box<str>>,
}

/// What has happened since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link got its carrier, or lost it.
    Carrier {
        link: Box<str>,
        up: bool,
    },
    /// DHCP gave an address, or another one than before. It is on the link by now.
    Leased(Lease),
    /// What DHCP gave may be used no more, and is not.
    LeaseLost {
        link: Box<str>,
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
    /// In the order of the settings, in which leases count.
    dhcp: Vec<Dhcp>,
    seed: u64,
}

impl Network {
    /// Nothing is changed yet. `seed` is for numbers that others should not guess.
    ///
    /// # Errors
    /// The system has no netlink.
    pub fn open(places: Places, seed: u64) -> io::Result<Network> {
        let (netlink, changes) = (Netlink::open()?, Changes::open()?);
        let (settings, carriers) = (Settings::default(), BTreeMap::new());
        let mut network = Network { netlink, changes, places, settings, carriers, dhcp: Vec::new(), seed };
        network.look_at_carriers()?;
        Ok(network)
    }

    /// Makes the machine what `settings` say, or leaves it as it was.
    ///
    /// # Errors
    /// What failed; and what then could not be taken back, which is rare and leaves the machine
    /// between the two.
    pub fn apply(&mut self, settings: &Settings, now: Tick) -> Result<Applied, Vec<Problem>> {
        let (applied, dhcp) = self.reach(settings)?;
        self.settings = settings.clone();
        self.lease_on(&dhcp, now);
        Ok(applied)
    }

    /// What to wait on: each is readable when [`Network::on_ready`] has something to do. They change
    /// with every call of it and of [`Network::apply`].
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.changes.as_fd()];
        all.extend(self.dhcp.iter().flat_map(Dhcp::fds));
        all
    }

    /// When to call [`Network::on_ready`] at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        self.dhcp.iter().filter_map(Dhcp::deadline).min()
    }

    /// Looks at what has come and at what is due.
    pub fn on_ready(&mut self, now: Tick) -> Vec<Event> {
        let mut events = Vec::new();
        let changed = self.changes.seen();
        if changed {
            let seen = self.look_at_carriers();
            events.extend(seen.unwrap_or_else(|error| vec![Event::Problem(Problem::new("read the links", &error))]));
        }
        let mut leased = self.hear(&events, now);
        if changed || !leased.is_empty() {
            match self.reach(&self.settings.clone()) {
                Ok((applied, dhcp)) => {
                    // A card that was not there may want an address.
                    self.lease_on(&dhcp, now);
                    events.extend((!applied.steps.is_empty()).then_some(Event::Applied(applied)));
                }
                Err(problems) => events.extend(problems.into_iter().map(Event::Problem)),
            }
        }
        events.append(&mut leased);
        events
    }

    /// Lets every client of DHCP look at what has come.
    fn hear(&mut self, events: &[Event], now: Tick) -> Vec<Event> {
        let back = |link: &str| {
            events.iter().any(|event| matches!(event, Event::Carrier { link: other, up: true } if **other == *link))
        };
        let mut heard = Vec::new();
        for dhcp in &mut self.dhcp {
            let mut outcomes = if back(&dhcp.link) { dhcp.link_is_up(now) } else { Vec::new() };
            outcomes.extend(dhcp.on_ready(now));
            heard.extend(outcomes.into_iter().map(|outcome| match outcome {
                Outcome::Leased(lease) => Event::Leased(lease),
                Outcome::Lost => Event::LeaseLost { link: dhcp.link.clone() },
                Outcome::Problem(error) => {
                    Event::Problem(Problem::new(format!("ask for an address on {}", dhcp.link), &error))
                }
            }));
        }
        heard
    }

    /// A client for each of `links` and for no other.
    fn lease_on(&mut self, links: &[Box<str>], now: Tick) {
        let known: Vec<KernelLink> = self.netlink.links().unwrap_or_default();
        let mut kept = Vec::new();
        for name in links {
            let before = self.dhcp.iter().position(|dhcp| dhcp.link == *name);
            let Some(link) = known.iter().find(|link| link.name == *name) else { continue };
            let same = before.map(|at| self.dhcp.swap_remove(at)).filter(|dhcp| dhcp.is_of(link.index, link.mac));
            kept.push(same.unwrap_or_else(|| {
                let mut dhcp = Dhcp::new(name, (link.index, link.mac), self.settings.hostname.clone(), self.seed);
                // Before there is a carrier this goes nowhere, and is said again.
                drop(dhcp.link_is_up(now));
                dhcp
            }));
        }
        self.dhcp = kept;
    }

    /// Gives every leased address back, before the machine goes down.
    pub fn release(&mut self, now: Tick) {
        self.dhcp.iter_mut().for_each(|dhcp| dhcp.release(now));
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
        self.dhcp.iter().filter_map(|dhcp| dhcp.lease().cloned()).collect()
    }

    /// What was done, and the links that DHCP serves.
    fn reach(&mut self, settings: &Settings) -> Result<(Applied, Vec<Box<str>>), Vec<Problem>> {
        let read = |error: io::Error| vec![Problem::new("read what the kernel has", &error)];
        let mut before = self.kernel().map_err(read)?;
        let wanted = Wanted::of(settings, &before, &self.leases());
        self.places.read_sysctls(&mut before, &wanted);
        let mut steps = plan(&before, &wanted);
        let mut done = self.run(&steps, &before)?;
        // Links that were made bring parameters of their own.
        if steps.iter().any(|step| matches!(step, Step::CreateBond { .. } | Step::CreateVlan { .. })) {
            let mut present = self.kernel().map_err(read)?;
            self.places.read_sysctls(&mut present, &wanted);
            steps = plan(&present, &wanted);
            done.extend(self.run(&steps, &before)?);
        }
        let unknown = settings.sysctls.iter().filter(|sysctl| !self.places.has(&sysctl.path()));
        let unknown = unknown.map(|sysctl| sysctl.name.value.clone()).collect();
        Ok((Applied { steps: done, missing: wanted.missing, unknown }, wanted.dhcp))
    }

    /// Does every step, or takes them all back.
    fn run(&mut self, steps: &[Step], before: &Kernel) -> Result<Vec<String>, Vec<Problem>> {
        let mut done = Vec::new();
        for step in steps {
            if let Err(error) = self.take(step) {
                let mut problems = vec![Problem::new(step.to_string(), &error)];
                problems.extend(self.go_back(before));
                return Err(problems);
            }
            done.push(step.to_string());
        }
        Ok(done)
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
