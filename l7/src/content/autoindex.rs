//! `autoindex` and `random_index`: folders that answer with what is in them.
//!
//! Folders are read on the runtime's blocking threads: they may be long. `listing` words what was
//! found; `static_file` asks when a path ends in a slash.

#![allow(clippy::disallowed_methods, reason = "what touches the disk here runs on the runtime's blocking threads")]

use super::index::{index, move_to};
use super::listing::{self, Entry};
use super::static_file::{Served, error};
use crate::directives::{ALL, LOCATION};
use crate::disk::Kind;
use crate::exchange::Exchange;
use crate::h1::Method;
use crate::reply::{Body, Reply};
use fairlead_conf::{Args, Directive, Repeat, Value};
use fairlead_core::clock::{local_offset, unix_millis};
use fairlead_core::dice::Dice;
use fairlead_core::log::{Level, OsError};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    on: bool,
    format: Format,
    exact_size: bool,
    localtime: bool,
    random: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Html,
    Json,
    Jsonp,
    Xml,
}

type Row = Directive<Settings>;

pub(crate) const AUTOINDEX: &[Row] = &[
    Row {
        name: "autoindex",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Lists a folder that has no index file. Names that begin with a dot are left out.",
        set: |listing, given| given.flag(0).map(|on| listing.on = on),
    },
    Row {
        name: "autoindex_exact_size",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Lists sizes in bytes, else in kilo-, mega- and gigabytes; for HTML.",
        set: |listing, given| given.flag(0).map(|on| listing.exact_size = on),
    },
    Row {
        name: "autoindex_format",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["html", "xml", "json", "jsonp"])], "html | xml | json | jsonp"),
        repeat: Repeat::Once,
        default: Some("html"),
        doc: "What a listing is written in. With `jsonp` the argument `callback` of the request names the function.",
        set: |listing, given| {
            listing.format = match given.text(0) {
                "xml" => Format::Xml,
                "json" => Format::Json,
                "jsonp" => Format::Jsonp,
                _ => Format::Html,
            };
            Ok(())
        },
    },
    Row {
        name: "autoindex_localtime",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Lists times in the local zone, else in UTC; for HTML.",
        set: |listing, given| given.flag(0).map(|on| listing.localtime = on),
    },
];

pub(crate) const RANDOM_INDEX: &[Row] = &[Row {
    name: "random_index",
    contexts: LOCATION,
    args: Args::exactly(&[Value::Flag], "on | off"),
    repeat: Repeat::Once,
    default: None,
    doc: "Answers for a folder with any file of it, each time another; names that begin with a dot are left out. Off \
          unless said.",
    set: |listing, given| given.flag(0).map(|on| listing.random = on),
}];

impl Settings {
    /// Folders are read.
    pub fn is_on(&self) -> bool {
        self.on || self.random
    }
}

/// Answers for a folder: any file of it, its index file, or what is in it.
pub(super) async fn folder(exchange: &mut Exchange, folder: Vec<u8>) -> Served {
    let settings = exchange.location.files.listing;
    if settings.random {
        let names = match read(exchange, &folder, |path| files_of(&path)).await {
            Ok(names) => names,
            Err(status) => return error(exchange, status),
        };
        let seed = unix_millis() ^ exchange.connection.number << 32 ^ exchange.requests << 16;
        let chosen = usize::try_from(Dice::new(seed).roll(names.len() as u64)).unwrap_or(0);
        if let Some(name) = names.get(chosen) {
            return move_to(exchange, name);
        }
    }
    let lists = settings.on && matches!(exchange.request.method, Method::Get | Method::Head);
    if let Some(served) = index(exchange, &folder, !lists) {
        return served;
    }
    Served::Reply(listed(exchange, &folder).await)
}

