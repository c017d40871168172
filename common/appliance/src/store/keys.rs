//! What else the partition holds: the key of the management, the keys of those who may use it, the
//! console's password and the identity of the first configuration.

use super::{Disk, Result, Store};
use crate::management::Fingerprint;

pub(super) const SERVER_KEY: &str = "keys/server.key";
pub(super) const AUTHORIZED: &str = "keys/authorized_keys";
pub(super) const PASSWORD: &str = "password";
const INSTANCE: &str = "instance-id";
/// Keys that may be authorised, and letters of the name of one.
const MOST_KEYS: usize = 200;
const LONGEST_NAME: usize = 64;

/// Somebody who may manage the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey {
    pub key: Fingerprint,
    /// What logs and versions call its owner.
    pub name: String,
}

impl From<&crate::AuthorizedKey> for AuthorizedKey {
    fn from(key: &crate::AuthorizedKey) -> AuthorizedKey {
        AuthorizedKey { key: Fingerprint(key.digest), name: clean_name(&key.comment) }
    }
}

/// One key a line, its name after it; what begins with `#` is a comment, and a line that makes no
/// sense authorises nobody.
pub fn parse_authorized_keys(text: &str) -> Vec<AuthorizedKey> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let keys = lines.filter_map(|line| {
        let (key, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Some(AuthorizedKey { key: key.parse().ok()?, name: clean_name(name) })
    });
    keys.take(MOST_KEYS).collect()
}

pub fn authorized_keys_text(keys: &[AuthorizedKey]) -> String {
    keys.iter().map(|key| format!("{} {}", key.key, clean_name(&key.name)).trim_end().to_owned() + "\n").collect()
}

/// One line of printable text: it goes into logs and onto the console.
fn clean_name(name: &str) -> String {
    name.trim().chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect()
}

impl<D: Disk> Store<D> {
    /// The private key of the management, PEM.
    pub fn server_key(&self) -> Result<Option<Vec<u8>>> {
        self.small(SERVER_KEY)
    }

    pub fn set_server_key(&self, pem: &[u8]) -> Result<()> {
        self.replace(SERVER_KEY, pem)
    }

    pub fn authorized_keys(&self) -> Result<Vec<AuthorizedKey>> {
        let text = self.small(AUTHORIZED)?.unwrap_or_default();
        Ok(parse_authorized_keys(&String::from_utf8_lossy(&text)))
    }

    pub fn set_authorized_keys(&self, keys: &[AuthorizedKey]) -> Result<()> {
        self.replace(AUTHORIZED, authorized_keys_text(keys).as_bytes())
    }

    /// One more; a key that is there already gets the new name.
    pub fn authorize(&self, key: AuthorizedKey) -> Result<()> {
        let mut keys = self.authorized_keys()?;
        keys.retain(|other| other.key != key.key);
        keys.push(key);
        // The oldest goes rather than the one that was just enrolled.
        let surplus = keys.len().saturating_sub(MOST_KEYS);
        self.set_authorized_keys(keys.get(surplus..).unwrap_or_default())
    }

    /// The console's password, as `crypt` hashes it.
    pub fn password(&self) -> Result<Option<String>> {
        Ok(self.line(PASSWORD)?.filter(|hash| !hash.is_empty()))
    }

    /// An empty one asks for none.
    pub fn set_password(&self, hash: &str) -> Result<()> {
        self.replace(PASSWORD, format!("{}\n", hash.trim()).as_bytes())
    }

    /// Which first configuration has been taken on, so that it is not taken on again.
    pub fn instance_id(&self) -> Result<Option<String>> {
        self.line(INSTANCE)
    }

    pub fn set_instance_id(&self, id: &str) -> Result<()> {
        self.replace(INSTANCE, format!("{}\n", id.trim()).as_bytes())
    }

    fn line(&self, name: &str) -> Result<Option<String>> {
        let text = self.small(name)?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
    }
}
