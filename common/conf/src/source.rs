//! The files a configuration was read from, and places in them.
//!
//! Knows nothing of the language; the reader fills it, diagnostics ask it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Index of a file in [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileId(pub u32);

/// A range of bytes in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

/// Every file a configuration was read from, each once, in the order they were first opened.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub files: Vec<SourceFile>,
}

/// One file: its path as nginx would print it and its whole text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: Arc<str>,
    /// Where each line starts; built by the first question about a position.
    lines: OnceLock<Box<[u32]>>,
}

/// The path of the source that holds the text of `-g`.
pub(crate) const COMMAND_LINE: &str = "command line";

impl Sources {
    pub fn path(&self, file: FileId) -> &Path {
        self.files.get(file.0 as usize).map_or(Path::new(""), |file| file.path.as_path())
    }

    /// Line and column of the span's start, both from 1; columns count characters.
    pub fn position(&self, span: Span) -> (u32, u32) {
        let Some(file) = self.files.get(span.file.0 as usize) else { return (0, 0) };
        let (line, start) = file.line_of(span.start);
        let before = file.text.as_bytes().get(start as usize..span.start as usize).unwrap_or_default();
        let column = String::from_utf8_lossy(before).chars().count();
        (line, u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1))
    }
}

impl SourceFile {
    pub fn new(path: PathBuf, text: Arc<str>) -> SourceFile {
        SourceFile { path, text, lines: OnceLock::new() }
    }

    /// Whether this is the text of `-g`, which is no file (a dump leaves it out).
    pub fn is_command_line(&self) -> bool {
        self.path == Path::new(COMMAND_LINE)
    }

    /// Number of the line (from 1) that holds byte `at`, and the byte it starts at.
    pub(crate) fn line_of(&self, at: u32) -> (u32, u32) {
        let lines = self.lines.get_or_init(|| line_starts(&self.text));
        let number = lines.partition_point(|&start| start <= at).max(1);
        let start = lines.get(number - 1).copied().unwrap_or(0);
        (u32::try_from(number).unwrap_or(u32::MAX), start)
    }

    /// The text of the line that starts at byte `start`, without its end.
    pub(crate) fn line_at(&self, start: u32) -> &str {
        let rest = self.text.get(start as usize..).unwrap_or("");
        rest.split('\n').next().unwrap_or("").trim_end_matches('\r')
    }
}

fn line_starts(text: &str) -> Box<[u32]> {
    let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
    std::iter::once(0).chain(ends.map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text: Arc<str> = "a\n  é b\n".into();
        let sources = Sources { files: vec![SourceFile::new("x".into(), text)] };
        let at = |start| sources.position(Span { file: FileId(0), start, end: start });
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(1), (1, 2));
        assert_eq!(at(2), (2, 1));
        assert_eq!(at(7), (2, 5));
        assert_eq!(at(9), (3, 1));
        assert_eq!(at(999), (3, 1));
    }
}
