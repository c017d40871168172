//! `slice`: a long response is asked of the peer in slices of one size, one request each.
//!
//! `$slice_range` is the slice of the moment: a configuration sends it to the peer as `Range`. `proxy`
//! shows each answer to [`enter`] and [`arrange`]; `send` asks for the slices behind the first.

use super::{Chain, Settings as Filters, head};
use crate::content::http_date;
use crate::directives::ALL;
use crate::exchange::Exchange;
use crate::h1::{Method, Request, parse_decimal};
use crate::respond::push_status_line;
use fairlead_conf::{Args, Directive, Repeat, Value};
use fairlead_core::log::Level;

pub(crate) const DIRECTIVES: &[Directive<Filters>] = &[Directive {
    name: "slice",
    contexts: ALL,
    args: Args::exactly(&[Value::Size], "size"),
    repeat: Repeat::Once,
    default: Some("0"),
    doc: "Asks the peer for a response in slices of this size, each by a request of its own with \
          `proxy_set_header Range $slice_range;`, as far as the client wants it. `0` asks for all at once.",
    set: |filters, given| given.size(0).map(|size| filters.slice = size.min(LAST)),
}];

/// The last byte that a file may have.
const LAST: u64 = i64::MAX as u64;

/// Where a sliced response is.
#[derive(Clone, Debug)]
pub(crate) struct Slices {
    /// The next byte to be asked for.
    start: u64,
    /// Where the response ends, once that is known.
    end: u64,
    size: u64,
    /// The part that the client gets.
    wanted: (u64, u64),
    etag: Option<Vec<u8>>,
    /// The slice that the last answer was.
    last: (u64, u64),
}

impl Slices {
    /// Another one is to be asked for.
    pub fn go_on(&self) -> bool {
        self.start < self.end
    }
}

/// `$slice_range`; false where nothing is sliced.
pub(crate) fn push_range(exchange: &Exchange, out: &mut Vec<u8>) -> bool {
    let mut slices = exchange.slices.borrow_mut();
    if slices.is_none() {
        let size = exchange.location.filters.as_ref().map_or(0, |filters| filters.slice);
        if exchange.is_subrequest() || exchange.status != 0 || size == 0 {
            return false;
        }
        let start = first_byte(&exchange.request) / size * size;
        let start = if start > LAST - size { 0 } else { start };
        let (wanted, last) = ((0, u64::MAX), (0, 0));
        *slices = Some(Box::new(Slices { start, end: 0, size, wanted, etag: None, last }));
    }
    let Some(Slices { start, size, .. }) = slices.as_deref() else { return false };
    out.extend_from_slice(format!("bytes={start}-{}", start.saturating_add(size - 1)).as_bytes());
    true
}

/// What follows `bytes=`.
fn ranges(request: &Request) -> Option<&[u8]> {
    let (unit, list) = request.header(b"range")?.split_at_checked(6)?;
    (unit.eq_ignore_ascii_case(b"bytes=") && !list.is_empty()).then_some(list)
}

/// Where the range of the client begins, if it asks for one from a place on.
fn first_byte(request: &Request) -> u64 {
    let list = ranges(request).filter(|list| request.header(b"if-range").is_none() && !list.contains(&b','));
    let Some(list) = list.map(<[u8]>::trim_ascii_start) else { return 0 };
    let digits = list.iter().take_while(|byte| byte.is_ascii_digit()).count();
    list.get(..digits).and_then(parse_decimal).filter(|first| *first <= LAST).unwrap_or(0)
}

/// The head of a slice is not what it should be, which was logged: the response cannot go on.
#[derive(Debug)]
pub(crate) struct NoSlice;

