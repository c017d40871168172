//! Process 1 on the way up: one step after the other, each a line on the console with its time. A step
//! that fails says what to do and does not keep the next one from being tried.

use crate::cmdline::{self, Cmdline};
use crate::first::{self, Found};
use crate::machine::Machine;
use crate::modules::load::Loader;
use crate::partition::Partition;
use crate::watchdog::Watchdog;
use crate::{accounts, entropy, kernel, mounts, say, uplink, working};
use fairlead_appliance::Watchdog as Wanted;
use fairlead_appliance::management::{Asked, By, Desk, Request, Start};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::mount::{MountFlags, mount_remount};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, reboot};
use std::fs;
use std::path::Path;
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
    "efivarfs",
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
    machine.prepare_management();
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
    say::step(format!("kernel: {set} values set for a proxy, lockdown {}", kernel::lockdown()));
    for value in refused {
        say::trouble(format!("kernel value {value}"), "the machine works with the kernel's own");
    }
}

/// The first configuration, or the one that is kept; the network with it.
fn configure(machine: &mut Machine) {
    let taken = Partition::store().instance_id().ok().flatten();
    let start = match Desk::start(Partition::store(), Path::new("/run")) {
        Ok((desk, start)) => {
            machine.desk = Some(desk);
            start
        }
        Err(error) => {
            say::trouble(
                error.to_string(),
                "the built-in default is served; a factory reset at the console makes it anew",
            );
            Start { boot: None, notes: Vec::new() }
        }
    };
    for note in start.notes {
        say::trouble(note, "push a configuration that can be read");
    }
    let files = start.boot.as_ref().map(|boot| boot.files.clone());
    machine.files = files.clone().unwrap_or_else(first::default_files);
    let found = first::look().filter(|found| taken.as_deref() != Some(found.instance.as_str()));
    if found.is_some_and(|found| take(machine, found)) {
        return;
    }
    match &start.boot {
        Some(boot) => say::step(format!("configuration: version {}", boot.number)),
        None => say::step("configuration: the built-in default"),
    }
    if let Err(errors) = machine.use_files(files.as_ref()) {
        say::trouble(errors.join("; "), "the built-in default is served; push a configuration");
        // The default asks for nothing that could fail but an address.
        let _ = machine.use_files(None);
    }
    let Some(wanted) = machine.line.fetch.clone() else { return };
    if !first::is_taken(&wanted, taken.as_deref()) {
        let leased = uplink::is_leased(&machine.settings, &machine.line);
        machine.uplink.settle(leased);
        if let Some(found) = first::fetched(&wanted) {
            take(machine, found);
        }
    }
}

/// Keeps what was found and uses it; false when it is no configuration.
fn take(machine: &mut Machine, found: Found) -> bool {
    let Found { by, instance, seed } = found;
    let refused = |errors: &[String]| {
        errors.iter().flat_map(|text| text.lines()).for_each(|line| say::step(format!("  {line}")));
        say::trouble(format!("the configuration of the {by} is refused"), "correct it and start again");
        false
    };
    let files = match first::files_of(seed, &machine.files) {
        Ok(files) => files.to_wire(),
        Err(error) => return refused(&[error]),
    };
    let request = Request::Push { files, dry_run: false, confirm: Some(0), note: instance.clone() };
    let asked = Asked { by: By { key: None, name: by.to_owned() }, request };
    let Some(answer) = machine.desk(|desk, now, machine| desk.answer(&asked, now, machine)).flatten() else {
        return refused(&["the configuration partition cannot be read".to_owned()]);
    };
    if !answer.ok {
        return refused(&answer.errors);
    }
    if let Err(error) = machine.partition.write(|store| store.set_instance_id(&instance)) {
        say::trouble(error, "it is taken again at the next start");
    }
    true
}

/// Nothing of the system can be changed from here on.
fn close_root() {
    if let Err(error) = mount_remount("/", MountFlags::RDONLY, "") {
        say::trouble(format!("the root stays writable: {error}"), "the machine works, with one guard less");
    }
}
