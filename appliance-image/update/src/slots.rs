//! Which images there are, which of them is settled on, and how another comes to be.

use crate::partition::Partition;
use fairlead_disk::Fault;
use fairlead_disk::grub::{self, SLOT, TRY};
use fairlead_disk::grubenv::{BLOCK_BYTES, Environment};
use fairlead_disk::layout::{GRUB_ENVIRONMENT_PATH, IMAGES_FOLDER};
use fairlead_disk::signature::PublicKey;
use fairlead_disk::slot::{FileName, Tries, Version};
use fairlead_disk::uki::Image;
use std::io::Read;

/// Variables of our own in GRUB's environment, which leaves them alone: the image that was to boot on
/// trial, and what became of it if it could still say so.
const TRIAL: &str = "trial";
const REASON: &str = "reason";
/// So that the environment's text stays within its first sector, which a disk writes as a whole.
const LONGEST_REASON: usize = 160;

/// What a start finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub running: Version,
    /// The running image is not the one that is settled on: it has to prove itself, or make room.
    pub on_trial: bool,
    /// The image that boots if this one is given up; without one, giving up helps nobody.
    pub other: Option<Version>,
    /// A trial that ended in this start, and why, for the console and the log.
    pub fell_back: Option<String>,
}

/// An image that boots next, on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub version: Version,
    /// UEFI prefers the newest image. When that is another one, this must be the value of the
    /// variable `LoaderEntryOneShot`; BIOS and a newer image do not need it.
    pub one_shot: Option<String>,
}

pub struct Slots<P> {
    pub(crate) partition: P,
    pub(crate) running: Version,
    /// Those that may sign an image.
    pub(crate) keys: Vec<PublicKey>,
}

impl<P: Partition> Slots<P> {
    pub fn new(partition: P, running: Version, keys: Vec<PublicKey>) -> Slots<P> {
        Slots { partition, running, keys }
    }

    pub fn partition(&self) -> &P {
        &self.partition
    }

    pub fn running(&self) -> Version {
        self.running
    }

    /// Where the machine stands after a start. Reads only.
    pub fn standing(&self) -> Result<Standing, Fault> {
        let environment = self.environment();
        let running = self.running;
        let trial: Option<Version> = environment.value(TRIAL).parse().ok();
        let on_trial = environment.value(SLOT) != running.to_string();
        let fell_back = trial.filter(|trial| *trial != running).map(|trial| {
            let reason = Some(environment.value(REASON)).filter(|reason| !reason.is_empty());
            format!("version {trial} was given up: {}", reason.unwrap_or("it did not start"))
        });
        let other = self.others()?.into_iter().rfind(|other| Some(*other) != trial);
        Ok(Standing { running, on_trial, other, fell_back })
    }

    /// The running image has proved itself, or has always been the one: it boots from now on, on
    /// either firmware. Doing it again changes nothing.
    pub fn settle(&self) -> Result<(), Fault> {
        let running = self.running;
        self.describe(running)?;
        // The name first: should it be lost, GRUB still knows the image before this one.
        let names = self.names_of(running)?;
        // Two names of one file are left by a power cut; one of them is enough to boot.
        if let [FileName { tries: Some(_), .. }] = names.as_slice() {
            let settled = FileName::settled(running);
            names.iter().try_for_each(|name| self.partition.rename(&path_of(name), &path_of(&settled)))?;
            self.partition.sync()?;
        }
        let mut environment = self.environment();
        environment.set(SLOT, &running.to_string());
        [TRY, TRIAL, REASON].iter().for_each(|name| environment.set(name, ""));
        self.write_environment(&environment)?;
        self.outrank(running)
    }

    /// The running image cannot prove itself: a restart, which is the caller's to do, brings back the
    /// other one, which will say why.
    pub fn give_up(&self, reason: &str) -> Result<(), Fault> {
        let mut environment = self.environment();
        environment.set(TRY, "");
        environment.set(TRIAL, &self.running.to_string());
        environment.set(REASON, &short(reason));
        self.write_environment(&environment)
    }

    /// What [`Standing::fell_back`] said has been said.
    pub fn forget_trial(&self) -> Result<(), Fault> {
        let mut environment = self.environment();
        [TRY, TRIAL, REASON].iter().for_each(|name| environment.set(name, ""));
        self.write_environment(&environment)
    }

    /// The image before this one, on trial like a new one. It boots at the next start.
    pub fn rollback(&self) -> Result<Installed, Fault> {
        let version = self.others()?.pop();
        let version = version.ok_or_else(|| Fault::Format("there is no other version to go back to".to_owned()))?;
        self.boot_next(version)
    }

    pub(crate) fn is_settled(&self, version: Version) -> bool {
        self.environment().value(SLOT) == version.to_string()
    }

    /// `version` is complete: it boots once, and then again if it settles.
    pub(crate) fn boot_next(&self, version: Version) -> Result<Installed, Fault> {
        self.describe(version)?;
        let mut environment = self.environment();
        environment.set(TRY, &version.to_string());
        environment.set(TRIAL, &version.to_string());
        environment.set(REASON, "");
        self.write_environment(&environment)?;
        let newest = self.preferred()?;
        let one_shot = (newest != Some(version)).then(|| format!("fairlead-{version}[.+]*"));
        Ok(Installed { version, one_shot })
    }

    /// Versions that could boot, the oldest first.
    pub fn versions(&self) -> Result<Vec<Version>, Fault> {
        let mut versions: Vec<Version> = self.complete()?.into_iter().map(|name| name.version).collect();
        versions.sort();
        versions.dedup();
        Ok(versions)
    }

