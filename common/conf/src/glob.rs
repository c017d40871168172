//! glob(3) as `include` needs it: `*`, `?`, `[…]` and `\` in every part of a path.
//!
//! Only lists folders; reads no file. Called by the reader.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Whether nginx would expand the name instead of opening it.
pub(crate) fn is_mask(name: &Path) -> bool {
    has_magic(name.as_os_str().as_bytes())
}

/// Paths that match, sorted by their bytes. A folder that cannot be listed holds nothing.
pub(crate) fn expand(mask: &Path) -> Vec<PathBuf> {
    let bytes = mask.as_os_str().as_bytes();
    let mut found = vec![if bytes.first() == Some(&b'/') { PathBuf::from("/") } else { PathBuf::new() }];
    for part in bytes.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|folder| step(folder, part)).collect();
    }
    found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    found
}

fn step(folder: &Path, part: &[u8]) -> Vec<PathBuf> {
    if !has_magic(part) {
        let next = folder.join(OsStr::from_bytes(&literal(part)));
        return if next.symlink_metadata().is_ok() { vec![next] } else { Vec::new() };
    }
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(listed) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    names.filter(|name| fits(part, name.as_bytes())).map(|name| folder.join(name)).collect()
}

fn has_magic(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

fn literal(part: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(&byte) = bytes.next() {
        out.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    out
}

/// A leading dot is matched by a dot only.
fn fits(mask: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && mask.first() != Some(&b'.') {
        return false;
    }
    matches(mask, name)
}

/// Linear in time for one star, and never worse than mask × name: only the last star is tried again.
fn matches(mut mask: &[u8], mut name: &[u8]) -> bool {
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', rest)) = mask.split_first() {
            mask = rest;
            retry = Some((rest, name));
            continue;
        }
        match name.split_first() {
            None if mask.is_empty() => return true,
            None => return false,
            Some((&byte, rest)) => {
                if let Some(after) = one(mask, byte) {
                    (mask, name) = (after, rest);
                    continue;
                }
            }
        }
        let Some((after_star, from)) = retry else { return false };
        let Some((_, shorter)) = from.split_first() else { return false };
        retry = Some((after_star, shorter));
        (mask, name) = (after_star, shorter);
    }
}

/// What is left of the mask when its first element takes `byte`.
fn one(mask: &[u8], byte: u8) -> Option<&[u8]> {
    let (&first, rest) = mask.split_first()?;
    match first {
        b'?' => Some(rest),
        b'[' => match class(rest, byte) {
            Some((true, after)) => Some(after),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(rest),
        },
        b'\\' => match rest.split_first() {
            Some((&escaped, after)) => (escaped == byte).then_some(after),
            None => (byte == b'\\').then_some(rest),
        },
        _ => (first == byte).then_some(rest),
    }
}

/// `a-z]…` after a `[`: whether `byte` is in it and what follows; `None` when it never closes.
fn class(mask: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let negated = matches!(mask.first(), Some(b'!' | b'^'));
    let mut rest = if negated { mask.get(1..)? } else { mask };
    let (mut inside, mut first) = (false, true);
    loop {
        let (&low, after) = rest.split_first()?;
        if low == b']' && !first {
            return Some((inside != negated, after));
        }
        first = false;
        let (low, after) =
            if low == b'\\' { after.split_first().map(|(&low, after)| (low, after))? } else { (low, after) };
        rest = match after {
            [b'-', high, after @ ..] if *high != b']' => {
                inside |= (low..=*high).contains(&byte);
                after
            }
            _ => {
                inside |= low == byte;
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_fnmatch_does() {
        let cases: &[(&str, &str, bool)] = &[
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?", "é", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*[", "a[", true),
            ("[\\]]", "]", true),
        ];
        for (mask, name, expected) in cases {
            assert_eq!(fits(mask.as_bytes(), name.as_bytes()), *expected, "{mask} against {name}");
        }
    }

    #[test]
    fn many_stars_stay_quick() {
        let mask = "*a".repeat(200);
        assert!(!matches(mask.as_bytes(), "a".repeat(199).as_bytes()));
    }
}
