//! Prints diagnostics: nginx's line, then the place and the way out.

use crate::{Diagnostic, Severity, Sources, Span};
use std::collections::HashSet;
use std::fmt::Write;

/// Characters of a source line that are shown; the rest is cut around the caret.
const WIDTH: usize = 100;

impl Diagnostic {
    /// `fairlead: [emerg] MESSAGE in FILE:LINE:COLUMN`, then the line, a caret and the help.
    /// No newline at the end.
    pub fn render(&self, sources: &Sources) -> String {
        let level = match self.severity {
            Severity::Error => "emerg",
            Severity::Warning => "warn",
        };
        let mut out = format!("fairlead: [{level}] {}", printable(&self.message));
        if let Some(span) = self.span.filter(|span| (span.file.0 as usize) < sources.files.len()) {
            let (line, column) = sources.position(span);
            // Writing to a String cannot fail.
            let _ = write!(out, " in {}:{line}:{column}", sources.path(span.file).display());
            push_excerpt(&mut out, sources, span);
        }
        if let Some(help) = &self.help {
            let _ = write!(out, "\n    help: {}", printable(help));
        }
        out
    }
}

/// Every diagnostic once, in the order of the files, those without a place last; each
/// ends with a newline.
pub fn render_all(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| (diagnostic.span.is_none(), diagnostic.span));
    let mut told = HashSet::new();
    let mut out = String::new();
    for diagnostic in sorted {
        if told.insert((diagnostic.span, &diagnostic.message)) {
            out.push_str(&diagnostic.render(sources));
            out.push('\n');
        }
    }
    out
}

fn push_excerpt(out: &mut String, sources: &Sources, span: Span) {
    let Some(file) = sources.files.get(span.file.0 as usize) else { return };
    let (number, start) = file.line_of(span.start);
    let line = file.line_at(start);
    let offset = |at: u32| (at.saturating_sub(start) as usize).min(line.len());
    let count = |range: std::ops::Range<usize>| line.get(range).map_or(0, |text| text.chars().count());
    let column = count(0..offset(span.start));
    let length = count(offset(span.start)..offset(span.end)).max(1);
    let (shown, column) = cut(line, column, length);
    let carets = length.min(shown.chars().count().saturating_sub(column)).max(1);
    let pad: String = shown.chars().take(column).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let margin = number.to_string().len().max(4);
    let _ = write!(out, "\n{number:>margin$} | {}", printable(&shown));
    let _ = write!(out, "\n{:>margin$} | {pad}{}", "", "^".repeat(carets));
}

/// The part of a long line that has the caret in it, and the caret's place there.
fn cut(line: &str, column: usize, length: usize) -> (String, usize) {
    let total = line.chars().count();
    if total <= WIDTH {
        return (line.to_owned(), column);
    }
    // Room before the caret for context, and after it for what is underlined.
    let before = (WIDTH.saturating_sub(length) / 2).max(20);
    let from = column.saturating_sub(before).min(total - WIDTH);
    let mut shown: String = line.chars().skip(from).take(WIDTH).collect();
    if from + WIDTH < total {
        shown.push('…');
    }
    match from {
        0 => (shown, column),
        _ => (format!("…{shown}"), column - from + 1),
    }
}

/// A terminal's control characters are not for a configuration to send.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileId, SourceFile};

    fn sources(text: &str) -> Sources {
        Sources { files: vec![SourceFile::new("/etc/x.conf".into(), text.into())] }
    }

    fn span(start: u32, end: u32) -> Span {
        Span { file: FileId(0), start, end }
    }

    #[test]
    fn shows_line_caret_and_help() {
        let error = Diagnostic::error(span(10, 16), "unknown directive \"lsiten\"").help("did you mean \"listen\"?");
        let expected = "fairlead: [emerg] unknown directive \"lsiten\" in /etc/x.conf:2:2\n   \
                        2 | \tlsiten 80;\n     | \t^^^^^^\n    help: did you mean \"listen\"?";
        assert_eq!(error.render(&sources("server {\n\tlsiten 80;\n}\n")), expected);
    }

    #[test]
    fn cuts_long_lines_around_the_caret() {
        let text = format!("{}bad{}", "é".repeat(500), "x".repeat(500));
        let shown = Diagnostic::error(span(1000, 1003), "wrong").render(&sources(&text));
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].ends_with("/etc/x.conf:1:501"), "{shown}");
        assert!(lines[1].chars().count() < 120, "{shown}");
        let caret = lines[2].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[1].chars().skip(caret).take(3).collect::<String>(), "bad");
    }

    #[test]
    fn tells_each_once_in_file_order() {
        let late = Diagnostic::error(span(4, 5), "late");
        let early = Diagnostic::warning(span(0, 1), "early");
        let general = Diagnostic::general("bind() failed");
        let all = render_all(&[general, late.clone(), early, late], &sources("abc\ndef"));
        let firsts: Vec<&str> = all.lines().filter(|line| line.starts_with("fairlead")).collect();
        assert_eq!(
            firsts,
            [
                "fairlead: [warn] early in /etc/x.conf:1:1",
                "fairlead: [emerg] late in /etc/x.conf:2:1",
                "fairlead: [emerg] bind() failed"
            ]
        );
    }

    #[test]
    fn sends_no_control_characters_to_a_terminal() {
        let shown = Diagnostic::error(span(0, 1), "unknown directive \"\x1b[2J\"").render(&sources("\x1b[2J;"));
        assert!(!shown.contains('\x1b'));
    }
}
