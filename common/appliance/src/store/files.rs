//! The files of one version: names that cannot leave their folder, and no more bytes than the
//! partition has room for. Read from a laptop's folder, from a frame or from the store, written to
//! the folder that fairlead runs from.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The file that every version has.
pub const MAIN: &str = "fairlead.conf";
/// Bytes of one version, all its files together.
pub const MOST_BYTES: usize = 2 << 20;
/// Files of one version.
pub const MOST_FILES: usize = 500;
const LONGEST_NAME: usize = 200;
const DEEPEST: usize = 6;

/// Why files cannot be a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFiles {
    #[error(
        "\"{0}\" cannot be a file's name: letters, digits and . _ - + @ only, folders divided by /, none beginning with a dot"
    )]
    Name(String),
    #[error("the file \"{0}\" is there twice")]
    Twice(String),
    #[error("\"{0}\" is a file and a folder")]
    Both(String),
    #[error("there is no file {MAIN}")]
    NoMain,
    #[error("more than {MOST_FILES} files")]
    TooMany,
    #[error("more than {MOST_BYTES} bytes")]
    TooMuch,
    #[error("the contents of \"{0}\" are not base64")]
    Contents(String),
}

/// Files by name, relative and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    contents: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

/// A file as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub name: String,
    /// base64.
    pub data: String,
}

impl Files {
    /// One file, the configuration.
    pub fn of_main(text: impl Into<Vec<u8>>) -> Result<Files, BadFiles> {
        let mut files = Files::default();
        files.add(MAIN, text.into())?;
        Ok(files)
    }

    pub fn add(&mut self, name: &str, contents: Vec<u8>) -> Result<(), BadFiles> {
        check_name(name)?;
        let bytes = self.bytes.saturating_add(contents.len());
        if bytes > MOST_BYTES {
            return Err(BadFiles::TooMuch);
        }
        if self.contents.len() >= MOST_FILES {
            return Err(BadFiles::TooMany);
        }
        let below = format!("{name}/");
        let is_folder = self.contents.range(below.clone()..).next().is_some_and(|(other, _)| other.starts_with(&below));
        if is_folder || folders_of(name).any(|folder| self.contents.contains_key(folder)) {
            return Err(BadFiles::Both(name.to_owned()));
        }
        if self.contents.contains_key(name) {
            return Err(BadFiles::Twice(name.to_owned()));
        }
        self.bytes = bytes;
        self.contents.insert(name.to_owned(), contents);
        Ok(())
    }

    /// With the configuration among them.
    pub fn whole(self) -> Result<Files, BadFiles> {
        if self.contents.contains_key(MAIN) { Ok(self) } else { Err(BadFiles::NoMain) }
    }

    pub fn one(&self, name: &str) -> Option<&[u8]> {
        self.contents.get(name).map(Vec::as_slice)
    }

    /// The configuration's text.
    pub fn main_text(&self) -> String {
        String::from_utf8_lossy(self.one(MAIN).unwrap_or_default()).into_owned()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.contents.iter().map(|(name, contents)| (name.as_str(), contents.as_slice()))
    }

    pub fn count(&self) -> usize {
        self.contents.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every folder that is needed, those above first.
    pub fn folders(&self) -> Vec<&str> {
        let mut folders: Vec<&str> = self.contents.keys().flat_map(|name| folders_of(name)).collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }

    pub fn to_wire(&self) -> Vec<File> {
        let file = |(name, data): (&str, &[u8])| File { name: name.to_owned(), data: BASE64.encode(data) };
        self.iter().map(file).collect()
    }

    pub fn from_wire(wire: &[File]) -> Result<Files, BadFiles> {
        let mut files = Files::default();
        for file in wire {
            let contents = BASE64.decode(&file.data).map_err(|_| BadFiles::Contents(file.name.clone()))?;
            files.add(&file.name, contents)?;
        }
        files.whole()
    }

    /// What a folder holds, but for names that begin with a dot. A symbolic link is followed.
    pub fn read_folder(folder: &Path) -> io::Result<Files> {
        let mut files = Files::default();
        gather(folder, "", &mut files)?;
        Ok(files)
    }

    /// Into a folder that is there, for fairlead to run from or to check.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        for name in self.folders() {
            fs::create_dir_all(folder.join(name))?;
        }
        self.iter().try_for_each(|(name, contents)| fs::write(folder.join(name), contents))
    }
}

fn gather(folder: &Path, prefix: &str, files: &mut Files) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let (path, name) = (entry.path(), format!("{prefix}{name}"));
        let about = fs::metadata(&path)?;
        if about.is_dir() {
            // A name that is too deep is refused, and ends a loop of links.
            check_name(&name).map_err(invalid)?;
            gather(&path, &format!("{name}/"), files)?;
        } else if about.len() > MOST_BYTES as u64 {
            return Err(invalid(BadFiles::TooMuch));
        } else {
            files.add(&name, fs::read(&path)?).map_err(invalid)?;
        }
    }
    Ok(())
}

fn invalid(why: BadFiles) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn folders_of(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

fn check_name(name: &str) -> Result<(), BadFiles> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
    let part_is_good = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    let good = name.len() <= LONGEST_NAME && name.split('/').count() <= DEEPEST && name.split('/').all(part_is_good);
    if good { Ok(()) } else { Err(BadFiles::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leaves_its_folder() {
        for name in ["", "/", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".version", "a/.b", "a\0b", "a b", "ü"] {
            assert_eq!(Files::default().add(name, Vec::new()), Err(BadFiles::Name(name.to_owned())), "{name:?}");
        }
        let deep = "a/".repeat(DEEPEST) + "b";
        assert_eq!(Files::default().add(&deep, Vec::new()), Err(BadFiles::Name(deep.clone())));
        assert_eq!(Files::default().add("conf.d/a_b-1.conf", Vec::new()), Ok(()));
    }

    #[test]
    fn a_file_is_no_folder_and_there_once() {
        let mut files = Files::of_main("x").unwrap();
        assert_eq!(files.add(MAIN, Vec::new()), Err(BadFiles::Twice(MAIN.to_owned())));
        files.add("a/b/c", Vec::new()).unwrap();
        for name in ["a", "a/b", "a/b/c/d"] {
            assert_eq!(files.add(name, Vec::new()), Err(BadFiles::Both(name.to_owned())), "{name}");
        }
        files.add("a-1", Vec::new()).unwrap();
        assert_eq!(files.folders(), ["a", "a/b"]);
    }

    #[test]
    fn there_is_a_bound_on_everything() {
        let mut files = Files::of_main(vec![b'x'; MOST_BYTES]).unwrap();
        assert_eq!(files.add("one.more", vec![b'x']), Err(BadFiles::TooMuch));
        for number in 1..MOST_FILES {
            files.add(&format!("{number}"), Vec::new()).unwrap();
        }
        assert_eq!(files.add("one.more", Vec::new()), Err(BadFiles::TooMany));
    }

    #[test]
    fn what_travels_arrives() {
        let mut files = Files::of_main("worker_processes 1;\n").unwrap();
        files.add("tls/key.pem", (0..=255).collect()).unwrap();
        assert_eq!(Files::from_wire(&files.to_wire()), Ok(files));
        assert_eq!(Files::from_wire(&[]), Err(BadFiles::NoMain));
        let bad = File { name: "x".to_owned(), data: "%".to_owned() };
        assert_eq!(Files::from_wire(&[bad]), Err(BadFiles::Contents("x".to_owned())));
    }
}
