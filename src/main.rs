//! fairlead: the process. Reads the command line and does what it asks; as a
//! worker process, serves.

mod allocator;
mod cli;
mod control;
mod ctl;
mod daemon;
mod demo;
mod generation;
mod handoff;
mod help;
mod load;
mod main_conf;
mod master;
mod messages;
mod pidfile;
mod privileges;
mod signals;
mod sockets;
mod supervise;
mod temp_folders;
mod worker_process;
mod worker_thread;

use crate::cli::{Action, Cli, Invocation};
use crate::control::Control;
use crate::daemon::Side;
use crate::worker_process::Place;
use fairlead_conf::{Catalog, Cx, Page, Tree, reference_markdown};
use fairlead_core::log::{self, Level};
use fairlead_core::{resolver, upstream};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

fn main() -> ExitCode {
    // Not "exe", which is what it is started by. A name is no more than a courtesy.
    let _ = nix::sys::prctl::set_name(c"fairlead");
    // What a session costs is small and comes in any number: pages of 2 MiB would hold mostly nothing.
    // Workers inherit it. An older kernel has none to refuse.
    let _ = nix::sys::prctl::set_thp_disable(true);
    Catalog::install(pages());
    if std::env::var_os(supervise::WORKER_MARK).is_some() {
        return worker();
    }
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if is_called("fairleadctl") {
        return ctl::run(&args);
    }
    if let [first, rest @ ..] = args.as_slice()
        && first == "ctl"
    {
        return ctl::run(rest);
    }
    match cli::parse(&args) {
        Ok(cli) => act(&cli),
        Err(message) => {
            let _ = writeln!(io::stderr(), "fairlead: {message}\nTry: fairlead -h");
            ExitCode::FAILURE
        }
    }
}

/// One program, and another by its name.
fn is_called(name: &str) -> bool {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    called.file_name().is_some_and(|file| file == name)
}

fn act(cli: &Cli) -> ExitCode {
    let Ok(current_dir) = std::env::current_dir() else {
        load::complain(Level::Emerg, "the current folder is gone");
        return ExitCode::FAILURE;
    };
    let invocation = cli.invocation(&current_dir);
    let done = match &cli.action {
        Action::Run => run(invocation),
        Action::Help(None) => print(&help::usage()),
        Action::Help(Some(topic)) => explain(topic),
        Action::Version { details: false } => tell(&format!("fairlead version: {}\n", help::VERSION)),
        Action::Version { details: true } => tell(&help::details()),
        Action::Test { dump } => test(&invocation, *dump, cli.quiet),
        Action::Signal(signal) => send(&invocation, *signal),
        Action::Reference => reference(),
        Action::Demo(args) => demo::run(args),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(text: &str) -> bool {
    io::stdout().write_all(text.as_bytes()).is_ok()
}

/// On standard error, where nginx prints its version.
fn tell(text: &str) -> bool {
    io::stderr().write_all(text.as_bytes()).is_ok()
}

fn explain(topic: &str) -> bool {
    match Catalog::installed().explain(topic) {
        Some(page) => print(&page),
        None => {
            tell(&format!("fairlead: nothing is known about \"{topic}\"; fairlead reference lists every directive\n"));
            false
        }
    }
}

fn reference() -> bool {
    print(&reference_markdown(Catalog::installed().pages()))
}

/// The rows of the whole process, each once.
fn pages() -> Vec<Page> {
    let mut pages = fairlead_conf::pages(main_conf::DIRECTIVES, "main");
    pages.extend(fairlead_conf::pages(main_conf::EVENTS_DIRECTIVES, "events"));
    pages.extend(fairlead_conf::pages(log::DIRECTIVES, "log"));
    pages.extend(fairlead_conf::pages(upstream::DIRECTIVES, "upstream"));
    pages.extend(fairlead_conf::pages(resolver::DIRECTIVES, "resolver"));
    pages.extend(fairlead_l4::pages());
    pages.extend(fairlead_l7::pages());
    pages.extend(fairlead_appliance::pages());
    pages
}

/// Starts the master: in the background unless the configuration says `daemon off`.
fn run(invocation: Invocation) -> bool {
    let upgrade = handoff::is_upgrade();
    let program = program();
    let readiness = if upgrade || !read_main(&invocation).daemon {
        None
    } else {
        match daemon::detach() {
            Ok(Side::Starter { up }) => return up,
            Ok(Side::Daemon(readiness)) => Some(readiness),
            Err(error) => {
                load::complain(Level::Emerg, &format!("cannot go to the background: {error}"));
                return false;
            }
        }
    };
    master::run(master::Start { invocation, program, readiness, upgrade })
}

/// The main level alone; what is wrong is found again, and said, when all of it is read.
fn read_main(invocation: &Invocation) -> main_conf::Main {
    let tree = Tree::read(&invocation.conf, invocation.globals.as_deref());
    let cx = Cx::new(&invocation.prefix, invocation.conf_dir());
    main_conf::read(&tree, invocation, &cx).main
}

/// The path we were started by, absolute: an upgrade runs what is there by then.
fn program() -> OsString {
    let called = PathBuf::from(std::env::args_os().next().unwrap_or_default());
    let by_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(&called)).find(|file| file.is_file())
    };
    let found = if called.components().count() > 1 { std::path::absolute(&called).ok() } else { by_path() };
    found.or_else(|| std::env::current_exe().ok()).unwrap_or(called).into_os_string()
}

