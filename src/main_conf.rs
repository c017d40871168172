//! The rows of the main context and of `events`: what concerns the process
//! and not its traffic. `http` and `stream` have a row here so that they may
//! stand in a file; [`crate::generation`] hands their blocks to the planes.

mod affinity;

pub use affinity::Affinity;

use crate::cli::Invocation;
use crate::privileges;
use fairlead_conf::{Args, Contexts, Cx, Diagnostic, Directive, Given, Level, Repeat, Tree, Value};
use fairlead_core::log::{self, Destination, ErrorLogs};
use nix::unistd::Uid;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

/// Most worker threads a configuration may ask for.
const MAX_WORKERS: usize = 1024;

#[derive(Clone, Debug)]
pub struct Main {
    pub daemon: bool,
    pub master_process: bool,
    /// Threads of the worker process.
    pub workers: usize,
    pub affinity: Affinity,
    pub rlimit_nofile: Option<u64>,
    pub rlimit_core: Option<u64>,
    pub priority: i32,
    pub working_directory: Option<PathBuf>,
    pub shutdown_timeout: Option<Duration>,
    /// User and group of the worker process.
    pub user: Option<(Box<str>, Option<Box<str>>)>,
    pub pid: PathBuf,
    pub env: Vec<EnvVariable>,
    pub seccomp: WorkerSeccomp,
    pub events: Events,
}

/// Which calls to the kernel the worker process may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerSeccomp {
    /// Any.
    #[default]
    Off,
    /// Any; those that `On` would refuse are noted in the kernel's log.
    Log,
    On,
}

#[derive(Clone, Debug)]
pub struct Events {
    /// Per worker thread.
    pub worker_connections: usize,
}

/// A variable the worker process keeps (`env NAME`) or is given (`env NAME=value`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVariable {
    pub name: Box<str>,
    pub value: Option<Box<str>>,
}

/// What the main level writes into.
pub struct Scope {
    pub main: Main,
    /// Checked, and otherwise the business of the appliance's first process.
    appliance: fairlead_appliance::Settings,
    pub error_logs: ErrorLogs,
}

pub static LEVEL: LazyLock<Level<Scope>> = LazyLock::new(|| {
    Level::new(Contexts::MAIN)
        .with(DIRECTIVES, |scope: &mut Scope| &mut scope.main)
        .with(log::DIRECTIVES, |scope: &mut Scope| &mut scope.error_logs)
        .with(fairlead_appliance::DIRECTIVES, |scope: &mut Scope| &mut scope.appliance)
});

pub static EVENTS: LazyLock<Level<Events>> =
    LazyLock::new(|| Level::new(Contexts::EVENTS).with(EVENTS_DIRECTIVES, |events: &mut Events| events));

/// Reads the main level of `tree`; what is wrong goes to `cx`.
pub fn read(tree: &Tree, invocation: &Invocation, cx: &Cx) -> Scope {
    let mut scope = Scope {
        main: Main::new(invocation),
        appliance: fairlead_appliance::Settings::default(),
        error_logs: ErrorLogs::default(),
    };
    LEVEL.defaults(&mut scope, cx);
    LEVEL.eval(&tree.root, &mut scope, cx);
    if !tree.root.statements.iter().any(|statement| &*statement.name.text == "error_log") {
        scope.error_logs = ErrorLogs(vec![(default_error_log(invocation), log::Level::Error)]);
    }
    scope
}

/// `-e`, or `logs/error.log`.
fn default_error_log(invocation: &Invocation) -> Destination {
    match invocation.error_log.as_deref() {
        Some("stderr") => Destination::Stderr,
        file => Destination::File(invocation.prefix.join(file.unwrap_or("logs/error.log"))),
    }
}

impl Main {
    fn new(invocation: &Invocation) -> Main {
        Main {
            daemon: true,
            master_process: true,
            workers: 1,
            affinity: Affinity::None,
            rlimit_nofile: None,
            rlimit_core: None,
            priority: 0,
            working_directory: None,
            shutdown_timeout: None,
            user: None,
            pid: invocation.prefix.join("logs/fairlead.pid"),
            env: Vec::new(),
            seccomp: WorkerSeccomp::default(),
            events: Events { worker_connections: 512 },
        }
    }
}

