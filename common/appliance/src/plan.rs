//! From what the file says and what the kernel has to the steps between them.
//!
//! [`Wanted`] is how the machine shall be, made of settings and leases, or of an earlier state when
//! a change is taken back. [`plan`] plays every step on a copy of the kernel's state and so knows what
//! a step takes away with it (a link that goes down loses its routes). What is as it should be is
//! not touched: a plan for a state that was reached is empty.

mod kernel;
mod lease;
mod step;
mod wanted;

pub use kernel::{BondOptions, Kernel, KernelAddress, KernelLink, KernelRoute, Kind};
pub use lease::{Lease, LeaseRoute};
pub use step::Step;
pub use wanted::{Wanted, WantedLink};

use std::collections::BTreeMap;

/// What has to be done for `kernel` to become what is wanted, in order.
pub fn plan(kernel: &Kernel, wanted: &Wanted) -> Vec<Step> {
    let mut planner = Planner { kernel: kernel.clone(), wanted, steps: Vec::new() };
    planner.sysctls();
    planner.remove_links();
    planner.release_members();
    planner.bonds();
    planner.shape(false);
    planner.members();
    planner.vlans();
    planner.shape(true);
    // Those of links that were made just now.
    planner.sysctls();
    planner.up();
    planner.addresses();
    planner.routes();
    planner.remove_addresses();
    planner.names();
    planner.steps
}

struct Planner<'w> {
    kernel: Kernel,
    wanted: &'w Wanted,
    steps: Vec<Step>,
}

