//! PostgreSQL: pgbench's sessions over two servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use fairlead_harness::{Directory, Port, Signal, eventually};

use crate::fairlead;
use crate::service::{Service, become_user, number_after, run, wait_for_tcp};

const CLIENTS: usize = 8;

/// The newest version's programs; Debian keeps them outside of PATH.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.is_file());
    found.sort();
    found.pop().unwrap_or_else(|| panic!("this test needs {name}: apt-get install postgresql"))
}

/// A command of PostgreSQL's in its own folder, as the user it wants.
fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(folder);
    become_user(&mut command, "postgres", folder).unwrap();
    command
}

fn server(folder: &Path, port: &Port, directory: &Directory) -> Service {
    std::fs::create_dir(folder).unwrap();
    let data = folder.join("data");
    let mut init = command("initdb", folder);
    init.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
    run(&mut init).unwrap();
    let mut postgres = command("postgres", folder);
    postgres.arg("-D").arg(&data).args(["-p", &port.number().to_string()]);
    for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=16MB"] {
        postgres.args(["-c", setting]);
    }
    let service = Service::start(postgres, directory, &format!("postgres-{}", port.number()));
    wait_for_tcp(port.address());
    // Listening comes before being ready.
    eventually("the server takes the tables", || {
        run(Command::new(program("pgbench")).args(connection(port.number())).args(["-i", "-q", "postgres"])).is_ok()
    });
    service
}

fn connection(port: u16) -> [String; 6] {
    ["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres"].map(str::to_owned)
}

fn pgbench(port: u16, arguments: &[&str]) -> Command {
    let mut pgbench = Command::new(program("pgbench"));
    // The database comes last.
    pgbench.args(connection(port)).args(["-n", "-S", "-j", "2", "-c", &CLIENTS.to_string()]);
    pgbench.args(arguments).arg("postgres");
    pgbench
}

#[test]
fn a_killed_server_takes_only_its_own_sessions_with_it() {
    let directory = Directory::new();
    let ports = [Port::reserve(), Port::reserve()];
    let [doomed, _survivor] =
        std::array::from_fn(|at| server(&directory.join(&format!("pg{at}")), &ports[at], &directory));
    let proxy = fairlead().set("a", ports[0].address()).set("b", ports[1].address()).stream(
        "log_format own '$upstream_addr $status $session_time';
         upstream group { least_conn; server {a}; server {b}; }
         server { listen 127.0.0.1:{port}; proxy_pass group; access_log {dir}/access.log own; }",
    );
    let port = proxy.address().port();

    let mut load = Service::start(pgbench(port, &["-T", "4", "-P", "1"]), &directory, "load");
    eventually("the load runs", || load.output().contains("progress:"));
    // Immediate shutdown: every backend ends at once, as when the machine is gone.
    doomed.signal(Signal::SIGQUIT);
    assert_eq!(load.wait().code(), Some(2), "{}", load.output());

    let said = load.output();
    let aborted = said.matches("aborted in command").count();
    assert!(number_after(&said, "number of transactions actually processed:").unwrap() > 1000.0, "{said}");
    let sessions = proxy.access_lines(CLIENTS + 1);
    let of_the_load = |address: &str| {
        let long = |line: &&String| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.5;
        sessions.iter().filter(long).filter(|line| line.starts_with(address)).count()
    };
    let (dead, alive) = (of_the_load(&ports[0].address().to_string()), of_the_load(&ports[1].address().to_string()));
    assert_eq!((dead + alive, aborted), (CLIENTS, dead), "{sessions:#?}\n{said}");
    assert!(dead > 0 && alive > 0, "both servers had sessions: {sessions:#?}");

    // From now on nobody notices that one server is missing: a connection for each transaction.
    let said = run(&mut pgbench(port, &["-C", "-t", "20"])).unwrap();
    assert!(said.contains(&format!("processed: {0}/{0}", CLIENTS * 20)), "{said}");
}
