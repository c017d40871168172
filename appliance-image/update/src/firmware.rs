//! What the tests boot: a FAT that loses, when the power goes, any part of what was not synced, and
//! what systemd-boot and GRUB choose from it.

use crate::partition::Partition;
use fairlead_disk::grubenv::Environment;
use fairlead_disk::slot::{FileName, Tries, Version};
use fairlead_disk::uki::Image;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::rc::Rc;

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Op {
    Create(String, usize),
    Write(String, usize, Vec<u8>),
    Rename(String, String),
    Remove(String),
}

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct State {
    files: Files,
    synced: Files,
    pending: Vec<Op>,
    room: u64,
    /// What files that are gone have left on the disk.
    stale: Vec<u8>,
    steps: usize,
    end: Option<usize>,
}

/// Copies share the disk.
#[derive(Clone, Debug)]
pub struct Fat(Rc<RefCell<State>>);

pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

impl Fat {
    pub fn with_room(room: u64) -> Fat {
        Fat(Rc::new(RefCell::new(State { room, ..State::default() })))
    }

    pub fn put(&self, path: &str, contents: &[u8]) {
        let mut state = self.0.borrow_mut();
        for files in [0, 1] {
            let files = if files == 0 { &mut state.files } else { &mut state.synced };
            files.insert(path.to_owned(), contents.to_vec());
        }
    }

    /// Where a file has room before its contents are written, these bytes show.
    pub fn leave(&self, stale: Vec<u8>) {
        self.0.borrow_mut().stale = stale;
    }

    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        self.0.borrow().files.get(path).cloned()
    }

    pub fn copy(&self) -> Fat {
        Fat(Rc::new(RefCell::new(self.0.borrow().clone())))
    }

    pub fn steps(&self) -> usize {
        self.0.borrow().steps
    }

    pub fn fail_at(&self, step: usize) {
        self.0.borrow_mut().end = Some(step);
    }

    /// The power is back: of each thing that was not synced, some part got onto the disk.
    pub fn restart(&self, seed: u64) -> Fat {
        let mut state = self.0.borrow().clone();
        let (mut files, mut dice) = (state.synced.clone(), Dice::of(seed));
        for op in std::mem::take(&mut state.pending) {
            lose_some(&op, &state.stale, &mut files, &mut dice);
        }
        state.files = files.clone();
        state.synced = files;
        (state.steps, state.end) = (0, None);
        Fat(Rc::new(RefCell::new(state)))
    }

    fn step(&self, op: Op) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.count()?;
        apply(&op, &mut state.files)?;
        state.pending.push(op);
        Ok(())
    }

    fn images(&self) -> Vec<FileName> {
        let state = self.0.borrow();
        let names = state.files.iter().filter_map(|(path, contents)| {
            let name = path.strip_prefix("EFI/Linux/")?.parse().ok()?;
            // systemd-boot takes nothing for an image that is no PE program with its sections.
            Image::read(&mut Cursor::new(contents)).is_ok().then_some(name)
        });
        names.collect()
    }

    /// What systemd-boot boots, having counted the try down. `one_shot` is the variable's value.
    pub fn boot_uefi(&self, one_shot: Option<&str>) -> Option<(Version, Vec<u8>)> {
        let mut images = self.images();
        // As it sorts: no tries left last, then the newest, then more tries left, then fewer done.
        images.sort_by_key(|name| {
            let tries = name.tries.unwrap_or(Tries { left: u32::MAX, done: 0 });
            (name.is_spent(), std::cmp::Reverse((name.version, tries.left)), tries.done)
        });
        let wanted = one_shot.and_then(|pattern| {
            let stem = pattern.strip_suffix("[.+]*").expect("the one pattern there is");
            let fits = |name: &&FileName| {
                let rest = name.to_string().strip_prefix(stem).map(str::to_owned);
                rest.is_some_and(|rest| rest.starts_with(['.', '+']))
            };
            images.iter().find(fits).copied()
        });
        let name = wanted.or_else(|| images.first().copied())?;
        let contents = self.contents(&format!("EFI/Linux/{name}"))?;
        if let Some(Tries { left, done }) = name.tries {
            let counted = FileName { tries: Some(Tries { left: left.saturating_sub(1), done: done + 1 }), ..name };
            let mut state = self.0.borrow_mut();
            state.files.remove(&format!("EFI/Linux/{name}"));
            state.files.insert(format!("EFI/Linux/{counted}"), contents.clone());
            state.synced = state.files.clone();
        }
        Some((name.version, contents))
    }

    /// What `grub.cfg` boots, having forgotten the try.
    pub fn boot_bios(&self) -> Option<(Version, Vec<u8>)> {
        let block = self.contents("grub/grubenv").unwrap_or_default();
        let mut environment = Environment::parse(&block).unwrap_or_default();
        let attempt = environment.value("try").to_owned();
        if !attempt.is_empty() {
            environment.set("try", "");
            self.put("grub/grubenv", &environment.to_block().unwrap());
        }
        let paths: Vec<String> = self.0.borrow().files.keys().cloned().collect();
        let known = paths.iter().filter_map(|path| path.strip_prefix("fairlead/")?.strip_suffix(".cfg"));
        let wanted = [attempt.as_str(), environment.value("slot")].into_iter().chain(known);
        wanted.filter(|version| !version.is_empty()).find_map(|version| {
            let described = self.contents(&format!("fairlead/{version}.cfg"))?;
            assert!(
                described.starts_with(format!("set version={version}\nset kernel=").as_bytes()),
                "half a description"
            );
            let names = ["", "+1", "+0-1"].map(|count| format!("EFI/Linux/fairlead-{version}{count}.efi"));
            let contents = names.iter().find_map(|name| self.contents(name))?;
            Some((version.parse().unwrap(), contents))
        })
    }
}

