//! Files below `root` or `alias`. Opened on the runtime's blocking threads: no worker waits for a disk.

#![allow(clippy::disallowed_methods, reason = "what touches the disk here runs on the runtime's blocking threads")]

use super::conditional::{Validators, Verdict, judge};
use super::path::{content_type, file_name};
use super::range::{self, Part};
use super::redirect::add_slash;
use crate::content::error_page;
use crate::exchange::Exchange;
use crate::h1::Method;
use crate::reply::{Body, Reply};
use fairlead_core::log::{Level, OsError};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How serving a path ended.
pub(crate) enum Served {
    Reply(Reply),
    /// An index file took the request: `uri` is new, and its location is to be found.
    Moved,
}

/// Answers GET and HEAD with a file, a folder's index or a redirect to add a slash.
pub(crate) async fn serve(exchange: &mut Exchange) -> Served {
    if !matches!(exchange.request.method, Method::Get | Method::Head | Method::Post) {
        return error(exchange, 405);
    }
    if exchange.location.root.alias && exchange.whole_uri {
        let name = &exchange.location.name;
        let message = format_args!("\"alias\" cannot be used in location \"{name}\" where URI was rewritten");
        exchange.log(Level::Alert, message);
        return error(exchange, 500);
    }
    let Some(name) = file_name(exchange) else {
        let folder = if exchange.location.root.alias { "alias" } else { "root" };
        exchange.log(Level::Error, format_args!("the path leads out of \"{folder}\""));
        return error(exchange, 404);
    };
    if exchange.uri.last() == Some(&b'/') {
        return index(exchange, name).await;
    }
    let path = PathBuf::from(OsString::from_vec(name));
    let get = exchange.request.method != Method::Post;
    let stored = exchange.location.filters.as_ref().filter(|_| get).and_then(|filters| filters.wants_stored(exchange));
    let opened = tokio::task::spawn_blocking(move || {
        let compressed = stored.and_then(|_| open_compressed(&path));
        let varies = compressed.is_some();
        let compressed = compressed.filter(|_| stored == Some(true));
        let opened = compressed.map_or_else(|| open(&path), Ok);
        (path, opened, varies)
    });
    let Ok((path, opened, varies)) = opened.await else { return error(exchange, 500) };
    match opened {
        Ok(Opened::File(file, about)) if get => {
            let varies = varies && exchange.location.filters.as_ref().is_some_and(|filters| !filters.always_stored());
            Served::Reply(Reply { varies, ..file_reply(exchange, file, about) })
        }
        Ok(Opened::File(..)) => error(exchange, 405),
        Ok(Opened::Folder) => Served::Reply(add_slash(exchange)),
        Ok(Opened::Other) => {
            exchange.log(Level::Crit, format_args!("\"{}\" is not a regular file", path.display()));
            error(exchange, 404)
        }
        Err(failure) => error(exchange, open_failed(exchange, &path, &failure)),
    }
}

fn error(exchange: &Exchange, status: u16) -> Served {
    Served::Reply(error_page(status, exchange.location.server_tokens))
}

enum Opened {
    File(File, About),
    Folder,
    /// A pipe, a socket or a device: never read.
    Other,
}

#[derive(Clone, Copy, Debug)]
struct About {
    length: u64,
    modified: u64,
    /// What `gzip_static` found.
    compressed: bool,
}

/// The file beside this one with `.gz` behind its name, if it is one.
fn open_compressed(path: &Path) -> Option<Opened> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    match open(Path::new(&name)) {
        Ok(Opened::File(file, about)) => Some(Opened::File(file, About { compressed: true, ..about })),
        _ => None,
    }
}

fn open(path: &Path) -> io::Result<Opened> {
    // Not blocking: opening a pipe would wait for its writer.
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(Opened::Folder);
    }
    if !metadata.is_file() {
        return Ok(Opened::Other);
    }
    let modified = u64::try_from(metadata.mtime()).unwrap_or(0);
    Ok(Opened::File(file, About { length: metadata.len(), modified, compressed: false }))
}

/// Logs why a file did not open, in nginx's words, and says what to answer.
fn open_failed(exchange: &Exchange, path: &Path, failure: &io::Error) -> u16 {
    let (level, status) = match failure.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG) => (Level::Error, 404),
        Some(libc::EACCES | libc::EMLINK | libc::ELOOP) => (Level::Error, 403),
        // A socket cannot be opened.
        Some(libc::ENXIO) => (Level::Crit, 404),
        _ => (Level::Crit, 500),
    };
    if status != 404 || exchange.location.log_not_found {
        exchange.log(level, format_args!("open() \"{}\" failed {}", path.display(), OsError(failure)));
    }
    status
}

