//! Makes the folders of temporary files before anybody needs them, and gives them to the user that
//! the worker process becomes. As nginx, for folders that the configuration names; one that it does not
//! name is made where the worker process could not make it itself, and missed only when it is needed.

use crate::generation::Generation;
use crate::privileges;
use nix::unistd::{Uid, User, chown};
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Whether folders are made that the configuration does not name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    Made,
    Left,
}

/// # Errors
/// What could not be made, in nginx's words, a line each.
pub fn make(generation: &Generation, unnamed: Unnamed) -> Result<(), Vec<String>> {
    let owner = Uid::effective().is_root().then(|| owner(generation)).flatten();
    let folders = generation.http.iter().flat_map(|plan| plan.temp_folders());
    let wanted = folders.filter(|folder| folder.written || (unnamed == Unnamed::Made && owner.is_some()));
    let failed: Vec<String> = wanted
        .filter_map(|folder| one(&folder.path, owner.as_ref()).err().filter(|_| folder.written))
        .map(|error| error.to_string())
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

/// Whom the worker process becomes; starting it says what is wrong with that.
fn owner(generation: &Generation) -> Option<User> {
    match &generation.main.user {
        Some((name, group)) => privileges::account(name, group.as_deref()).ok().map(|(user, _)| user),
        None => User::from_name("nobody").ok().flatten(),
    }
}

fn one(path: &Path, owner: Option<&User>) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed("mkdir()", path, &error)),
        _ => {}
    }
    let Some(owner) = owner else { return Ok(()) };
    let about = fs::metadata(path).map_err(|error| failed("stat()", path, &error))?;
    if about.uid() != owner.uid.as_raw() {
        chown(path, Some(owner.uid), None).map_err(|error| failed("chown()", path, &error.into()))?;
    }
    let mode = about.permissions().mode();
    if mode & 0o700 != 0o700 {
        let full = fs::Permissions::from_mode(mode | 0o700);
        fs::set_permissions(path, full).map_err(|error| failed("chmod()", path, &error))?;
    }
    Ok(())
}

fn failed(call: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{call} \"{}\" failed {}", path.display(), fairlead_core::log::OsError(error)))
}
