//! Process 1, top to bottom: each step of the way up, then the loop that keeps the machine serving.

use crate::cmdline::{self, Cmdline};
use crate::modules::load::Loader;
use crate::supervise::{Supervisor, Verdict};
use crate::{kernel, link, mounts, say};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::system::{RebootCommand, reboot};
use std::fs;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

const DEFAULT: &str = include_str!("../default.conf");
const CONF: &str = "/run/fairlead/fairlead.conf";

/// Never comes back on a machine of its own.
pub fn run() -> ExitCode {
    std::panic::set_hook(Box::new(|what| {
        say::trouble(format!("process 1 has failed: {what}"), "the machine starts again in 5 seconds");
        sleep(Duration::from_secs(5));
        rustix::fs::sync();
        let _ = reboot(RebootCommand::Restart);
    }));
    let signals = block_signals();
    let failed = mounts::all();
    say::open();
    say::step(format!("version {} on Linux {}", env!("CARGO_PKG_VERSION"), release()));
    for failure in failed {
        say::trouble(format!("mount: {failure}"), "the image may be damaged; write it again");
    }
    let _ = reboot(RebootCommand::CadOff);
    let line = cmdline::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    for complaint in &line.complaints {
        say::trouble(complaint, "it is left out");
    }
    let mut loader = Loader::open();
    loader.coldplug();
    for name in ["tcp_bbr", "sch_fq", "ext4", "evdev", "button"] {
        loader.want(name);
    }
    say::step(format!("modules: {} loaded for the devices of this machine", loader.count()));
    let (set, refused) = kernel::settle();
    say::step(format!("kernel: {set} values set for a proxy"));
    for value in refused {
        say::trouble(format!("kernel value {value}"), "the machine works with the kernel's own");
    }
    network(&line);
    configure();
    serve(signals)
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn block_signals() -> Option<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGPWR] {
        set.add(signal);
    }
    set.thread_block().ok()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()
}

fn network(line: &Cmdline) {
    if let Err(error) = link::loopback() {
        say::trouble(format!("loopback is not up: {error}"), "peers on this machine cannot be reached");
    }
    let Some(wanted) = &line.address else {
        say::trouble("no address is configured", "give fairlead.address= on the kernel command line");
        return;
    };
    match link::fixed(wanted) {
        Ok(name) => say::step(format!("network: {name} has {}/{}", wanted.address, wanted.prefix)),
        Err(error) => say::trouble(format!("no address {}: {error}", wanted.address), "check fairlead.address="),
    }
}

fn configure() {
    let text = fs::read_to_string("/etc/fairlead/default.conf").unwrap_or_else(|_| DEFAULT.to_owned());
    match fs::write(CONF, text) {
        Ok(()) => say::step("configuration: the built-in default"),
        Err(error) => say::trouble(format!("{CONF}: {error}"), "give the machine more memory"),
    }
}

fn serve(signals: Option<SignalFd>) -> ExitCode {
    let mut fairlead = Supervisor::new(say::uptime());
    loop {
        let now = say::uptime();
        if fairlead.is_due(now) {
            start(&mut fairlead, now);
        }
        wait(signals.as_ref(), fairlead.next().map(|next| next.saturating_sub(now)));
        while let Some(Ok(Some(signal))) = signals.as_ref().map(SignalFd::read_signal) {
            match Signal::try_from(signal.ssi_signo as i32) {
                Ok(Signal::SIGTERM | Signal::SIGPWR) => down(&mut fairlead, RebootCommand::PowerOff),
                Ok(Signal::SIGINT) => down(&mut fairlead, RebootCommand::Restart),
                _ => {}
            }
        }
        reap(&mut fairlead);
    }
}

fn start(fairlead: &mut Supervisor, now: u64) {
    let mut command = Command::new("/bin/fairlead");
    command.args(["-p", "/run/fairlead/", "-c", CONF, "-g", "daemon off; user fairlead;"]);
    match command.stdin(Stdio::null()).env_clear().spawn() {
        Ok(child) => {
            fairlead.started(child.id(), now);
            say::step(format!("fairlead: started as process {}", child.id()));
        }
        Err(error) => {
            fairlead.ended(now, false);
            say::trouble(format!("/bin/fairlead does not start: {error}"), "the image may be damaged; write it again");
        }
    }
}

fn wait(signals: Option<&SignalFd>, millis: Option<u64>) {
    let timeout = millis.and_then(|millis| i32::try_from(millis).ok()).unwrap_or(1000).min(1000);
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
    match signals {
        Some(signals) => {
            let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
        }
        None => sleep(Duration::from_millis(100)),
    }
}

fn reap(fairlead: &mut Supervisor) {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        let (pid, how) = match status {
            WaitStatus::Exited(pid, code) => (pid, format!("exited with {code}")),
            WaitStatus::Signaled(pid, signal, _) => (pid, format!("was ended by {signal}")),
            WaitStatus::StillAlive => return,
            _ => continue,
        };
        if fairlead.pid().and_then(|pid| i32::try_from(pid).ok()) == Some(pid.as_raw())
            && let Verdict::Again(pause) = fairlead.ended(say::uptime(), false)
        {
            say::trouble(format!("fairlead {how}"), &format!("it is started again in {} ms", pause.as_millis()));
        }
    }
}

fn down(fairlead: &mut Supervisor, command: RebootCommand) {
    let pid = fairlead.pid().and_then(|pid| i32::try_from(pid).ok());
    fairlead.stop();
    say::step("going down");
    if let Some(pid) = pid {
        let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        for _ in 0..50 {
            reap(fairlead);
            if kill(Pid::from_raw(pid), None).is_err() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
    }
    rustix::fs::sync();
    let _ = reboot(command);
}
