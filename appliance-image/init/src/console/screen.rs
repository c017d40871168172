//! What a terminal shows, and the fewest bytes that make it show something else: a serial line is slow.
//! Plain VT100: place the cursor, write, clear to the end of the line.

use super::terminal::Size;
use std::fmt::Write;

/// A page: its lines, and where the cursor rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub lines: Vec<String>,
    pub cursor: Option<(usize, usize)>,
}

#[derive(Debug, Default)]
pub struct Screen {
    shown: Vec<String>,
    size: Option<Size>,
    cursor: Option<(usize, usize)>,
}

impl Screen {
    /// The bytes that lead from what is shown to `page`.
    pub fn draw(&mut self, page: &Page, size: Size) -> String {
        let mut out = String::new();
        if self.size != Some(size) {
            out.push_str("\x1b[?7l\x1b[0m\x1b[2J");
            self.size = Some(size);
            self.shown = vec![String::new(); size.rows];
        }
        for (row, shown) in self.shown.iter_mut().enumerate() {
            let line = page.lines.get(row).map_or("", String::as_str);
            let line: String = line.chars().filter(|letter| !letter.is_control()).take(size.columns - 1).collect();
            if line != *shown {
                let _ = write!(out, "\x1b[{};1H{line}\x1b[K", row + 1);
                *shown = line;
            }
        }
        if !out.is_empty() || page.cursor != self.cursor {
            self.cursor = page.cursor;
            let (row, column) = page.cursor.unwrap_or((size.rows - 1, 0));
            let _ = write!(out, "\x1b[{};{}H", row + 1, column + 1);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { columns: 20, rows: 3 };

    fn page(lines: &[&str]) -> Page {
        Page { lines: lines.iter().map(|line| (*line).to_owned()).collect(), cursor: None }
    }

    #[test]
    fn only_what_changed_is_written() {
        let mut screen = Screen::default();
        assert!(screen.draw(&page(&["one", "two"]), SIZE).contains("\x1b[2J\x1b[1;1Hone\x1b[K\x1b[2;1Htwo\x1b[K"));
        assert_eq!(screen.draw(&page(&["one", "two"]), SIZE), "");
        assert_eq!(screen.draw(&page(&["one", "3"]), SIZE), "\x1b[2;1H3\x1b[K\x1b[3;1H");
        assert_eq!(screen.draw(&page(&[]), SIZE), "\x1b[1;1H\x1b[K\x1b[2;1H\x1b[K\x1b[3;1H");
    }

    #[test]
    fn nothing_that_is_shown_commands_the_terminal() {
        let mut screen = Screen::default();
        let drawn = screen.draw(&page(&["a\x1b[2Jb\rc", &"x".repeat(99)]), SIZE);
        assert!(drawn.contains("\x1b[1;1Ha[2Jbc\x1b[K"), "{drawn:?}");
        assert!(drawn.contains(&"x".repeat(19)) && !drawn.contains(&"x".repeat(20)));
    }
}
