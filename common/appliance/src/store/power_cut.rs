//! A disk that loses its power after any step: whatever was not synced by then may be there, or not,
//! or half. Names change in order, a folder at a time; contents that were not synced end anywhere.

use super::disk::{Disk, Kind};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Clone, Debug)]
enum Node {
    File { synced: Vec<u8>, written: Vec<u8> },
    Folder(BTreeMap<String, usize>),
    Link(PathBuf),
}

/// A change of the names of one folder.
#[derive(Clone, Debug)]
enum Change {
    Add(String, usize),
    Move(String, String),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct State {
    nodes: Vec<Node>,
    /// Changes of a folder that are not on the disk yet, in order.
    pending: BTreeMap<usize, Vec<Change>>,
    /// The names of each folder as they are on the disk.
    synced: BTreeMap<usize, BTreeMap<String, usize>>,
    steps: usize,
    /// Fails from this step on.
    end: Option<usize>,
}

/// Copies share the disk.
#[derive(Clone, Debug)]
pub struct Fragile(Rc<RefCell<State>>);

impl Fragile {
    pub fn new() -> Fragile {
        let root = Node::Folder(BTreeMap::new());
        Fragile(Rc::new(RefCell::new(State { nodes: vec![root], ..State::default() })))
    }

    /// A disk of its own that holds the same.
    pub fn copy(&self) -> Fragile {
        Fragile(Rc::new(RefCell::new(self.0.borrow().clone())))
    }

    pub fn steps(&self) -> usize {
        self.0.borrow().steps
    }

    /// The power goes before step number `step` is taken.
    pub fn fail_at(&self, step: usize) {
        self.0.borrow_mut().end = Some(step);
    }

    /// What is on the disk when the power is back. The seed chooses what of the rest got there.
    pub fn restart(&self, seed: u64) -> Fragile {
        let mut state = self.0.borrow().clone();
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut roll = |sides: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice >> 11).unwrap() % sides
        };
        let pending = std::mem::take(&mut state.pending);
        let mut names = state.synced.clone();
        for (folder, changes) in pending {
            let kept = roll(changes.len() + 1);
            let names = names.entry(folder).or_default();
            changes[..kept].iter().for_each(|change| apply(names, change));
        }
        for (id, node) in state.nodes.iter_mut().enumerate() {
            match node {
                Node::File { synced, written } if synced != written => {
                    written.truncate(roll(written.len() + 1));
                    *synced = written.clone();
                }
                Node::Folder(now) => *now = names.get(&id).cloned().unwrap_or_default(),
                _ => {}
            }
        }
        state.synced = names;
        (state.steps, state.end) = (0, None);
        Fragile(Rc::new(RefCell::new(state)))
    }

    fn step<T>(&self, step: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.borrow_mut();
        if state.end.is_some_and(|end| state.steps >= end) {
            return Err(io::Error::other("the power is gone"));
        }
        state.steps += 1;
        step(&mut state)
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Add(name, node) => drop(names.insert(name.clone(), *node)),
        Change::Move(from, to) => {
            let node = names.remove(from).expect("changes are kept in order");
            names.insert(to.clone(), node);
        }
        Change::Remove(name) => drop(names.remove(name)),
    }
}

impl State {
    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for part in path.iter().skip(1) {
            let Node::Folder(names) = &self.nodes[at] else { return Err(io::ErrorKind::NotADirectory.into()) };
            at = *names.get(part.to_str().unwrap()).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok((self.find(path.parent().unwrap())?, name))
    }

    fn names(&self, folder: usize) -> io::Result<&BTreeMap<String, usize>> {
        let Node::Folder(names) = &self.nodes[folder] else { return Err(io::ErrorKind::NotADirectory.into()) };
        Ok(names)
    }

    fn change(&mut self, folder: usize, change: Change) {
        if let Node::Folder(names) = &mut self.nodes[folder] {
            apply(names, &change);
        }
        self.pending.entry(folder).or_default().push(change);
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        if self.names(folder)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        self.change(folder, Change::Add(name, self.nodes.len() - 1));
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        self.change(folder, Change::Remove(name));
        Ok(())
    }
}

impl Disk for Fragile {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|state| state.add(path, Node::Folder(BTreeMap::new())))
    }

    fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.step(|state| {
            if let Ok(id) = state.find(path) {
                let Node::File { written, .. } = &mut state.nodes[id] else {
                    return Err(io::ErrorKind::IsADirectory.into());
                };
                *written = contents.to_vec();
                return Ok(());
            }
            state.add(path, Node::File { synced: Vec::new(), written: contents.to_vec() })
        })
    }

    fn link(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.step(|state| state.add(path, Node::Link(target.to_owned())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| {
            state.find(from)?;
            let ((folder, from), (other, to)) = (state.place(from)?, state.place(to)?);
            assert_eq!(folder, other, "a rename stays in its folder");
            state.change(folder, Change::Move(from, to));
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            let id = state.find(path)?;
            assert!(!matches!(state.nodes[id], Node::Folder(_)));
            state.remove(path)
        })
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            let id = state.find(path)?;
            assert!(state.names(id)?.is_empty(), "{} is not empty", path.display());
            state.remove(path)
        })
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            let id = state.find(path)?;
            let Node::File { synced, written } = &mut state.nodes[id] else { panic!("a file is synced as a file") };
            *synced = written.clone();
            Ok(())
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            let id = state.find(path)?;
            state.pending.remove(&id);
            let names = state.names(id)?.clone();
            state.synced.insert(id, names);
            Ok(())
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.0.borrow();
        match &state.nodes[state.find(path)?] {
            Node::File { written, .. } => Ok(written.clone()),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let state = self.0.borrow();
        match &state.nodes[state.find(path)?] {
            Node::Link(target) => Ok(target.clone()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, Kind)>> {
        let state = self.0.borrow();
        let kind = |id: usize| match &state.nodes[id] {
            Node::File { .. } => Kind::File,
            Node::Folder(_) => Kind::Folder,
            Node::Link(_) => Kind::Link,
        };
        Ok(state.names(state.find(path)?)?.iter().map(|(name, id)| (name.clone(), kind(*id))).collect())
    }
}
