//! The configuration partition: the last versions of the configuration, keys, password and what the
//! machine was first told. A version is a folder that never changes once it has its name; which one
//! is served is one symbolic link, replaced by one rename. So after a power cut there is the old
//! version or the new one, whole.
//!
//! Reading writes nothing: the partition may be mounted read-only. It does not check what a
//! configuration says and does not put it into force; `management::Desk` does that, for PID 1.

mod backup;
mod disk;
mod files;
mod format;
mod keys;
#[cfg(test)]
pub(crate) mod power_cut;
#[cfg(test)]
mod tests;
mod version;

pub use backup::{Backup, BadBackup};
pub use disk::{Disk, Kind, System};
pub use files::{BadFiles, File, Files, MAIN, MOST_BYTES, MOST_FILES};
pub use format::{Formats, Migration};
pub use keys::{AuthorizedKey, authorized_keys_text, parse_authorized_keys};
pub use version::{Card, Info, NotANumber, Number, Origin, hex, sum_of, unhex};

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Versions that are kept.
pub const MOST_VERSIONS: usize = 20;
/// Bytes that all versions together may take; the oldest go first.
const MOST_BYTES_KEPT: usize = 8 << 20;

const VERSIONS: &str = "versions";
const CURRENT: &str = "current";
const TRIAL: &str = "trial";
const CARD: &str = ".version";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} {}: {error}", .doing, .path.display())]
    Disk { doing: &'static str, path: PathBuf, error: io::Error },
    #[error("there is no version {0}")]
    Missing(Number),
    #[error("version {0} is damaged: {1}")]
    Damaged(Number, String),
    #[error("version {number} is written in format {format}; this system reads formats up to {newest}")]
    TooNew { number: Number, format: u32, newest: u32 },
    #[error(transparent)]
    Files(#[from] BadFiles),
    #[error("cannot bring the configuration to this system's format: {0}")]
    Migration(String),
}

type Result<T> = std::result::Result<T, StoreError>;

/// What is served after a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    pub number: Number,
    pub files: Files,
    /// In the format of an older system: [`Store::migrate`] brings it to this one's.
    pub older: bool,
}

pub struct Store<D = System> {
    disk: D,
    root: PathBuf,
    formats: Formats,
}

impl Store<System> {
    /// The partition is mounted here.
    pub fn at(root: impl Into<PathBuf>) -> Store {
        Store::on(System, root, Formats::OURS)
    }
}

impl<D: Disk> Store<D> {
    pub fn on(disk: D, root: impl Into<PathBuf>, formats: Formats) -> Store<D> {
        Store { disk, root: root.into(), formats }
    }

    /// The version that is served from the next start on.
    pub fn current(&self) -> Option<Number> {
        self.pointer(CURRENT)
    }

    /// The version that is in force until somebody confirms it.
    pub fn trial(&self) -> Option<Number> {
        self.pointer(TRIAL)
    }

