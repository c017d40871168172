//! Modules into the kernel: those the devices that are there ask for, and those asked for by name.
//! Where the kernel takes modules compressed, it unpacks them itself.

use super::Index;
use crate::say;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const FOLDER: &str = "/lib/modules";
/// A bridge brings devices, whose drivers bring more: a handful of rounds reaches all of them.
const ROUNDS: usize = 6;
/// `MODULE_INIT_COMPRESSED_FILE`.
const COMPRESSED: i32 = 4;

pub struct Loader {
    index: Index,
    loaded: HashSet<String>,
    failed: HashSet<String>,
}

impl Loader {
    /// Reads the index. Says so when files it names are missing: with too little memory the kernel
    /// cuts the initial file system short without a word.
    pub fn open() -> Loader {
        let text = fs::read_to_string(Path::new(FOLDER).join("index")).unwrap_or_default();
        let index = Index::parse(&text);
        let gone = index.modules().iter().filter(|module| !place(&module.path).exists()).count();
        if index.is_empty() {
            say::trouble(
                format!("{FOLDER}/index lists no module"),
                "only devices the kernel drives itself will work; build the image again",
            );
        } else if gone > 0 {
            say::trouble(
                format!("{gone} of {} kernel modules are missing from the initial file system", index.len()),
                "give the machine more memory (256 MB at least)",
            );
        }
        Loader { index, loaded: HashSet::new(), failed: HashSet::new() }
    }

    pub fn count(&self) -> usize {
        self.loaded.len()
    }

    /// Loads drivers until no device asks for one that is not there.
    pub fn coldplug(&mut self) -> usize {
        let before = self.loaded.len();
        for _ in 0..ROUNDS {
            let found = self.loaded.len();
            for modalias in devices() {
                self.device(&modalias);
            }
            if self.loaded.len() == found {
                break;
            }
        }
        self.loaded.len() - before
    }

    /// The drivers of one device.
    pub fn device(&mut self, modalias: &str) {
        let wanted: Vec<String> = self.index.matching(modalias).map(str::to_owned).collect();
        for name in wanted {
            self.want(&name);
        }
    }

    /// Whether the module is in the kernel now. One that is not in the image may be built in.
    pub fn want(&mut self, name: &str) -> bool {
        if self.loaded.contains(name) {
            return true;
        }
        let mut there = false;
        let Ok(order) = self.index.order(name) else { return false };
        let steps: Vec<(String, PathBuf)> =
            order.iter().map(|module| (module.name.clone(), place(&module.path))).collect();
        for (name, path) in steps {
            there = self.loaded.contains(&name);
            if there || self.failed.contains(&name) {
                continue;
            }
            match insert(&path) {
                Ok(()) => {
                    there = true;
                    self.loaded.insert(name);
                }
                Err(error) => {
                    // A driver that finds no device of its own is no mistake.
                    if error.raw_os_error() != Some(libc::ENODEV) {
                        say::trouble(format!("module {name} was refused: {error}"), "its device will not work");
                    }
                    self.failed.insert(name);
                }
            }
        }
        there
    }
}

fn place(path: &str) -> PathBuf {
    Path::new(FOLDER).join(path)
}

fn insert(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let compressed = path.extension().is_some_and(|ending| ending == "xz" || ending == "zst" || ending == "gz");
    let flags = if compressed { COMPRESSED } else { 0 };
    match rustix::system::finit_module(&file, c"", flags) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The names by which the devices of every bus ask for a driver, each once.
fn devices() -> HashSet<String> {
    let mut found = HashSet::new();
    for bus in entries(Path::new("/sys/bus")) {
        for device in entries(&bus.join("devices")) {
            if let Ok(modalias) = fs::read_to_string(device.join("modalias")) {
                found.insert(modalias.trim_end().to_owned());
            }
        }
    }
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
