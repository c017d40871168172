//! The network: what the configuration says of it, or, when it says nothing, an address on the first
//! card. What [`fairlead_network`] reports becomes lines.

use crate::cmdline::{Cmdline, Static};
use crate::say;
use fairlead_appliance::{Interface, Settings};
use fairlead_core::clock::{Tick, tick};
use fairlead_network::{Applied, Clock, Event, Network, Places, Told};
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

const SCRATCH: &str = "/run/first-card.conf";
/// Rounds of 50 ms that cards and DHCP may take before something is fetched.
const ROUNDS: usize = 300;

pub struct Uplink {
    network: Option<Network>,
    clock: Clock,
    /// What is in force.
    applied: Settings,
}

impl Uplink {
    pub fn open(seed: u64) -> Uplink {
        let network = Network::open(Places::default(), seed).map_err(|error| {
            say::trouble(
                format!("the network cannot be set up: {error}"),
                "the kernel has no netlink; use the image's own",
            );
        });
        let clock = Clock::new(Places::default().resolv_conf, seed);
        Uplink { network: network.ok(), clock, applied: Settings::default() }
    }

    /// Makes the network what they say, or leaves it as it was.
    ///
    /// # Errors
    /// What could not be done.
    pub fn apply(&mut self, settings: &Settings, line: &Cmdline) -> Result<(), Vec<String>> {
        let Some(network) = &mut self.network else { return Ok(()) };
        let settings = effective(settings, line);
        match network.apply(&settings, tick()) {
            Ok(applied) => {
                tell(&applied);
                self.clock.follow(&settings.ntp, &network.leases(), tick());
                self.applied = settings;
                Ok(())
            }
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = self.network.as_ref().map(Network::fds).unwrap_or_default();
        all.extend(self.clock.fds());
        all
    }

    pub fn deadline(&self) -> Option<Tick> {
        let network = self.network.as_ref().and_then(Network::deadline);
        [network, self.clock.deadline()].into_iter().flatten().min()
    }

    /// Looks at what has happened.
    pub fn look(&mut self) {
        let Some(network) = &mut self.network else { return };
        for event in network.on_ready(tick()) {
            match event {
                Event::Carrier { link, up: true } => say::step(format!("network: {link} has a carrier")),
                Event::Carrier { link, up: false } => say::step(format!("network: {link} has lost its carrier")),
                Event::Leased(lease) => say::step(format!("network: {} is leased to {}", lease.address, lease.link)),
                Event::LeaseLost { link } => {
                    say::trouble(format!("the lease of {link} is over"), "look after the DHCP server of its network");
                }
                Event::Applied(applied) => tell(&applied),
                Event::Problem(problem) => {
                    say::trouble(problem.to_string(), "check the appliance block and the network")
                }
            }
        }
        self.clock.follow(&self.applied.ntp, &network.leases(), tick());
        self.clock.on_ready(tick()).iter().for_each(tell_time);
    }

    /// Gives back what DHCP gave.
    pub fn release(&mut self) {
        if let Some(network) = &mut self.network {
            network.release(tick());
        }
    }

    /// Waits until links and leases are there: something is to be fetched.
    pub fn settle(&mut self, leased: bool) {
        for _ in 0..ROUNDS {
            self.look();
            let Some(network) = &self.network else { return };
            let has_address = !leased || !network.leases().is_empty();
            if network.without_carrier().is_empty() && has_address {
                return;
            }
            sleep(Duration::from_millis(50));
        }
    }
}

/// A clock that is led as it should be is no news.
fn tell_time(told: &Told) {
    match told {
        Told::Stepped { by, server } => {
            let seconds = by / 1_000_000_000;
            say::step(format!("clock: set by {seconds} seconds, as {server} says"));
        }
        Told::Led { .. } => {}
        Told::Nobody { servers } => {
            say::trouble(
                format!("clock: none of {servers} time servers gives an answer to rely on"),
                "check \"ntp\", and that UDP port 123 gets through",
            );
        }
        Told::Problem(problem) => say::trouble(format!("clock: {problem}"), "the hardware's clock is used"),
    }
}

fn tell(applied: &Applied) {
    applied.steps.iter().for_each(|step| say::step(format!("network: {step}")));
    for name in &applied.missing {
        say::trouble(format!("there is no card {name}"), "its part of the configuration is done when it comes");
    }
    for name in &applied.unknown {
        say::trouble(format!("this kernel has no parameter {name}"), "correct its \"sysctl\" or remove it");
    }
}

/// Whether an address comes by DHCP.
pub fn is_leased(settings: &Settings, line: &Cmdline) -> bool {
    let effective = effective(settings, line);
    effective.interfaces.iter().any(|interface| interface.link.dhcp.is_some())
}

/// A configuration without a single link gets one: the command line's address, or DHCP.
fn effective(settings: &Settings, line: &Cmdline) -> Settings {
    let mut settings = settings.clone();
    if settings.interfaces.is_empty() && settings.vlans.is_empty() && settings.bonds.is_empty() {
        settings.interfaces = first_card(line.address.as_ref());
    }
    settings
}

fn first_card(address: Option<&Static>) -> Vec<Interface> {
    let name = links().into_iter().next().unwrap_or_else(|| "eth0".to_owned());
    let statements = match address {
        None => "address dhcp; address auto;".to_owned(),
        Some(fixed) => {
            let gateway = fixed.gateway.map_or(String::new(), |gateway| format!(" gateway {gateway};"));
            format!("address {}/{};{gateway}", fixed.address, fixed.prefix)
        }
    };
    let text = format!("appliance {{ interface {name} {{ {statements} }} }}\n");
    if let Err(error) = fs::write(SCRATCH, text) {
        say::trouble(format!("{SCRATCH}: {error}"), "give the machine more memory");
        return Vec::new();
    }
    let reading = fairlead_appliance::read(Path::new(SCRATCH));
    let complaints = reading.complaints();
    reading.settings.map(|settings| settings.interfaces).unwrap_or_else(|| {
        say::trouble(complaints, "check fairlead.address= on the kernel command line");
        Vec::new()
    })
}

/// The cards of the machine, in the kernel's order.
fn links() -> Vec<String> {
    let names = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut found: Vec<(u32, String)> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = fs::read_to_string(entry.path().join("ifindex")).ok()?.trim().parse().ok()?;
            // What is made, not found, has no device.
            entry.path().join("device").exists().then_some((number, name))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).collect()
}

