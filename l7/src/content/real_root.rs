//! `$realpath_root`: where `root` or `alias` leads with all symbolic links resolved.
//!
//! Variables cannot wait for a disk, so that the answer is had beforehand, on the runtime's blocking
//! threads, wherever rules or content may ask for it. Exchanges call it; a configuration that never
//! names the variable pays one test of a flag.

#![allow(clippy::disallowed_methods, reason = "what touches the disk here runs on the runtime's blocking threads")]

use super::folder;
use crate::exchange::Exchange;
use fairlead_core::log::{Level, OsError};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A folder and where it really is.
pub(crate) struct RealRoot {
    folder: Vec<u8>,
    real: Option<Vec<u8>>,
}

impl RealRoot {
    /// The answer, if it is for the folder that the exchange has now.
    pub fn of(&self, exchange: &Exchange) -> Option<&[u8]> {
        self.real.as_deref().filter(|_| self.folder == folder(exchange))
    }
}

/// Makes the variable's value ready for the location that the exchange is in.
pub(crate) async fn find(exchange: &mut Exchange) {
    if !exchange.worker.plan.wanted.real_root {
        return;
    }
    let folder = folder(exchange);
    if exchange.real_root.as_ref().is_some_and(|known| known.folder == folder) {
        return;
    }
    let path = PathBuf::from(OsString::from_vec(folder.clone()));
    let asked = tokio::task::spawn_blocking(move || (std::fs::canonicalize(&path), path));
    let Ok((answer, path)) = asked.await else { return };
    if let Err(failure) = &answer {
        let (path, why) = (path.display(), OsError(failure));
        exchange.log(Level::Crit, format_args!("realpath() \"{path}\" failed {why}"));
    }
    let real = answer.ok().map(|path| path.into_os_string().into_vec());
    exchange.real_root = Some(RealRoot { folder, real });
}
