//! What changes a response between its content and the client: fields that are added, bodies that are
//! unpacked, rewritten and compressed.
//!
//! The order is nginx's. For heads: slices, `expires` and `add_header`, `userid`, `gunzip`, `addition`,
//! `sub_filter`, `charset`, `gzip`, ranges, framing. For bodies: the part of a slice that was asked for,
//! `gunzip`, `sub_filter`, `charset`, and then the [`Tail`], which what subrequests put around a body
//! goes through too, after filters of its own: `gzip`, chunks.
//!
//! [`apply`] is called once the head has been written, by `respond` and by `proxy`: it edits the text in
//! `sent_head`, and gives a [`Chain`] when the body has to go through one. A location without filters has
//! none, and its bodies are never looked at. HTTP/0.9 has no heads, and no filters.

mod accept;
mod addition;
mod brotli;
mod chain;
mod charset;
mod coding;
mod compress;
mod gunzip;
mod gzip;
mod head;
mod headers;
mod mime;
mod multipart;
mod peer_range;
mod recode;
mod send;
mod slice;
mod sub;
mod userid;
mod zstd;

pub(crate) use chain::{Broken, Chain, Tail};
pub(crate) use charset::{Charsets, MAPS as CHARSET_MAPS, Maps as CharsetMaps};
pub(crate) use coding::Coding;
pub(crate) use compress::Packed;
use gzip::Stored;
pub(crate) use head::push_vary;
pub(crate) use multipart::Parts;
pub(crate) use peer_range::{arrange as arrange_range, forget as forget_ranges};
pub(crate) use send::{begin, complete, send};
pub(crate) use slice::{
    OutOfRange, Slices, arrange as arrange_slices, enter as enter_slices, push_range as push_slice_range,
};
pub(crate) use userid::{
    Context as UserIds, Sequence as UserIdSequence, push_got as push_uid_got, push_set as push_uid_set,
};

use crate::exchange::Exchange;
use crate::h1::{Method, Version, parse_decimal};
use chain::Step;
use compress::Pack;
use fairlead_conf::{Diagnostic, Directive};
use gzip::Answer;
use std::sync::Arc;

/// What a block says of responses, inherited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    headers: headers::Fields,
    trailers: headers::Fields,
    expires: headers::Expires,
    userid: userid::Settings,
    addition: addition::Settings,
    slice: u64,
    sub: sub::Settings,
    charset: charset::Settings,
    pub gzip: gzip::Settings,
    brotli: coding::Settings,
    zstd: coding::Settings,
}

/// The tables, each with its title in the reference.
pub(crate) const TABLES: &[(&[Directive<Settings>], &str)] = &[
    (headers::DIRECTIVES, "http headers"),
    (userid::DIRECTIVES, "http userid"),
    (addition::DIRECTIVES, "http addition"),
    (slice::DIRECTIVES, "http slice"),
    (sub::DIRECTIVES, "http sub"),
    (charset::DIRECTIVES, "http charset"),
    (gzip::DIRECTIVES, "http gzip"),
    (brotli::DIRECTIVES, "http brotli"),
    (zstd::DIRECTIVES, "http zstd"),
];

impl Settings {
    /// As a block inside this one begins.
    pub fn inside(self: &Arc<Settings>) -> Arc<Settings> {
        if self.headers.is_settled() && self.trailers.is_settled() {
            return self.clone();
        }
        let (headers, trailers) = (self.headers.inside(), self.trailers.inside());
        Arc::new(Settings { headers, trailers, ..Settings::clone(self) })
    }

    /// What a location serves by; `None` when it leaves every response alone. Where charsets are known
    /// a peer may ask for one.
    pub fn compile(self: &Arc<Settings>, charsets: &Charsets) -> Option<Arc<Settings>> {
        let settled = self.inside();
        let idle = settled.headers.is_empty()
            && settled.trailers.is_empty()
            && matches!(settled.expires, headers::Expires::Off)
            && settled.userid.mode == userid::Mode::Off
            && settled.addition.is_empty()
            && settled.slice == 0
            && settled.sub.is_empty()
            && settled.charset.is_off()
            && charsets.is_empty()
            && !settled.gzip.on
            && !settled.gzip.gunzip
            && settled.gzip.stored == Stored::Off
            && settled.brotli.is_off()
            && settled.zstd.is_off();
        (!idle).then_some(settled)
    }

