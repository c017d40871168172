//! The console programs, one on each terminal the kernel writes to, kept running.

use crate::accounts::MANAGING;
use crate::children;
use crate::say;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

const AGAIN: u64 = 2000;
/// What was said on the way up can be read this long before the page covers it.
const FIRST: u64 = 3000;

pub struct Terminals {
    all: Vec<Terminal>,
}

struct Terminal {
    name: String,
    pid: Option<u32>,
    next: u64,
}

impl Terminals {
    /// None when nothing is to be drawn.
    pub fn new(draw: bool) -> Terminals {
        let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let names = active.split_whitespace().filter(|_| draw);
        // tty0 is whichever screen is in front: the first one, here.
        let name = |name: &str| if name == "tty0" { "tty1".to_owned() } else { name.to_owned() };
        Terminals { all: names.map(|active| Terminal { name: name(active), pid: None, next: 0 }).collect() }
    }

    /// Starts those that do not run.
    pub fn keep(&mut self, now: u64) {
        for terminal in &mut self.all {
            if terminal.next == 0 {
                terminal.next = now + FIRST;
            }
            if terminal.pid.is_none() && now >= terminal.next {
                terminal.next = now + AGAIN;
                terminal.start();
            }
        }
    }

    pub fn ended(&mut self, pid: u32, now: u64) {
        for terminal in self.all.iter_mut().filter(|terminal| terminal.pid == Some(pid)) {
            terminal.pid = None;
            terminal.next = now + AGAIN;
        }
    }

    /// Ends them: what is said from now on is for everybody.
    pub fn stop(&mut self) {
        for terminal in &mut self.all {
            if let Some(pid) = terminal.pid.take().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
            }
        }
        self.all.clear();
    }
}

impl Terminal {
    fn start(&mut self) {
        let path = format!("/dev/{}", self.name);
        let open = || OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&path);
        let (Ok(input), Ok(output)) = (open(), open()) else { return };
        let mut command = Command::new("/proc/self/exe");
        command.arg0("console").arg("console").env_clear().stdin(input).stdout(output).uid(MANAGING).gid(MANAGING);
        command.stderr(std::process::Stdio::null());
        match children::spawn(&mut command) {
            Ok(child) => {
                say::draw_over(true);
                self.pid = Some(child.id());
            }
            Err(error) => say::trouble(format!("no console on {path}: {error}"), "manage the machine from the network"),
        }
    }
}
