//! The status page. Pure: what process 1 says in, lines out.

use super::terminal::Size;
use serde_json::Value;

/// Lines of the menu at the foot.
pub const MENU: &[&str] = &[
    " 1 configuration  2 log  3 set address  4 set password  5 enrol a key",
    " 6 reboot  7 previous configuration  8 roll back  9 factory reset  0 power off",
];
const LABEL: usize = 13;

/// The page, menu and all, `rows` lines.
pub fn status(status: &Value, size: Size) -> Vec<String> {
    let mut lines = head(status, size);
    lines.push("-".repeat(size.columns - 1));
    facts(status, size, &mut lines);
    let foot = MENU.len() + 2;
    let room = size.rows.saturating_sub(lines.len() + foot);
    lines.extend(news(status, room));
    lines.resize(size.rows.saturating_sub(foot), String::new());
    lines.push("-".repeat(size.columns - 1));
    lines.extend(MENU.iter().map(|line| (*line).to_owned()));
    lines
}

fn head(status: &Value, size: Size) -> Vec<String> {
    let seconds = status["uptime"].as_u64().unwrap_or(0) / 1000;
    let days = seconds / 86_400;
    let days = if days > 0 { format!("{days} d ") } else { String::new() };
    let up = format!("up {days}{}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let version = text(status, "slot").unwrap_or_else(|| text(status, "version").unwrap_or_default());
    let name = text(status, "hostname").unwrap_or_default();
    let left = format!(" fairlead {version}   {name}");
    let gap = size.columns.saturating_sub(left.chars().count() + up.len() + 2);
    vec![format!("{left}{}{up}", " ".repeat(gap.max(1)))]
}

fn facts(status: &Value, size: Size, lines: &mut Vec<String>) {
    let mut fact = |label: &str, value: String| {
        let mut label = label;
        // A long list goes on below itself, for two lines at most.
        for part in wrap(&value, size.columns - LABEL - 2).into_iter().take(2) {
            lines.push(format!(" {label:<LABEL$}{part}"));
            label = "";
        }
    };
    let fairlead = &status["fairlead"];
    let state = text(fairlead, "state").unwrap_or_else(|| "process 1 does not answer".into());
    let crashes = fairlead["crashes"].as_u64().filter(|crashes| *crashes > 0);
    let crashes = crashes.map_or(String::new(), |crashes| format!(", ended by itself {crashes} times"));
    let configuration =
        text(status, "configuration").map_or_else(|| "the default".into(), |number| format!("version {number}"));
    fact("Fairlead", format!("{state}{crashes}; configuration: {configuration}"));
    fact("Addresses", list(status, "addresses").map_or_else(|| "none".into(), |list| list.join(", ")));
    let slot = text(status, "slot").unwrap_or_else(|| "started without a disk".into());
    fact("Slot", if status["trial"] == Value::Bool(true) { format!("{slot}, on trial") } else { slot });
    fact("Pair", text(status, "role").unwrap_or_default());
    fact("Listeners", list(status, "listeners").map_or_else(|| "none".into(), |list| list.join(", ")));
    let down = list(&status["peers"], "down").unwrap_or_default();
    let up = status["peers"]["up"].as_u64().unwrap_or(0);
    let names = if down.is_empty() { String::new() } else { format!(": {}", down.join(", ")) };
    fact(
        "Peers",
        match (up, down.len()) {
            (0, 0) => "no health check has said anything".into(),
            _ => format!("{up} up, {} down{names}", down.len()),
        },
    );
    let management = text(status, "management").map_or_else(|| "off".into(), |address| format!("listens at {address}"));
    let key = text(status, "fingerprint").map_or(String::new(), |print| format!("; key {print}"));
    fact("Management", format!("{management}{key}"));
    if status["password"] == Value::Bool(false) {
        fact("", "this console has no password; set one with 4".into());
    }
}

/// The last errors, then the last messages, in `room` lines.
fn news(status: &Value, room: usize) -> Vec<String> {
    let errors = list(status, "errors").unwrap_or_default();
    let messages = list(status, "messages").unwrap_or_default();
    let most = if errors.is_empty() { 0 } else { (room / 2).clamp(0, errors.len() + 1) };
    let mut lines = Vec::new();
    if most > 1 {
        lines.push(" Last errors".to_owned());
        lines.extend(last(&errors, most - 1));
    }
    if room > lines.len() + 1 {
        lines.push(" Messages".to_owned());
        let room = room - lines.len();
        lines.extend(last(&messages, room));
    }
    lines.truncate(room);
    lines
}

fn last(all: &[String], count: usize) -> impl Iterator<Item = String> {
    all.iter().skip(all.len().saturating_sub(count)).map(|line| format!("  {line}"))
}

fn text(from: &Value, name: &str) -> Option<String> {
    from[name].as_str().map(str::to_owned)
}

fn list(from: &Value, name: &str) -> Option<Vec<String>> {
    let list = from[name].as_array()?.iter().filter_map(|one| one.as_str().map(str::to_owned));
    Some(list.collect::<Vec<_>>()).filter(|list| !list.is_empty())
}

/// Lines of at most `width` letters, cut at spaces where there are some.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if length > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SIZE: Size = Size { columns: 80, rows: 24 };

    fn example() -> Value {
        json!({"version": "0.1.0", "slot": "0.1.0-7", "trial": false, "uptime": 90_061_000, "hostname": "lb1",
            "addresses": ["eth0 192.0.2.7/24"], "role": "single", "fairlead": {"state": "serving", "crashes": 0},
            "configuration": "000003", "listeners": ["tcp 0.0.0.0:80"], "peers": {"up": 3, "down": ["10.0.0.1:80"]},
            "errors": ["2026 [error] one", "2026 [error] two"], "messages": (0..60).map(|n| format!("said {n}")).collect::<Vec<_>>(),
            "password": true, "management": "[::]:8443", "fingerprint": "ab".repeat(32)})
    }

    #[test]
    fn the_page_fits_and_says_what_matters() {
        let lines = status(&example(), SIZE);
        assert!(lines.len() < SIZE.rows, "{} lines", lines.len());
        let page = lines.join("\n");
        for part in [
            "fairlead 0.1.0-7   lb1",
            "up 1 d 1:01:01",
            "serving; configuration: version 000003",
            "192.0.2.7/24",
            "single",
            "tcp 0.0.0.0:80",
            "3 up, 1 down: 10.0.0.1:80",
            "[error] two",
            "said 59",
            "6 reboot",
            &"ab".repeat(32),
        ] {
            assert!(page.contains(part), "{part} is not on\n{page}");
        }
        assert!(lines.iter().all(|line| line.chars().count() <= 200));
    }

    #[test]
    fn a_machine_that_says_nothing_has_a_page_too() {
        let page = status(&Value::Null, SIZE).join("\n");
        assert!(page.contains("process 1 does not answer") && page.contains("0 power off"), "{page}");
    }

    #[test]
    fn long_lists_are_cut_at_spaces() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("aaaaaaa b", 5), ["aaaaaaa", "b"]);
    }
}
