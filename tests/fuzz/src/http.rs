//! Messages of HTTP/1: whole connections of requests, heads of responses, chunked bodies. What we
//! accept and a strict reader accepts too must be the same messages.

use fairlead_l7::fuzzing::host;
use fairlead_l7::h1::{Chunked, Event, Framing, Limits, Progress, Request, RequestBody, Response, push_chunk_size};
use fairlead_l7::uri::normalize;

use super::strict::{NotStrict, StrictRequest, chunks};

/// Sizes of the pieces in which bytes arrive; the last one goes on for ever.
fn pieces(data: &[u8]) -> [Vec<usize>; 3] {
    let odd = data.iter().map(|byte| usize::from(byte % 16) + 1).collect();
    [vec![1], vec![7], odd]
}

/// A connection's requests, with their targets and bodies.
pub fn request(data: &[u8]) {
    for limits in [
        Limits::default(),
        Limits { first: 64, line: 64, buffers: 3, headers: 4, underscores: true, ignore_invalid: false },
    ] {
        let whole = parse_requests(data, &[data.len().max(1)], &limits);
        for sizes in pieces(data) {
            assert_eq!(whole, parse_requests(data, &sizes, &limits), "in pieces");
        }
        if limits.ignore_invalid {
            assert_strict_agrees(data, &whole);
        }
    }
}

/// What a request says, apart from where it lies in memory.
#[derive(Debug, PartialEq)]
struct Asked {
    line: Vec<u8>,
    method: Vec<u8>,
    target: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

/// How a connection's bytes end.
#[derive(Debug, PartialEq)]
enum End {
    NeedMore,
    /// Which rule is broken first may depend on how much is there; that one is broken may not.
    Broken,
}

fn parse_requests(data: &[u8], sizes: &[usize], limits: &Limits) -> (Vec<Asked>, End) {
    let mut connection = Connection { data, at: 0, sizes: sizes.to_vec(), request: Request::default() };
    let mut all = Vec::new();
    loop {
        match connection.one(limits) {
            Ok(asked) => all.push(asked),
            Err(end) => return (all, end),
        }
    }
}

/// The client's side of a connection whose bytes come in pieces.
struct Connection<'a> {
    data: &'a [u8],
    at: usize,
    sizes: Vec<usize>,
    request: Request,
}

impl Connection<'_> {
    fn read(&mut self) -> Result<(), End> {
        let size = if self.sizes.len() > 1 { self.sizes.remove(0) } else { self.sizes.first().copied().unwrap_or(1) };
        let end = self.data.len().min(self.at + size);
        let piece = self.data.get(self.at..end).filter(|piece| !piece.is_empty()).ok_or(End::NeedMore)?;
        self.request.buffer.extend_from_slice(piece);
        self.at = end;
        Ok(())
    }

    fn one(&mut self, limits: &Limits) -> Result<Asked, End> {
        loop {
            if !self.request.buffer.is_empty() {
                match self.request.parse(limits) {
                    Ok(Progress::Head) => break,
                    Ok(Progress::NeedMore) => {}
                    Err(bad) => {
                        assert!((400..=599).contains(&bad.status), "{}", bad.status);
                        return Err(End::Broken);
                    }
                }
            }
            self.read()?;
        }
        let mut asked = checked(&self.request);
        let mut consumed = self.request.head_len;
        match self.request.framing {
            RequestBody::None => {}
            RequestBody::Length(length) => {
                let length = usize::try_from(length).map_err(|_| End::NeedMore)?;
                let end = consumed.checked_add(length).ok_or(End::NeedMore)?;
                while self.request.buffer.len() < end {
                    self.read()?;
                }
                asked.body = self.request.buffer[consumed..end].to_vec();
                consumed = end;
            }
            RequestBody::Chunked => consumed = self.chunked_body(&mut asked.body)?,
        }
        self.request.recycle(consumed);
        Ok(asked)
    }

    fn chunked_body(&mut self, body: &mut Vec<u8>) -> Result<usize, End> {
        let (mut decoder, mut used) = (Chunked::default(), self.request.head_len);
        loop {
            let (step, event) = decoder.next(&self.request.buffer[used..]).map_err(|_| End::Broken)?;
            used += step;
            match event {
                Event::Data(length) => body.extend_from_slice(&self.request.buffer[used - length..used]),
                Event::NeedMore => self.read()?,
                Event::End => return Ok(used),
            }
        }
    }
}

fn checked(request: &Request) -> Asked {
    assert!(request.head_len <= request.buffer.len());
    let head = &request.buffer[..request.head_len];
    if head.windows(5).any(|window| window == b"HTTP/") && !request.headers.is_empty() {
        let ends = |at: usize| head[at] == b'\n' && at > 0 && head[at - 1] == b'\r';
        assert!((0..head.len()).all(|at| head[at] != b'\n' || ends(at)), "LF on its own");
    }
    let fields: Vec<_> = request.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    for (name, value) in &fields {
        assert!(!name.is_empty() && name.iter().all(|byte| *byte > b' ' && *byte != b':' && *byte != 0x7f));
        assert!(value.iter().all(|byte| *byte >= b' ' || *byte == b'\t'));
        if name.eq_ignore_ascii_case(b"host")
            && let Some(host) = host(value)
        {
            assert!(!host.is_empty() && !host.iter().any(|byte| b"/\\?#@ ".contains(byte) || *byte < b' '));
        }
    }
    let target = request.target_bytes().to_vec();
    let mut path = Vec::new();
    if normalize(&target, true, &mut path).is_ok() && path.first() == Some(&b'/') {
        let climbs = path.split(|byte| *byte == b'/').any(|part| part == b"..");
        assert!(!climbs, "{:?} climbs", path.escape_ascii().to_string());
    }
    let (line, method) = (request.line_bytes().to_vec(), request.method_bytes().to_vec());
    Asked { line, method, target, fields, body: Vec::new() }
}