fn test(invocation: &Invocation, dump: bool, quiet: bool) -> bool {
    let reading = load::load(invocation, 1);
    load::print(&reading.diagnostics, &reading.tree.sources, quiet);
    let file = invocation.conf.display();
    let failures = reading.loaded.as_ref().map(|loaded| {
        if !quiet {
            tell(&format!("fairlead: the configuration file {file} syntax is ok\n"));
        }
        let mut failures = sockets::test(&loaded.generation.listeners());
        let made = temp_folders::make(&loaded.generation, temp_folders::Unnamed::Left);
        failures.extend(made.err().unwrap_or_default());
        failures
    });
    failures.iter().flatten().for_each(|failure| load::complain(Level::Emerg, failure));
    let good = failures.is_some_and(|failures| failures.is_empty());
    if !good {
        tell(&format!("fairlead: configuration file {file} test failed\n"));
    } else if !quiet {
        tell(&format!("fairlead: configuration file {file} test is successful\n"));
    }
    if good && dump {
        let files = reading.tree.sources.files.iter().filter(|source| !source.is_command_line());
        return files
            .into_iter()
            .all(|source| print(&format!("# configuration file {}:\n{}\n", source.path.display(), source.text)));
    }
    good
}

/// A reload is checked here first, where the one who asked for it sees what is wrong.
fn send(invocation: &Invocation, signal: cli::Signal) -> bool {
    let signal = match signal {
        cli::Signal::Stop => Signal::SIGTERM,
        cli::Signal::Quit => Signal::SIGQUIT,
        cli::Signal::Reopen => Signal::SIGUSR1,
        cli::Signal::Reload => {
            let reading = load::load(invocation, 1);
            load::print(&reading.diagnostics, &reading.tree.sources, false);
            if reading.loaded.is_none() {
                return false;
            }
            Signal::SIGHUP
        }
    };
    match pidfile::send(&read_main(invocation).pid, signal) {
        Ok(()) => true,
        Err(error) => {
            load::complain(Level::Error, &error.to_string());
            false
        }
    }
}

/// The life of a worker process: its standard input is the control socket.
fn worker() -> ExitCode {
    let control = io::stdin().as_fd().try_clone_to_owned().and_then(Control::try_from);
    match control.and_then(|control| worker_process::run(control, Place::OwnProcess)) {
        Ok(()) => ExitCode::SUCCESS,
        // The master has been told why.
        Err(_) => ExitCode::from(supervise::FATAL),
    }
}
