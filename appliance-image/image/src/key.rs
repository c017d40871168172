//! Keys that sign updates. A private key is made once, kept where builds are released, and never part of an image.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fairlead_disk::signature::{PrivateKey, PublicKey};

use crate::Fault;

/// Writes a new private key to `path`, and the public one beside it as `PATH.pub`.
pub fn generate(path: &Path) -> Result<(), Fault> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let key = PrivateKey::from_seed(&seed);
    let private = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut private = private.map_err(|error| format!("{}: {error}; a key is never overwritten", path.display()))?;
    private.write_all(key.to_pem()?.as_bytes())?;
    private.sync_all()?;
    let public = public_path(path);
    fs::write(&public, key.public().to_hex() + "\n")?;
    println!("{}: signs updates; keep it secret and keep a copy", path.display());
    println!("{}: appliances take updates that it proves; it goes into images by --update-key", public.display());
    Ok(())
}

pub fn private(path: &Path) -> Result<PrivateKey, Fault> {
    let pem = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    PrivateKey::from_pem(&pem).map_err(|fault| format!("{}: {fault}", path.display()).into())
}

/// Every key of a file that has one a line.
pub fn public(path: &Path) -> Result<Vec<PublicKey>, Fault> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    PublicKey::list(&text).map_err(|fault| format!("{}: {fault}", path.display()).into())
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_secret_and_never_overwritten() {
        let path = std::env::temp_dir().join(format!("fairlead-image-key-{}", std::process::id()));
        generate(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(public(&public_path(&path)).unwrap(), [private(&path).unwrap().public()]);
        assert!(generate(&path).unwrap_err().to_string().contains("never overwritten"));
        fs::remove_file(public_path(&path)).unwrap();
        fs::remove_file(path).unwrap();
    }
}
