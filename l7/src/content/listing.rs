//! What is in a folder, as HTML, JSON and XML, letter by letter as nginx words it.

use crate::disk::Kind;
use fairlead_core::clock::http_date;

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub kind: Kind,
    /// Seconds since 1970.
    pub modified: i64,
    pub size: u64,
}

/// How HTML is laid out.
pub(super) struct Style {
    /// Names are shown by their characters.
    pub utf8: bool,
    /// Seconds to add to times.
    pub offset: i64,
    pub exact_size: bool,
}

/// Folders first, by their bytes.
pub(super) fn sort(entries: &mut [Entry]) {
    entries.sort_by(|a, b| (a.kind != Kind::Folder, &a.name).cmp(&(b.kind != Kind::Folder, &b.name)));
}

/// As wide as names are shown.
const WIDTH: usize = 50;

pub(super) fn html(uri: &[u8], entries: &[Entry], style: &Style) -> Vec<u8> {
    let mut out = b"<html>\r\n<head><title>Index of ".to_vec();
    push_html(uri, &mut out);
    out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    push_html(uri, &mut out);
    out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
    for entry in entries {
        push_line(entry, style, &mut out);
    }
    out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
    out
}

fn push_line(entry: &Entry, style: &Style, out: &mut Vec<u8>) {
    let folder = entry.kind == Kind::Folder;
    out.extend_from_slice(b"<a href=\"");
    entry.name.iter().for_each(|&byte| push_escaped(byte, out));
    if folder {
        out.push(b'/');
    }
    out.extend_from_slice(b"\">");
    push_name(entry, style.utf8, out);
    let date = http_date(u64::try_from(entry.modified + style.offset).unwrap_or(0));
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    let line = [b" ", part(5..7), b"-", part(8..11), b"-", part(12..16), b" ", part(17..22), b" "];
    line.iter().for_each(|part| out.extend_from_slice(part));
    let size = match (folder, style.exact_size) {
        (true, true) => format!("{:>19}", "-"),
        (true, false) => format!("{:>7}", "-"),
        (false, true) => format!("{:>19}", entry.size),
        (false, false) => short_size(entry.size),
    };
    out.extend_from_slice(size.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The name, cut where it is too long, and blanks up to the next column.
fn push_name(entry: &Entry, utf8: bool, out: &mut Vec<u8>) {
    let name = &entry.name;
    let text = std::str::from_utf8(name).ok().filter(|_| utf8);
    let mut width = text.map_or(name.len(), |text| text.chars().count());
    if width > WIDTH {
        let cut = text.and_then(|text| text.char_indices().nth(WIDTH - 3)).map_or(WIDTH - 3, |(at, _)| at);
        push_html(name.get(..cut).unwrap_or(name), out);
        out.extend_from_slice(b"..&gt;</a>");
        return;
    }
    push_html(name, out);
    if entry.kind == Kind::Folder && width < WIDTH {
        out.push(b'/');
        width += 1;
    }
    out.extend_from_slice(b"</a>");
    out.extend(std::iter::repeat_n(b' ', WIDTH - width));
}

/// Seven characters: bytes up to 9999, then kilobytes and so on, rounded.
fn short_size(size: u64) -> String {
    let (unit, letter) = match size {
        0..=9999 => return format!("{size:>7}"),
        10_000..=1_048_575 => (1 << 10, 'K'),
        1_048_576..=1_073_741_823 => (1 << 20, 'M'),
        _ => (1 << 30, 'G'),
    };
    let rounded = size / unit + u64::from(size % unit > unit / 2 - 1);
    format!("{rounded:>6}{letter}")
}

/// `callback` wraps it into a call.
pub(super) fn json(entries: &[Entry], callback: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if !callback.is_empty() {
        out.extend_from_slice(b"/* callback */\r\n");
        out.extend_from_slice(callback);
        out.push(b'(');
    }
    out.push(b'[');
    for (number, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if number > 0 { b",\r\n{ \"name\":\"" } else { b"\r\n{ \"name\":\"" });
        push_json(&entry.name, &mut out);
        out.extend_from_slice(b"\", \"type\":\"");
        out.extend_from_slice(kind(entry));
        out.extend_from_slice(b"\", \"mtime\":\"");
        out.extend_from_slice(&http_date(u64::try_from(entry.modified).unwrap_or(0)));
        out.push(b'"');
        if entry.kind == Kind::File {
            out.extend_from_slice(format!(", \"size\":{}", entry.size).as_bytes());
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
    if !callback.is_empty() {
        out.extend_from_slice(b");");
    }
    out
}

pub(super) fn xml(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"<?xml version=\"1.0\"?>\r\n<list>\r\n".to_vec();
    for entry in entries {
        let kind = kind(entry);
        out.push(b'<');
        out.extend_from_slice(kind);
        out.extend_from_slice(b" mtime=\"");
        push_xml_time(entry.modified, &mut out);
        out.push(b'"');
        if entry.kind == Kind::File {
            out.extend_from_slice(format!(" size=\"{}\"", entry.size).as_bytes());
        }
        out.push(b'>');
        push_html(&entry.name, &mut out);
        out.extend_from_slice(b"</");
        out.extend_from_slice(kind);
        out.extend_from_slice(b">\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
    out
}

fn kind(entry: &Entry) -> &'static [u8] {
    match entry.kind {
        Kind::Folder => b"directory",
        Kind::File => b"file",
        Kind::Other => b"other",
    }
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `2001-09-09T01:46:40Z`
fn push_xml_time(modified: i64, out: &mut Vec<u8>) {
    let date = http_date(u64::try_from(modified).unwrap_or(0));
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    let month = MONTHS.iter().position(|name| *name == part(8..11)).unwrap_or(0) + 1;
    out.extend_from_slice(part(12..16));
    out.extend_from_slice(format!("-{month:02}-").as_bytes());
    out.extend_from_slice(part(5..7));
    out.push(b'T');
    out.extend_from_slice(part(17..25));
    out.push(b'Z');
}

/// As part of a path: everything but letters, digits and `-._~` by its code.
fn push_escaped(byte: u8, out: &mut Vec<u8>) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        out.push(byte);
    } else {
        out.extend_from_slice(format!("%{byte:02X}").as_bytes());
    }
}

fn push_html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(byte),
        }
    }
}

fn push_json(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_nginx_rounds_them() {
        for (size, expected) in [
            (0, "      0"),
            (9999, "   9999"),
            (10_000, "    10K"),
            (10_751, "    10K"),
            (10_752, "    11K"),
            (1_048_575, "  1024K"),
            (1_048_576, "     1M"),
            (1_073_741_824, "     1G"),
            (1_610_612_736, "     2G"),
        ] {
            assert_eq!(short_size(size), expected, "{size}");
        }
    }

    #[test]
    fn folders_come_first() {
        let entry = |name: &str, kind| Entry { name: name.into(), kind, modified: 0, size: 0 };
        let mut entries =
            [entry("b", Kind::File), entry("z", Kind::Folder), entry("a", Kind::Other), entry("y", Kind::Folder)];
        sort(&mut entries);
        let names: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.name)).collect();
        assert_eq!(names, ["y", "z", "a", "b"]);
    }
}