    /// A file of this type and length is sent as other bytes than its own: no range of it can be.
    pub fn changes_file(&self, exchange: &Exchange, content_type: &[u8], length: u64) -> bool {
        let answer = Answer { status: 200, content_type, length: Some(length), head: b"\r\n" };
        let packed = self.coding(exchange, &answer).1.is_some();
        packed
            || self.addition.suits(exchange, 200, content_type)
            || self.sub.suits(content_type, Some(length))
            || self.charset.changes_length(exchange, content_type)
    }

    /// An answer of this type, made here, is told to be in UTF-8.
    pub fn says_utf8(&self, exchange: &Exchange, content_type: &[u8]) -> bool {
        self.charset.says(exchange, content_type).is_some_and(|name| name.eq_ignore_ascii_case(b"utf-8"))
    }

    /// What is wrong with the charsets of a location.
    pub fn check_charsets(&self, charsets: &Charsets) -> Option<Diagnostic> {
        charsets.check(&self.charset)
    }
}

/// Edits the head in `exchange.sent_head`; `local` says that no peer wrote it, `keep` whether the
/// client's connection outlives the response. A body with a chain goes through it.
pub(crate) fn apply(exchange: &mut Exchange, local: bool, keep: &mut bool) -> Option<Box<Chain>> {
    let settings = exchange.location.filters.clone()?;
    if exchange.request.version == Version::Http09 || exchange.status == 101 {
        return None;
    }
    // As nginx, which takes ranges from what the other filters leave: to these it is the whole file.
    let cut = local && matches!(exchange.status, 206 | 416);
    let range = if cut { whole_length(&exchange.sent_head) } else { None };
    let status = exchange.status;
    exchange.status = if range.is_some() { 200 } else { status };
    let main = !exchange.is_subrequest();
    if main {
        headers::apply(&settings, exchange, local);
        userid::apply(&settings.userid, exchange, local);
    }
    if status == 416 {
        exchange.status = status;
    }
    let range = range.filter(|_| status == 206);
    let mut chain = Chain::new(settings.clone());
    let mut varies = false;
    let mut changed = unpack(&settings, exchange, &mut chain, &mut varies);
    changed |= surround(&settings, exchange, &mut chain);
    changed |= substitute(&settings, exchange, local, &mut chain);
    changed |= recode(&settings, exchange, local, &mut chain);
    changed |= compress(&settings, exchange, (local, range), (&mut chain, &mut varies));
    exchange.status = status;
    if varies && settings.gzip.vary {
        push_vary(&mut exchange.sent_head);
    }
    if !main {
        // Its body becomes part of another, whose framing is its own.
        return changed.then(|| Box::new(chain));
    }
    let bodiless = exchange.request.method == Method::Head || matches!(exchange.status, 100..200 | 204 | 304);
    let trailers = settings.trailers.any_of(exchange.status);
    if bodiless || !(changed || trailers) {
        return None;
    }
    chain.length = head::value(&exchange.sent_head, b"Content-Length").and_then(parse_decimal);
    frame(exchange, changed, trailers, keep).map(|chunked| {
        chain.frame(chunked, trailers);
        Box::new(chain)
    })
}

/// `gunzip`; true when the body changes.
fn unpack(settings: &Settings, exchange: &mut Exchange, chain: &mut Chain, varies: &mut bool) -> bool {
    let head = &exchange.sent_head;
    let packed = head::value(head, b"Content-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip"));
    if !settings.gzip.gunzip || !packed {
        return false;
    }
    *varies = true;
    if settings.gzip.accepted(exchange, head) {
        return false;
    }
    head::remove(&mut exchange.sent_head, b"Content-Encoding");
    forget_bytes(exchange);
    chain.unpack();
    true
}