/// Takes the head of an answer, whose text is in `sent_head`, as that of a slice: it becomes the head
/// of the whole. Leaves alone what is not sliced.
///
/// # Errors
/// It is not the slice that was asked for.
pub(crate) fn enter(exchange: &mut Exchange) -> Result<(), NoSlice> {
    let Some(mut slices) = exchange.slices.take() else { return Ok(()) };
    let wrong = |exchange: &Exchange, why: std::fmt::Arguments<'_>| {
        exchange.log(Level::Error, why);
        Err(NoSlice)
    };
    if exchange.status != 206 {
        let status = exchange.status;
        let message = format_args!("unexpected status code {status} in slice response");
        return if exchange.is_subrequest() { wrong(exchange, message) } else { Ok(()) };
    }
    let etag = head::value(&exchange.sent_head, b"ETag").map(<[u8]>::to_vec);
    if slices.etag.is_some() && slices.etag != etag {
        return wrong(exchange, format_args!("etag mismatch in slice response"));
    }
    let range = head::value(&exchange.sent_head, b"Content-Range").and_then(content_range);
    let (start, end, whole) = match range {
        None => return wrong(exchange, format_args!("invalid range in slice response")),
        Some((_, _, None)) => return wrong(exchange, format_args!("no complete length in slice response")),
        Some((start, end, Some(whole))) => (start, end, whole),
    };
    let (asked, expected) = (slices.start, start.saturating_add(slices.size).min(whole));
    if start != asked || end != expected {
        let answered = format!("{start}-{end}, expected: {asked}-{expected}");
        return wrong(exchange, format_args!("unexpected range in slice response: {answered}"));
    }
    slices.etag = etag.or(slices.etag);
    slices.last = (start, end);
    slices.start = end;
    if !exchange.is_subrequest() {
        slices.end = whole;
        become_whole(exchange, whole);
    }
    exchange.slices.replace(Some(slices));
    Ok(())
}

/// 206 and its range become 200 and the whole length.
fn become_whole(exchange: &mut Exchange, whole: u64) {
    exchange.status = 200;
    let head = &mut exchange.sent_head;
    set_status(head, 200);
    head::set(head, false, b"Content-Length", whole.to_string().as_bytes());
    head::remove(head, b"Content-Range");
    head::remove(head, b"Accept-Ranges");
}

pub(super) fn set_status(head: &mut Vec<u8>, status: u16) {
    let end = memchr::memchr(b'\n', head).map_or(0, |at| at + 1);
    let mut line = Vec::new();
    push_status_line(status, &mut line);
    head.splice(..end, line);
}

/// `bytes 0-99/1000`: start, end and whole length, `None` for `*`.
fn content_range(value: &[u8]) -> Option<(u64, u64, Option<u64>)> {
    let rest = value.strip_prefix(b"bytes ")?;
    let dash = memchr::memchr(b'-', rest)?;
    let slash = memchr::memchr(b'/', rest)?;
    let number = |text: &[u8]| parse_decimal(text.trim_ascii()).filter(|number| *number < LAST);
    let start = number(rest.get(..dash)?)?;
    let end = number(rest.get(dash + 1..slash)?)? + 1;
    match rest.get(slash + 1..)?.trim_ascii() {
        b"*" => Some((start, end, None)),
        whole => Some((start, end, Some(number(whole)?))),
    }
}

/// The client asks for a part that there is not of a whole of this length.
#[derive(Debug)]
pub(crate) struct OutOfRange(pub u64);

