//! The image this machine runs, and the one it would go back to: what [`fairlead_update`] decides is
//! done here, on the EFI system partition, which is writable only while something is written.

use crate::block_devices;
use crate::cmdline::Cmdline;
use crate::say;
use fairlead_appliance::management::{Answer, Asked, Request};
use fairlead_disk::Fault;
use fairlead_disk::layout::ESP_NAME;
use fairlead_disk::signature::PublicKey;
use fairlead_disk::slot::Version;
use fairlead_update::{Mounted, Slots, Standing, Updates};
use rustix::mount::{MountFlags, mount, mount_remount};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

pub const FOLDER: &str = "/run/esp";
const KEYS: &str = "/etc/update.pub";
const STILL: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// systemd-boot's: the entry that boots once, whichever is newest (Boot Loader Interface).
const ONE_SHOT: &str = "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Kept over a start, readable by the boot loader and by us.
const ATTRIBUTES: u32 = 7;
/// What a system on trial may take to serve at all, before its trial begins.
const START: Duration = Duration::from_secs(120);

pub struct Slot {
    updates: Option<Updates<Mounted>>,
    running: Option<Version>,
    on_trial: bool,
    /// There is one to go back to.
    has_other: bool,
    trial: Duration,
}

/// What the trial comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Waiting,
    Proved,
    Failed,
}

/// Whether a system has proved itself: it has to serve without a break for as long as the trial takes,
/// and must have begun to within [`START`]. Pure.
pub fn judge(now: u64, served_since: Option<u64>, trial: Duration) -> Outcome {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match served_since {
        Some(since) if now.saturating_sub(since) >= millis(trial) => Outcome::Proved,
        Some(_) => Outcome::Waiting,
        None if now >= millis(START) => Outcome::Failed,
        None => Outcome::Waiting,
    }
}

impl Slot {
    /// Mounts the partition and says where the machine stands.
    pub fn open(line: &Cmdline) -> Slot {
        let mut slot = Slot { updates: None, running: None, on_trial: false, has_other: false, trial: line.trial };
        let Some(running) = line.slot.as_deref().and_then(|slot| slot.parse().ok()) else { return slot };
        let Some(device) = block_devices::named(ESP_NAME) else {
            say::trouble(format!("there is no partition {ESP_NAME}"), "updates and rollbacks do not work");
            return slot;
        };
        if let Err(error) = mount(&device, FOLDER, "vfat", STILL | MountFlags::RDONLY, Some(c"flush,umask=0077")) {
            say::trouble(
                format!("{} cannot be mounted: {error}", device.display()),
                "updates and rollbacks do not work",
            );
            return slot;
        }
        slot.running = Some(running);
        slot.trust(&[]);
        slot.look();
        slot
    }

    fn look(&mut self) {
        let Some(updates) = &self.updates else { return };
        let standing: Standing = match updates.slots().standing() {
            Ok(standing) => standing,
            Err(fault) => return say::trouble(fault.to_string(), "write the image to the disk again"),
        };
        self.on_trial = standing.on_trial;
        self.has_other = standing.other.is_some();
        let other = standing.other.map_or("none".to_owned(), |other| other.to_string());
        let trial = if standing.on_trial { ", on trial" } else { "" };
        say::step(format!("slot: version {}{trial}; the other one: {other}", standing.running));
        if let Some(reason) = standing.fell_back {
            say::trouble(reason, "this one runs instead; update to one that works");
            self.write(|slots| slots.forget_trial());
        }
    }

    pub fn is_on_trial(&self) -> bool {
        self.on_trial
    }

    /// Those that may sign an image: the image's own, and those of the configuration.
    pub fn trust(&mut self, more: &[[u8; 32]]) {
        let (Some(running), false) = (self.running, self.is_busy()) else { return };
        let built_in = fs::read_to_string(KEYS).unwrap_or_default();
        let mut keys = PublicKey::list(&built_in).unwrap_or_else(|fault| {
            say::trouble(format!("{KEYS}: {fault}"), "build the image with a key");
            Vec::new()
        });
        for key in more {
            let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            match PublicKey::from_hex(&hex) {
                Ok(key) => keys.push(key),
                Err(fault) => say::trouble(format!("update_key {hex}: {fault}"), "correct the appliance block"),
            }
        }
        self.updates = Some(Updates::over(Slots::new(Mounted(FOLDER.into()), running, keys)));
    }

    pub fn is_busy(&self) -> bool {
        self.updates.as_ref().is_some_and(Updates::is_busy)
    }