/// Whether a change from one to the other may cut off whoever makes it.
pub fn differ_in_reach(old: &Settings, new: &Settings) -> bool {
    let reach = |settings: &Settings| {
        let mut settings = settings.clone();
        let interfaces = settings.interfaces.iter_mut().map(|one| &mut one.link);
        let vlans = settings.vlans.iter_mut().map(|one| &mut one.link);
        let bonds = settings.bonds.iter_mut().map(|one| &mut one.link);
        // Where a word stands in its file is no difference.
        for link in interfaces.chain(vlans).chain(bonds) {
            link.description = None;
            link.dhcp = link.dhcp.map(|_| fairlead_conf::Span::default());
            link.auto = link.auto.map(|_| fairlead_conf::Span::default());
        }
        let management = (settings.management.listen, settings.management.allow);
        (settings.interfaces, settings.vlans, settings.bonds, management)
    };
    reach(old) != reach(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, text: &str) -> Settings {
        let path = std::env::temp_dir().join(format!("fairlead-uplink-{}-{name}.conf", std::process::id()));
        fs::write(&path, text).unwrap();
        let reading = fairlead_appliance::read(&path);
        fs::remove_file(path).unwrap();
        reading.settings.expect("it is right")
    }

    #[test]
    fn only_what_changes_the_way_to_the_machine_does() {
        let old = settings("old", "appliance { interface eth0 { address dhcp; } }");
        let moved = settings(
            "moved",
            "# a remark\nappliance { hostname a; dns 1.1.1.1;\n interface eth0 {\n description x; address dhcp; } }",
        );
        assert!(!differ_in_reach(&old, &moved));
        for text in [
            "appliance { interface eth0 { address 192.0.2.1/24; } }",
            "appliance { interface eth0 { address dhcp; mtu 1400; } }",
            "appliance { interface eth0 { address dhcp; } management { listen 9443; } }",
            "appliance { }",
        ] {
            assert!(differ_in_reach(&old, &settings("new", text)), "{text}");
        }
    }
}
