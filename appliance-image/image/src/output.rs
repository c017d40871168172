//! What a build leaves behind: named for kind and version, with one file of sums.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fairlead_disk::slot::Version;

use crate::package::sha256_of;
use crate::{Fault, Kind};

const SUMS: &str = "SHA256SUMS";

/// The folder that files are written to.
pub struct Output {
    pub folder: PathBuf,
    pub kind: Kind,
    pub version: Version,
}

impl Output {
    /// `fairlead-universal-0.1.0-412.ENDING`.
    pub fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", stem(self.kind, self.version)))
    }

    pub fn write(&self, ending: &str, content: &[u8]) -> Result<(), Fault> {
        let path = self.path(ending);
        Ok(fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?)
    }
}

fn stem(kind: Kind, version: Version) -> String {
    format!("fairlead-{}-{version}", kind.name())
}

/// Writes a program that can be started.
pub fn program(folder: &Path, name: &str, content: &[u8]) -> Result<(), Fault> {
    let path = folder.join(name);
    fs::write(&path, content)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// Writes the sums of all images in the folder, as `sha256sum -c` reads them. Gives back each file's size and sum.
pub fn sums(folder: &Path) -> Result<Vec<(String, u64, String)>, Fault> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && name.starts_with("fairlead") {
            found.push((name, entry.metadata()?.len(), sha256_of(&entry.path())?));
        }
    }
    found.sort();
    let text: String = found.iter().map(|(name, _, sum)| format!("{sum}  {name}\n")).collect();
    fs::write(folder.join(SUMS), text)?;
    Ok(found)
}

/// The newest image of a kind in a folder, in the form of that ending.
pub fn newest(folder: &Path, kind: Kind, ending: &str) -> Option<PathBuf> {
    let version = |name: &str| -> Option<Version> {
        let rest = name.strip_prefix("fairlead-")?.strip_prefix(kind.name())?.strip_prefix('-')?;
        rest.strip_suffix(ending)?.strip_suffix('.')?.parse().ok()
    };
    let names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let newest = names.filter_map(|name| Some((version(&name)?, name))).max()?;
    Some(folder.join(newest.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_newest_image() {
        let folder = std::env::temp_dir().join(format!("fairlead-image-output-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for version in ["0.1.0-9", "0.1.0-10", "0.0.9-400"] {
            let output = Output { folder: folder.clone(), kind: Kind::Tiny, version: version.parse().unwrap() };
            output.write("qcow2", b"").unwrap();
        }
        let newest = newest(&folder, Kind::Tiny, "qcow2").unwrap();
        assert!(newest.ends_with("fairlead-tiny-0.1.0-10.qcow2"), "{}", newest.display());
        assert_eq!(super::newest(&folder, Kind::Universal, "qcow2"), None);
        assert_eq!(sums(&folder).unwrap().len(), 3);
        fs::remove_dir_all(folder).unwrap();
    }
}