    /// What the trial comes to now; true when the machine has to start again.
    pub fn look_at_trial(&mut self, now: u64, served_since: Option<u64>) -> bool {
        if !self.on_trial {
            return false;
        }
        match judge(now, served_since, self.trial) {
            Outcome::Waiting => false,
            Outcome::Proved => {
                self.on_trial = false;
                if self.write(|slots| slots.settle()) {
                    say::step("slot: this version has proved itself and is kept");
                }
                false
            }
            Outcome::Failed => self.give_up("fairlead did not serve"),
        }
    }

    /// Whether there is another one to go back to, by a restart.
    pub fn give_up(&mut self, reason: &str) -> bool {
        if !self.on_trial {
            return false;
        }
        self.on_trial = false;
        if !self.has_other {
            say::trouble(format!("this version does not prove itself: {reason}"), "there is no other to go back to");
            return false;
        }
        say::trouble(format!("this version is given up: {reason}"), "the one before it is used again");
        self.write(|slots| slots.give_up(reason))
    }

    /// `None` for what is not about updates.
    pub fn answer(&mut self, asked: &Asked) -> Option<Answer> {
        let concerns = matches!(
            asked.request,
            Request::UpdateBegin { .. }
                | Request::UpdateData { .. }
                | Request::UpdateCommit
                | Request::UpdateAbort
                | Request::Rollback
        );
        if !concerns {
            return None;
        }
        if self.updates.is_none() {
            return Some(Answer::refused("this machine was not started from a disk of the appliance: it has no slots"));
        }
        if !self.is_busy()
            && let Err(error) = writable(true)
        {
            return Some(Answer::refused(format!("the EFI system partition cannot be written: {error}")));
        }
        let answer = self.updates.as_mut().and_then(|updates| updates.answer(asked));
        if !self.is_busy() {
            close();
        }
        if answer.as_ref().is_some_and(|answer| answer.ok) {
            self.after(asked);
        }
        answer
    }

    fn after(&self, asked: &Asked) {
        if !matches!(asked.request, Request::UpdateCommit | Request::Rollback) {
            return;
        }
        let Some(next) = self.updates.as_ref().and_then(Updates::next) else { return };
        say::step(format!("slot: version {} boots next, on trial, by {}", next.version, asked.by.words()));
        if let Some(entry) = &next.one_shot
            && Path::new(VARIABLES).exists()
            && let Err(error) = set_one_shot(entry)
        {
            say::trouble(
                format!("the firmware does not take the next version: {error}"),
                "the newest version boots instead",
            );
        }
    }

    fn write(&self, act: impl FnOnce(&Slots<Mounted>) -> Result<(), Fault>) -> bool {
        let Some(updates) = &self.updates else { return false };
        let opened = writable(true).map_err(Fault::from);
        let done = opened.and_then(|()| act(updates.slots()));
        if !self.is_busy() {
            close();
        }
        done.map_err(|fault| say::trouble(fault.to_string(), "check the disk")).is_ok()
    }
}

fn writable(yes: bool) -> io::Result<()> {
    let flags = if yes { STILL } else { STILL | MountFlags::RDONLY };
    Ok(mount_remount(FOLDER, flags, "flush,umask=0077")?)
}

fn close() {
    if let Err(error) = writable(false) {
        say::trouble(format!("the EFI system partition stays writable: {error}"), "nothing is lost");
    }
}

fn set_one_shot(entry: &str) -> io::Result<()> {
    // Mounted for this alone.
    match mount("efivarfs", VARIABLES, "efivarfs", STILL, None) {
        Ok(()) | Err(rustix::io::Errno::BUSY) => {}
        Err(error) => return Err(error.into()),
    }
    fs::write(Path::new(VARIABLES).join(ONE_SHOT), variable(entry))
}

fn variable(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    ATTRIBUTES.to_le_bytes().into_iter().chain(units).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_to_serve_for_as_long_as_its_trial_takes() {
        let trial = Duration::from_secs(30);
        assert_eq!(judge(10_000, None, trial), Outcome::Waiting);
        assert_eq!(judge(39_999, Some(10_000), trial), Outcome::Waiting);
        assert_eq!(judge(40_000, Some(10_000), trial), Outcome::Proved);
        assert_eq!(judge(119_999, None, trial), Outcome::Waiting);
        assert_eq!(judge(120_000, None, trial), Outcome::Failed);
    }

    #[test]
    fn a_variable_of_the_firmware_has_attributes_and_ends_in_zero() {
        assert_eq!(variable("ab"), [7, 0, 0, 0, b'a', 0, b'b', 0, 0, 0]);
    }
}
