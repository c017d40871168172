//! A connection to the appliance that was meant: its key is the one that is known, or somebody says
//! that it is right.

use super::arguments::{Command, Task};
use super::folder::{Appliance, Folder};
use super::{Done, Failure, print, tell};
use fairlead_appliance::management::client::Client;
use fairlead_appliance::management::{Answer, Code, Fingerprint, Request};
use std::io::{self, IsTerminal};

pub struct Session {
    client: Client,
    folder: Folder,
    appliance: Appliance,
}

impl Session {
    pub fn open(task: &Task) -> Result<Session, Failure> {
        let folder = Folder::of_user()?;
        let appliance = folder.appliance(&task.host)?;
        let enrols = matches!(task.command, Command::Enroll { .. });
        let key = if enrols { folder.key_or_new()?.0 } else { folder.key()? };
        let client = Client::connect(&appliance.address, &key)
            .map_err(|error| Failure::Unreachable(format!("{}: {}", appliance.address, reason(&error))))?;
        let session = Session { client, folder, appliance };
        let known = task.fingerprint.or(session.appliance.key);
        match known {
            Some(known) => session.must_be(known)?,
            // The code proves it, or nothing is sent that is worth anything.
            None if enrols => {}
            None => session.ask_user()?,
        }
        if task.fingerprint.is_some() {
            session.remember()?;
        }
        Ok(session)
    }

    /// What the commands say of it.
    pub fn name(&self) -> &str {
        &self.appliance.name
    }

    /// An answer that is not a no.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let answer = self.client.ask(request).map_err(|error| {
            Failure::Unreachable(format!("{}: the connection ended: {}", self.appliance.address, reason(&error)))
        })?;
        if answer.ok {
            return Ok(answer);
        }
        if answer.values.contains_key("unknown") {
            let words = answer.errors.join("; ");
            return Err(Failure::Distrust(format!(
                "{words}\nenroll it by a code of the console: fairleadctl {} enroll CODE",
                self.name()
            )));
        }
        Err(Failure::Refused(answer.errors))
    }

    pub fn enroll(&mut self, code: &Code, name: &Option<String>) -> Done {
        let name = name.clone().unwrap_or_else(user);
        let answer = self.client.enroll(code, &name);
        let answer = answer.map_err(|error| Failure::Unreachable(format!("{}: {error}", self.appliance.address)))?;
        if !answer.ok {
            return Err(Failure::Distrust(answer.errors.join("; ")));
        }
        self.remember()?;
        print(&format!(
            "The key of {name} is known to {} from now on, and its key is known here:\n{}\n",
            self.name(),
            self.client.server()
        ))
    }

    fn must_be(&self, known: Fingerprint) -> Done {
        let found = self.client.server();
        if found == known {
            return Ok(());
        }
        Err(Failure::Distrust(format!(
            "{} has another key than the one that is known. Nothing was sent.\n  known: {known}\n  there: {found}\n\
             Its console shows its key. If it was set up anew, name the new one: --fingerprint {found}",
            self.appliance.address
        )))
    }

    fn ask_user(&self) -> Done {
        let found = self.client.server();
        let question =
            format!("{} is not known yet. Its key is\n  {found}\nIts console shows its key too.", self.name());
        if !io::stdin().is_terminal() {
            return Err(Failure::Distrust(format!("{question}\nIf it is the same: --fingerprint {found}")));
        }
        tell(&format!("{question} Is it the same? [yes/no] "));
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        if read.is_err() || answer.trim() != "yes" {
            return Err(Failure::Distrust("nothing was sent".to_owned()));
        }
        self.remember()
    }

    fn remember(&self) -> Done {
        self.folder.remember(&self.appliance, self.client.server())
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "it does not answer".to_owned(),
        io::ErrorKind::UnexpectedEof => "it was closed there".to_owned(),
        _ => error.to_string(),
    }
}

fn user() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    [set("USER").or_else(|| set("LOGNAME")), host].into_iter().flatten().collect::<Vec<_>>().join("@")
}
