//! What a client saw, as text in which two servers can be compared: every answer taken apart and
//! what may differ (names, clocks, ports, multipart boundaries) replaced.

use std::fmt::Write;
use std::io::Read;
use std::net::SocketAddr;

/// Whose words are replaced.
pub struct Side {
    /// As in `Server:`, without the version.
    pub name: &'static str,
    pub address: SocketAddr,
}

/// One answer and where the next one begins.
struct Answer {
    text: String,
    length: usize,
}

/// Everything that came on one connection. `head` says that the first request was a HEAD.
pub fn transcript(side: &Side, bytes: &[u8], head: bool) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    let mut head = head;
    while !rest.is_empty() {
        let Some(answer) = next_answer(side, rest, head) else {
            let _ = writeln!(text, "cut: {}", show(side, &without_name(side, rest)));
            break;
        };
        text.push_str(&answer.text);
        head &= is_interim(&answer.text);
        rest = &rest[answer.length..];
    }
    text
}

/// Has the first answer that is not interim come whole?
pub fn has_answer(bytes: &[u8], head: bool) -> bool {
    match split_head(bytes) {
        Some((first, after)) if is_interim(first) => has_answer(after, head),
        Some((first, after)) => body_length(first, after, head).is_some(),
        // What does not begin like an answer has no end that could be waited for.
        None => !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]),
    }
}

fn is_interim(head: &str) -> bool {
    head.starts_with("HTTP/1.1 1") && !head.starts_with("HTTP/1.1 101") && head.get(12..13) == Some(" ")
}

/// Has any answer come, an interim one too?
pub fn has_any_answer(bytes: &[u8], head: bool) -> bool {
    split_head(bytes).is_some_and(|(first, _)| is_interim(first)) || has_answer(bytes, head)
}

/// Bytes as the text of a literal, without what names the side.
pub fn show(side: &Side, bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace(&side.address.port().to_string(), "PORT")
}

fn next_answer(side: &Side, bytes: &[u8], head: bool) -> Option<Answer> {
    let (first, after) = split_head(bytes)?;
    let length = body_length(first, after, head).unwrap_or(after.len());
    let (data, trailers) = dechunked(first, &after[..length]);
    let body = without_name(side, &decoded(first, data));
    // A page's length differs with its server's name, in an answer to HEAD too.
    let is_page = body.windows(16).any(|window| window == b"<hr><center>NAME")
        || (head && first.as_bytes().get(9) >= Some(&b'3'));
    let mut text = String::new();
    for (number, line) in first.split("\r\n").enumerate() {
        let line = if number == 0 { line.to_owned() } else { normal_field(side, line, is_page) };
        let _ = writeln!(text, "{}", show(side, line.as_bytes()));
    }
    let mut body = show(side, &body);
    if let Some(boundary) = first.split_once("boundary=").map(|(_, rest)| rest.split("\r\n").next().unwrap_or_default())
    {
        body = body.replace(boundary, "BOUNDARY");
        text = text.replace(boundary, "BOUNDARY");
    }
    let _ = writeln!(text, "  {}", shorten(&body));
    if !trailers.is_empty() {
        let _ = writeln!(text, "  behind it: {}", show(side, trailers));
    }
    let complete = body_length(first, after, head).is_some();
    if !complete {
        text.push_str("  (until the connection ended)\n");
    }
    Some(Answer { text, length: bytes.len() - after.len() + length })
}

/// The head without its empty line, and what follows.
fn split_head(bytes: &[u8]) -> Option<(&str, &[u8])> {
    if !bytes.starts_with(b"HTTP/1.") {
        return None;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]))
}

/// How long the body on the wire is; `None` when it is not whole or ends with the connection.
fn body_length(head: &str, after: &[u8], is_head: bool) -> Option<usize> {
    let status = head.get(9..12)?;
    if is_head || is_interim(head) || head.starts_with("HTTP/1.1 101") || status == "204" || status == "304" {
        return Some(0);
    }
    if field(head, "transfer-encoding").is_some() {
        return chunked_length(after);
    }
    let length = field(head, "content-length")?.parse().ok()?;
    (after.len() >= length).then_some(length)
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let size = chunk_size(&bytes[at..])?;
        at += size.line + size.data;
        if size.data == 0 {
            return trailers_length(bytes.get(at..)?).map(|length| at + length);
        }
        at += 2;
        if at > bytes.len() {
            return None;
        }
    }
}

