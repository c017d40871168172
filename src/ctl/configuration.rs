//! Commands about the configuration: push, confirm, pull, versions, backup.

use super::folder::at;
use super::session::Session;
use super::{Done, Failure, print, tell};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fairlead_appliance::management::{Answer, Request};
use fairlead_appliance::store::{File, Files, Info, MAIN, Number};
use fairlead_core::clock::http_date;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A configuration of this machine, and what its files are called here.
pub struct Local {
    files: Files,
    path: PathBuf,
    is_folder: bool,
}

/// How it is pushed.
pub struct How<'h> {
    pub dry_run: bool,
    pub confirm: Option<u64>,
    pub note: &'h str,
}

impl Local {
    pub fn read(path: &Path) -> Result<Local, Failure> {
        let is_folder = fs::metadata(path).map_err(at(path))?.is_dir();
        let files = if is_folder {
            Files::read_folder(path).map_err(at(path))?.whole()
        } else {
            Files::of_main(fs::read(path).map_err(at(path))?)
        };
        let files = files.map_err(|error| Failure::Here(format!("{}: {error}", path.display())))?;
        Ok(Local { files, path: path.to_owned(), is_folder })
    }

    /// Diagnostics of the appliance, with the names that files have here.
    fn relocate(&self, text: &str) -> String {
        self.files.iter().fold(text.to_owned(), |text, (name, _)| {
            let here = if self.is_folder { self.path.join(name) } else { self.path.clone() };
            rename(&text, name, &here.display().to_string())
        })
    }
}

/// `NAME:LINE` becomes `HERE:LINE` where it is a name of its own.
fn rename(text: &str, name: &str, here: &str) -> String {
    let mut renamed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find(name) {
        let (before, after) = (&rest[..found], &rest[found + name.len()..]);
        let stands_alone = before.chars().next_back().is_none_or(|letter| letter == ' ' || letter == '"');
        let has_line =
            after.strip_prefix(':').is_some_and(|line| line.starts_with(|letter: char| letter.is_ascii_digit()));
        renamed.push_str(before);
        renamed.push_str(if stands_alone && has_line { here } else { name });
        rest = after;
    }
    renamed + rest
}

pub fn push(local: &Local, how: How<'_>, session: &mut Session) -> Done {
    let (files, note) = (local.files.to_wire(), how.note.to_owned());
    let asked = session.ask(&Request::Push { files, dry_run: how.dry_run, confirm: how.confirm, note });
    let answer = asked.map_err(|failure| match failure {
        Failure::Refused(errors) => {
            let mut errors: Vec<String> = errors.iter().map(|error| local.relocate(error)).collect();
            errors.push(format!("fairleadctl: {} is as it was: the configuration was refused", session.name()));
            Failure::Refused(errors)
        }
        Failure::Unreachable(why) if !how.dry_run => Failure::Unreachable(format!(
            "{why}\nIf that is because its address has changed, say so at the new one: fairleadctl NEW-ADDRESS confirm\n\
             If nobody does, the configuration before is back after a while."
        )),
        other => other,
    })?;
    warn(&answer, |text| local.relocate(text));
    let version = version_of(&answer);
    if how.dry_run {
        return print(&format!("The configuration is good; {} is as it was.\n", session.name()));
    }
    if answer.values.contains_key("unchanged") {
        return print(&format!("Nothing has changed: that is version {version} already.\n"));
    }
    in_force(&version, &answer, session)
}

fn in_force(version: &str, answer: &Answer, session: &Session) -> Done {
    match answer.number("confirm") {
        Some(seconds) => print(&format!(
            "Version {version} is in force for {}. To keep it: fairleadctl {} confirm\n",
            minutes(seconds),
            session.name()
        )),
        None => print(&format!("Version {version} is in force.\n")),
    }
}