const fn row(
    name: &'static str,
    args: Args,
    doc: &'static str,
    set: fn(&mut Main, &Given<'_>) -> Result<(), Diagnostic>,
) -> Directive<Main> {
    Directive { name, contexts: Contexts::MAIN, args, repeat: Repeat::Once, default: None, doc, set }
}

impl Default for Events {
    fn default() -> Events {
        Events { worker_connections: 512 }
    }
}

pub const DIRECTIVES: &[Directive<Main>] = &[
    Directive {
        default: Some("on"),
        ..row(
            "daemon",
            Args::exactly(&[Value::Flag], "on | off"),
            "Whether fairlead leaves the terminal and runs in the background. The command returns when the \
             worker process serves, or with what went wrong.",
            |main, given| given.flag(0).map(|on| main.daemon = on),
        )
    },
    Directive {
        default: Some("on"),
        ..row(
            "master_process",
            Args::exactly(&[Value::Flag], "on | off"),
            "Whether the traffic is served by a worker process of its own, which the master starts again if \
             it dies. `off` serves from the master itself and is meant for debugging: no privileges are dropped.",
            |main, given| given.flag(0).map(|on| main.master_process = on),
        )
    },
    Directive {
        default: Some("1"),
        ..row(
            "worker_processes",
            Args::exactly(&[Value::Text], "number | auto"),
            "Number of worker threads; `auto` is one per processor. They all live in one worker process and \
             share no connection. A reload may change the number.",
            set_workers,
        )
    },
    row(
        "worker_cpu_affinity",
        Args::at_least(1, &[Value::Text], "cpumask ... | auto [cpumask]"),
        "Binds worker threads to processors. Each mask is a row of 0 and 1, the rightmost for processor 0, \
         and belongs to the worker of its position; `auto` gives each worker a processor of its own, out of \
         those of the mask.",
        |main, given| affinity::parse(given).map(|affinity| main.affinity = affinity),
    ),
    row(
        "worker_rlimit_nofile",
        Args::exactly(&[Value::Int(1..=i64::MAX)], "number"),
        "Most open files of the worker process (RLIMIT_NOFILE). Every connection is one, and one more to its peer.",
        |main, given| given.int(0).map(|limit| main.rlimit_nofile = u64::try_from(limit).ok()),
    ),
    row(
        "worker_rlimit_core",
        Args::exactly(&[Value::Size], "size"),
        "Largest core file of the worker process (RLIMIT_CORE).",
        |main, given| given.size(0).map(|size| main.rlimit_core = Some(size)),
    ),
    Directive {
        default: Some("0"),
        ..row(
            "worker_priority",
            Args::exactly(&[Value::Int(-20..=20)], "number"),
            "Scheduling priority of the worker process, as of `nice`: negative is more.",
            |main, given| given.int(0).map(|nice| main.priority = i32::try_from(nice).unwrap_or(0)),
        )
    },
    row(
        "working_directory",
        Args::exactly(&[Value::Path], "directory"),
        "Current folder of the worker process: where its core file goes.",
        |main, given| {
            main.working_directory = Some(given.path(0));
            Ok(())
        },
    ),
    row(
        "worker_shutdown_timeout",
        Args::exactly(&[Value::Time], "time"),
        "How long a graceful stop waits for connections to end. Without it, as long as they last.",
        |main, given| given.time(0).map(|time| main.shutdown_timeout = Some(time)),
    ),
    row(
        "user",
        Args::between(1, 2, &[Value::Text], "user [group]"),
        "User and group of the worker process when fairlead is started by root; the group is by default the \
         one with the user's name. Without this directive: nobody.",
        set_user,
    ),
    Directive {
        default: Some("logs/fairlead.pid"),
        ..row(
            "pid",
            Args::exactly(&[Value::Path], "file"),
            "File that holds the master's process id while it runs; `fairlead -s` reads it.",
            |main, given| {
                main.pid = given.path(0);
                Ok(())
            },
        )
    },
    Directive {
        repeat: Repeat::Append,
        ..row(
            "env",
            Args::exactly(&[Value::Text], "variable[=value]"),
            "An environment variable that the worker process keeps or is given. All others but TZ are taken from it.",
            set_env,
        )
    },
    Directive {
        default: Some("off"),
        ..row(
            "worker_seccomp",
            Args::exactly(&[Value::OneOf(&["on", "off", "log"])], "on | off | log"),
            "Whether the worker process may ask of the kernel only what serving takes. A call that no worker \
             process makes (starting a program, tracing, mounting, loading code into the kernel, …) ends it at \
             once, and the master starts another; any other call that is not needed fails with EPERM, memory \
             never becomes executable, and sockets are of IPv4, IPv6 and Unix. `log` refuses nothing and notes in \
             the kernel's log what `on` would refuse. A reload may turn it on; to turn it off takes a new worker \
             process (USR2, or a restart).",
            set_seccomp,
        )
    },
    Directive {
        repeat: Repeat::Append,
        ..row(
            "load_module",
            Args::exactly(&[Value::Text], "file"),
            "Always refused: everything fairlead can do is in its one binary, and nginx's modules are C code \
             that only runs in nginx.",
            |_, given| {
                let message = format!("\"load_module\" cannot load \"{}\"", given.text(0));
                Err(given
                    .error(0, message)
                    .help("fairlead has no dynamic modules: stream, http and the rest are built in; remove this line"))
            },
        )
    },
    row("events", Args::none().with_block(), "Settings of connection processing.", |main, given| {
        EVENTS.eval(given.block(), &mut main.events, given.cx);
        Ok(())
    }),
    row("http", Args::none().with_block(), "The HTTP plane: servers, locations and their upstreams.", |_, _| Ok(())),
    row("stream", Args::none().with_block(), "The stream plane: TCP and UDP servers and their upstreams.", |_, _| {
        Ok(())
    }),
];

pub const EVENTS_DIRECTIVES: &[Directive<Events>] = &[Directive {
    name: "worker_connections",
    contexts: Contexts::EVENTS,
    args: Args::exactly(&[Value::Int(1..=100_000_000)], "number"),
    repeat: Repeat::Once,
    default: Some("512"),
    doc: "Most client connections of one worker thread at the same time. Connections to peers do not count.",
    set: |events, given| {
        given.int(0).map(|number| events.worker_connections = usize::try_from(number).unwrap_or(usize::MAX))
    },
}];

fn set_workers(main: &mut Main, given: &Given<'_>) -> Result<(), Diagnostic> {
    let text = given.text(0);
    main.workers = if text == "auto" {
        std::thread::available_parallelism().map_or(1, usize::from)
    } else {
        text.parse().ok().filter(|number| (1..=MAX_WORKERS).contains(number)).ok_or_else(|| {
            given
                .error(0, format!("invalid value \"{text}\" in \"worker_processes\""))
                .help(format!("a number from 1 to {MAX_WORKERS}, or \"auto\" for one per processor"))
        })?
    };
    Ok(())
}

fn set_env(main: &mut Main, given: &Given<'_>) -> Result<(), Diagnostic> {
    let (name, value) = match given.text(0).split_once('=') {
        Some((name, value)) => (name, Some(value.into())),
        None => (given.text(0), None),
    };
    if name.is_empty() {
        return Err(given.error(0, "empty variable name in \"env\""));
    }
    main.env.push(EnvVariable { name: name.into(), value });
    Ok(())
}

fn set_seccomp(main: &mut Main, given: &Given<'_>) -> Result<(), Diagnostic> {
    main.seccomp = match given.text(0) {
        "on" => WorkerSeccomp::On,
        "log" => WorkerSeccomp::Log,
        _ => WorkerSeccomp::Off,
    };
    Ok(())
}

fn set_user(main: &mut Main, given: &Given<'_>) -> Result<(), Diagnostic> {
    let group = (given.len() > 1).then(|| given.text(1));
    main.user = Some((given.text(0).into(), group.map(Into::into)));
    if Uid::effective().is_root() {
        return privileges::account(given.text(0), group).map(drop).map_err(|error| {
            let unknown = if error.to_string().starts_with("getgrnam") { given.len() - 1 } else { 0 };
            given.error(unknown, error.to_string())
        });
    }
    let message =
        "the \"user\" directive makes sense only if the master process runs with super-user privileges, ignored";
    given.cx.report(Diagnostic::warning(given.statement.name.span, message));
    Ok(())
}
