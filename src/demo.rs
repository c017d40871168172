//! `fairlead demo`: peers to balance over, each a process of its own so that a
//! person can kill one and start it again. With `--with-balancer`, the
//! balancer before them too. For trying things, not for serving.

mod peer;

use crate::load::complain;
use crate::signals::{Event, Signals, unblock};
use fairlead_core::clock::tick;
use fairlead_core::log::Level;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use peer::Kind;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PORTS: [u16; 9] = [9101, 9102, 9103, 9111, 9112, 9113, 9121, 9122, 9123];
/// Tells a peer that it ends with the demo that started it.
const CHILD_MARK: &str = "FAIRLEAD_DEMO_CHILD";
/// How long the peers and the balancer may take to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs until Ctrl-C. False when something could not be started.
pub fn run(args: &[String]) -> bool {
    let done = match args {
        [] => Demo::start(None).and_then(Demo::watch),
        [flag, rest @ ..] if flag == "--with-balancer" => Demo::start(Some(rest)).and_then(Demo::watch),
        [port] => one_peer(port),
        _ => Err(io::Error::other("usage: fairlead demo [PORT | --with-balancer [-p prefix] [-c file]]")),
    };
    done.inspect_err(|error| complain(Level::Emerg, &error.to_string())).is_ok()
}

fn one_peer(port: &str) -> io::Result<()> {
    let port = port.parse().ok().and_then(|port| Some((port, Kind::of(port)?)));
    let (port, kind) = port.ok_or_else(|| {
        io::Error::other("the port says what a peer speaks: 9101-9109 HTTP, 9111-9119 TCP, 9121-9129 UDP")
    })?;
    if std::env::var_os(CHILD_MARK).is_some() {
        unblock()?;
        set_pdeathsig(Signal::SIGTERM)?;
    } else {
        say(&format!("{kind} peer on 127.0.0.1:{port}, pid {}. Ctrl-C ends it.\n", std::process::id()));
    }
    peer::serve(kind, port)
}

struct Demo {
    signals: Signals,
    balancer: Option<Child>,
    peers: Vec<(u16, Child)>,
}

impl Demo {
    /// `balancer`: the arguments of one to start too.
    fn start(balancer: Option<&[String]>) -> io::Result<Demo> {
        let mut demo = Demo { signals: Signals::block()?, balancer: None, peers: Vec::new() };
        for port in PORTS {
            let child = program().args(["demo", &port.to_string()]).env(CHILD_MARK, "1").spawn()?;
            demo.peers.push((port, child));
        }
        if let Some(args) = balancer {
            demo.balancer = Some(program().args(args).args(["-g", "daemon off;"]).spawn()?);
        }
        say(&demo.introduction());
        Ok(demo)
    }

    /// Until a signal, or until the balancer has ended by itself.
    fn watch(mut self) -> io::Result<()> {
        loop {
            poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
            while let Some(received) = self.signals.next()? {
                match received.event {
                    Event::Stop | Event::Quit | Event::Reload => return Ok(()),
                    Event::Child => self.tell_who_ended()?,
                    Event::Reopen | Event::Upgrade | Event::StopWorkers => {}
                }
            }
        }
    }

    fn tell_who_ended(&mut self) -> io::Result<()> {
        let ended = |(port, mut child): (u16, Child)| match child.try_wait() {
            Ok(None) => Some((port, child)),
            Ok(Some(_)) | Err(_) => {
                say(&format!("Peer {port} has ended. Start it again: {} demo {port}\n", name()));
                None
            }
        };
        self.peers = std::mem::take(&mut self.peers).into_iter().filter_map(ended).collect();
        match self.balancer.as_mut().map(Child::try_wait).transpose()?.flatten() {
            Some(status) => {
                self.balancer = None;
                Err(io::Error::other(format!("the balancer has ended: {status}")))
            }
            None => Ok(()),
        }
    }

    fn introduction(&self) -> String {
        let mut text = String::from("\nPeers:\n");
        for (port, child) in &self.peers {
            let kind = Kind::of(*port).map(|kind| kind.to_string()).unwrap_or_default();
            text.push_str(&format!("  {kind:<5} 127.0.0.1:{port}   pid {}\n", child.id()));
        }
        let first = self.peers.first().map_or(0, |(_, child)| child.id());
        if self.balancer.is_some() {
            text.push_str(
                "\nBalancer:\n  \
                 HTTP  port 8080   round robin       curl localhost:8080/\n  \
                 HTTP  /sticky/    sticky cookie     curl -c jar -b jar localhost:8080/sticky/\n  \
                 TCP   port 9000   ip_hash           nc localhost 9000\n  \
                 UDP   port 9001   consistent hash   echo hi | nc -u -w1 localhost 9001\n",
            );
        }
        let peer = PORTS.first().copied().unwrap_or_default();
        text.push_str(&format!(
            "\nTry: kill {first}, ask again, then: {} demo {peer}\nCtrl-C stops everything.\n\n",
            name()
        ));
        text
    }
}

/// Stops everything that was started, and waits for it.
impl Drop for Demo {
    fn drop(&mut self) {
        let mut left: Vec<Child> =
            self.balancer.take().into_iter().chain(self.peers.drain(..).map(|(_, it)| it)).collect();
        for child in &left {
            // Not waited for yet, so the id is still its own.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        }
        let deadline = tick().after(PATIENCE);
        loop {
            left.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            if left.is_empty() || tick() >= deadline {
                break;
            }
            // The signal of a child's end is blocked and wakes this poll.
            let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100u8));
            while let Ok(Some(_)) = self.signals.next() {}
        }
        for child in &mut left {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.stdin(Stdio::null());
    command
}

/// As the user called us.
fn name() -> String {
    std::env::args().next().unwrap_or_else(|| "fairlead".into())
}

fn say(text: &str) {
    // Nobody reads it when standard output is gone.
    let _ = io::stdout().write_all(text.as_bytes());
}
