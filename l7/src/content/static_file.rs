//! Files below `root` or `alias`, and what a folder in their place comes to.

use super::autoindex;
use super::conditional::{Validators, Verdict, judge};
use super::index::index;
use super::path::{content_type, file_name, usable};
use super::range::{self, Part};
use super::redirect::add_slash;
use crate::content::error_page;
use crate::disk::{self, About, Failure, Found, Source};
use crate::exchange::Exchange;
use crate::filter::Coding;
use crate::filter::Parts;
use crate::h1::Method;
use crate::reply::{Body, Reply, Tag};
use fairlead_core::log::Level;
use rustix::io::Errno;
use std::borrow::Cow;

/// How serving a path ended.
pub(crate) enum Served {
    Reply(Reply),
    /// An index file took the request: `uri` is new, and its location is to be found.
    Moved,
}

/// Answers GET and HEAD with a file, a folder's index or listing, or a redirect to add a slash.
pub(crate) async fn serve(exchange: &mut Exchange) -> Served {
    match serve_now(exchange) {
        Ok(served) => served,
        Err(folder) => Box::pin(autoindex::folder(exchange, folder)).await,
    }
}

/// The same; a folder that is to be read is given back.
fn serve_now(exchange: &mut Exchange) -> Result<Served, Vec<u8>> {
    if !matches!(exchange.request.method, Method::Get | Method::Head | Method::Post) {
        return Ok(error(exchange, 405));
    }
    if !usable(exchange) {
        return Ok(error(exchange, 500));
    }
    let Some(name) = file_name(exchange) else {
        let folder = if exchange.location.root.alias { "alias" } else { "root" };
        exchange.log(Level::Error, format_args!("the path leads out of \"{folder}\""));
        return Ok(error(exchange, 404));
    };
    if exchange.uri.last() == Some(&b'/') {
        if exchange.location.files.listing.is_on() {
            return Err(name);
        }
        return Ok(index(exchange, &name, true).unwrap_or_else(|| error(exchange, 403)));
    }
    let stored = stored(exchange, &name);
    let varies = stored.as_ref().is_some_and(|stored| stored.varies);
    if let Some(Stored { file: Some((file, about, coding)), .. }) = stored {
        return Ok(Served::Reply(Reply { varies, ..file_reply(exchange, file, about, Some(coding)) }));
    }
    Ok(match disk::open(exchange, &name) {
        Ok(Found::File(file, about)) if exchange.request.method != Method::Post => {
            Served::Reply(Reply { varies, ..file_reply(exchange, file, about, None) })
        }
        Ok(Found::File(..)) => error(exchange, 405),
        Ok(Found::Folder) => Served::Reply(add_slash(exchange)),
        Ok(Found::Other) => {
            exchange.log(Level::Crit, format_args!("\"{}\" is not a regular file", String::from_utf8_lossy(&name)));
            error(exchange, 404)
        }
        Err(failure) => error(exchange, open_failed(exchange, &name, failure)),
    })
}

pub(super) fn error(exchange: &Exchange, status: u16) -> Served {
    Served::Reply(error_page(status, exchange.location.server_tokens))
}

/// A packed file beside the one that was asked for, with `.gz` or the like behind its name.
struct Stored {
    /// `None` when this client takes the other one.
    file: Option<(Source, About, Coding)>,
    varies: bool,
}

/// What `gzip_static` and its like find.
fn stored(exchange: &Exchange, name: &[u8]) -> Option<Stored> {
    let filters = exchange.location.filters.as_ref().filter(|_| exchange.request.method != Method::Post)?;
    let mut varies = false;
    for candidate in filters.stored(exchange) {
        let coding = candidate.coding;
        let Ok(Found::File(file, about)) = disk::open(exchange, &[name, coding.ending()].concat()) else { continue };
        varies |= !candidate.always;
        if candidate.wanted {
            return Some(Stored { file: Some((file, about, coding)), varies });
        }
    }
    Some(Stored { file: None, varies })
}

/// Logs why a file did not open, in nginx's words, and says what to answer.
fn open_failed(exchange: &Exchange, name: &[u8], failure: Failure) -> u16 {
    let (level, status) = match failure.errno {
        _ if failure.is_absence() => (Level::Error, 404),
        Errno::ACCESS | Errno::MLINK | Errno::LOOP => (Level::Error, 403),
        // A socket cannot be opened.
        Errno::NXIO => (Level::Crit, 404),
        _ => (Level::Crit, 500),
    };
    if status != 404 || exchange.location.files.log_not_found {
        let name = String::from_utf8_lossy(name);
        exchange.log(level, format_args!("{} \"{name}\" failed {failure}", failure.call));
    }
    status
}

fn file_reply(exchange: &Exchange, file: Source, about: About, packed: Option<Coding>) -> Reply {
    let location = &exchange.location;
    let tag = location.files.etag.then(|| Tag::of(about.modified, about.length));
    let validators = Validators { modified: Some(about.modified), etag: tag.as_ref().map(Tag::text) };
    // Conditions and ranges are about the answer 200.
    // What becomes part of another response is all of the file.
    let usual = !exchange.is_subrequest() && exchange.answer_status.is_none_or(|status| status == 200);
    let verdict = match usual {
        true => judge(&exchange.request, validators, location.files.if_modified_since),
        false => Verdict::Send,
    };
    if verdict == Verdict::Failed {
        return error_page(412, location.server_tokens);
    }
    let mut reply =
        Reply { status: 200, last_modified: Some(about.modified), etag: tag, judged: true, ..Reply::default() };
    let content_type = content_type(exchange);
    let ranges = usual
        && packed.is_none()
        && !location
            .filters
            .as_ref()
            .is_some_and(|filters| filters.changes_file(exchange, &content_type, about.length));
    let part = match verdict {
        Verdict::NotModified => {
            reply.status = 304;
            return reply;
        }
        _ if !ranges => Part::Whole,
        _ => range::part(&exchange.request, validators, about.length, location.files.max_ranges),
    };
    if part == Part::None {
        let mut reply = error_page(416, location.server_tokens);
        reply.headers.push((Cow::Borrowed("Content-Range"), format!("bytes */{}", about.length).into_bytes()));
        return reply;
    }
    reply.content_type = Some(content_type);
    if let Some(coding) = packed {
        reply.headers.push((Cow::Borrowed("Content-Encoding"), coding.name().into()));
    }
    reply.body = match part {
        Part::Ranges(ranges) => {
            reply.status = 206;
            // Of several it only tells the filters how long the file is.
            let (start, end) = ranges.first().copied().unwrap_or_default();
            let range = format!("bytes {start}-{}/{}", end.saturating_sub(1), about.length);
            reply.headers.push((Cow::Borrowed("Content-Range"), range.into_bytes()));
            match ranges.len() {
                1 => Body::File { file, start, length: end.saturating_sub(start) },
                _ => Body::Parts(Box::new(Parts::new(file, ranges, about.length))),
            }
        }
        Part::Whole | Part::None => {
            reply.takes_ranges = ranges && location.files.max_ranges != Some(0);
            Body::File { file, start: 0, length: about.length }
        }
    };
    reply
}