/// `add_before_body` and `add_after_body`; true when something is put around the body.
fn surround(settings: &Settings, exchange: &mut Exchange, chain: &mut Chain) -> bool {
    let content_type = head::value(&exchange.sent_head, b"Content-Type").unwrap_or_default();
    if !settings.addition.suits(exchange, exchange.status, content_type) {
        return false;
    }
    (chain.around.before, chain.around.after) = settings.addition.around();
    forget_bytes(exchange);
    true
}

/// `sub_filter`; true when the body may change.
fn substitute(settings: &Settings, exchange: &mut Exchange, local: bool, chain: &mut Chain) -> bool {
    let head = &exchange.sent_head;
    let length = head::value(head, b"Content-Length").and_then(parse_decimal);
    if !settings.sub.suits(head::value(head, b"Content-Type").unwrap_or_default(), length) {
        return false;
    }
    let Some(sub) = settings.sub.begin(exchange) else { return false };
    chain.add(Step::Sub(sub));
    let head = &mut exchange.sent_head;
    head::remove(head, b"Content-Length");
    if local {
        head::remove(head, b"Accept-Ranges");
    }
    if settings.sub.keeps_date {
        head::weaken_etag(head);
    } else {
        head::remove(head, b"Last-Modified");
        head::remove(head, b"ETag");
    }
    true
}

/// `charset`; true when the body changes.
fn recode(settings: &Settings, exchange: &mut Exchange, local: bool, chain: &mut Chain) -> bool {
    let Some(recode) = charset::apply(&settings.charset, exchange, local) else { return false };
    if recode.changes_length() {
        head::remove(&mut exchange.sent_head, b"Content-Length");
    }
    chain.add(Step::Charset(recode));
    true
}

/// How a body whose length was not known when the head was written ends: by chunks, or with the
/// connection.
pub(crate) fn frame_open(exchange: &mut Exchange, keep: &mut bool) -> bool {
    frame(exchange, true, false, keep).unwrap_or(false)
}

/// `gzip`, `brotli` and `zstd`; true when the body changes.
fn compress(
    settings: &Settings,
    exchange: &mut Exchange,
    (local, range): (bool, Option<u64>),
    (chain, varies): (&mut Chain, &mut bool),
) -> bool {
    let head = &exchange.sent_head;
    let length = range.or_else(|| head::value(head, b"Content-Length").and_then(parse_decimal));
    let content_type = head::value(head, b"Content-Type").unwrap_or_default();
    let answer = Answer { status: exchange.status, content_type, length, head };
    let (suits, coding) = settings.coding(exchange, &answer);
    *varies |= suits;
    let Some(coding) = coding.filter(|_| range.is_none()) else { return false };
    forget_bytes(exchange);
    head::push(&mut exchange.sent_head, local, b"Content-Encoding", coding.name().as_bytes());
    chain.pack(Pack::new(coding, settings, length));
    true
}

/// How long the file is that a `Content-Range` is of.
fn whole_length(head: &[u8]) -> Option<u64> {
    let range = head::value(head, b"Content-Range")?;
    parse_decimal(range.rsplit(|&byte| byte == b'/').next()?)
}

/// The head no longer speaks of the bytes that the body was made of.
fn forget_bytes(exchange: &mut Exchange) {
    let head = &mut exchange.sent_head;
    head::remove(head, b"Content-Length");
    head::remove(head, b"Accept-Ranges");
    head::weaken_etag(head);
}

/// How the client finds the end of the body: says whether by chunks, `None` when nothing has to be
/// done for trailers that cannot be sent.
fn frame(exchange: &mut Exchange, changed: bool, trailers: bool, keep: &mut bool) -> Option<bool> {
    let head = &mut exchange.sent_head;
    let chunks = exchange.request.version >= Version::Http11 && exchange.location.chunked_transfer_encoding;
    if head::value(head, b"Transfer-Encoding").is_some() {
        return Some(true);
    }
    let known = head::value(head, b"Content-Length").is_some();
    if chunks && (trailers || !known) {
        head::remove(head, b"Content-Length");
        head::put_before(head, b"Connection", b"Transfer-Encoding", b"chunked");
        return Some(true);
    }
    if !known && *keep {
        *keep = false;
        head::remove(head, b"Keep-Alive");
        head::set(head, false, b"Connection", b"close");
    }
    changed.then_some(false)
}