    /// Numbers of all versions, the oldest first.
    pub fn numbers(&self) -> Result<Vec<Number>> {
        let folder = self.root.join(VERSIONS);
        let names = match self.disk.list(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(failed("read", &folder))?,
        };
        let mut numbers: Vec<Number> = names
            .iter()
            .filter(|(_, kind)| *kind == Kind::Folder)
            .filter_map(|(name, _)| name.parse().ok().filter(|number: &Number| number.to_string() == *name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// All versions whose card can be read, the oldest first.
    pub fn versions(&self) -> Result<Vec<Info>> {
        let numbers = self.numbers()?.into_iter();
        Ok(numbers.filter_map(|number| Some(Info { number, card: self.card(number).ok()? })).collect())
    }

    pub fn card(&self, number: Number) -> Result<Card> {
        let path = self.folder(number).join(CARD);
        let text = match self.disk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Missing(number)),
            text => text.map_err(failed("read", &path))?,
        };
        serde_json::from_slice(&text).map_err(|error| StoreError::Damaged(number, error.to_string()))
    }

    /// The files of a version, whole and as they were written.
    pub fn read(&self, number: Number) -> Result<Files> {
        let card = self.card(number)?;
        let mut files = Files::default();
        self.gather(&self.folder(number), "", &mut files).map_err(|error| damaged(number, error))?;
        let files = files.whole().map_err(|error| damaged(number, error))?;
        if sum_of(&files) != card.sum {
            return Err(StoreError::Damaged(number, "its contents are not what was written".to_owned()));
        }
        Ok(files)
    }

    /// What to serve now that the machine has started, and what a person should know about it.
    /// A version that is damaged, or in a format of a newer system, gives way to the one before it.
    pub fn boot(&self) -> Result<(Option<Boot>, Vec<String>)> {
        let mut notes = Vec::new();
        let current = self.current();
        if let Some(trial) = self.trial().filter(|trial| Some(*trial) != current) {
            notes.push(format!("version {trial} was not confirmed before the restart and is not served"));
        }
        let others = current.map_or(Ok(Vec::new()), |current| self.fallbacks(current))?;
        let mut refused = None;
        for number in current.into_iter().chain(others) {
            match self.readable(number) {
                Ok((files, older)) => {
                    notes.extend(refused.map(|reason| format!("{reason}; version {number} is served instead")));
                    return Ok((Some(Boot { number, files, older }), notes));
                }
                Err(error) => refused = refused.or(Some(error.to_string())),
            }
        }
        notes.extend(refused);
        Ok((None, notes))
    }

    /// What to serve when `current` cannot be: what was once served goes before what was only tried,
    /// and the nearest before it first.
    fn fallbacks(&self, current: Number) -> Result<Vec<Number>> {
        let served: BTreeSet<Number> = self.versions()?.iter().filter_map(|info| info.card.before).collect();
        let mut others: Vec<Number> = self.numbers()?.into_iter().filter(|number| *number != current).collect();
        others.sort_by_key(|number| (!served.contains(number), *number > current, std::cmp::Reverse(*number)));
        Ok(others)
    }

    fn readable(&self, number: Number) -> Result<(Files, bool)> {
        let (format, newest) = (self.card(number)?.format, self.formats.newest);
        if format > newest {
            return Err(StoreError::TooNew { number, format, newest });
        }
        Ok((self.read(number)?, format < newest))
    }

    /// Writes a new version. It is served only after [`Store::switch`] or for a trial.
    pub fn add(&self, files: &Files, origin: &Origin) -> Result<Number> {
        self.add_with(files, origin, self.formats.newest)
    }

    fn add_with(&self, files: &Files, origin: &Origin, format: u32) -> Result<Number> {
        self.prepare()?;
        self.clear_leftovers()?;
        self.prune(files.bytes())?;
        let last = self.numbers()?.last().copied();
        // A link may still name a version that was lost.
        let last = [last, self.current(), self.trial()].into_iter().flatten().max();
        let number = Number(last.map_or(1, |last| last.0.saturating_add(1)));
        let (by, note) = (origin.by.clone(), origin.note.clone());
        let card = Card { made: origin.made, by, note, format, before: self.current(), sum: sum_of(files) };
        let card = serde_json::to_vec(&card).map_err(|error| damaged(number, error))?;
        self.write_version(number, files, &card)?;
        Ok(number)
    }

    /// Everything is on the disk before the folder gets the name that makes it a version.
    fn write_version(&self, number: Number, files: &Files, card: &[u8]) -> Result<()> {
        let versions = self.root.join(VERSIONS);
        let building = versions.join(format!(".new-{number}"));
        self.step("make", &building, |path| self.disk.make_folder(path))?;
        let folders: Vec<PathBuf> = files.folders().into_iter().map(|name| building.join(name)).collect();
        folders.iter().try_for_each(|path| self.step("make", path, |path| self.disk.make_folder(path)))?;
        for (name, contents) in files.iter().chain([(CARD, card)]) {
            self.write_synced(&building.join(name), contents)?;
        }
        for folder in folders.iter().rev().chain([&building]) {
            self.step("sync", folder, |path| self.disk.sync_folder(path))?;
        }
        self.step("rename", &building, |path| self.disk.rename(path, &versions.join(number.to_string())))?;
        self.step("sync", &versions, |path| self.disk.sync_folder(path))
    }

    /// Makes `number` the version that is served from the next start on.
    pub fn switch(&self, number: Number) -> Result<()> {
        self.read(number)?;
        self.point(CURRENT, number)
    }

    /// Notes that `number` is in force without being confirmed.
    pub fn begin_trial(&self, number: Number) -> Result<()> {
        self.read(number)?;
        self.point(TRIAL, number)
    }

    /// The trial is over; [`Store::switch`] comes first if its version is kept.
    pub fn end_trial(&self) -> Result<()> {
        match self.disk.remove_file(&self.root.join(TRIAL)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => {
                done.map_err(failed("remove", &self.root.join(TRIAL)))?;
                self.step("sync", &self.root, |path| self.disk.sync_folder(path))
            }
        }
    }

    /// Writes the current version anew in this system's format, and serves that. The old one stays:
    /// an older system goes back to it. `None` when there is nothing to do.
    pub fn migrate(&self, made: u64) -> Result<Option<Number>> {
        let Some(boot) = self.boot()?.0.filter(|boot| boot.older) else { return Ok(None) };
        let from = self.card(boot.number)?.format;
        let files = self.formats.migrate(from, boot.files).map_err(StoreError::Migration)?;
        let note = format!("version {} in format {}", boot.number, self.formats.newest);
        let number = self.add(&files, &Origin { made, by: "update".to_owned(), note })?;
        self.switch(number)?;
        Ok(Some(number))
    }

    /// A small file of the partition; `None` when it is not there.
    fn small(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.root.join(name);
        match self.disk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            contents => contents.map(Some).map_err(failed("read", &path)),
        }
    }

