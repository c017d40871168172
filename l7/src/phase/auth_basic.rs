//! `auth_basic`: names and passwords of RFC 7617 against a file.
//!
//! The file is read and the password hashed on the runtime's blocking threads,
//! as many at once as the machine has processors: a hash that is slow on purpose
//! holds up nobody but who sent the password.

#![allow(clippy::disallowed_methods, reason = "what touches the disk here runs on the runtime's blocking threads")]

use super::password::{self, Checked};
use super::{Verdict, challenge};
use crate::directives::{HTTP, LOCATION, SERVER};
use crate::exchange::Exchange;
use crate::variables::{Variable, compile, credentials};
use fairlead_conf::{Args, Contexts, Directive, Repeat, Template, Value};
use fairlead_core::log::{Level, OsError};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

#[derive(Clone, Default)]
pub(crate) struct Settings {
    realm: Option<Arc<Template<Variable>>>,
    file: Option<Arc<PasswordFile>>,
}

struct PasswordFile {
    name: Template<Variable>,
    /// What a relative name starts from.
    folder: PathBuf,
}

const CONTEXTS: Contexts = HTTP.or(SERVER).or(LOCATION).or(Contexts::LIMIT_EXCEPT);

pub(super) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "auth_basic",
        contexts: CONTEXTS,
        args: Args::exactly(&[Value::Template], "string | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Asks for a name and a password, for the realm that the text names; `off` does not. Needs \
              `auth_basic_user_file`.",
        set: |basic, given| {
            let realm = compile(given.word(0), given.cx)?;
            basic.realm = (realm.literal() != Some("off")).then(|| Arc::new(realm));
            Ok(())
        },
    },
    Directive {
        name: "auth_basic_user_file",
        contexts: CONTEXTS,
        args: Args::exactly(&[Value::Template], "file"),
        repeat: Repeat::Once,
        default: None,
        doc: "Names and passwords, as `name:password` lines; `#` begins a comment, a relative name is relative to the \
              configuration file. Passwords are hashed as `htpasswd` or `openssl passwd` do: bcrypt (`$2y$`), \
              `$apr1$`, `$1$`, `$5$`, `$6$`, crypt of DES, `{SHA}`, `{SSHA}`, or `{PLAIN}`. The file is read for each \
              request that names a user.",
        set: |basic, given| {
            let name = compile(given.word(0), given.cx)?;
            basic.file = Some(Arc::new(PasswordFile { name, folder: given.cx.conf_dir.clone() }));
            Ok(())
        },
    },
];

/// A location's realm and file.
pub(super) struct Basic {
    realm: Arc<Template<Variable>>,
    file: Arc<PasswordFile>,
}

impl Settings {
    /// `None` where nothing is asked; nginx too takes a realm without a file for that.
    pub(super) fn compile(&self) -> Option<Basic> {
        Some(Basic { realm: self.realm.clone()?, file: self.file.clone()? })
    }
}

/// Passwords that are hashed at the same time.
static HASHING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

impl Basic {
    pub async fn ask(&self, exchange: &mut Exchange) -> Verdict {
        let mut realm = Vec::new();
        exchange.render(&self.realm, &mut realm);
        if realm == b"off" {
            return Verdict::Declined;
        }
        let Some((user, password)) = credentials(exchange) else {
            exchange.log(Level::Info, format_args!("no user/password was provided for basic authentication"));
            return refuse(exchange, &realm);
        };
        let mut name = Vec::new();
        exchange.render(&self.file.name, &mut name);
        let path = self.file.folder.join(OsString::from_vec(name));
        let Ok(permit) = HASHING.acquire().await else { return Verdict::Refused(500) };
        let asked = (path.clone(), user.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let found = look_up(&asked.0, &asked.1, &password);
            drop(permit);
            found
        });
        let user = user.escape_ascii();
        match checked.await {
            Ok(Ok(Some(Checked::Right))) => Verdict::Granted,
            Ok(Ok(Some(Checked::Wrong))) => {
                exchange.log(Level::Error, format_args!("user \"{user}\": password mismatch"));
                refuse(exchange, &realm)
            }
            Ok(Ok(Some(Checked::Unknown))) => {
                exchange.log(Level::Crit, format_args!("user \"{user}\": the password's hash is of no known kind"));
                Verdict::Refused(500)
            }
            Ok(Ok(None)) => {
                let path = path.display();
                exchange.log(Level::Error, format_args!("user \"{user}\" was not found in \"{path}\""));
                refuse(exchange, &realm)
            }
            Ok(Err(error)) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                let (level, status) = if missing { (Level::Error, 403) } else { (Level::Crit, 500) };
                exchange.log(level, format_args!("open() \"{}\" failed {}", path.display(), OsError(&error)));
                Verdict::Refused(status)
            }
            Err(_) => Verdict::Refused(500),
        }
    }
}

fn refuse(exchange: &mut Exchange, realm: &[u8]) -> Verdict {
    challenge(exchange, realm);
    Verdict::Refused(401)
}

/// `None` when the file does not know the user.
fn look_up(path: &std::path::Path, user: &[u8], password: &[u8]) -> io::Result<Option<Checked>> {
    let file = std::fs::read(path)?;
    Ok(find(&file, user).map(|hash| password::check(hash, password)))
}

/// The hash of a user: what stands between the first colon of its line and the second.
fn find<'f>(file: &'f [u8], user: &[u8]) -> Option<&'f [u8]> {
    file.split(|byte| *byte == b'\n').filter(|line| line.first() != Some(&b'#')).find_map(|line| {
        let hash = line.strip_prefix(user)?.strip_prefix(b":")?;
        let line = hash.strip_suffix(b"\r").unwrap_or(hash);
        line.split(|byte| *byte == b':').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let file = b"# joe:comment\njoey:one\njoe:two:a comment\nann:three\r\nlast:four";
        for (user, hash) in
            [("joe", Some("two")), ("joey", Some("one")), ("ann", Some("three")), ("last", Some("four")), ("jo", None)]
        {
            assert_eq!(find(file, user.as_bytes()), hash.map(str::as_bytes), "{user}");
        }
        assert_eq!(find(file, b"# joe"), None);
        assert_eq!(find(b"", b"joe"), None);
    }
}
