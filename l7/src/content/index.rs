//! `index`: which file answers for a folder. The request goes on as if its path had named it.

use super::static_file::{Served, error};
use crate::disk::{self, Failure};
use crate::exchange::Exchange;
use fairlead_core::log::Level;

/// The first index file that is there takes the request over. `None` when there is none, which is an
/// error for whoever is the `last` to answer for the folder.
pub(super) fn index(exchange: &mut Exchange, folder: &[u8], last: bool) -> Option<Served> {
    let location = exchange.location.clone();
    let mut folder_known = false;
    let mut path = Vec::new();
    for template in &location.files.index {
        let mut name = Vec::new();
        exchange.render(template, &mut name);
        if name.first() == Some(&b'/') {
            exchange.uri.clear();
            return Some(move_to(exchange, &name));
        }
        path.clear();
        path.extend_from_slice(folder);
        path.extend_from_slice(&name);
        let Err(failure) = disk::look(exchange, &path) else {
            return Some(move_to(exchange, &name));
        };
        if let Some(status) = given_up(exchange, &path, failure) {
            return Some(error(exchange, status));
        }
        if !folder_known {
            if let Some(status) = no_folder(exchange, folder, &path) {
                return Some(error(exchange, status));
            }
            folder_known = true;
        }
        if failure.errno != rustix::io::Errno::NOENT {
            let path = String::from_utf8_lossy(&path);
            exchange.log(Level::Crit, format_args!("{} \"{path}\" failed {failure}", failure.call));
            return Some(error(exchange, 500));
        }
    }
    if !last {
        return None;
    }
    let folder = String::from_utf8_lossy(folder);
    exchange.log(Level::Error, format_args!("directory index of \"{folder}\" is forbidden"));
    Some(error(exchange, 403))
}

/// The status when no other file will be looked for either.
fn given_up(exchange: &Exchange, path: &[u8], failure: Failure) -> Option<u16> {
    use rustix::io::Errno;
    let path = String::from_utf8_lossy(path);
    match failure.errno {
        Errno::ACCESS | Errno::LOOP | Errno::MLINK => {
            exchange.log(Level::Error, format_args!("\"{path}\" is forbidden {failure}"));
            Some(403)
        }
        Errno::NOTDIR | Errno::NAMETOOLONG => Some(not_found(exchange, &path, failure)),
        _ => None,
    }
}

/// The status when there is no such folder.
fn no_folder(exchange: &Exchange, folder: &[u8], path: &[u8]) -> Option<u16> {
    let short = folder.strip_suffix(b"/").filter(|short| !short.is_empty()).unwrap_or(folder);
    let about = match disk::look(exchange, short) {
        Ok(about) => about,
        Err(failure) if failure.errno == rustix::io::Errno::NOENT => {
            // As nginx: the line names the file that was looked for.
            return Some(not_found(exchange, &String::from_utf8_lossy(path), failure));
        }
        Err(failure) if failure.errno == rustix::io::Errno::ACCESS => return None,
        Err(failure) => {
            let folder = String::from_utf8_lossy(short);
            exchange.log(Level::Crit, format_args!("{} \"{folder}\" failed {failure}", failure.call));
            return Some(500);
        }
    };
    if about.kind == disk::Kind::Folder {
        return None;
    }
    let folder = String::from_utf8_lossy(short);
    exchange.log(Level::Alert, format_args!("\"{folder}\" is not a directory"));
    Some(500)
}

fn not_found(exchange: &Exchange, path: &str, failure: Failure) -> u16 {
    if exchange.location.files.log_not_found {
        exchange.log(Level::Error, format_args!("\"{path}\" is not found {failure}"));
    }
    404
}

/// Goes on as if the path had named the index file.
pub(super) fn move_to(exchange: &mut Exchange, name: &[u8]) -> Served {
    exchange.uri.extend_from_slice(name);
    if !exchange.may_move() {
        let uri = String::from_utf8_lossy(&exchange.uri);
        let what = "rewrite or internal redirection cycle while internally redirecting to";
        exchange.log(Level::Error, format_args!("{what} \"{uri}\""));
        return Served::Reply(exchange.refuse(500));
    }
    exchange.moved = true;
    exchange.internal = true;
    exchange.whole_uri = false;
    Served::Moved
}
