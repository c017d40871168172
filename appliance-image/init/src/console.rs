//! The program on a terminal: a page that shows how the machine is, and a menu. It holds no power of its
//! own: everything is asked of process 1, under an account that may do nothing else.

mod ask;
mod menu;
mod page;
mod screen;
mod terminal;

use ask::Ask;
use menu::{Act, Menu};
use screen::Screen;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use terminal::Terminal;

const EVERY: Duration = Duration::from_secs(1);
/// Pages after which everything is drawn anew: the kernel may have written over it.
const ANEW: u32 = 30;

pub fn run() -> ExitCode {
    let Ok(mut terminal) = Terminal::open() else { return ExitCode::FAILURE };
    let mut menu = Menu::default();
    let mut screen = Screen::default();
    let mut asked = 0u32;
    let mut status = Value::Null;
    loop {
        if menu.shows_status() {
            status = Ask::once(&json!({"do": "status"}));
        }
        let size = terminal.size();
        let page = menu.page(&status, size);
        asked += 1;
        if asked.is_multiple_of(ANEW) {
            screen = Screen::default();
        }
        if terminal.write(&screen.draw(&page, size)).is_err() {
            return ExitCode::FAILURE;
        }
        let Ok(keys) = terminal.keys(EVERY) else { return ExitCode::FAILURE };
        if keys.is_empty() {
            menu.idle(EVERY);
        }
        for key in keys {
            match menu.key(key, &status) {
                Some(Act::Ask(request)) => {
                    let answer = Ask::once(&request);
                    menu.answered(&request, &answer);
                }
                Some(Act::Redraw) => screen = Screen::default(),
                None => {}
            }
        }
    }
}
