//! Installed images: their versions, and the file names in which systemd-boot counts tries
//! (UAPI.1, "boot counting": `NAME+LEFT-DONE.efi`). A name without a count is one that has proved itself.

use std::fmt;
use std::str::FromStr;

use crate::Fault;

/// `0.1.0-412`: the release, and the number of the build. Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
    pub build: u64,
}

impl FromStr for Version {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Version, Fault> {
        let parse = || {
            let (release, build) = text.split_once('-')?;
            let mut numbers = release.split('.').map(number::<u32>);
            let [major, minor, patch] = [numbers.next()??, numbers.next()??, numbers.next()??];
            let version = Version { major, minor, patch, build: number(build)? };
            numbers.next().is_none().then_some(version)
        };
        parse().ok_or_else(|| Fault::Format(format!("not a version like 0.1.0-412: {text:?}")))
    }
}

/// Digits alone, no sign, no leading zero: one text for one number.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}-{}", self.major, self.minor, self.patch, self.build)
    }
}

/// Boots that are left to an image on trial, and boots it has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    pub left: u32,
    pub done: u32,
}

/// The file name of an image below `EFI/Linux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName {
    pub version: Version,
    /// `None`: it has proved itself.
    pub tries: Option<Tries>,
}

impl FileName {
    /// An image that has proved itself, or needs no trial.
    pub fn settled(version: Version) -> FileName {
        FileName { version, tries: None }
    }

    /// An image that may boot once, and then must have proved itself.
    pub fn on_trial(version: Version) -> FileName {
        FileName { version, tries: Some(Tries { left: 1, done: 0 }) }
    }

    /// systemd-boot prefers every other image to one without tries left.
    pub fn is_spent(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }
}

impl FromStr for FileName {
    type Err = Fault;

    fn from_str(name: &str) -> Result<FileName, Fault> {
        let parse = || {
            let stem = name.strip_prefix("fairlead-")?.strip_suffix(".efi")?;
            let Some((version, count)) = stem.split_once('+') else {
                return Some(FileName::settled(stem.parse().ok()?));
            };
            let (left, done) = count.split_once('-').unwrap_or((count, "0"));
            let tries = Tries { left: number(left)?, done: number(done)? };
            Some(FileName { version: version.parse().ok()?, tries: Some(tries) })
        };
        parse().ok_or_else(|| Fault::Format(format!("not the file name of an image: {name:?}")))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fairlead-{}", self.version)?;
        match self.tries {
            None => Ok(()),
            Some(Tries { left, done: 0 }) => write!(f, "+{left}"),
            Some(Tries { left, done }) => write!(f, "+{left}-{done}"),
        }?;
        f.write_str(".efi")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_age() {
        let mut versions =
            ["0.2.0-1", "0.1.10-3", "0.1.9-400", "0.1.9-41"].map(|text| text.parse::<Version>().unwrap());
        versions.sort();
        assert_eq!(versions.map(|version| version.to_string()), ["0.1.9-41", "0.1.9-400", "0.1.10-3", "0.2.0-1"]);
    }

    #[test]
    fn one_version_has_one_text() {
        for text in ["", "1", "0.1.0", "0.1-7", "0.1.0-", "0.1.0-7-8", "0.1.0.0-7", "0.01.0-7", "0.1.0-+7", "0.1.0-7 "]
        {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn file_names_count_tries_as_systemd_boot_does() {
        let names = ["fairlead-0.1.0-7.efi", "fairlead-0.1.0-7+1.efi", "fairlead-0.1.0-7+0-1.efi"];
        let [settled, trial, spent] = names.map(|name| name.parse::<FileName>().unwrap());
        assert_eq!([settled, trial, spent].map(|name| name.to_string()), names);
        assert_eq!(trial, FileName::on_trial(settled.version));
        assert_eq!([settled, trial, spent].map(|name| name.is_spent()), [false, false, true]);
        for name in ["linux.efi", "fairlead-0.1.0-7.efi.new", "fairlead-0.1.0-7+.efi", "fairlead-0.1.0-7+1-.efi"] {
            assert!(name.parse::<FileName>().is_err(), "{name}");
        }
    }
}