/// The lines behind the last chunk, and the empty one.
fn trailers_length(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4)
}

struct ChunkSize {
    /// The size's line with its end.
    line: usize,
    data: usize,
}

fn chunk_size(bytes: &[u8]) -> Option<ChunkSize> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    let data = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
    Some(ChunkSize { line: end + 2, data })
}

/// The data of the chunks, and the lines behind them: how a body is cut into chunks is nobody's promise.
fn dechunked<'b>(head: &str, body: &'b [u8]) -> (Vec<u8>, &'b [u8]) {
    if field(head, "transfer-encoding").is_none() {
        return (body.to_vec(), b"");
    }
    let (mut data, mut rest) = (Vec::new(), body);
    while let Some(size) = chunk_size(rest) {
        if size.data == 0 {
            let lines = &rest[size.line..];
            return (data, lines.strip_suffix(b"\r\n").unwrap_or(lines));
        }
        let end = rest.len().min(size.line + size.data);
        data.extend_from_slice(&rest[size.line..end]);
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    (data, b"")
}

/// The body out of gzip, if it is: how well it is packed is nobody's promise either.
fn decoded(head: &str, body: Vec<u8>) -> Vec<u8> {
    if field(head, "content-encoding") != Some("gzip") {
        return body;
    }
    let mut data = Vec::new();
    match flate2::read::MultiGzDecoder::new(&*body).read_to_end(&mut data) {
        Ok(_) => data,
        Err(_) => body,
    }
}

/// An error page without the name of its server.
fn without_name(side: &Side, body: &[u8]) -> Vec<u8> {
    let open = [b"<hr><center>", side.name.as_bytes()].concat();
    let Some(start) = body.windows(open.len()).position(|window| window == open) else { return body.to_vec() };
    let name = start + b"<hr><center>".len();
    let version = body[name..].iter().position(|byte| *byte == b'<').unwrap_or(0);
    let shown = if version > side.name.len() { b"NAME/VERSION".as_slice() } else { b"NAME" };
    [&body[..name], shown, &body[name + version..]].concat()
}

fn normal_field(side: &Side, line: &str, is_page: bool) -> String {
    let (name, value) = line.split_once(": ").unwrap_or((line, ""));
    match name {
        // A time from now on; the far past and the far future stay.
        "Expires" if is_date(value) && !value.contains(" 1970 ") && !value.contains(" 2037 ") => "Expires: SOON".into(),
        "Set-Cookie" => format!("Set-Cookie: {}", without_uid(value)),
        "Date" if is_date(value) => "Date: NOW".into(),
        "Server" if value == side.name => "Server: NAME".into(),
        "Server" if value.starts_with(side.name) => "Server: NAME/VERSION".into(),
        "Content-Length" if is_page => "Content-Length: PAGE".into(),
        _ => line.into(),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn is_date(value: &str) -> bool {
    value.len() == 29 && value.ends_with(" GMT") && value.as_bytes()[3] == b','
}

/// A cookie of `userid` without what is the clock's and the process's in it, and without the time it
/// is kept until, but for the last one there is.
pub fn without_uid(cookie: &str) -> String {
    let mut text = cookie.to_owned();
    if let Some((before, rest)) = cookie.split_once("; expires=").filter(|(_, rest)| !rest.contains("-37 23:55:55 GMT"))
    {
        let shape = rest.replace(|c: char| c.is_ascii_digit(), "0");
        let after = shape.split_once(" GMT").map_or("", |(_, after)| after);
        text = format!("{before}; expires=SOON{}{after}", shape.find(" GMT").unwrap_or(0));
    }
    let uid = text.split_once('=').map(|(name, rest)| (name.len() + 1, rest.as_bytes()));
    match uid {
        // The service's number, and the count: bytes 4 to 11 of 16 in between.
        Some((at, value)) if value.len() >= 24 && value[23] == b'=' && !text[at..].starts_with("fwAAAWUBAgMJ") => {
            format!("{}TIME{}", &text[..at + 5], &text[at + 16..])
        }
        _ => text,
    }
}

fn shorten(body: &str) -> String {
    if body.len() <= 600 {
        return body.into();
    }
    let sum = body.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{}… {} bytes, sum {sum:x}", &body[..60], body.len())
}
