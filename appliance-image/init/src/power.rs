//! The power button, and the end of the machine: what is running is told, what is mounted is let go.

use crate::say;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::system::{RebootCommand, reboot};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::thread::sleep;
use std::time::Duration;

const KEY: u16 = 1;
const POWER: u16 = 116;
/// `struct input_event`: a time of two longs, two shorts, an int.
const EVENT: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    PowerOff,
    Reboot,
}

/// The buttons of the machine, as files that are readable when one is pressed.
pub fn buttons() -> Vec<File> {
    let devices = fs::read_dir("/sys/class/input").into_iter().flatten().flatten();
    let open = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| name.starts_with("event"))?;
        let called = fs::read_to_string(entry.path().join("device/name")).ok()?;
        if !called.contains("Power Button") {
            return None;
        }
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(format!("/dev/input/{name}")).ok()
    };
    devices.filter_map(open).collect()
}

/// Reads what a button says; whether it was pressed.
pub fn is_pressed(button: &mut File) -> bool {
    let mut events = [0; EVENT * 16];
    let read = button.read(&mut events).unwrap_or(0);
    events.get(..read).is_some_and(|events| events.chunks_exact(EVENT).any(is_power))
}

fn is_power(event: &[u8]) -> bool {
    let short = |at: usize| event.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
    let value = event.get(20..).and_then(|rest| rest.first_chunk()).map(|bytes| i32::from_ne_bytes(*bytes));
    short(16) == Some(KEY) && short(18) == Some(POWER) && value == Some(1)
}

/// Ends every other process, writes everything out, and ends the machine. `fairlead` has drained by then.
pub fn end(how: End) -> ! {
    let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
    for _ in 0..20 {
        crate::children::reap_all();
        if !others_run() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    sleep(Duration::from_millis(20));
    crate::children::reap_all();
    rustix::fs::sync();
    for folder in ["/conf", "/run/esp"] {
        if unmount(folder, UnmountFlags::empty()).is_err() {
            let _ = mount_remount(folder, MountFlags::RDONLY, "");
        }
    }
    rustix::fs::sync();
    let (command, text) = match how {
        End::PowerOff => (RebootCommand::PowerOff, "power off"),
        End::Reboot => (RebootCommand::Restart, "restart"),
    };
    say::step(text);
    // The line has to leave the serial port.
    sleep(Duration::from_millis(100));
    let mut command = command;
    loop {
        let _ = reboot(command);
        say::trouble("the kernel did not end the machine", "switch it off");
        command = RebootCommand::Restart;
        sleep(Duration::from_secs(5));
    }
}

/// Whether a process of user space is left beside us: those of the kernel have no command line.
fn others_run() -> bool {
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let line = || fs::read(entry.path().join("cmdline")).is_ok_and(|line| !line.is_empty());
        number.is_some_and(|number| number != 1) && line()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_is_told_from_a_release_and_from_other_keys() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut bytes = vec![0; 16];
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes.extend_from_slice(&value.to_ne_bytes());
            bytes
        };
        assert!(is_power(&event(1, 116, 1)));
        assert!(!is_power(&event(1, 116, 0)) && !is_power(&event(1, 30, 1)) && !is_power(&event(0, 0, 0)));
        assert!(!is_power(&[]));
    }
}
