//! The working copy that `fairlead` runs from, in memory: the files of one version, and what every
//! configuration may count on beside them.

use fairlead_appliance::store::Files;
use fairlead_conf::Tree;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub const FOLDER: &str = "/run/fairlead";
pub const MAIN: &str = "/run/fairlead/fairlead.conf";
/// Leads to the files that are looked at: those that are served, or for a moment those that are checked.
const SERVED: &str = "/run/served";
const SHARED: &str = "/etc/fairlead";
/// Files every configuration may include.
const BESIDE: &[&str] = &["mime.types"];
/// Where configurations from other systems expect things.
const LINKS: &[(&str, &str)] = &[
    ("/etc/nginx", SERVED),
    (SERVED, FOLDER),
    ("/var/log", "/run/log"),
    ("/var/run", "/run"),
    ("/var/cache", "/run/cache"),
    ("/var/lib", "/run/lib"),
];
const FOLDERS: &[&str] =
    &["/var", "/conf", "/run/esp", "/run/log/nginx", "/run/log/fairlead", "/run/cache/nginx", "/run/lib/nginx"];

/// What has to be made while the root can still be written.
pub fn prepare() -> io::Result<()> {
    FOLDERS.iter().try_for_each(fs::create_dir_all)?;
    for (link, to) in LINKS {
        if fs::symlink_metadata(link).is_err() {
            symlink(to, link)?;
        }
    }
    Ok(())
}

/// While `act` runs, files that are named as other systems name them are those of `folder`.
///
/// # Errors
/// Those of changing a link.
pub fn looking_at<T>(folder: &Path, act: impl FnOnce() -> T) -> io::Result<T> {
    lead_to(folder)?;
    let done = act();
    lead_to(Path::new(FOLDER))?;
    Ok(done)
}

fn lead_to(folder: &Path) -> io::Result<()> {
    let new = format!("{SERVED}.new");
    let _ = fs::remove_file(&new);
    symlink(folder, &new)?;
    fs::rename(new, SERVED)
}

/// Replaces the working copy by these files.
///
/// # Errors
/// Those of writing it.
pub fn write(files: &Files) -> io::Result<()> {
    let list = Path::new(FOLDER).join(".files");
    for name in fs::read_to_string(&list).unwrap_or_default().lines() {
        let _ = fs::remove_file(Path::new(FOLDER).join(name));
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| name).collect();
    fs::write(&list, names.join("\n"))?;
    fill(files, Path::new(FOLDER))
}

fn fill(files: &Files, folder: &Path) -> io::Result<()> {
    files.write_to(folder)?;
    fit(folder).map(drop)
}

/// Makes the files of a folder fit to run on this machine; the main one.
///
/// # Errors
/// Those of reading and writing them.
pub fn fit(folder: &Path) -> io::Result<PathBuf> {
    for name in BESIDE {
        let to = folder.join(name);
        if !to.exists() {
            // The image may have been built without it; fairlead says what it misses.
            let _ = fs::copy(Path::new(SHARED).join(name), to);
        }
    }
    let logs = folder.join("logs");
    if fs::symlink_metadata(&logs).is_err() {
        symlink("/run/log", logs)?;
    }
    let main = folder.join("fairlead.conf");
    let text = fs::read_to_string(&main)?;
    if let Some(text) = in_the_foreground(&main, &text) {
        fs::write(&main, text)?;
    }
    Ok(main)
}

/// What has to be said with `-g` for this configuration to run here.
pub fn globals(main: &Path) -> String {
    let tree = Tree::read(main, None);
    let says = |name: &str| tree.root.statements.iter().any(|statement| &*statement.name.text == name);
    let mut globals = String::from("daemon off;");
    let ours = [
        ("user", " user fairlead;"),
        ("pid", " pid /run/fairlead/fairlead.pid;"),
        ("worker_seccomp", " worker_seccomp on;"),
    ];
    for (name, statement) in ours {
        if !says(name) {
            globals.push_str(statement);
        }
    }
    globals
}

/// The text without its `daemon`: process 1 has to be the parent. `None` when it has none.
fn in_the_foreground(main: &Path, text: &str) -> Option<String> {
    let tree = Tree::read(main, None);
    let source = tree.sources.files.first()?;
    let daemon = |statement: &&fairlead_conf::Statement| {
        &*statement.name.text == "daemon" && tree.sources.path(statement.name.span.file) == source.path
    };
    let found = tree.root.statements.iter().find(daemon)?;
    let last = found.args.last().map_or(found.name.span.end, |word| word.span.end) as usize;
    let first = found.name.span.start as usize;
    let end = last + text.get(last..)?.find(';')? + 1;
    let blank: String = text.get(first..end)?.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect();
    Some([text.get(..first)?, &blank, text.get(end..)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fairlead-working-{}-{name}.conf", std::process::id()));
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_configuration_from_elsewhere_runs_in_the_foreground() {
        let text = "user www-data;\ndaemon\n  on; # as it was\nevents {}\n";
        let path = file("daemon", text);
        let after = in_the_foreground(&path, text).unwrap();
        assert_eq!(after, "user www-data;\n      \n      # as it was\nevents {}\n");
        assert_eq!(globals(&path), "daemon off; pid /run/fairlead/fairlead.pid; worker_seccomp on;");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn one_without_a_user_gets_ours() {
        let path = file("plain", "pid run/a.pid;\nworker_seccomp log;\nhttp { }\n");
        assert_eq!(in_the_foreground(&path, "http { }\n"), None);
        assert_eq!(globals(&path), "daemon off; user fairlead;");
        fs::remove_file(path).unwrap();
    }
}
