//! Requests read by RFC 9112 to the letter, by a reader that shares nothing with the product: what a
//! peer was sent is judged by it. It accepts no more than one way to read any bytes.

/// One request, as a server that takes nothing but what the standard allows reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StrictRequest {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub version: Vec<u8>,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    /// How many bytes the request takes, its body included.
    pub length: usize,
}

/// Why bytes are no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStrict {
    /// More bytes could make one of it.
    Unfinished,
    Broken(&'static str),
}

type Strict<T> = Result<T, NotStrict>;

impl StrictRequest {
    /// The request that `bytes` begin with.
    ///
    /// # Errors
    /// The first rule of RFC 9112 that the bytes break.
    pub fn read(bytes: &[u8]) -> Strict<StrictRequest> {
        let (line, mut at) = line(bytes, 0)?;
        let mut words = line.split(|&byte| byte == b' ');
        let mut word = || words.next().ok_or(NotStrict::Broken("request line of fewer than three words"));
        let (method, target, version) = (word()?, word()?, word()?);
        ensure(words.next().is_none(), "request line of more than three words")?;
        ensure(is_token(method), "method is no token")?;
        ensure(!target.is_empty() && target.iter().all(|byte| (0x21..0x7f).contains(byte)), "target is no URI")?;
        ensure(matches!(version, b"HTTP/1.0" | b"HTTP/1.1"), "version is not of HTTP/1")?;
        let mut request = StrictRequest {
            method: method.to_vec(),
            target: target.to_vec(),
            version: version.to_vec(),
            ..StrictRequest::default()
        };
        (request.fields, at) = fields(bytes, at)?;
        let hosts = request.all(b"host").len();
        ensure(hosts == 1 || (hosts == 0 && version == b"HTTP/1.0"), "not one Host")?;
        request.take_body(bytes, at)?;
        Ok(request)
    }

    /// All requests of a connection. What is left unfinished at the end is an error, too.
    ///
    /// # Errors
    /// What is wrong with the first request that is not whole and strict.
    pub fn read_all(mut bytes: &[u8]) -> Strict<Vec<StrictRequest>> {
        let mut requests = Vec::new();
        while !bytes.is_empty() {
            let request = StrictRequest::read(bytes)?;
            bytes = &bytes[request.length..];
            requests.push(request);
        }
        Ok(requests)
    }

    /// Values of the fields of this name.
    pub fn all(&self, name: &[u8]) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    fn take_body(&mut self, bytes: &[u8], at: usize) -> Strict<()> {
        let (lengths, codings) = (self.all(b"content-length"), self.all(b"transfer-encoding"));
        let (body, end) = match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => (Vec::new(), at),
            ([length], []) => {
                let digits = !length.is_empty() && length.len() <= 18 && length.iter().all(u8::is_ascii_digit);
                ensure(digits, "Content-Length is no number")?;
                let length: usize = String::from_utf8_lossy(length).parse().map_err(|_| NotStrict::Unfinished)?;
                let end = at.saturating_add(length);
                (bytes.get(at..end).ok_or(NotStrict::Unfinished)?.to_vec(), end)
            }
            ([], [coding]) => {
                ensure(coding.eq_ignore_ascii_case(b"chunked"), "Transfer-Encoding is not chunked")?;
                ensure(self.version == b"HTTP/1.1", "Transfer-Encoding in HTTP/1.0")?;
                chunks(bytes, at)?
            }
            _ => return Err(NotStrict::Broken("more than one length")),
        };
        (self.body, self.length) = (body, end);
        Ok(())
    }
}

/// A chunked body and where it ends; what it is to be compared with was decoded another way.
///
/// # Errors
/// What is wrong with the first chunk that is not whole and strict.
pub fn chunks(bytes: &[u8], mut at: usize) -> Strict<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    loop {
        let (size, after) = line(bytes, at)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        ensure((1..=15).contains(&digits), "chunk without a size, or of a size beyond sense")?;
        let extension = &size[digits..];
        ensure(matches!(extension.first(), None | Some(b';' | b' ' | b'\t')), "chunk size is no number")?;
        ensure(is_text(extension), "control character in a chunk's extension")?;
        let size = usize::from_str_radix(&String::from_utf8_lossy(&size[..digits]), 16);
        let size = size.map_err(|_| NotStrict::Broken("chunk size is no number"))?;
        if size == 0 {
            let (_, end) = fields(bytes, after)?;
            return Ok((body, end));
        }
        let end = after.saturating_add(size);
        body.extend_from_slice(bytes.get(after..end).ok_or(NotStrict::Unfinished)?);
        let rest = &bytes[end..];
        ensure(b"\r\n".starts_with(rest) || rest.starts_with(b"\r\n"), "chunk longer than its size")?;
        at = if rest.len() < 2 { return Err(NotStrict::Unfinished) } else { end + 2 };
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields(bytes: &[u8], mut at: usize) -> Strict<(Fields, usize)> {
    let mut fields = Vec::new();
    loop {
        let (field, after) = line(bytes, at)?;
        at = after;
        if field.is_empty() {
            return Ok((fields, at));
        }
        let colon = field.iter().position(|&byte| byte == b':').ok_or(NotStrict::Broken("field without a colon"))?;
        ensure(is_token(&field[..colon]), "name of a field is no token")?;
        ensure(is_text(&field[colon + 1..]), "control character in a field")?;
        let value = field[colon + 1..].trim_ascii();
        fields.push((field[..colon].to_vec(), value.to_vec()));
    }
}

/// A line without its CRLF, and where the next one begins. CR and LF stand nowhere else.
fn line(bytes: &[u8], at: usize) -> Strict<(&[u8], usize)> {
    let rest = &bytes[at..];
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or(NotStrict::Unfinished)?;
    match &rest[end..] {
        [b'\r', b'\n', ..] => Ok((&rest[..end], at + end + 2)),
        [b'\r'] => Err(NotStrict::Unfinished),
        _ => Err(NotStrict::Broken("CR or LF on its own")),
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_text(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

fn ensure(holds: bool, or: &'static str) -> Strict<()> {
    if holds { Ok(()) } else { Err(NotStrict::Broken(or)) }
}
