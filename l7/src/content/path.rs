//! From a path to the name of a file and its content type.

use crate::exchange::Exchange;
use fairlead_core::log::Level;
use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;

/// Most folders have shorter names.
const USUAL: usize = 64;

/// `root` or `alias` as it is for this request, relative ones below the prefix.
pub(crate) fn folder(exchange: &Exchange) -> Vec<u8> {
    folder_of(exchange, 0)
}

/// The same with room for a name.
fn folder_of(exchange: &Exchange, room: usize) -> Vec<u8> {
    let root = &exchange.location.root;
    let mut path = Vec::with_capacity(USUAL + room);
    exchange.render(&root.path, &mut path);
    if path.first() == Some(&b'/') {
        return path;
    }
    // Not `join`: it would take a final slash for a name.
    let prefix = root.prefix.as_os_str().as_bytes();
    let slash: &[u8] = if prefix.ends_with(b"/") || path.is_empty() { b"" } else { b"/" };
    [prefix, slash, &path].concat()
}

/// The file that the path leads to; `None` when it would lead out of its folder: with
/// `location /i { alias /data/; }` the path `/i../x` asks for `/data/../x`, which nginx serves.
pub(crate) fn file_name(exchange: &Exchange) -> Option<Vec<u8>> {
    let root = &exchange.location.root;
    let mut name = folder_of(exchange, exchange.uri.len());
    let replaced = match (root.alias, root.replaced) {
        (false, _) => 0,
        (true, usize::MAX) if !exchange.below_alias => return Some(name),
        (true, usize::MAX) => 0,
        (true, replaced) => replaced,
    };
    let rest = exchange.uri.get(replaced..).unwrap_or_default();
    if root.alias && (rest == b".." || rest.starts_with(b"../")) {
        return None;
    }
    // What rules made of the path is not normalised: a group or an argument may bring `..` along, and
    // a path without its first slash would be part of the folder's own name.
    if exchange.moved && (leads_out(rest) || !root.alias && rest.first() != Some(&b'/')) {
        return None;
    }
    name.extend_from_slice(rest);
    Some(name)
}

/// Whether a path that nobody normalised may lead out of its folder.
pub(super) fn leads_out(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|segment| segment == b"..")
}

/// Whether the path has a file name at all: below an `alias` it has none once rules changed it.
pub(super) fn usable(exchange: &Exchange) -> bool {
    if exchange.location.root.alias && exchange.whole_uri {
        let name = &exchange.location.name;
        let message = format_args!("\"alias\" cannot be used in location \"{name}\" where URI was rewritten");
        exchange.log(Level::Alert, message);
        return false;
    }
    true
}

/// By the extension of the path, else `default_type`.
pub(super) fn content_type(exchange: &Exchange) -> Cow<'static, [u8]> {
    let types = &exchange.location.types;
    let known = extension(&exchange.uri).and_then(|extension| {
        types.by_extension.get(extension).or_else(|| types.by_extension.get(extension.to_ascii_lowercase().as_str()))
    });
    Cow::Owned(known.unwrap_or(&types.default).as_bytes().to_vec())
}

/// What follows the last dot of the last segment; `.profile` has none.
fn extension(path: &[u8]) -> Option<&str> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let dot = memchr::memrchr(b'.', name).filter(|&dot| dot > 0)?;
    std::str::from_utf8(name.get(dot + 1..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_of_the_last_segment() {
        for (path, expected) in [
            ("/a.png", Some("png")),
            ("/a.tar.gz", Some("gz")),
            ("/a.d/b", None),
            ("/.profile", None),
            ("/a.", Some("")),
        ] {
            assert_eq!(extension(path.as_bytes()), expected, "{path}");
        }
    }
}
