//! Whether a client needs the file at all (RFC 9110 section 13), judged as nginx does.

use crate::exchange::Exchange;
use crate::h1::Request;
use crate::plan::Modified;
use crate::reply::Reply;

/// What a file is compared by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validators<'a> {
    /// Seconds since 1970.
    pub modified: Option<u64>,
    /// With its quotes; `None` when `etag off`.
    pub etag: Option<&'a [u8]>,
}

/// What the request's conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    /// 304
    NotModified,
    /// 412
    Failed,
}

pub(super) fn judge(request: &Request, file: Validators<'_>, rule: Modified) -> Verdict {
    if !request.has_conditions() {
        return Verdict::Send;
    }
    if let Some(since) = request.header(b"if-unmodified-since")
        && date(since).zip(file.modified).is_none_or(|(since, modified)| since < modified)
    {
        return Verdict::Failed;
    }
    if let Some(list) = request.header(b"if-match")
        && !matches_list(list, file.etag, false)
    {
        return Verdict::Failed;
    }
    let since = request.header(b"if-modified-since");
    let none_match = request.header(b"if-none-match");
    if since.is_none() && none_match.is_none() {
        return Verdict::Send;
    }
    if since.is_some_and(|since| is_modified(date(since), file.modified, rule)) {
        return Verdict::Send;
    }
    match none_match {
        Some(list) if !matches_list(list, file.etag, true) => Verdict::Send,
        _ => Verdict::NotModified,
    }
}

fn is_modified(since: Option<u64>, modified: Option<u64>, rule: Modified) -> bool {
    let Some(modified) = modified else { return true };
    match rule {
        Modified::Off => true,
        Modified::Exact => since != Some(modified),
        Modified::Before => since.is_none_or(|since| since < modified),
    }
}

/// Whether a list of entity tags holds this one; `weak` takes `W/"x"` for `"x"`.
fn matches_list(list: &[u8], etag: Option<&[u8]>, weak: bool) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    list.split(|&byte| byte == b',').any(|tag| {
        let tag = tag.trim_ascii();
        tag == etag || (weak && tag.strip_prefix(b"W/") == Some(etag))
    })
}

/// The same for an answer that is no file: it has no entity tag, and most have no date.
pub(crate) fn meet_conditions(exchange: &mut Exchange, reply: Reply) -> Reply {
    if reply.judged || !exchange.request.has_conditions() {
        return reply;
    }
    let validators = Validators { modified: reply.last_modified, etag: None };
    match judge(&exchange.request, validators, exchange.location.files.if_modified_since) {
        Verdict::Send => reply,
        Verdict::NotModified => {
            let Reply { last_modified, headers, close, .. } = reply;
            Reply { status: 304, last_modified, headers, close, ..Reply::default() }
        }
        Verdict::Failed => exchange.refuse(412),
    }
}

/// Seconds since 1970 of an HTTP date.
pub(crate) fn date(text: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn verdict(fields: &[(&str, &str)], rule: Modified) -> Verdict {
        let request = crate::variables::testing::request("GET / HTTP/1.1", fields);
        judge(&request, Validators { modified: Some(784_111_777), etag: Some(b"\"x-1\"") }, rule)
    }

    #[test]
    fn dates_decide() {
        for (field, date, rule, expected) in [
            ("If-Modified-Since", SAME, Modified::Exact, Verdict::NotModified),
            ("If-Modified-Since", NEW, Modified::Exact, Verdict::Send),
            ("If-Modified-Since", NEW, Modified::Before, Verdict::NotModified),
            ("If-Modified-Since", OLD, Modified::Before, Verdict::Send),
            ("If-Modified-Since", SAME, Modified::Off, Verdict::Send),
            ("If-Modified-Since", "nonsense", Modified::Exact, Verdict::Send),
            ("If-Unmodified-Since", OLD, Modified::Exact, Verdict::Failed),
            ("If-Unmodified-Since", SAME, Modified::Exact, Verdict::Send),
        ] {
            assert_eq!(verdict(&[(field, date)], rule), expected, "{field}: {date} {rule:?}");
        }
    }

    #[test]
    fn entity_tags_decide() {
        for (field, tags, expected) in [
            ("If-None-Match", "\"x-1\"", Verdict::NotModified),
            ("If-None-Match", "\"a\", W/\"x-1\"", Verdict::NotModified),
            ("If-None-Match", "*", Verdict::NotModified),
            ("If-None-Match", "\"y\"", Verdict::Send),
            ("If-Match", "\"x-1\"", Verdict::Send),
            ("If-Match", "*", Verdict::Send),
            ("If-Match", "W/\"x-1\"", Verdict::Failed),
            ("If-Match", "\"y\"", Verdict::Failed),
        ] {
            assert_eq!(verdict(&[(field, tags)], Modified::Exact), expected, "{field}: {tags}");
        }
    }

    #[test]
    fn both_conditions_must_hold_for_a_304() {
        let both = |date, tag| verdict(&[("If-Modified-Since", date), ("If-None-Match", tag)], Modified::Exact);
        assert_eq!(both(SAME, "\"x-1\""), Verdict::NotModified);
        assert_eq!(both(SAME, "\"y\""), Verdict::Send);
        assert_eq!(both(OLD, "\"x-1\""), Verdict::Send);
    }
}
