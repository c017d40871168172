//! `~/.config/fairlead`: the user's key, and the appliances whose keys are known.

use super::Failure;
use super::arguments::PORT;
use fairlead_appliance::management::{Fingerprint, Key};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const KEY: &str = "client.key";
const APPLIANCES: &str = "appliances";

pub struct Folder(PathBuf);

/// Where an appliance is, and whether its key is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// As it was typed.
    pub name: String,
    /// `HOST:PORT`.
    pub address: String,
    pub key: Option<Fingerprint>,
}

impl Folder {
    pub fn of_user() -> Result<Folder, Failure> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let base = base.ok_or_else(|| Failure::Here("neither HOME nor XDG_CONFIG_HOME is set".to_owned()))?;
        Ok(Folder(base.join("fairlead")))
    }

    pub fn key_path(&self) -> PathBuf {
        self.0.join(KEY)
    }

    pub fn key(&self) -> Result<Key, Failure> {
        let path = self.key_path();
        let pem = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Here("there is no key yet: fairleadctl keygen makes one".to_owned()),
            _ => at(&path)(error),
        })?;
        Key::from_pem(&pem).map_err(|error| Failure::Here(format!("{}: {error}", path.display())))
    }

    /// The key, and whether it is a new one.
    pub fn key_or_new(&self) -> Result<(Key, bool), Failure> {
        let path = self.key_path();
        if path.exists() {
            return Ok((self.key()?, false));
        }
        let pem = Key::generate().map_err(|error| Failure::Here(error.to_string()))?;
        self.make()?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(pem.as_bytes())).map_err(at(&path))?;
        Ok((self.key()?, true))
    }

    /// A name of the user's own, or a host.
    pub fn appliance(&self, name: &str) -> Result<Appliance, Failure> {
        let text = self.appliances()?;
        let known = text.lines().filter_map(line).find(|known| known.name == name);
        Ok(known.unwrap_or_else(|| Appliance { name: name.to_owned(), address: with_port(name), key: None }))
    }

    /// From now on the appliance is known by its key.
    pub fn remember(&self, appliance: &Appliance, key: Fingerprint) -> Result<(), Failure> {
        let text = self.appliances()?;
        let others = text.lines().filter(|text| line(text).is_none_or(|known| known.name != appliance.name));
        let mut text: String = others.map(|line| format!("{line}\n")).collect();
        text.push_str(&format!("{} {} {key}\n", appliance.name, appliance.address));
        self.make()?;
        let (path, new) = (self.0.join(APPLIANCES), self.0.join(format!(".{APPLIANCES}.{}", std::process::id())));
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(at(&path))
    }

    fn appliances(&self) -> Result<String, Failure> {
        let path = self.0.join(APPLIANCES);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            text => text.map_err(at(&path)),
        }
    }

    fn make(&self) -> Result<(), Failure> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(at(&self.0))
    }
}

/// What went wrong with a file of this machine.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::Here(format!("{path}: {error}"))
}

fn line(text: &str) -> Option<Appliance> {
    let mut words = text.split_whitespace();
    let (name, address, key) = (words.next()?, words.next()?, words.next()?);
    // A key that cannot be read must not become one that need not be checked.
    let key = key.parse().unwrap_or(Fingerprint([0; 32]));
    (!name.starts_with('#')).then(|| Appliance { name: name.to_owned(), address: with_port(address), key: Some(key) })
}

fn with_port(host: &str) -> String {
    let is_bare_ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    match host.rsplit_once(':') {
        _ if is_bare_ipv6 => format!("[{host}]:{PORT}"),
        Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => format!("{host}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_none_is() {
        let hosts = ["lb1", "lb1:9", "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:9"].map(with_port);
        let wanted =
            ["lb1:8443", "lb1:9", "192.0.2.1:8443", "[2001:db8::1]:8443", "[2001:db8::1]:8443", "[2001:db8::1]:9"];
        assert_eq!(hosts, wanted);
    }

    #[test]
    fn an_appliance_whose_key_cannot_be_read_is_not_trusted() {
        assert_eq!(line("lb1 192.0.2.1 nonsense").unwrap().key, Some(Fingerprint([0; 32])));
        assert_eq!(line("# lb1 192.0.2.1 00"), None);
        assert_eq!(line("lb1 192.0.2.1"), None);
    }
}
