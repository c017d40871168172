//! The accounts of the machine. Configurations from other systems name theirs (`www-data`, `nginx`):
//! here they are all the one that `fairlead` serves as.

use std::fs;
use std::io;

pub const SERVING: u32 = 100;
pub const MANAGING: u32 = 101;
const NAMES: &[(&str, u32)] = &[
    ("root", 0),
    ("fairlead", SERVING),
    ("manage", MANAGING),
    ("nginx", SERVING),
    ("www-data", SERVING),
    ("www", SERVING),
    ("http", SERVING),
    ("nobody", SERVING),
    ("nogroup", SERVING),
];

/// Adds what is missing in `/etc/passwd` and `/etc/group`.
///
/// # Errors
/// Those of writing them.
pub fn complete() -> io::Result<()> {
    complete_file("/etc/passwd", |name, id| format!("{name}:x:{id}:{id}::/:/\n"))?;
    complete_file("/etc/group", |name, id| format!("{name}:x:{id}:\n"))
}

fn complete_file(path: &str, line: impl Fn(&str, u32) -> String) -> io::Result<()> {
    let before = fs::read_to_string(path).unwrap_or_default();
    let after = completed(&before, line);
    if before == after { Ok(()) } else { fs::write(path, after) }
}

fn completed(before: &str, line: impl Fn(&str, u32) -> String) -> String {
    let mut text = before.to_owned();
    for (name, id) in NAMES {
        let there = before.lines().any(|line| line.split(':').next() == Some(name));
        if !there {
            text.push_str(&line(name, *id));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        let text = completed("root:x:0:\nwww-data:x:33:\n", |name, id| format!("{name}:x:{id}:\n"));
        assert!(text.starts_with("root:x:0:\nwww-data:x:33:\nfairlead:x:100:\n"), "{text}");
        assert_eq!(text.matches("www-data").count(), 1);
        assert!(text.contains("nginx:x:100:\n"));
    }
}