/// As far as both go, a strict reader finds the same requests with the same bodies.
fn assert_strict_agrees(mut data: &[u8], (ours, end): &(Vec<Asked>, End)) {
    for asked in ours {
        let Ok(strict) = StrictRequest::read(data) else { return };
        assert_eq!((&asked.method, &asked.body), (&strict.method, &strict.body));
        assert!(strict.target.ends_with(&asked.target), "{asked:?} {strict:?}");
        // Those with names that nginx calls invalid are left out.
        let mut left = strict.fields.iter();
        assert!(asked.fields.iter().all(|field| left.any(|other| other == field)), "{asked:?} {strict:?}");
        data = &data[strict.length..];
    }
    // What is whole for the strict one we do not wait for.
    assert!(*end == End::Broken || StrictRequest::read(data).is_err(), "{:?}", data.escape_ascii().to_string());
}

/// A response's head. The first byte says whether the request was HEAD.
pub fn response(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let head_request = first & 1 == 1;
    let whole = parse_response(bytes, &[bytes.len()], head_request);
    for sizes in pieces(bytes) {
        assert_eq!(whole, parse_response(bytes, &sizes, head_request), "in pieces");
    }
    if let Ok(Some((_, status, framing, fields))) = whole {
        let bodiless = head_request || status < 200 || matches!(status, 204 | 304);
        let is_chunked = |(name, _): &(Vec<u8>, Vec<u8>)| name.eq_ignore_ascii_case(b"transfer-encoding");
        let is_length = |(name, _): &(Vec<u8>, Vec<u8>)| name.eq_ignore_ascii_case(b"content-length");
        match framing {
            Framing::None => assert!(bodiless),
            Framing::Length(_) => assert!(fields.iter().filter(|field| is_length(field)).count() == 1),
            Framing::Chunked => assert!(!fields.iter().any(is_length) && fields.iter().any(is_chunked)),
            Framing::UntilClose => assert!(!fields.iter().any(is_length)),
        }
        assert!(fields.iter().all(|(_, value)| !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))));
    }
}

/// What a response says: length of its head, status, framing, fields.
type Answer = (usize, u16, Framing, Vec<(Vec<u8>, Vec<u8>)>);

fn parse_response(bytes: &[u8], sizes: &[usize], head_request: bool) -> Result<Option<Answer>, ()> {
    let mut response = Response::default();
    let mut end = 0;
    let mut sizes = sizes.iter().chain(std::iter::repeat(&1));
    while end < bytes.len() {
        end = bytes.len().min(end + sizes.next().copied().unwrap_or(1).max(1));
        let seen = &bytes[..end];
        if response.parse(seen, head_request).map_err(|_| ())? {
            assert!(response.head_len <= seen.len());
            let fields = response.headers.iter();
            let fields = fields.map(|header| (header.name.of(seen).to_vec(), header.value.of(seen).to_vec()));
            return Ok(Some((response.head_len, response.status, response.framing, fields.collect())));
        }
    }
    Ok(None)
}

/// A chunked body: as a strict reader reads it, and as we write it anew.
pub fn chunked(data: &[u8]) {
    let whole = decode(data, &[data.len().max(1)]);
    for sizes in pieces(data) {
        assert_eq!(whole, decode(data, &sizes), "in pieces");
    }
    let ours = whole.ok().and_then(|(body, end)| Some((body, end?)));
    if let Some((body, end)) = &ours {
        let mut written = Vec::new();
        for piece in body.chunks(usize::from(data[0]) + 1) {
            push_chunk_size(piece.len(), &mut written);
            written.extend_from_slice(piece);
            written.extend_from_slice(b"\r\n");
        }
        written.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(chunks(&written, 0), Ok((body.clone(), written.len())));
        // Names of trailers may be odder than a strict reader has them: they go nowhere.
        match chunks(&data[..*end], 0) {
            Err(NotStrict::Broken("name of a field is no token")) => {}
            strict => assert_eq!(strict.as_ref(), Ok(&(body.clone(), *end))),
        }
    }
    if let (Ok((body, end)), None) = (chunks(data, 0), &ours) {
        let overhead = end - body.len();
        assert!(overhead > 8 << 10, "refused or waited for: {:?}", data.escape_ascii().to_string());
    }
}

type Decoded = Result<(Vec<u8>, Option<usize>), ()>;

/// The body and where it ended in the bytes; `None` when it did not end.
fn decode(data: &[u8], sizes: &[usize]) -> Decoded {
    let (mut decoder, mut body, mut used) = (Chunked::default(), Vec::new(), 0);
    let last = sizes.last().copied().unwrap_or(1);
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(last));
    while used < data.len() {
        let size = sizes.next().unwrap_or(1).max(1);
        let bytes = &data[used..data.len().min(used + size)];
        let mut at = 0;
        loop {
            let (step, event) = decoder.next(&bytes[at..]).map_err(|_| ())?;
            at += step;
            match event {
                Event::Data(length) => {
                    assert!(length <= step && (step > 0 || at == bytes.len()));
                    body.extend_from_slice(&bytes[at - length..at]);
                }
                Event::NeedMore => {
                    assert_eq!(at, bytes.len(), "all is used before more is asked for");
                    break;
                }
                Event::End => return Ok((body, Some(used + at))),
            }
        }
        used += at;
    }
    Ok((body, None))
}
