//! Commands about the machine itself: status, log, restart, support.

use super::configuration::save;
use super::session::Session;
use super::{Done, print};
use fairlead_appliance::management::Request;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Between two looks at a log that is followed.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines that are asked for at once.
const PAGE: u32 = 500;

pub fn status(session: &mut Session) -> Done {
    let answer = session.ask(&Request::Status)?;
    let mut text = String::new();
    answer.values.iter().for_each(|(name, value)| show(name, value, 0, &mut text));
    print(&text)
}

/// Whatever the appliance says of itself, a line each; a newer one says more.
fn show(name: &str, value: &Value, depth: usize, text: &mut String) {
    let margin = "  ".repeat(depth);
    match value {
        Value::Null => {}
        Value::Object(values) => {
            text.push_str(&format!("{margin}{name}:\n"));
            values.iter().for_each(|(name, value)| show(name, value, depth + 1, text));
        }
        Value::Array(values) if values.is_empty() => text.push_str(&format!("{margin}{name}: none\n")),
        Value::Array(values) => {
            text.push_str(&format!("{margin}{name}:\n"));
            values.iter().for_each(|value| text.push_str(&format!("{margin}  {}\n", plain(value))));
        }
        other => text.push_str(&format!("{margin}{name}: {}\n", plain(other))),
    }
}

/// A log line may hold what a client of the balancer sent: nothing of it moves the cursor.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    printable(&text)
}

fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter }).collect()
}

pub fn logs(follow: bool, lines: u32, session: &mut Session) -> Done {
    // Where it ends: a number that no line has is the end.
    let end = session.ask(&Request::Log { after: u64::MAX, most: 0 })?.number("next").unwrap_or(0);
    let mut after = end.saturating_sub(lines.into());
    loop {
        let answer = session.ask(&Request::Log { after, most: PAGE })?;
        let found = answer.lines("lines");
        let text: String = found.iter().map(|line| printable(line) + "\n").collect();
        print(&text)?;
        after = answer.number("next").unwrap_or(after);
        match (found.is_empty(), follow) {
            (false, _) => {}
            (true, true) => std::thread::sleep(PAUSE),
            (true, false) => return Ok(()),
        }
    }
}

pub fn rollback(session: &mut Session) -> Done {
    let answer = session.ask(&Request::Rollback)?;
    print(&format!(
        "Version {} boots on trial at the next start. To start it now: fairleadctl {} reboot\n",
        printable(answer.text("version")),
        session.name()
    ))
}

pub fn reboot(session: &mut Session) -> Done {
    session.ask(&Request::Reboot)?;
    print(&format!("{} restarts.\n", session.name()))
}

pub fn poweroff(session: &mut Session) -> Done {
    session.ask(&Request::Poweroff)?;
    print(&format!("{} turns itself off.\n", session.name()))
}

pub fn support(file: &Path, session: &mut Session) -> Done {
    let answer = session.ask(&Request::Support)?;
    save(file, &answer)?;
    print(&format!("What somebody who helps wants to see is in {}.\n", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_is_shown_and_nothing_moves_the_cursor() {
        let value = serde_json::json!({"version": "0.1.0-7", "peers": {"up": 2, "down": []}, "role": null, "errors": ["a\u{1b}[2J"]});
        let mut text = String::new();
        show("it", &value, 0, &mut text);
        assert_eq!(text, "it:\n  errors:\n    a\u{fffd}[2J\n  peers:\n    down: none\n    up: 2\n  version: 0.1.0-7\n");
    }
}
