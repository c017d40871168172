//! `fairleadctl`: manages appliances from a laptop, over the network. The same program as `fairlead`,
//! under another name, or as `fairlead ctl`. It changes nothing on the machine it runs on but the
//! files it is told to write and its own folder, where its key lies.

mod arguments;
mod configuration;
mod folder;
mod help;
mod session;
mod system;
mod update;

use arguments::{Command, Line, Task};
use folder::Folder;
use session::Session;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why nothing came of it; each has its exit code.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// The appliance said no: its words.
    Refused(Vec<String>),
    /// The command line, or a file of this machine, is not right.
    Here(String),
    Unreachable(String),
    /// One side does not know the other's key.
    Distrust(String),
}

type Done = Result<(), Failure>;

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Refused(_) => 1,
            Failure::Here(_) => 2,
            Failure::Unreachable(_) => 3,
            Failure::Distrust(_) => 4,
        }
    }
}

/// Runs one command. `args` are those after the program's name.
pub fn run(args: &[String]) -> ExitCode {
    match arguments::parse(args).map_err(Failure::Here).and_then(act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&words(&failure));
            ExitCode::from(failure.code())
        }
    }
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Refused(errors) => errors.iter().map(|error| format!("{}\n", error.trim_end())).collect(),
        Failure::Here(why) | Failure::Unreachable(why) | Failure::Distrust(why) => format!("fairleadctl: {why}\n"),
    }
}

fn act(line: Line) -> Done {
    match line {
        Line::Help(None) => print(&help::overview()),
        Line::Help(Some(command)) => print(&help::page(command)),
        Line::Version => print(&format!("fairleadctl version: {}\n", crate::help::VERSION)),
        Line::Keygen => keygen(),
        Line::Ask(task) => ask(&task),
    }
}

/// The key is made once; asked for again, it is shown again.
fn keygen() -> Done {
    let folder = Folder::of_user()?;
    let (key, made) = folder.key_or_new()?;
    let what = if made { "A new key is in" } else { "The key is in" };
    print(&format!(
        "{what} {}. Its fingerprint:\n\n{}\n\nAn appliance knows it by this line of its configuration:\n\n    appliance {{ management {{ authorized_key {}; }} }}\n\nor by a code that its console shows: fairleadctl HOST enroll CODE\n",
        folder.key_path().display(),
        key.fingerprint(),
        key.fingerprint()
    ))
}

fn ask(task: &Task) -> Done {
    // What is wrong here is found before anything is asked there.
    let prepared = match &task.command {
        Command::Push { path, .. } => Some(configuration::Local::read(path)?),
        _ => None,
    };
    let image = match &task.command {
        Command::Update { file, .. } => Some(update::Image::open(file)?),
        _ => None,
    };
    let mut session = Session::open(task)?;
    match &task.command {
        Command::Enroll { code, name } => session.enroll(code, name),
        Command::Push { dry_run, confirm, note, .. } => {
            let Some(local) = prepared else { return Ok(()) };
            configuration::push(&local, configuration::How { dry_run: *dry_run, confirm: *confirm, note }, &mut session)
        }
        Command::Confirm => configuration::confirm(&mut session),
        Command::Cancel => configuration::cancel(&mut session),
        Command::Pull { version, to } => configuration::pull(*version, to.as_deref(), &mut session),
        Command::Versions => configuration::versions(&mut session),
        Command::Use { version, confirm } => configuration::use_again(*version, *confirm, &mut session),
        Command::Backup { file, only_configuration } => configuration::backup(file, *only_configuration, &mut session),
        Command::Restore { file, confirm } => configuration::restore(file, *confirm, &mut session),
        Command::Status => system::status(&mut session),
        Command::Logs { follow, lines } => system::logs(*follow, *lines, &mut session),
        Command::Update { allow_downgrade, .. } => {
            image.map_or(Ok(()), |image| update::run(image, *allow_downgrade, &mut session))
        }
        Command::Rollback => system::rollback(&mut session),
        Command::Reboot => system::reboot(&mut session),
        Command::Poweroff => system::poweroff(&mut session),
        Command::Support { file } => system::support(file, &mut session),
    }
}

fn print(text: &str) -> Done {
    // Whoever closed standard output has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// On standard error: what is about the command, not its result.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