async fn listed(exchange: &Exchange, folder: &[u8]) -> Reply {
    let settings = exchange.location.files.listing;
    let callback = match settings.format {
        Format::Jsonp => match callback(exchange) {
            Ok(callback) => callback,
            Err(told) => {
                exchange.log(Level::Info, format_args!("{told}"));
                return error_reply(exchange, 400);
            }
        },
        _ => Vec::new(),
    };
    let (mut entries, troubles) = match read(exchange, folder, |path| entries_of(&path)).await {
        Ok(found) => found,
        Err(status) => return error_reply(exchange, status),
    };
    for (path, failure) in troubles {
        exchange.log(Level::Crit, format_args!("stat() \"{}\" failed {}", path.display(), OsError(&failure)));
    }
    listing::sort(&mut entries);
    let (content_type, body): (&[u8], _) = match settings.format {
        Format::Html => {
            let filters = exchange.location.filters.as_ref();
            let utf8 = filters.is_some_and(|filters| filters.says_utf8(exchange, b"text/html"));
            let offset = if settings.localtime { local_offset() } else { 0 };
            let style = listing::Style { utf8, offset, exact_size: settings.exact_size };
            (b"text/html", listing::html(&exchange.uri, &entries, &style))
        }
        Format::Jsonp if !callback.is_empty() => (b"application/javascript", listing::json(&entries, &callback)),
        Format::Json | Format::Jsonp => (b"application/json", listing::json(&entries, b"")),
        Format::Xml => (b"text/xml; charset=utf-8", listing::xml(&entries)),
    };
    let body = Body::Bytes(Cow::Owned(body));
    Reply { status: 200, content_type: Some(Cow::Borrowed(content_type)), body, open_ended: true, ..Reply::default() }
}

fn error_reply(exchange: &Exchange, status: u16) -> Reply {
    super::error_page(status, exchange.location.server_tokens)
}

/// The function that `callback` names; none is none.
fn callback(exchange: &Exchange) -> Result<Vec<u8>, String> {
    let args = exchange.query().unwrap_or_default().split(|&byte| byte == b'&');
    let given = args.into_iter().find_map(|arg| {
        let (name, value) = arg.split_at_checked("callback=".len())?;
        name.eq_ignore_ascii_case(b"callback=").then_some(value)
    });
    let given = given.unwrap_or_default();
    if given.len() > 128 {
        return Err(format!("client sent too long callback name: \"{}\"", given.escape_ascii()));
    }
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    if !given.iter().all(fits) {
        return Err(format!("client sent invalid callback name: \"{}\"", given.escape_ascii()));
    }
    Ok(given.to_vec())
}

/// Reads a folder elsewhere. A status when that failed, which is logged.
async fn read<T: Send + 'static>(
    exchange: &Exchange,
    folder: &[u8],
    look: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
) -> Result<T, u16> {
    let short = folder.strip_suffix(b"/").filter(|short| !short.is_empty()).unwrap_or(folder);
    let path = PathBuf::from(OsString::from_vec(short.to_vec()));
    let shown = path.display().to_string();
    let Ok(read) = tokio::task::spawn_blocking(move || look(path)).await else { return Err(500) };
    read.map_err(|failure| {
        let (level, status) = match failure.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG) => (Level::Error, 404),
            Some(libc::EACCES) => (Level::Error, 403),
            _ => (Level::Crit, 500),
        };
        exchange.log(level, format_args!("opendir() \"{shown}\" failed {}", OsError(&failure)));
        status
    })
}

/// The names of the files in a folder that are no links.
fn files_of(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_bytes().starts_with(b".") && entry.file_type()?.is_file() {
            names.push(name.into_vec());
        }
    }
    Ok(names)
}

/// What is left out of a listing, and why.
type Troubles = Vec<(PathBuf, io::Error)>;

fn entries_of(folder: &Path) -> io::Result<(Vec<Entry>, Troubles)> {
    let (mut entries, mut troubles) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let metadata = match fs::metadata(&path) {
            // A link to nowhere is listed as it is.
            Err(failure) if failure.kind() == ErrorKind::NotFound || failure.raw_os_error() == Some(libc::ELOOP) => {
                fs::symlink_metadata(&path)?
            }
            Err(failure) => {
                troubles.push((path, failure));
                continue;
            }
            Ok(metadata) => metadata,
        };
        let kind = match (metadata.is_dir(), metadata.is_file()) {
            (true, _) => Kind::Folder,
            (false, true) => Kind::File,
            (false, false) => Kind::Other,
        };
        entries.push(Entry { name: name.into_vec(), kind, modified: metadata.mtime(), size: metadata.len() });
    }
    Ok((entries, troubles))
}