fn apply(op: &Op, files: &mut Files) -> io::Result<()> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    match op {
        Op::Create(path, bytes) => drop(files.insert(path.clone(), vec![0; *bytes])),
        Op::Write(path, at, bytes) => {
            let file = files.get_mut(path).ok_or_else(missing)?;
            assert!(*at <= file.len(), "a hole");
            file.resize(file.len().max(at + bytes.len()), 0);
            file[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Op::Rename(from, to) => {
            let file = files.remove(from).ok_or_else(missing)?;
            files.insert(to.clone(), file);
        }
        Op::Remove(path) => drop(files.remove(path).ok_or_else(missing)?),
    }
    Ok(())
}

/// Its size is on the disk, and of its contents whatever was there.
fn grow(file: &mut Vec<u8>, length: usize, stale: &[u8]) {
    let from = file.len();
    file.extend((from..length).map(|at| stale.get(at).copied().unwrap_or(0xee)));
}

fn lose_some(op: &Op, stale: &[u8], files: &mut Files, dice: &mut Dice) {
    match op {
        Op::Create(path, bytes) if dice.roll(2) == 0 => {
            let mut file = Vec::new();
            grow(&mut file, [0, *bytes][dice.roll(2)], stale);
            files.insert(path.clone(), file);
        }
        Op::Write(path, at, bytes) => {
            let Some(file) = files.get_mut(path) else { return };
            if at + bytes.len() > file.len() && dice.roll(2) == 0 {
                grow(file, at + bytes.len(), stale);
            }
            // A sector is written, or it is not.
            let (mut from, mut rest) = (*at, bytes.as_slice());
            while !rest.is_empty() {
                let (sector, others) = rest.split_at(rest.len().min(SECTOR - from % SECTOR));
                if let Some(place) = file.get_mut(from..from + sector.len()).filter(|_| dice.roll(2) == 0) {
                    place.copy_from_slice(sector);
                }
                (from, rest) = (from + sector.len(), others);
            }
        }
        Op::Rename(from, to) => {
            let Some(file) = files.get(from).cloned() else { return };
            if dice.roll(2) == 0 {
                files.insert(to.clone(), file);
            }
            if dice.roll(2) == 0 {
                files.remove(from);
            }
        }
        Op::Remove(path) if dice.roll(2) == 0 => drop(files.remove(path)),
        _ => {}
    }
}

impl State {
    fn count(&mut self) -> io::Result<()> {
        if self.end.is_some_and(|end| self.steps >= end) {
            return Err(io::Error::other("the power is gone"));
        }
        self.steps += 1;
        Ok(())
    }
}

impl Partition for Fat {
    type File = Cursor<Vec<u8>>;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let (state, folder) = (self.0.borrow(), format!("{folder}/"));
        Ok(state.files.keys().filter_map(|path| path.strip_prefix(&folder).map(str::to_owned)).collect())
    }

    fn open(&self, path: &str) -> io::Result<Cursor<Vec<u8>>> {
        self.contents(path).map(Cursor::new).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, path: &str, bytes: u64) -> io::Result<()> {
        if self.free()? < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.step(Op::Create(path.to_owned(), bytes as usize))
    }

    fn write_at(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.step(Op::Write(path.to_owned(), at as usize, bytes.to_vec()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(Op::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.step(Op::Remove(path.to_owned()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.count()?;
        state.synced = state.files.clone();
        state.pending.clear();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let state = self.0.borrow();
        Ok(state.room.saturating_sub(state.files.values().map(|file| file.len() as u64).sum()))
    }
}
