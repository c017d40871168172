//! Process 1 on the way up: one step after the other, each a line on the console with its time. A step
//! that fails says what to do and does not keep the next one from being tried.

use crate::cmdline::{self, Cmdline};
use crate::first::{self, Found};
use crate::machine::Machine;
use crate::modules::load::Loader;
use crate::partition::Partition;
use crate::watchdog::Watchdog;
use crate::{accounts, check, entropy, kernel, link, mounts, say, working};
use fairlead_appliance::Watchdog as Wanted;
use fairlead_appliance::store::{Files, Number, Origin};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::mount::{MountFlags, mount_remount};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, reboot};
use std::fs;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

/// Modules no device asks for: file systems, what bonds and VLANs take, the clock of packets, random
/// numbers, buttons. All are there before module loading is switched off.
const MODULES: &[&str] = &[
    "ext4",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_iso8859_1",
    "8021q",
    "bonding",
    "tcp_bbr",
    "sch_fq",
    "virtio_rng",
    "qemu_fw_cfg",
    "evdev",
    "button",
];
/// Descriptors of each process: a proxy takes two for a session.
const DESCRIPTORS: u64 = 1_048_576;

/// Never comes back.
pub fn run() -> ExitCode {
    std::panic::set_hook(Box::new(|what| {
        say::draw_over(false);
        say::trouble(format!("process 1 has failed: {what}"), "the machine starts again in 5 seconds");
        sleep(Duration::from_secs(5));
        rustix::fs::sync();
        let _ = reboot(RebootCommand::Restart);
    }));
    let machine = up();
    machine.run()
}

fn up() -> Machine {
    let signals = block_signals();
    let (line, mut loader) = base();
    loader.coldplug();
    MODULES.iter().for_each(|name| {
        loader.want(name);
    });
    say::step(format!("modules: {} loaded", loader.count()));
    let watchdog = arm(&mut loader);
    let ready = entropy::wait();
    if ready {
        say::step("entropy: the kernel has random numbers");
    } else {
        say::trouble("the kernel has no random numbers yet", "give the virtual machine a virtio-rng device");
    }
    kernel_values();
    let partition = Partition::open(line.slot.is_some());
    say::step(format!("configuration partition: {}", partition.describe()));
    let mut machine = Machine::new(signals, line, partition, watchdog);
    configure(&mut machine);
    close_root();
    machine
}

/// What everything else stands on.
fn base() -> (Cmdline, Loader) {
    let failed = mounts::all();
    say::open();
    say::step(format!("fairlead {} on Linux {}", env!("CARGO_PKG_VERSION"), release()));
    for failure in failed {
        say::trouble(format!("mount: {failure}"), "the image may be damaged; write it again");
    }
    let prepared = working::prepare().and_then(|()| accounts::complete());
    if let Err(error) = prepared {
        say::trouble(format!("folders cannot be made: {error}"), "give the machine more memory");
    }
    let _ = reboot(RebootCommand::CadOff);
    let descriptors = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    let _ = setrlimit(Resource::Nofile, descriptors);
    let line = cmdline::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    for complaint in &line.complaints {
        say::trouble(complaint, "it is left out");
    }
    (line, Loader::open())
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

fn arm(loader: &mut Loader) -> Option<Watchdog> {
    if !Watchdog::is_there() {
        loader.want("softdog");
    }
    let Wanted::After(period) = Wanted::default() else { return None };
    let Some((watchdog, name)) = Watchdog::arm(period, say::uptime()) else {
        say::trouble("no watchdog", "a machine that hangs stays so until somebody resets it");
        return None;
    };
    say::step(format!("watchdog: {name}, {} s", watchdog.period().as_secs()));
    Some(watchdog)
}

fn kernel_values() {
    let (set, refused) = kernel::settle();
    say::step(format!("kernel: {set} values set for a proxy"));
    for value in refused {
        say::trouble(format!("kernel value {value}"), "the machine works with the kernel's own");
    }
    if let Err(error) = link::loopback() {
        say::trouble(format!("loopback is not up: {error}"), "peers on this machine cannot be reached");
    }
}

/// The first configuration, or the one that is kept; the network with it.
fn configure(machine: &mut Machine) {
    let store = Partition::store();
    let taken = store.instance_id().ok().flatten();
    let (kept, notes) = store.boot().unwrap_or_else(|error| (None, vec![error.to_string()]));
    for note in notes {
        say::trouble(note, "push a configuration that can be read");
    }
    let now = kept.as_ref().map_or_else(first::default_files, |boot| boot.files.clone());
    let number = kept.as_ref().map(|boot| boot.number);
    let is_new = |found: &Found| taken.as_deref() != Some(found.instance.as_str());
    if let Some(found) = first::look() {
        let new = is_new(&found);
        if !(new && take(machine, found, &now)) {
            machine.use_files(&now, number);
        }
        return;
    }
    machine.use_files(&now, number);
    let Some(wanted) = machine.line.fetch.clone() else { return };
    if let Some(found) = first::fetched(&wanted, taken.as_deref()) {
        take(machine, found, &now);
    }
}

/// Keeps what was found and uses it; false when it is no configuration.
fn take(machine: &mut Machine, found: Found, now: &Files) -> bool {
    let Found { by, instance, seed } = found;
    let checked = first::files_of(seed, now.clone()).and_then(|files| check::files(&files).map(|()| files));
    let files = match checked {
        Ok(files) => files,
        Err(diagnostics) => {
            diagnostics.lines().for_each(|line| say::step(format!("  {line}")));
            say::trouble(format!("the configuration of the {by} is refused"), "correct it and start again");
            return false;
        }
    };
    let origin = Origin { made: 0, by: by.to_owned(), note: instance.clone() };
    let kept = machine.partition.write(|store| {
        let number = store.add(&files, &origin)?;
        store.switch(number)?;
        store.set_instance_id(&instance)?;
        Ok::<Number, fairlead_appliance::store::StoreError>(number)
    });
    let number = match kept {
        Ok(number) => Some(number),
        Err(error) => {
            say::trouble(error, "the configuration is used now and lost at the next start");
            None
        }
    };
    machine.use_files(&files, number);
    true
}

/// Nothing of the system can be changed from here on.
fn close_root() {
    if let Err(error) = mount_remount("/", MountFlags::RDONLY, "") {
        say::trouble(format!("the root stays writable: {error}"), "the machine works, with one guard less");
    }
}
