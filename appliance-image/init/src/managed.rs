//! The management's process: PID 1 keeps it running and hands it the key; it listens under an account
//! of its own.

use crate::accounts::MANAGING;
use crate::children;
use crate::control;
use crate::partition::Partition;
use crate::say;
use crate::supervise::Supervisor;
use fairlead_appliance::Management;
use fairlead_appliance::management::{Key, Serving, serve};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// What the process is told, by its standard input.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    listen: SocketAddr,
    allow: Vec<String>,
    key: String,
}

pub struct Managed {
    supervisor: Supervisor,
    key: Option<String>,
    wanted: Option<Management>,
}

impl Managed {
    pub fn new(now: u64) -> Managed {
        let mut supervisor = Supervisor::new(now);
        supervisor.stop();
        Managed { supervisor, key: None, wanted: None }
    }

    /// Reads the key, or makes one; its fingerprint.
    pub fn prepare(&mut self, partition: &Partition) -> Option<String> {
        let kept = Partition::store().server_key().ok().flatten();
        let kept = kept.and_then(|pem| String::from_utf8(pem).ok()).filter(|pem| Key::from_pem(pem.as_bytes()).is_ok());
        let pem = kept.or_else(|| {
            let pem = Key::generate().ok()?;
            if let Err(error) = partition.write(|store| store.set_server_key(pem.as_bytes())) {
                say::trouble(
                    format!("the management's key is not kept: {error}"),
                    "it will be another one after a start",
                );
            }
            Some(pem)
        })?;
        let fingerprint = Key::from_pem(pem.as_bytes()).ok()?.fingerprint().to_string();
        self.key = Some(pem);
        Some(fingerprint)
    }

    /// From now on it listens so; a process that listens otherwise is ended and started again.
    pub fn want(&mut self, management: &Management, now: u64) {
        let same =
            self.wanted.as_ref().is_some_and(|old| old.listen == management.listen && old.allow == management.allow);
        if same {
            return;
        }
        self.wanted = Some(management.clone());
        match self.supervisor.pid().and_then(|pid| i32::try_from(pid).ok()) {
            Some(pid) => {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            None => self.supervisor.hurry(now),
        }
    }

    pub fn is(&self, pid: u32) -> bool {
        self.supervisor.pid() == Some(pid)
    }

    pub fn ended(&mut self, now: u64) {
        self.supervisor.ended(now, false);
    }

    pub fn keep(&mut self, now: u64) {
        if !self.supervisor.is_due(now) {
            return;
        }
        let wanted = self.wanted.as_ref().and_then(|wanted| Some((wanted.listen?, wanted)));
        let (Some((listen, wanted)), Some(key)) = (wanted, &self.key) else {
            self.supervisor.stop();
            return;
        };
        let told = Told { listen, allow: wanted.allow.iter().map(ToString::to_string).collect(), key: key.clone() };
        match start(&told) {
            Ok(pid) => self.supervisor.started(pid, now),
            Err(error) => {
                say::trouble(format!("the management does not start: {error}"), "it is tried again");
                self.supervisor.ended(now, false);
            }
        }
    }
}

fn start(told: &Told) -> io::Result<u32> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("manage").arg("manage").env_clear().uid(MANAGING).gid(MANAGING);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = children::spawn(&mut command)?;
    if let Some(mut input) = child.stdin.take() {
        // A few hundred bytes: the pipe takes them at once.
        input.write_all(serde_json::to_string(told).map_err(io::Error::other)?.as_bytes())?;
    }
    Ok(child.id())
}

/// The process itself.
pub fn run() -> ExitCode {
    match listen() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn listen() -> io::Result<()> {
    let mut told = String::new();
    io::stdin().read_to_string(&mut told)?;
    let told: Told = serde_json::from_str(&told).map_err(io::Error::other)?;
    let key = Key::from_pem(told.key.as_bytes()).map_err(io::Error::other)?;
    let allow =
        told.allow.iter().map(|network| network.parse().map_err(io::Error::other)).collect::<io::Result<_>>()?;
    nix::sys::prctl::set_no_new_privs()?;
    let listener = TcpListener::bind(told.listen)?;
    serve(&listener, &Serving { init: control::PATH.into(), key, allow })
}