fn minutes(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

fn warn(answer: &Answer, words: impl Fn(&str) -> String) {
    answer.lines("warnings").iter().for_each(|warning| tell(&format!("{}\n", words(warning).trim_end())));
}

fn version_of(answer: &Answer) -> String {
    let number = answer.number("version").and_then(|number| u32::try_from(number).ok());
    number.map_or("none".to_owned(), |number| Number(number).to_string())
}

pub fn confirm(session: &mut Session) -> Done {
    let answer = session.ask(&Request::Confirm)?;
    print(&format!("Version {} stays in force.\n", version_of(&answer)))
}

pub fn cancel(session: &mut Session) -> Done {
    let answer = session.ask(&Request::Cancel)?;
    print(&format!("Version {} is in force again.\n", version_of(&answer)))
}

pub fn use_again(version: Number, confirm: Option<u64>, session: &mut Session) -> Done {
    let answer = session.ask(&Request::Use { version, confirm })?;
    warn(&answer, str::to_owned);
    in_force(&version.to_string(), &answer, session)
}

pub fn pull(version: Option<Number>, to: Option<&Path>, session: &mut Session) -> Done {
    let answer = session.ask(&Request::Pull { version })?;
    let wire: Vec<File> =
        answer.values.get("files").and_then(|it| serde_json::from_value(it.clone()).ok()).unwrap_or_default();
    let files = Files::from_wire(&wire).map_err(|error| Failure::Refused(vec![error.to_string()]))?;
    let Some(to) = to else {
        if files.count() > 1 {
            tell(&format!("{} more files; --to FOLDER writes them all\n", files.count() - 1));
        }
        return print(&files.main_text());
    };
    if to.join(MAIN).exists() {
        return Err(Failure::Here(format!("{} is there already", to.join(MAIN).display())));
    }
    fs::create_dir_all(to).and_then(|()| files.write_to(to)).map_err(at(to))?;
    print(&format!("Version {}: {} files in {}\n", version_of(&answer), files.count(), to.display()))
}

pub fn versions(session: &mut Session) -> Done {
    let answer = session.ask(&Request::Versions)?;
    let list = answer.values.get("versions").cloned().unwrap_or_default();
    let versions: Vec<Info> = serde_json::from_value(list).unwrap_or_default();
    let (current, trial) = (answer.number("current"), answer.number("trial"));
    let mut text = String::new();
    for Info { number, card } in versions {
        let id = Some(u64::from(number.0));
        let mark = if id == trial.or(current) { "->" } else { "  " };
        let when =
            if card.made == 0 { "".to_owned() } else { String::from_utf8_lossy(&http_date(card.made)).into_owned() };
        let waits = if id == trial { "  (waits to be confirmed)" } else { "" };
        let note = if card.note.is_empty() { String::new() } else { format!("  {}", card.note) };
        text.push_str(&format!("{mark} {number}  {when:29}  {}{note}{waits}\n", card.by));
    }
    print(if text.is_empty() { "There is no configuration yet.\n" } else { &text })
}

pub fn backup(file: &Path, only_configuration: bool, session: &mut Session) -> Done {
    let answer = session.ask(&Request::Backup { only_configuration })?;
    save(file, &answer)?;
    let secret = if only_configuration { "" } else { " It holds keys: keep it secret." };
    print(&format!("The backup is in {}.{secret}\n", file.display()))
}

pub fn restore(file: &Path, confirm: Option<u64>, session: &mut Session) -> Done {
    let data = BASE64.encode(fs::read(file).map_err(at(file))?);
    let answer = session.ask(&Request::Restore { data, confirm })?;
    warn(&answer, str::to_owned);
    if answer.values.get("identity").and_then(serde_json::Value::as_bool) == Some(true) {
        tell("Its keys and its password are those of the backup; its own key is, after the next start.\n");
    }
    in_force(&version_of(&answer), &answer, session)
}

/// A tar file that came as text; for this user alone, and never over another file.
pub fn save(file: &Path, answer: &Answer) -> Done {
    let bytes =
        BASE64.decode(answer.text("data")).map_err(|_| Failure::Refused(vec!["no file came back".to_owned()]))?;
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    open.and_then(|mut open| open.write_all(&bytes)).map_err(at(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_names_the_file_of_the_laptop() {
        let rename = |text: &str| rename(text, "fairlead.conf", "site/lb.conf");
        assert_eq!(
            rename("unknown directive \"a\" in fairlead.conf:2:1\n"),
            "unknown directive \"a\" in site/lb.conf:2:1\n"
        );
        for same in [
            "",
            "open() \"fairlead.conf\" failed",
            "in old-fairlead.conf:1",
            "in x/fairlead.conf:1",
            "fairlead.conf: x",
        ] {
            assert_eq!(rename(same), same);
        }
    }
}
