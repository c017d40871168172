//! What a key does: the status page, texts to read, questions to answer. Pure but for nothing: keys and
//! answers in, requests and pages out.

use super::page::{self, wrap};
use super::screen::Page;
use super::terminal::{Key, Size};
use serde_json::{Value, json};
use std::time::Duration;

/// Nobody has typed for this long: the page comes back, and the password is asked again.
const IDLE: Duration = Duration::from_secs(300);
const LONGEST_ANSWER: usize = 300;

pub enum Act {
    Ask(Value),
    Redraw,
}

#[derive(Debug, Default)]
pub struct Menu {
    view: View,
    known: bool,
    idle: Duration,
}

#[derive(Debug, Default)]
enum View {
    #[default]
    Status,
    Text {
        title: &'static str,
        lines: Vec<String>,
        top: usize,
    },
    Question {
        what: What,
        given: String,
        note: String,
    },
    Told(String),
}

/// What is asked of the person.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Then this key of the menu is done.
    Password(char),
    Address,
    NewPassword,
    Again(String),
    Sure(&'static str, &'static str),
}

impl What {
    fn words(&self) -> &'static str {
        match self {
            What::Password(_) => "The console's password:",
            What::Address => "Address of the first link (dhcp, ADDRESS/LENGTH or ADDRESS/LENGTH,GATEWAY):",
            What::NewPassword => "New password, 8 characters at least (empty: none):",
            What::Again(_) => "Once more:",
            What::Sure(_, words) => words,
        }
    }

    fn is_secret(&self) -> bool {
        matches!(self, What::Password(_) | What::NewPassword | What::Again(_))
    }
}

impl Menu {
    pub fn shows_status(&self) -> bool {
        matches!(self.view, View::Status)
    }

    pub fn idle(&mut self, time: Duration) {
        self.idle += time;
        if self.idle >= IDLE {
            *self = Menu::default();
        }
    }

    pub fn key(&mut self, key: Key, status: &Value) -> Option<Act> {
        self.idle = Duration::ZERO;
        if key == Key::Redraw {
            return Some(Act::Redraw);
        }
        match &mut self.view {
            View::Status => match key {
                Key::Letter(letter) if letter.is_ascii_digit() => self.choose(letter, status),
                Key::Enter => Some(Act::Redraw),
                _ => None,
            },
            View::Told(_) => {
                self.view = View::Status;
                None
            }
            View::Text { lines, top, .. } => {
                match key {
                    Key::Letter(' ') | Key::Enter if *top + 20 < lines.len() => *top += 20,
                    Key::Letter('b') => *top = top.saturating_sub(20),
                    _ => self.view = View::Status,
                }
                None
            }
            View::Question { given, .. } => match key {
                Key::Letter(letter) => {
                    if given.len() < LONGEST_ANSWER {
                        given.push(letter);
                    }
                    None
                }
                Key::Back => {
                    given.pop();
                    None
                }
                Key::Escape => {
                    self.view = View::Status;
                    None
                }
                Key::Enter => self.answer(),
                Key::Redraw => None,
            },
        }
    }

    fn choose(&mut self, number: char, status: &Value) -> Option<Act> {
        // Only a machine that says it has none is open to whoever stands before it.
        if !self.known && status["password"] != Value::Bool(false) {
            self.ask(What::Password(number));
            return None;
        }
        match number {
            '1' => return Some(Act::Ask(json!({"do": "show"}))),
            '2' => return Some(Act::Ask(json!({"do": "log", "after": 0, "most": 100_000}))),
            '3' => self.ask(What::Address),
            '4' => self.ask(What::NewPassword),
            '5' => return Some(Act::Ask(json!({"do": "enroll-code"}))),
            '6' => self.ask(What::Sure("reboot", "Reboot? Type yes:")),
            '7' => self.ask(What::Sure("use-before", "Serve the configuration before this one? Type yes:")),
            '8' => self.ask(What::Sure("rollback", "Reboot into the version before this one? Type yes:")),
            '9' => self
                .ask(What::Sure("factory-reset", "Forget the configuration, keys and password, and reboot? Type yes:")),
            _ => self.ask(What::Sure("poweroff", "Power off? Type yes:")),
        }
        None
    }

    fn ask(&mut self, what: What) {
        self.view = View::Question { what, given: String::new(), note: String::new() };
    }

    fn answer(&mut self) -> Option<Act> {
        let View::Question { what, given, note } = &mut self.view else { return None };
        let given = std::mem::take(given);
        match what.clone() {
            What::Password(_) => Some(Act::Ask(json!({"do": "login", "password": given}))),
            What::Address => Some(Act::Ask(json!({"do": "set-address", "address": given.trim()}))),
            What::NewPassword => {
                self.ask(What::Again(given));
                None
            }
            What::Again(first) if first == given => Some(Act::Ask(json!({"do": "set-password", "password": given}))),
            What::Again(_) => {
                *what = What::NewPassword;
                "they are not the same".clone_into(note);
                None
            }
            What::Sure(verb, _) if given.trim() == "yes" => Some(Act::Ask(json!({"do": verb}))),
            What::Sure(..) => {
                self.view = View::Status;
                None
            }
        }
    }