    /// Replaces a small file as a whole.
    fn replace(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        if folder != self.root {
            self.make_if_missing(folder)?;
        }
        let new = folder.join(format!(".{}.new", path.file_name().unwrap_or_default().to_string_lossy()));
        self.write_synced(&new, contents)?;
        self.step("rename", &new, |from| self.disk.rename(from, &path))?;
        self.step("sync", folder, |folder| self.disk.sync_folder(folder))
    }

    fn folder(&self, number: Number) -> PathBuf {
        self.root.join(VERSIONS).join(number.to_string())
    }

    fn pointer(&self, name: &str) -> Option<Number> {
        let target = self.disk.read_link(&self.root.join(name)).ok()?;
        target.strip_prefix(VERSIONS).ok()?.to_str()?.parse().ok()
    }

    fn point(&self, name: &str, number: Number) -> Result<()> {
        let new = self.root.join(format!(".{name}.new"));
        // Left by a power cut.
        let _ = self.disk.remove_file(&new);
        self.step("link", &new, |path| self.disk.link(&Path::new(VERSIONS).join(number.to_string()), path))?;
        self.step("rename", &new, |path| self.disk.rename(path, &self.root.join(name)))?;
        self.step("sync", &self.root, |path| self.disk.sync_folder(path))
    }

    fn prepare(&self) -> Result<()> {
        self.make_if_missing(&self.root.join(VERSIONS))
    }

    fn make_if_missing(&self, folder: &Path) -> Result<()> {
        match self.disk.make_folder(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => {
                made.map_err(failed("make", folder))?;
                self.step("sync", &self.root, |path| self.disk.sync_folder(path))
            }
        }
    }