impl Planner<'_> {
    fn step(&mut self, step: Step) {
        self.kernel.take(&step);
        self.steps.push(step);
    }

    fn sysctls(&mut self) {
        for (path, value) in &self.wanted.sysctls {
            // One that is not there may come with its link.
            let Some(present) = self.kernel.sysctls.get(path) else { continue };
            if present.split_whitespace().ne(value.split_whitespace()) {
                self.step(Step::SetSysctl { path: path.clone(), value: value.clone() });
            }
        }
    }

    /// VLANs and bonds that nobody wants, or wants to be something else; VLANs first, since a link
    /// takes those on it away.
    fn remove_links(&mut self) {
        let unwanted = |link: &&KernelLink| match &link.kind {
            Kind::Vlan { .. } => self.wanted.vlans.get(&link.name) != Some(&link.kind),
            Kind::Bond(options) => !self.wanted.bonds.get(&link.name).is_some_and(|wanted| wanted.can_follow(options)),
            // Made by somebody else under a name of ours: the bonding driver begins with a "bond0".
            Kind::Other => self.wanted.bonds.contains_key(&link.name) || self.wanted.vlans.contains_key(&link.name),
            Kind::Loopback | Kind::Card => false,
        };
        let found: Vec<KernelLink> = self.kernel.links.iter().filter(unwanted).cloned().collect();
        let (bonds, vlans): (Vec<_>, Vec<_>) = found.into_iter().partition(|link| matches!(link.kind, Kind::Bond(_)));
        for link in vlans.into_iter().chain(bonds) {
            if self.kernel.link(&link.name).is_some() {
                self.step(Step::DeleteLink(link.name));
            }
        }
    }

    fn release_members(&mut self) {
        for link in self.kernel.links.clone() {
            let wanted = self.wanted.links.get(&link.name).and_then(|link| link.master.as_ref());
            let Some(master) = link.master.as_ref().filter(|master| wanted != Some(master)) else { continue };
            let bond = self.kernel.link(master).is_some_and(|master| matches!(master.kind, Kind::Bond(_)));
            if bond {
                self.step(Step::SetMaster { link: link.name, master: None });
            }
        }
    }

    fn bonds(&mut self) {
        for (name, options) in &self.wanted.bonds {
            match self.kernel.link(name).map(|link| &link.kind) {
                Some(Kind::Bond(present)) if present == options => {}
                Some(Kind::Bond(_)) => {
                    self.step(Step::ConfigureBond { name: name.clone(), options: options.clone() });
                }
                _ => self.step(Step::CreateBond { name: name.clone(), options: options.clone() }),
            }
        }
    }

    fn members(&mut self) {
        for (name, link) in &self.wanted.links {
            let Some(master) = &link.master else { continue };
            let Some(present) = self.kernel.link(name) else { continue };
            if present.master.as_ref() == Some(master) {
                continue;
            }
            if present.up {
                self.step(Step::Down(name.clone()));
            }
            self.step(Step::SetMaster { link: name.clone(), master: Some(master.clone()) });
        }
    }

    /// Parents before those they carry.
    fn vlans(&mut self) {
        let mut left: BTreeMap<_, _> = self.wanted.vlans.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            left.retain(|name, kind| {
                let Kind::Vlan { parent, id } = kind else { return false };
                let ready = self.kernel.link(parent).is_some();
                if ready && self.kernel.link(name).is_none() {
                    self.step(Step::CreateVlan { name: (*name).clone(), parent: parent.clone(), id: *id });
                }
                !ready
            });
            // The card they are on is not in the machine.
            if left.len() == before {
                return;
            }
        }
    }

    /// Hardware address, MTU and description: of VLANs, or of all others. A VLAN is never larger
    /// than its parent, so parents come first.
    fn shape(&mut self, vlans: bool) {
        let all = self.wanted.links.iter();
        let mut links: Vec<_> = all.filter(|link| self.wanted.vlans.contains_key(link.0) == vlans).collect();
        links.sort_by_key(|(name, _)| self.kernel.depth(name));
        for (name, wanted) in links {
            let Some(link) = self.kernel.link(name).cloned() else { continue };
            if wanted.alias.as_ref().is_some_and(|alias| *alias != link.alias) {
                let alias = wanted.alias.clone().unwrap_or_default();
                self.step(Step::SetAlias { link: name.clone(), alias });
            }
            // The bond says what its members are.
            if wanted.master.is_some() {
                continue;
            }
            if let Some(mac) = wanted.mac.filter(|mac| *mac != link.mac) {
                if link.up {
                    self.step(Step::Down(name.clone()));
                }
                self.step(Step::SetMac { link: name.clone(), mac });
            }
            if let Some(mtu) = wanted.mtu.filter(|mtu| *mtu != link.mtu) {
                self.step(Step::SetMtu { link: name.clone(), mtu });
            }
        }
    }

    fn up(&mut self) {
        let mut links: Vec<_> = self.wanted.links.iter().collect();
        links.sort_by_key(|(name, _)| self.kernel.depth(name));
        for (name, wanted) in links {
            let present = self.kernel.link(name).map(|link| link.up);
            match (wanted.up, present) {
                (true, Some(false)) => self.step(Step::Up(name.clone())),
                (false, Some(true)) => self.step(Step::Down(name.clone())),
                _ => {}
            }
        }
    }

    fn addresses(&mut self) {
        for address in &self.wanted.addresses {
            let there = self.kernel.link(&address.link).is_some();
            let known = |other: &KernelAddress| other.link == address.link && other.net == address.net;
            if there && !self.kernel.addresses.iter().any(known) {
                self.step(Step::AddAddress { link: address.link.clone(), net: address.net });
            }
        }
    }

    fn routes(&mut self) {
        for route in &self.wanted.routes {
            let usable = self.kernel.link(&route.link).is_some_and(|link| link.up);
            if usable && !self.kernel.routes.contains(route) {
                self.step(Step::SetRoute(route.clone()));
            }
        }
        let unwanted = |route: &&KernelRoute| route.ours && !self.wanted.routes.contains(route);
        let unwanted: Vec<KernelRoute> = self.kernel.routes.iter().filter(unwanted).cloned().collect();
        for route in unwanted {
            self.step(Step::DeleteRoute(route));
        }
    }

    fn remove_addresses(&mut self) {
        let wanted = |address: &KernelAddress| {
            self.wanted.addresses.iter().any(|wanted| wanted.link == address.link && wanted.net == address.net)
        };
        let unwanted: Vec<KernelAddress> =
            self.kernel.addresses.iter().filter(|it| it.ours && !wanted(it)).cloned().collect();
        for address in unwanted {
            self.step(Step::DeleteAddress { link: address.link, net: address.net });
        }
    }

    fn names(&mut self) {
        if self.kernel.hostname != self.wanted.hostname {
            self.step(Step::SetHostname(self.wanted.hostname.clone()));
        }
        if self.kernel.resolv_conf != self.wanted.resolv_conf {
            self.step(Step::SetResolver(self.wanted.resolv_conf.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
