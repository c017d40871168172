//! Where a machine that was never told anything looks: a seed volume, QEMU's `fw_cfg`, the kernel's
//! command line. What it finds is taken once, and kept.

use crate::block_devices;
use crate::cmdline::Fetch;
use crate::fetch;
use crate::say;
use crate::seed::{self, Seed, nocloud::hex};
use fairlead_appliance::store::Files;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::Path;

const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/fairlead/config/raw";
const COMMAND_LINE: &str = "command line";
/// Shown until there is something else.
const DEFAULT_FILE: &str = "/etc/fairlead/default.conf";
const DEFAULT: &str = include_str!("../default.conf");

/// What was found, and where.
pub struct Found {
    /// `seed`, `fw_cfg` or `command line`: what versions call who made them.
    pub by: &'static str,
    /// A machine takes each of these once.
    pub instance: String,
    pub seed: Seed,
}

/// Volumes first, then `fw_cfg`.
pub fn look() -> Option<Found> {
    volume().or_else(fw_cfg)
}

fn volume() -> Option<Found> {
    for name in block_devices::all() {
        let Ok(file) = File::open(block_devices::device(&name)) else { continue };
        match seed::read(file) {
            Ok(Some(seed)) => {
                say::step(format!("seed: found on {name}, instance {}", seed.instance));
                seed.notes.iter().for_each(|note| say::step(format!("seed: {note}")));
                return Some(Found { by: "seed", instance: format!("seed:{}", seed.instance), seed });
            }
            Ok(None) => {}
            Err(error) => {
                say::trouble(format!("the seed on {name} cannot be used: {error}"), "correct it and start again")
            }
        }
    }
    None
}

fn fw_cfg() -> Option<Found> {
    let bytes = fs::read(FW_CFG).ok().filter(|bytes| !bytes.is_empty())?;
    say::step(format!("fw_cfg: {} bytes of configuration", bytes.len()));
    Some(plain("fw_cfg", bytes))
}

/// Whether this file was taken before.
pub fn is_taken(wanted: &Fetch, taken: Option<&str>) -> bool {
    taken.is_some_and(|taken| taken == format!("{COMMAND_LINE}:sha256:{}", hex(&wanted.sha256)))
}

/// The file the command line names.
pub fn fetched(wanted: &Fetch) -> Option<Found> {
    match fetch::get(&wanted.url) {
        Ok(bytes) => {
            let digest = Sha256::digest(&bytes);
            if digest.as_slice() != wanted.sha256 {
                say::trouble(
                    format!("{} has the digest {}", wanted.url, hex(&digest)),
                    "it is not used; correct fairlead.sha256= or the file",
                );
                return None;
            }
            say::step(format!("{}: {} bytes of configuration", wanted.url, bytes.len()));
            Some(plain(COMMAND_LINE, bytes))
        }
        Err(error) => {
            say::trouble(
                format!("{} cannot be fetched: {error}", wanted.url),
                "check fairlead.config= and the network",
            );
            None
        }
    }
}

fn plain(by: &'static str, bytes: Vec<u8>) -> Found {
    let instance = format!("{by}:sha256:{}", hex(&Sha256::digest(&bytes)));
    let files = seed::Files::from([(seed::MAIN_FILE.to_owned(), bytes)]);
    Found { by, instance: instance.clone(), seed: Seed { instance, files, appliance: None, notes: Vec::new() } }
}

/// The files of a version: the seed's own, or else what is served now, with the seed's network settings.
///
/// # Errors
/// Which file cannot be kept, and why.
pub fn files_of(seed: Seed, now: &Files) -> Result<Files, String> {
    let mut files = Files::default();
    let from_seed = seed.files.contains_key(seed::MAIN_FILE);
    let old =
        now.iter().filter(|(name, _)| !seed.files.contains_key(*name)).map(|(name, bytes)| (name, bytes.to_vec()));
    let old: Vec<(&str, Vec<u8>)> = if from_seed { Vec::new() } else { old.collect() };
    let new = seed.files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone()));
    for (name, mut bytes) in old.into_iter().chain(new) {
        if name == seed::MAIN_FILE
            && let Some(block) = &seed.appliance
            && !has_block(&bytes)
        {
            bytes.extend_from_slice(b"\n# What this machine was told by its seed.\n");
            bytes.extend_from_slice(block.as_bytes());
        }
        files.add(name, bytes).map_err(|error| error.to_string())?;
    }
    files.whole().map_err(|error| error.to_string())
}

/// Whether a configuration has an `appliance` block of its own.
fn has_block(main: &[u8]) -> bool {
    let text = String::from_utf8_lossy(main);
    text.lines().any(|line| {
        let rest = line.trim_start().strip_prefix("appliance");
        rest.is_some_and(|rest| rest.trim_start().starts_with('{') || rest.trim().is_empty())
    })
}

/// What is served by a machine that was told nothing.
pub fn default_files() -> Files {
    let text = fs::read(Path::new(DEFAULT_FILE)).unwrap_or_else(|_| DEFAULT.as_bytes().to_vec());
    Files::of_main(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(files: &[(&str, &str)], appliance: Option<&str>) -> Seed {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        Seed { instance: "i".into(), files, appliance: appliance.map(str::to_owned), notes: Vec::new() }
    }

    #[test]
    fn network_settings_join_a_configuration_that_has_none() {
        let found = seed(&[("fairlead.conf", "events {}\n"), ("a.pem", "x")], Some("appliance {\n}\n"));
        let files = files_of(found, &default_files()).unwrap();
        assert!(files.main_text().starts_with("events {}\n") && files.main_text().ends_with("appliance {\n}\n"));
        assert_eq!(files.count(), 2);
        let found = seed(&[("fairlead.conf", "appliance {\n}\n")], Some("appliance { dns 1.1.1.1; }"));
        assert_eq!(files_of(found, &default_files()).unwrap().main_text(), "appliance {\n}\n");
    }

    #[test]
    fn network_settings_alone_join_what_is_served() {
        let files =
            files_of(seed(&[], Some("appliance { hostname a; }\n")), &Files::of_main("http {}").unwrap()).unwrap();
        assert!(
            files.main_text().starts_with("http {}\n#") && files.main_text().ends_with("appliance { hostname a; }\n")
        );
    }

    #[test]
    fn names_that_cannot_be_kept_are_refused() {
        assert!(files_of(seed(&[("fairlead.conf", ""), ("../x", "")], None), &default_files()).is_err());
    }
}