/// Behind the other filters: which part of the whole the client gets, and of this slice.
///
/// # Errors
/// There is none.
pub(crate) fn arrange(exchange: &mut Exchange, chain: Option<Box<Chain>>) -> Result<Option<Box<Chain>>, OutOfRange> {
    let Some(mut slices) = exchange.slices.take() else { return Ok(chain) };
    let main = !exchange.is_subrequest();
    if main {
        let length = head::value(&exchange.sent_head, b"Content-Length").and_then(parse_decimal);
        match length {
            Some(whole) => want(exchange, &mut slices, whole)?,
            // The client gets the whole, whatever it asked for: from its beginning.
            None if slices.last.0 > 0 => (slices.start, slices.wanted) = (0, (0, 0)),
            None => {}
        }
        if exchange.request.method == Method::Head {
            return Ok(chain);
        }
    }
    let Some(settings) = exchange.location.filters.clone() else { return Ok(chain) };
    let (start, end) = slices.last;
    let (from, to) = (slices.wanted.0.clamp(start, end), slices.wanted.1.clamp(start, end));
    let mut chain = chain.unwrap_or_else(|| Box::new(Chain::new(settings)));
    chain.clip(from - start, to.saturating_sub(from));
    chain.around.slices = main;
    if slices.wanted.1 == 0 {
        slices.wanted = (0, u64::MAX);
    }
    exchange.slices.replace(Some(slices));
    Ok(Some(chain))
}

/// The client's range, as of a file.
fn want(exchange: &mut Exchange, slices: &mut Slices, whole: u64) -> Result<(), OutOfRange> {
    let head = &mut exchange.sent_head;
    match part(&exchange.request, head, whole) {
        Part::None => return Err(OutOfRange(whole)),
        Part::Whole => head::push(head, false, b"Accept-Ranges", b"bytes"),
        Part::Range(from, to) => {
            exchange.status = 206;
            set_status(head, 206);
            head::set(head, false, b"Content-Length", (to - from).to_string().as_bytes());
            let range = format!("bytes {from}-{}/{whole}", to - 1);
            head::push(head, false, b"Content-Range", range.as_bytes());
            (slices.wanted, slices.end) = ((from, to), to);
            if slices.start.saturating_add(slices.size) <= from {
                slices.start = from / slices.size * slices.size;
            }
        }
    }
    Ok(())
}

enum Part {
    Whole,
    /// From the first byte up to, not including, the second; never empty.
    Range(u64, u64),
    None,
}

/// As nginx of slices: more than one range is the whole.
fn part(request: &Request, head: &[u8], whole: u64) -> Part {
    let Some(list) = ranges(request).filter(|list| !list.contains(&b',') && is_current(request, head)) else {
        return Part::Whole;
    };
    let Some(dash) = memchr::memchr(b'-', list) else { return Part::None };
    let first = list.get(..dash).unwrap_or_default().trim_ascii();
    let last = list.get(dash + 1..).unwrap_or_default().trim_ascii();
    let bounds = match (first.is_empty(), parse_decimal(first), last.is_empty(), parse_decimal(last)) {
        (true, _, _, Some(suffix)) => Some((whole.saturating_sub(suffix), whole)),
        (_, Some(first), true, _) => Some((first, whole)),
        (_, Some(first), _, Some(last)) => Some((first, last.saturating_add(1).min(whole))),
        _ => None,
    };
    match bounds {
        Some((from, to)) if from < to => Part::Range(from, to),
        Some((0, _)) => Part::Whole,
        _ => Part::None,
    }
}

/// `If-Range`, if there is one: the tag or the time of the response.
fn is_current(request: &Request, head: &[u8]) -> bool {
    match request.header(b"if-range") {
        None => true,
        Some(tag) if tag.ends_with(b"\"") => head::value(head, b"ETag") == Some(tag),
        Some(date) => {
            let modified = head::value(head, b"Last-Modified").and_then(http_date);
            modified.is_some() && modified == http_date(date)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn ranges_of_answers_are_read_whole() {
        for (text, expected) in [
            ("bytes 0-99/1000", Some((0, 100, Some(1000)))),
            ("bytes  5 - 9 / 10 ", Some((5, 10, Some(10)))),
            ("bytes 5-9/*", Some((5, 10, None))),
            ("bytes */10", None),
            ("bytes 5-9", None),
            ("bytes 5-x/10", None),
            ("items 5-9/10", None),
            ("bytes 5-9/99999999999999999999", None),
        ] {
            assert_eq!(content_range(text.as_bytes()), expected, "{text}");
        }
    }
}