    /// What a power cut left half written, or half removed.
    fn clear_leftovers(&self) -> Result<()> {
        let versions = self.root.join(VERSIONS);
        let names = self.disk.list(&versions).map_err(failed("read", &versions))?;
        let leftovers = names.iter().filter(|(name, _)| name.starts_with('.'));
        leftovers.into_iter().try_for_each(|(name, kind)| self.remove(&versions.join(name), *kind))
    }

    /// Makes room for one more version of `bytes`.
    fn prune(&self, bytes: usize) -> Result<()> {
        let numbers = self.numbers()?;
        let sizes: Vec<usize> = numbers.iter().map(|number| self.size(*number)).collect();
        let needed = self.needed()?;
        let (mut count, mut total) = (numbers.len() + 1, sizes.iter().sum::<usize>().saturating_add(bytes));
        for (number, size) in numbers.into_iter().zip(sizes) {
            if count <= MOST_VERSIONS && total <= MOST_BYTES_KEPT {
                break;
            }
            if !needed.contains(&number) {
                self.drop_version(number)?;
                (count, total) = (count - 1, total - size);
            }
        }
        Ok(())
    }

    /// The folder loses its name first: what is half removed is no version.
    fn drop_version(&self, number: Number) -> Result<()> {
        let versions = self.root.join(VERSIONS);
        let old = versions.join(format!(".old-{number}"));
        self.step("rename", &self.folder(number), |path| self.disk.rename(path, &old))?;
        self.step("sync", &versions, |path| self.disk.sync_folder(path))?;
        self.remove(&old, Kind::Folder)
    }

    /// Versions that stay however old they are: what is served, what is on trial, the one before it,
    /// and the last one that an older system can read.
    fn needed(&self) -> Result<BTreeSet<Number>> {
        let mut needed: BTreeSet<Number> = [self.current(), self.trial()].into_iter().flatten().collect();
        let Some(current) = self.current() else { return Ok(needed) };
        let fallbacks = self.fallbacks(current)?;
        let is_older = |number: &Number| self.card(*number).is_ok_and(|card| card.format < self.formats.newest);
        needed.extend(fallbacks.first());
        needed.extend(fallbacks.iter().find(|number| is_older(number)));
        Ok(needed)
    }

    /// Zero for what cannot be read: it takes no room that could be counted.
    fn size(&self, number: Number) -> usize {
        let mut files = Files::default();
        self.gather(&self.folder(number), "", &mut files).map_or(0, |()| files.bytes())
    }

    fn gather(&self, folder: &Path, prefix: &str, files: &mut Files) -> io::Result<()> {
        for (name, kind) in self.disk.list(folder)? {
            let path = folder.join(&name);
            match kind {
                _ if name == CARD && prefix.is_empty() => {}
                Kind::Folder => self.gather(&path, &format!("{prefix}{name}/"), files)?,
                Kind::File => {
                    let contents = self.disk.read(&path)?;
                    files.add(&format!("{prefix}{name}"), contents).map_err(io::Error::other)?;
                }
                Kind::Link => return Err(io::Error::other(format!("{prefix}{name} is a link"))),
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path, kind: Kind) -> Result<()> {
        if kind != Kind::Folder {
            return self.step("remove", path, |path| self.disk.remove_file(path));
        }
        for (name, kind) in self.disk.list(path).map_err(failed("read", path))? {
            self.remove(&path.join(name), kind)?;
        }
        self.step("remove", path, |path| self.disk.remove_folder(path))
    }

    fn write_synced(&self, path: &Path, contents: &[u8]) -> Result<()> {
        self.step("write", path, |path| self.disk.write(path, contents))?;
        self.step("sync", path, |path| self.disk.sync_file(path))
    }

    fn step(&self, doing: &'static str, path: &Path, step: impl Fn(&Path) -> io::Result<()>) -> Result<()> {
        step(path).map_err(failed(doing, path))
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Disk { doing, path, error }
}

fn damaged(number: Number, error: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(number, error.to_string())
}
