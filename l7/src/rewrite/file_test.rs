//! `if (-f path)` and its like: asks the disk on the runtime's blocking threads, so that no worker waits.

#![allow(clippy::disallowed_methods, reason = "what touches the disk here runs on the runtime's blocking threads")]

use crate::exchange::Exchange;
use fairlead_core::log::{Level, OsError};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// What a path has to be. As nginx: a pipe, a socket or a device is none of the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Either,
    /// Its owner may execute it.
    Executable,
}

/// Whether the path is of this kind; what cannot be told is not.
pub(super) async fn is(exchange: &Exchange, kind: Kind, path: &[u8]) -> bool {
    let path = PathBuf::from(OsString::from_vec(path.to_vec()));
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = std::fs::metadata(&path);
        (path, metadata)
    });
    let Ok((path, metadata)) = asked.await else { return false };
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(failure) => {
            if !is_absence(&failure) {
                let (path, why) = (path.display(), OsError(&failure));
                exchange.log(Level::Crit, format_args!("stat() \"{path}\" failed {why}"));
            }
            return false;
        }
    };
    match kind {
        Kind::File => metadata.is_file(),
        Kind::Folder => metadata.is_dir(),
        Kind::Either => metadata.is_file() || metadata.is_dir(),
        Kind::Executable => metadata.permissions().mode() & 0o100 != 0,
    }
}

/// A zero byte in a path (which no file has) is told without a system call.
fn is_absence(failure: &io::Error) -> bool {
    match failure.raw_os_error() {
        Some(code) => matches!(code, libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG),
        None => failure.kind() == io::ErrorKind::InvalidInput,
    }
}
