//! Packages of Debian, pinned by version and sha256 in `packages.tsv`, from the cache or from a mirror. What has another
//! sum is never used, so it does not matter who delivers it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::progress::{Progress, megabytes};
use crate::{Fault, tool};

const TABLE: &str = include_str!("../packages.tsv");
const MIRRORS: &[&str] = &["https://deb.debian.org", "http://deb.debian.org"];

#[derive(Debug, PartialEq, Eq)]
pub struct Package<'t> {
    pub name: &'t str,
    pub version: &'t str,
    pub source: &'t str,
    pub sha256: &'t str,
    pub bytes: u64,
    path: &'t str,
}

/// The row of this name.
pub fn named(name: &str) -> Result<Package<'static>, Fault> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
    let package = rows.filter_map(row).find(|package| package.name == name);
    package.ok_or_else(|| format!("packages.tsv has no row for {name}").into())
}

fn row(line: &str) -> Option<Package<'_>> {
    let mut fields = line.split('\t');
    let mut next = || fields.next().filter(|field| !field.is_empty());
    let (name, version, source, sha256) = (next()?, next()?, next()?, next()?);
    Some(Package { name, version, source, sha256, bytes: next()?.parse().ok()?, path: next()? })
}

impl Package<'_> {
    /// Where the package lies once it is fetched and checked.
    pub fn fetch(&self, cache: &Path, progress: &Progress) -> Result<PathBuf, Fault> {
        let place = cache.join(format!("{}.deb", self.sha256));
        if place.exists() && sha256_of(&place)? == self.sha256 {
            progress.say(format_args!("{} {} is in the cache", self.name, self.version));
            return Ok(place);
        }
        fs::create_dir_all(cache)?;
        let partial = cache.join(format!("{}.partial", self.sha256));
        progress.say(format_args!("{} {}: fetching {}", self.name, self.version, megabytes(self.bytes)));
        let mut said = Vec::new();
        for mirror in MIRRORS {
            match self.fetch_from(mirror, &partial) {
                Ok(()) => {
                    fs::rename(&partial, &place)?;
                    return Ok(place);
                }
                Err(fault) => said.push(format!("{mirror}: {fault}")),
            }
        }
        let hint = "a package that a newer one has replaced is kept at https://snapshot.debian.org: put it there";
        Err(format!("{} {}: {}\n{hint}: {}", self.name, self.version, said.join("\n"), place.display()).into())
    }

    fn fetch_from(&self, mirror: &str, partial: &Path) -> Result<(), Fault> {
        let limits = ["--connect-timeout", "20", "--speed-limit", "1000", "--speed-time", "30", "--retry", "2"];
        let url = format!("{mirror}/{}", self.path);
        tool::output(tool::command("curl").args(["-fsSL"]).args(limits).arg("-o").arg(partial).arg(url))?;
        let sum = sha256_of(partial)?;
        if sum != self.sha256 {
            fs::remove_file(partial)?;
            return Err(format!("sha256 is {sum}, and should be {}", self.sha256).into());
        }
        Ok(())
    }
}

pub fn sha256_of(path: &Path) -> Result<String, Fault> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn every_row_is_whole() {
        let rows: Vec<_> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(rows.len() >= 4);
        for line in rows {
            let package = row(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(package.sha256.len(), 64, "{line}");
            assert!(package.sha256.bytes().all(|digit| digit.is_ascii_hexdigit()), "{line}");
            assert!(package.bytes > 100_000 && package.path.ends_with("_amd64.deb"), "{line}");
        }
        for kind in [Kind::Universal, Kind::Tiny] {
            assert!(named(kind.kernel_package()).is_ok());
        }
    }

    #[test]
    fn what_is_in_the_cache_is_used_only_with_its_sum() {
        let cache = std::env::temp_dir().join(format!("fairlead-image-cache-{}", std::process::id()));
        fs::create_dir_all(&cache).unwrap();
        let sum = hex(&Sha256::digest(b"a package"));
        let package = Package { name: "p", version: "1", source: "p", sha256: &sum, bytes: 9, path: "nowhere/p.deb" };
        let place = cache.join(format!("{sum}.deb"));
        fs::write(&place, b"a package").unwrap();
        assert_eq!(package.fetch(&cache, &Progress::begin()).unwrap(), place);
        fs::remove_dir_all(cache).unwrap();
    }
}
