//! The command line of `fairleadctl`. Pure: arguments in, what is wanted out.

use super::help::{self, COMMANDS, Row};
use fairlead_appliance::management::{Code, Fingerprint};
use fairlead_appliance::store::Number;
use std::path::PathBuf;

pub const PORT: u16 = 8443;
const LOG_LINES: u32 = 100;

pub enum Line {
    Help(Option<&'static Row>),
    Version,
    Keygen,
    Ask(Task),
}

/// Something to ask of an appliance.
#[derive(Debug, PartialEq, Eq)]
pub struct Task {
    /// As it was typed.
    pub host: String,
    pub fingerprint: Option<Fingerprint>,
    pub command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Enroll {
        code: Code,
        name: Option<String>,
    },
    /// `confirm` is in seconds, 0 for none.
    Push {
        path: PathBuf,
        dry_run: bool,
        confirm: Option<u64>,
        note: String,
    },
    Confirm,
    Cancel,
    Pull {
        version: Option<Number>,
        to: Option<PathBuf>,
    },
    Versions,
    Use {
        version: Number,
        confirm: Option<u64>,
    },
    Status,
    Logs {
        follow: bool,
        lines: u32,
    },
    Update {
        file: PathBuf,
        allow_downgrade: bool,
    },
    Rollback,
    Reboot,
    Poweroff,
    Backup {
        file: PathBuf,
        only_configuration: bool,
    },
    Restore {
        file: PathBuf,
        confirm: Option<u64>,
    },
    Support {
        file: PathBuf,
    },
}

/// What is left of the arguments.
struct Words {
    plain: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

/// Options that take a value.
const VALUED: &[&str] = &["--fingerprint", "--confirm", "--note", "--name", "--to", "--lines"];
const PLAIN: &[&str] = &["--dry-run", "--allow-downgrade", "--only-configuration", "-f", "--follow"];

/// # Errors
/// What is wrong, and what to type instead.
pub fn parse(args: &[String]) -> Result<Line, String> {
    match args.first().map(String::as_str) {
        None => return Ok(Line::Help(None)),
        Some("help") => return help_for(args.get(1)),
        Some("-v" | "--version") => return Ok(Line::Version),
        _ => {}
    }
    if args.iter().any(|arg| arg == "-h" || arg == "--help") {
        let named = args.iter().find(|arg| help::row(arg).is_some());
        return help_for(named);
    }
    let mut words = Words::of(args)?;
    if words.plain.first().is_some_and(|word| word == "keygen") {
        words.plain.remove(0);
        return words.end("keygen").map(|()| Line::Keygen);
    }
    if let [only] = words.plain.as_slice() {
        let what = if help::row(only).is_some() {
            format!("fairleadctl HOST {only}")
        } else {
            format!("fairleadctl {only} COMMAND")
        };
        return Err(format!("a host and a command are needed: {what}; see fairleadctl --help"));
    }
    let fingerprint =
        words.value("--fingerprint").map(|text| text.parse().map_err(|error| format!("--fingerprint: {error}")));
    let fingerprint = fingerprint.transpose()?;
    let host = words.next("", "HOST")?;
    let name = words.next("", "COMMAND")?;
    let command = words.command(&name)?;
    words.end(&name)?;
    Ok(Line::Ask(Task { host, fingerprint, command }))
}

fn help_for(name: Option<&String>) -> Result<Line, String> {
    let Some(name) = name else { return Ok(Line::Help(None)) };
    help::row(name).map(|row| Line::Help(Some(row))).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> String {
    let near = COMMANDS.iter().map(|row| row.name).min_by_key(|known| distance(known, name));
    let near = near.filter(|known| distance(known, name) <= 2);
    let hint = near.map_or("see fairleadctl --help".to_owned(), |near| format!("did you mean {near}?"));
    format!("there is no command \"{name}\"; {hint}")
}

/// Letters to change, add or leave out.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, against) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

impl Words {
    fn of(args: &[String]) -> Result<Words, String> {
        let mut words = Words { plain: Vec::new(), options: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (option, inside) = match arg.split_once('=') {
                Some((option, value)) if arg.starts_with("--") => (option, Some(value.to_owned())),
                _ => (arg.as_str(), None),
            };
            if VALUED.contains(&option) {
                let value = inside.or_else(|| args.next().cloned());
                let value = value.ok_or_else(|| format!("{option} needs a value"))?;
                words.options.push((option.to_owned(), Some(value)));
            } else if PLAIN.contains(&option) && inside.is_none() {
                words.options.push((option.to_owned(), None));
            } else if arg.starts_with('-') && arg.len() > 1 {
                return Err(format!("there is no option {option}; see fairleadctl --help"));
            } else {
                words.plain.push(arg.clone());
            }
        }
        Ok(words)
    }

    fn command(&mut self, name: &str) -> Result<Command, String> {
        Ok(match name {
            "enroll" => {
                let code = self.next(name, "CODE")?.parse().map_err(|error| format!("{error}"))?;
                Command::Enroll { code, name: self.value("--name") }
            }
            "push" => {
                let path = self.next(name, "FILE or FOLDER")?.into();
                let (dry_run, confirm) = (self.flag("--dry-run"), self.window()?);
                Command::Push { path, dry_run, confirm, note: self.value("--note").unwrap_or_default() }
            }
            "confirm" => Command::Confirm,
            "cancel" => Command::Cancel,
            "pull" => Command::Pull { version: self.version()?, to: self.value("--to").map(PathBuf::from) },
            "versions" => Command::Versions,
            "use" => {
                let version = self.version()?.ok_or_else(|| missing(name, "VERSION"))?;
                Command::Use { version, confirm: self.window()? }
            }
            "status" => Command::Status,
            "logs" => {
                let lines = self
                    .value("--lines")
                    .map(|text| text.parse().map_err(|_| format!("--lines {text}: a number is needed")));
                Command::Logs {
                    follow: self.flag("-f") | self.flag("--follow"),
                    lines: lines.transpose()?.unwrap_or(LOG_LINES),
                }
            }
            "update" => {
                let file = self.next(name, "FILE")?.into();
                Command::Update { file, allow_downgrade: self.flag("--allow-downgrade") }
            }
            "rollback" => Command::Rollback,
            "reboot" => Command::Reboot,
            "poweroff" => Command::Poweroff,
            "backup" => {
                let file = self.next(name, "FILE")?.into();
                Command::Backup { file, only_configuration: self.flag("--only-configuration") }
            }
            "restore" => Command::Restore { file: self.next(name, "FILE")?.into(), confirm: self.window()? },
            "support" => Command::Support { file: self.next(name, "FILE")?.into() },
            other => return Err(unknown(other)),
        })
    }

    fn next(&mut self, command: &str, what: &str) -> Result<String, String> {
        if self.plain.is_empty() { Err(missing(command, what)) } else { Ok(self.plain.remove(0)) }
    }

    fn version(&mut self) -> Result<Option<Number>, String> {
        if self.plain.is_empty() {
            return Ok(None);
        }
        let text = self.plain.remove(0);
        text.parse().map(Some).map_err(|error| format!("{text}: {error}"))
    }

    fn value(&mut self, option: &str) -> Option<String> {
        let at = self.options.iter().position(|(name, _)| name == option)?;
        self.options.remove(at).1
    }

    fn flag(&mut self, option: &str) -> bool {
        let before = self.options.len();
        self.options.retain(|(name, _)| name != option);
        self.options.len() < before
    }

    fn window(&mut self) -> Result<Option<u64>, String> {
        let text = self.value("--confirm");
        let wrong = |text: &str| format!("--confirm {text}: a time is needed, as 5m or 90s, or off");
        text.map(|text| seconds(&text).ok_or_else(|| wrong(&text))).transpose()
    }

    /// What nobody asked for is a mistake.
    fn end(&mut self, command: &str) -> Result<(), String> {
        let rest = self.plain.first().or(self.options.first().map(|(name, _)| name));
        rest.map_or(Ok(()), |rest| Err(format!("{command} takes no \"{rest}\"; see fairleadctl help {command}")))
    }
}

fn missing(command: &str, what: &str) -> String {
    let see = if command.is_empty() {
        "see fairleadctl --help".to_owned()
    } else {
        format!("see fairleadctl help {command}")
    };
    format!("{what} is missing; {see}")
}

/// `90`, `90s`, `5m`, `1h`, `1m30s`; `off` is none.
fn seconds(text: &str) -> Option<u64> {
    if text == "off" {
        return Some(0);
    }
    let (mut total, mut number) = (0_u64, None::<u64>);
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit.into())?);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    let total = total.checked_add(number.unwrap_or(0))?;
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, String> {
        parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn command(text: &str) -> Command {
        match line(text) {
            Ok(Line::Ask(task)) => task.command,
            Ok(_) => panic!("{text}: asks nothing"),
            Err(why) => panic!("{text}: {why}"),
        }
    }

    #[test]
    fn options_may_stand_anywhere() {
        let wanted = Command::Push { path: "a.conf".into(), dry_run: true, confirm: Some(300), note: String::new() };
        for text in ["lb1 push a.conf --dry-run --confirm 5m", "--dry-run lb1 --confirm=5m push a.conf"] {
            assert_eq!(command(text), wanted, "{text}");
        }
        assert_eq!(command("lb1 logs -f --lines 7"), Command::Logs { follow: true, lines: 7 });
        assert_eq!(command("lb1 pull 000003 --to x"), Command::Pull { version: Some(Number(3)), to: Some("x".into()) });
    }

    #[test]
    fn what_is_wrong_says_what_to_type() {
        let wrong = |text: &str| line(text).err().unwrap_or_else(|| panic!("{text} is right"));
        assert_eq!(wrong("lb1 stauts"), "there is no command \"stauts\"; did you mean status?");
        assert_eq!(wrong("status"), "a host and a command are needed: fairleadctl HOST status; see fairleadctl --help");
        assert_eq!(wrong("lb1 push"), "FILE or FOLDER is missing; see fairleadctl help push");
        assert_eq!(wrong("lb1 push a b"), "push takes no \"b\"; see fairleadctl help push");
        assert_eq!(wrong("lb1 status --dry-run"), "status takes no \"--dry-run\"; see fairleadctl help status");
        assert_eq!(wrong("lb1 push a --confirm soon"), "--confirm soon: a time is needed, as 5m or 90s, or off");
        assert_eq!(wrong("lb1 use 0"), "0: a version is a number from 1");
        assert_eq!(wrong("lb1 enroll K7QF"), "a code is twelve letters and digits, as K7QF-2M9X-WB4T");
        assert!(wrong("lb1 status --fingerprint 12").starts_with("--fingerprint: "));
        assert!(wrong("lb1 -x status").starts_with("there is no option -x"));
    }

    #[test]
    fn every_command_has_a_page_and_every_page_a_command() {
        for row in COMMANDS {
            assert!(
                matches!(line(&format!("lb1 {} --help", row.name)), Ok(Line::Help(Some(page))) if page.name == row.name)
            );
            let refused = line(&format!("lb1 {} a b c d", row.name)).err();
            assert!(
                row.name == "keygen" || refused.is_some_and(|why| !why.starts_with("there is no command")),
                "{}",
                row.name
            );
        }
        assert!(matches!(line(""), Ok(Line::Help(None))));
        assert!(matches!(line("keygen"), Ok(Line::Keygen)));
        assert!(line("keygen now").is_err());
        assert!(help::overview().lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn a_time_is_read_as_people_write_it() {
        let times = ["90", "90s", "5m", "1h", "1m30s", "off"].map(seconds);
        assert_eq!(times, [Some(90), Some(90), Some(300), Some(3600), Some(90), Some(0)]);
        for text in ["", "0", "m", "5d", "-5", "99999999999999999999m"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
