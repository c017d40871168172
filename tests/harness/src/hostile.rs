//! A corpus of requests that two servers could read differently, and what is to become of each.
//!
//! One a line in `tests/corpora/smuggling.tsv`: name, bytes, answers over a proxy, what its peer gets,
//! answers over a folder of files, and where Debian's nginx does otherwise its answers and why we
//! do not. Answers are the statuses that come on the connection until it ends; `/after`, a request
//! sent behind each, is answered with 204 when the connection is still in step. Kept apart from the
//! tests, so that the same corpus is sent to nginx.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use crate::tcp_peer::try_connect;

pub struct Hostile {
    pub name: String,
    pub bytes: Vec<u8>,
    pub proxy: String,
    /// `METHOD TARGET [BODY]`, one after the other.
    pub peer: String,
    pub files: String,
    /// Answers of nginx over a proxy and over files, where they are not ours.
    pub nginx: Option<(String, String)>,
    pub why: String,
}

/// Sent behind each request of the corpus.
pub const AFTER: &[u8] = b"GET /after HTTP/1.1\r\nHost: after\r\nConnection: close\r\n\r\n";

impl Hostile {
    /// The corpus at this path.
    pub fn corpus(path: &Path) -> Vec<Hostile> {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(Hostile::parse).collect()
    }

    fn parse(line: &str) -> Hostile {
        let columns: Vec<&str> = line.split('\t').collect();
        let column = |at: usize| columns.get(at).copied().unwrap_or_default().to_owned();
        let nginx = column(5);
        assert!(columns.len() <= 7 && nginx.is_empty() == column(6).is_empty(), "{line}");
        Hostile {
            name: column(0),
            bytes: unescape(&column(1)),
            proxy: column(2),
            peer: column(3),
            files: column(4),
            nginx: nginx.split_once(" / ").map(|(proxy, files)| (proxy.to_owned(), files.to_owned())),
            why: column(6),
        }
    }

    /// Sends the request and the one behind it, in pieces of this size; the statuses that came.
    pub fn ask(&self, address: SocketAddr, piece: usize) -> String {
        let mut stream = match try_connect(address) {
            Ok(stream) => stream,
            Err(error) => return format!("no connection: {error}"),
        };
        for piece in [&self.bytes, AFTER].concat().chunks(piece) {
            // Who is refused early may be unable to send the rest.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        let mut came = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => came.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return format!("{} not closed: {error}", statuses(&came, self.is_head())),
            }
        }
        if came.windows(6).any(|window| window == b"SECRET") {
            return "escaped".into();
        }
        statuses(&came, self.is_head())
    }

    fn is_head(&self) -> bool {
        self.bytes.starts_with(b"HEAD ")
    }
}

/// Bytes as a column of the corpus shows them.
pub fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// `\r`, `\n`, `\t`, `\\`, `\x00` and `\{TEXT*TIMES}`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(byte) = rest.bytes().next() {
        let (bytes, length) = match rest.get(..2) {
            Some("\\r") => (vec![b'\r'], 2),
            Some("\\n") => (vec![b'\n'], 2),
            Some("\\t") => (vec![b'\t'], 2),
            Some("\\\\") => (vec![b'\\'], 2),
            Some("\\x") => (vec![u8::from_str_radix(&rest[2..4], 16).expect("two digits")], 4),
            Some("\\{") => {
                let end = rest.find('}').expect("a closing brace");
                let (unit, times) = rest[2..end].rsplit_once('*').expect("how often");
                (unescape(unit).repeat(times.parse().expect("a number")), end + 1)
            }
            _ => (vec![byte], 1),
        };
        out.extend(bytes);
        rest = &rest[length..];
    }
    out
}

/// Statuses of all answers; `0.9` for one without a head, `-` for none.
pub fn statuses(mut bytes: &[u8], head: bool) -> String {
    if bytes.is_empty() {
        return "-".into();
    }
    let mut found: Vec<String> = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let (Some(end), true) = (end, bytes.starts_with(b"HTTP/1.1 ")) else {
            found.push(if found.is_empty() { "0.9".into() } else { "rubbish".into() });
            break;
        };
        let text = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = text[9..12].to_owned();
        bytes = &bytes[end + 4..];
        let bodiless = status.starts_with('1') || matches!(&*status, "204" | "304") || (head && found.is_empty());
        let field = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        let length = match (bodiless, field("content-length:"), field("transfer-encoding:")) {
            (true, _, _) => 0,
            (_, Some(length), _) => length.parse().unwrap_or(usize::MAX),
            (_, _, Some(_)) => {
                bytes.windows(5).position(|window| window == b"0\r\n\r\n").map_or(usize::MAX, |at| at + 5)
            }
            _ => usize::MAX,
        };
        bytes = bytes.get(length.min(bytes.len())..).unwrap_or_default();
        found.push(status);
    }
    found.join(" ")
}