    /// Versions to go to from the running one, the best last: one that has proved itself before one
    /// that has no tries left, and then the newest.
    fn others(&self) -> Result<Vec<Version>, Fault> {
        let mut others = self.complete()?;
        others.retain(|name| name.version != self.running);
        others.sort_by_key(|name| (name.tries.is_none(), name.version));
        Ok(others.into_iter().map(|name| name.version).collect())
    }

    /// What stays is the running version, the one that is settled on, and the best beside them unless
    /// there is no room for `bytes` more.
    pub(crate) fn make_room(&self, bytes: u64, new: Version) -> Result<(), Fault> {
        let settled: Option<Version> = self.environment().value(SLOT).parse().ok();
        let is_kept = |version: Version| version == self.running || Some(version) == settled;
        let mut others: Vec<Version> = self.others()?.into_iter().filter(|other| !is_kept(*other)).collect();
        others.retain(|other| *other != new);
        let spare = if settled.is_none_or(|settled| settled == self.running) { others.pop() } else { None };
        for name in self.names()? {
            if !is_kept(name.version) && Some(name.version) != spare {
                self.remove(name.version)?;
            }
        }
        if let Some(spare) = spare.filter(|_| self.partition.free().is_ok_and(|free| free < bytes)) {
            self.remove(spare)?;
        }
        let there = self.partition.free()?;
        let what = "the new version".to_owned();
        if there < bytes { Err(Fault::Full { what, needed: bytes, there }) } else { Ok(()) }
    }

    /// First what GRUB knows of it, so that it never reads a file that is gone.
    pub(crate) fn remove(&self, version: Version) -> Result<(), Fault> {
        if version == self.running {
            return Err(Fault::Format(format!("version {version} is running")));
        }
        let description = grub::slot_path(version);
        if self.exists(&description)? {
            self.partition.remove(&description)?;
            self.partition.sync()?;
        }
        for name in self.names_of(version)? {
            self.partition.remove(&path_of(&name))?;
        }
        Ok(self.partition.sync()?)
    }

    /// Writes what GRUB must know of a complete image, unless it is there.
    fn describe(&self, version: Version) -> Result<(), Fault> {
        let path = grub::slot_path(version);
        let name = self.names_of(version)?.into_iter().next();
        let name = name.ok_or_else(|| Fault::Format(format!("there is no version {version}")))?;
        let mut file = self.partition.open(&path_of(&name))?;
        let image = Image::read(&mut file)?;
        let text = grub::slot(&image, &mut file)?;
        if self.exists(&path)? {
            let mut there = String::new();
            let read = self.partition.open(&path).and_then(|mut file| file.read_to_string(&mut there));
            if read.is_ok() && there == text {
                return Ok(());
            }
            self.partition.remove(&path)?;
            self.partition.sync()?;
        }
        let new = format!("{path}.new");
        self.partition.create(&new, text.len() as u64)?;
        self.partition.write_at(&new, 0, text.as_bytes())?;
        self.partition.sync()?;
        self.partition.rename(&new, &path)?;
        Ok(self.partition.sync()?)
    }

    /// On UEFI an image without tries left comes last, however new it is.
    fn outrank(&self, version: Version) -> Result<(), Fault> {
        for name in self.complete()? {
            if name.version > version && !name.is_spent() && name.version != self.running {
                let spent = FileName { version: name.version, tries: Some(Tries { left: 0, done: 1 }) };
                self.partition.rename(&path_of(&name), &path_of(&spent))?;
                self.partition.sync()?;
            }
        }
        Ok(())
    }

    /// What systemd-boot would boot.
    fn preferred(&self) -> Result<Option<Version>, Fault> {
        let best = self.complete()?.into_iter().max_by_key(|name| (!name.is_spent(), name.version));
        Ok(best.map(|name| name.version))
    }

    /// One whose first sector is missing is still, or for ever, on its way.
    fn complete(&self) -> Result<Vec<FileName>, Fault> {
        let is_complete = |name: &FileName| {
            let file = self.partition.open(&path_of(name));
            file.is_ok_and(|mut file| Image::read(&mut file).is_ok())
        };
        Ok(self.names()?.into_iter().filter(is_complete).collect())
    }

    fn names(&self) -> Result<Vec<FileName>, Fault> {
        let names = self.partition.list(IMAGES_FOLDER)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn names_of(&self, version: Version) -> Result<Vec<FileName>, Fault> {
        Ok(self.names()?.into_iter().filter(|name| name.version == version).collect())
    }

    fn exists(&self, path: &str) -> Result<bool, Fault> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(self.partition.list(folder)?.iter().any(|there| there == name))
    }

    /// One that cannot be read is empty: GRUB makes do without it too.
    fn environment(&self) -> Environment {
        let mut block = Vec::new();
        let read = self.partition.open(GRUB_ENVIRONMENT_PATH).and_then(|mut file| file.read_to_end(&mut block));
        read.ok().and_then(|_| Environment::parse(&block).ok()).unwrap_or_default()
    }

    /// In place, as GRUB itself does: its blocks must not move.
    fn write_environment(&self, environment: &Environment) -> Result<(), Fault> {
        let block = environment.to_block()?;
        if !self.exists(GRUB_ENVIRONMENT_PATH)? {
            self.partition.create(GRUB_ENVIRONMENT_PATH, BLOCK_BYTES as u64)?;
        }
        self.partition.write_at(GRUB_ENVIRONMENT_PATH, 0, &block)?;
        Ok(self.partition.sync()?)
    }
}

pub(crate) fn path_of(name: &FileName) -> String {
    format!("{IMAGES_FOLDER}/{name}")
}

/// One line of plain text.
fn short(reason: &str) -> String {
    reason.chars().map(|letter| if (' '..='~').contains(&letter) { letter } else { ' ' }).take(LONGEST_REASON).collect()
}
