//! DHCPv4 for one link (RFC 2131): what is said is decided in [`client`], how it gets through in
//! [`port`]. [`Dhcp`] is the two together.

pub mod client;
pub mod message;
mod packet;
mod port;

use client::{Action, Client};
use fairlead_appliance::Mac;
use fairlead_appliance::plan::Lease;
use fairlead_core::clock::Tick;
use message::Message;
use port::Port;
use std::io;
use std::os::fd::BorrowedFd;

/// Packets that are looked at before others get their turn.
const MOST_AT_ONCE: usize = 64;

/// The client of one link and its sockets, of which none is open while there is nothing to ask.
pub(crate) struct Dhcp {
    pub link: Box<str>,
    of: (u32, Mac),
    client: Client,
    port: Port,
}

/// What has come of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Leased(Lease),
    Lost,
    Problem(io::Error),
}

impl Dhcp {
    pub fn new(link: &str, (index, mac): (u32, Mac), hostname: Option<Box<str>>, seed: u64) -> Dhcp {
        let (client, port) = (Client::new(link, mac, hostname, seed), Port::new(link, index));
        Dhcp { link: link.into(), of: (index, mac), client, port }
    }

    /// Whether the link is still the one it began with.
    pub fn is_of(&self, index: u32, mac: Mac) -> bool {
        self.of == (index, mac)
    }

    /// There is a carrier again, maybe of another network: what is leased is asked for anew.
    pub fn link_is_up(&mut self, now: Tick) -> Vec<Outcome> {
        let actions = self.client.begin(now);
        self.run(actions)
    }

    pub fn lease(&self) -> Option<&Lease> {
        self.client.lease()
    }

    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.port.fds()
    }

    pub fn deadline(&self) -> Option<Tick> {
        self.client.deadline()
    }

    pub fn on_ready(&mut self, now: Tick) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for _ in 0..MOST_AT_ONCE {
            let Some(bytes) = self.port.receive() else { break };
            if let Some(message) = Message::parse(&bytes) {
                let actions = self.client.hear(&message, now);
                outcomes.extend(self.run(actions));
            }
        }
        if self.client.deadline().is_some_and(|deadline| deadline <= now) {
            let actions = self.client.wake(now);
            outcomes.extend(self.run(actions));
        }
        outcomes
    }

    /// Gives the address back, while the link still has it.
    pub fn release(&mut self, now: Tick) {
        let actions = self.client.release(now);
        drop(self.run(actions));
    }

    fn run(&mut self, actions: Vec<Action>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for action in actions {
            match action {
                Action::Send { message, to } => {
                    if let Err(error) = self.port.send(&message.bytes(), to) {
                        // The next try comes by itself; a link that just went down is no news.
                        let down = matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENETUNREACH));
                        if !down {
                            outcomes.push(Outcome::Problem(error));
                        }
                    }
                }
                Action::Leased(lease) => outcomes.push(Outcome::Leased(lease)),
                Action::Lost => outcomes.push(Outcome::Lost),
            }
        }
        if self.client.is_quiet() {
            self.port.close();
        }
        outcomes
    }
}