    /// What process 1 said to what a key asked for.
    pub fn answered(&mut self, request: &Value, answer: &Value) {
        let failed = answer["ok"] != Value::Bool(true);
        let errors: Vec<&str> = answer["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let errors = errors.join("\n");
        match (request["do"].as_str().unwrap_or_default(), &mut self.view) {
            ("login", View::Question { what: What::Password(number), note, .. }) => {
                if failed {
                    *note = errors;
                    return;
                }
                let number = *number;
                self.known = true;
                self.view = View::Status;
                if let Some(Act::Ask(request)) = self.choose(number, &Value::Null) {
                    let answer = super::Ask::once(&request);
                    self.answered(&request, &answer);
                }
            }
            (_, View::Question { note, .. }) if failed => *note = errors,
            ("enroll-code", _) if !failed => {
                let code = answer["code"].as_str().unwrap_or_default();
                self.view = View::Told(format!("Code to enrol a key with, good once and for ten minutes: {code}"));
            }
            ("show", _) if !failed => self.text("Configuration", answer["text"].as_str().unwrap_or_default(), false),
            ("log", _) if !failed => {
                let lines: Vec<&str> =
                    answer["lines"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                self.text("Log", &lines.join("\n"), true);
            }
            _ if failed => self.view = View::Told(errors),
            ("set-password", _) => {
                // Whoever set it knows it.
                self.known = true;
                self.view = View::Told("Done.".into());
            }
            _ => self.view = View::Told("Done.".into()),
        }
    }

    fn text(&mut self, title: &'static str, text: &str, at_end: bool) {
        let lines: Vec<String> = text.lines().flat_map(|line| wrap(&line.replace('\t', "    "), 78)).collect();
        let top = if at_end { lines.len().saturating_sub(20) } else { 0 };
        self.view = View::Text { title, lines, top };
    }

    pub fn page(&self, status: &Value, size: Size) -> Page {
        match &self.view {
            View::Status => {
                let lines = page::status(status, size);
                Page { cursor: Some((lines.len().min(size.rows - 1), 1)), lines }
            }
            View::Text { title, lines, top } => {
                let shown = lines.iter().skip(*top).take(20);
                let mut page =
                    vec![format!(" {title}, lines {} to {} of {}", top + 1, (top + 20).min(lines.len()), lines.len())];
                page.push("-".repeat(size.columns - 1));
                page.extend(shown.map(|line| format!(" {line}")));
                page.resize(22, String::new());
                page.push(" space: on   b: back   any other key: done".into());
                Page { lines: page, cursor: Some((22, 43)) }
            }
            View::Question { what, given, note } => {
                let shown = if what.is_secret() { "*".repeat(given.chars().count()) } else { given.clone() };
                let mut lines = vec![
                    String::new(),
                    format!(" {}", what.words()),
                    String::new(),
                    format!(" > {shown}"),
                    String::new(),
                ];
                lines.extend(note.lines().map(|line| format!(" {line}")));
                lines.push(String::new());
                lines.push(" Enter: do it   Esc: leave it".into());
                Page { lines, cursor: Some((3, 3 + shown.chars().count())) }
            }
            View::Told(what) => {
                let mut lines = vec![String::new()];
                lines.extend(what.lines().flat_map(|line| wrap(line, size.columns - 3)).map(|line| format!(" {line}")));
                lines.extend([String::new(), " Any key goes on.".to_owned()]);
                Page { lines, cursor: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { columns: 80, rows: 24 };

    fn typed(menu: &mut Menu, text: &str, status: &Value) -> Option<Value> {
        let mut last = None;
        for letter in text.chars() {
            let key = if letter == '\n' { Key::Enter } else { Key::Letter(letter) };
            if let Some(Act::Ask(request)) = menu.key(key, status) {
                last = Some(request);
            }
        }
        last
    }

    #[test]
    fn a_machine_without_password_is_open() {
        let mut menu = Menu::default();
        let open = json!({"password": false});
        assert_eq!(typed(&mut menu, "1", &open), Some(json!({"do": "show"})));
        menu.answered(&json!({"do": "show"}), &json!({"ok": true, "text": "events {}\n"}));
        assert!(menu.page(&open, SIZE).lines.join("\n").contains("events {}"));
        assert_eq!(typed(&mut menu, "q6yes\n", &open), Some(json!({"do": "reboot"})));
    }

    #[test]
    fn a_password_is_asked_for_and_never_shown() {
        let mut menu = Menu::default();
        let closed = json!({"password": true});
        let request = typed(&mut menu, "6secret", &closed);
        assert_eq!(request, None);
        let page = menu.page(&closed, SIZE).lines.join("\n");
        assert!(page.contains("> ******") && !page.contains("secret"), "{page}");
        let request = typed(&mut menu, "\n", &closed).unwrap();
        assert_eq!(request, json!({"do": "login", "password": "secret"}));
        menu.answered(&request, &json!({"ok": false, "errors": ["the password is wrong"]}));
        assert!(menu.page(&closed, SIZE).lines.join("\n").contains("wrong"));
        menu.answered(&request, &json!({"ok": true}));
        assert_eq!(typed(&mut menu, "yes\n", &closed), Some(json!({"do": "reboot"})));
    }

    #[test]
    fn a_machine_that_does_not_answer_is_closed() {
        let mut menu = Menu::default();
        assert_eq!(typed(&mut menu, "0yes\n", &Value::Null), Some(json!({"do": "login", "password": "yes"})));
    }

    #[test]
    fn who_goes_away_is_forgotten() {
        let mut menu = Menu { known: true, ..Menu::default() };
        typed(&mut menu, "3", &Value::Null);
        (0..300).for_each(|_| menu.idle(Duration::from_secs(1)));
        assert!(menu.shows_status() && !menu.known);
    }

    #[test]
    fn nothing_but_yes_is_yes_and_passwords_are_given_twice() {
        let mut menu = Menu::default();
        let open = json!({"password": false});
        assert_eq!(typed(&mut menu, "9no\n", &open), None);
        assert!(menu.shows_status());
        assert_eq!(typed(&mut menu, "4abcdefgh\nabcdefgi\n", &open), None);
        let again = typed(&mut menu, "abcdefgh\nabcdefgh\n", &open);
        assert_eq!(again, Some(json!({"do": "set-password", "password": "abcdefgh"})));
    }
}