fn file_reply(exchange: &Exchange, file: File, about: About) -> Reply {
    let location = &exchange.location;
    let tag = location.etag.then(|| format!("\"{:x}-{:x}\"", about.modified, about.length).into_bytes());
    let validators = Validators { modified: about.modified, etag: tag.as_deref() };
    // Conditions and ranges are about the answer 200.
    let usual = exchange.answer_status.is_none_or(|status| status == 200);
    let verdict = match usual {
        true => judge(&exchange.request, validators, location.if_modified_since),
        false => Verdict::Send,
    };
    if verdict == Verdict::Failed {
        return error_page(412, location.server_tokens);
    }
    let mut reply = Reply { status: 200, last_modified: Some(about.modified), ..Reply::default() };
    let content_type = content_type(exchange);
    let ranges = usual
        && !about.compressed
        && !location
            .filters
            .as_ref()
            .is_some_and(|filters| filters.changes_file(exchange, &content_type, about.length));
    let part = match verdict {
        Verdict::NotModified => {
            reply.status = 304;
            reply.headers.extend(tag.map(|tag| (Cow::Borrowed("ETag"), tag)));
            return reply;
        }
        _ if !ranges => Part::Whole,
        _ => range::part(&exchange.request, validators, about.length, location.max_ranges),
    };
    if part == Part::None {
        let mut reply = error_page(416, location.server_tokens);
        reply.headers.push((Cow::Borrowed("Content-Range"), format!("bytes */{}", about.length).into_bytes()));
        return reply;
    }
    reply.content_type = Some(content_type);
    reply.headers.extend(tag.map(|tag| (Cow::Borrowed("ETag"), tag)));
    if about.compressed {
        reply.headers.push((Cow::Borrowed("Content-Encoding"), b"gzip".to_vec()));
    }
    let (start, end) = match part {
        Part::Range(start, end) => {
            reply.status = 206;
            let range = format!("bytes {start}-{}/{}", end.saturating_sub(1), about.length);
            reply.headers.push((Cow::Borrowed("Content-Range"), range.into_bytes()));
            (start, end)
        }
        Part::Whole | Part::None => {
            if ranges && location.max_ranges != Some(0) {
                reply.headers.push((Cow::Borrowed("Accept-Ranges"), b"bytes".to_vec()));
            }
            (0, about.length)
        }
    };
    reply.body = Body::File { file, start, length: end.saturating_sub(start) };
    reply
}

/// The first index file that is there takes the request over.
async fn index(exchange: &mut Exchange, folder: Vec<u8>) -> Served {
    let location = exchange.location.clone();
    let mut names = Vec::new();
    for template in &location.index {
        let mut name = Vec::new();
        exchange.render(template, &mut name);
        let absolute = name.first() == Some(&b'/');
        names.push(name);
        if absolute {
            break;
        }
    }
    let candidates: Vec<Vec<u8>> = names.clone();
    let searched_folder = folder.clone();
    let found = tokio::task::spawn_blocking(move || find_index(&searched_folder, &candidates)).await;
    match found {
        Ok(Found::Index(number)) => match names.get(number) {
            Some(name) => move_to(exchange, name),
            None => error(exchange, 500),
        },
        Ok(Found::Nothing) => {
            let folder = String::from_utf8_lossy(&folder);
            exchange.log(Level::Error, format_args!("directory index of \"{folder}\" is forbidden"));
            // What is in the folder's place may be no folder for others.
            error(exchange, if exchange.request.method == Method::Post { 405 } else { 403 })
        }
        Ok(Found::Failed(path, failure)) => error(exchange, index_failed(exchange, &path, &failure)),
        Err(_) => error(exchange, 500),
    }
}

enum Found {
    Index(usize),
    Nothing,
    Failed(PathBuf, io::Error),
}

fn find_index(folder: &[u8], names: &[Vec<u8>]) -> Found {
    let path = |name: &[u8]| PathBuf::from(OsString::from_vec([folder, name].concat()));
    let mut folder_known = false;
    for (number, name) in names.iter().enumerate() {
        if name.first() == Some(&b'/') {
            return Found::Index(number);
        }
        let candidate = path(name);
        match std::fs::metadata(&candidate) {
            Ok(_) => return Found::Index(number),
            Err(failure) if failure.raw_os_error() != Some(libc::ENOENT) => return Found::Failed(candidate, failure),
            Err(_) => {}
        }
        if !folder_known {
            if let Err(failure) = std::fs::metadata(path(b""))
                && failure.raw_os_error() != Some(libc::EACCES)
            {
                // As nginx: the line names the file that was looked for.
                return Found::Failed(candidate, failure);
            }
            folder_known = true;
        }
    }
    Found::Nothing
}

fn index_failed(exchange: &Exchange, path: &Path, failure: &io::Error) -> u16 {
    let path = path.display();
    match failure.raw_os_error() {
        Some(libc::EACCES) => {
            exchange.log(Level::Error, format_args!("\"{path}\" is forbidden {}", OsError(failure)));
            403
        }
        Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG) => {
            if exchange.location.log_not_found {
                exchange.log(Level::Error, format_args!("\"{path}\" is not found {}", OsError(failure)));
            }
            404
        }
        _ => {
            exchange.log(Level::Crit, format_args!("stat() \"{path}\" failed {}", OsError(failure)));
            500
        }
    }
}

/// Goes on as if the path had named the index file.
fn move_to(exchange: &mut Exchange, name: &[u8]) -> Served {
    if name.first() == Some(&b'/') {
        exchange.uri.clear();
    }
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
