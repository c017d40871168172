//! What the files of a seed say: NoCloud's three, or those of a config drive.

use super::cloud_config;
use super::links;
use super::network_data;
use super::yaml::{self, Yaml};
use super::{Seed, Volume, damaged};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Seek};

const CONFIG_DRIVE: &str = "openstack/latest/";

/// `user-data`, `meta-data` and `network-config`, all optional.
///
/// # Errors
/// When the volume is damaged or a file cannot be understood.
pub fn read<R: Read + Seek>(volume: &mut Volume<R>) -> io::Result<Seed> {
    let user_data = volume.read("user-data")?.unwrap_or_default();
    let meta = tree(volume.read("meta-data")?, "meta-data")?;
    let network = tree(volume.read("network-config")?, "network-config")?;
    let id = meta.text_at("instance-id").map(str::to_owned);
    let hostname = meta.text_at("local-hostname");
    put_together(&user_data, id, |from_user| links::read(&network, hostname.or(from_user)), &format!("{network:?}"))
}

/// `openstack/latest/user_data`, `meta_data.json` and `network_data.json`, all optional.
///
/// # Errors
/// As [`read`].
pub fn read_config_drive<R: Read + Seek>(volume: &mut Volume<R>) -> io::Result<Seed> {
    let mut file = |name: &str| volume.read(&format!("{CONFIG_DRIVE}{name}"));
    let user_data = file("user_data")?.unwrap_or_default();
    let meta = tree(file("meta_data.json")?, "meta_data.json")?;
    let network = tree(file("network_data.json")?, "network_data.json")?;
    let id = meta.text_at("uuid").map(str::to_owned);
    let hostname = meta.text_at("hostname");
    let links = |from_user: Option<&str>| network_data::read(&network, hostname.or(from_user));
    put_together(&user_data, id, links, &format!("{network:?}"))
}

fn put_together(
    user_data: &[u8],
    id: Option<String>,
    read_links: impl Fn(Option<&str>) -> links::Links,
    network: &str,
) -> io::Result<Seed> {
    let mut notes = Vec::new();
    let (files, hostname) = cloud_config::read(user_data, &mut notes).map_err(|what| damaged(&what))?;
    let mut links = read_links(hostname.as_deref());
    notes.append(&mut links.notes);
    // Without an id the content stands for itself.
    let instance = id.filter(|id| id.len() <= 256).unwrap_or_else(|| {
        let digest = Sha256::new().chain_update(user_data).chain_update(network).finalize();
        format!("sha256:{}", hex(&digest))
    });
    Ok(Seed { instance, files, appliance: links.block(), notes })
}

/// Lower-case digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tree(file: Option<Vec<u8>>, name: &str) -> io::Result<Yaml> {
    let file = file.unwrap_or_default();
    let text = std::str::from_utf8(&file).map_err(|_| damaged(&format!("{name} is not text in UTF-8")))?;
    yaml::parse(text).map_err(|error| damaged(&format!("{name}: {error}")))
}
