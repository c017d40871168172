//! A program from Debian's packages while it runs: in a process group of its own, gone when dropped.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fairlead_harness::{Directory, Signal, eventually};
use nix::sys::signal::killpg;
use nix::unistd::Pid;

/// No run of a client lasts longer.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Service {
    child: Child,
    output: PathBuf,
}

impl Service {
    /// Starts `command`, with what it prints in the file `name` of the folder.
    pub fn start(mut command: Command, directory: &Directory, name: &str) -> Service {
        let output = directory.join(name);
        let file = File::create(&output).expect("a file can be made");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a file can be shared")).stderr(file);
        let child = command.process_group(0).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Service { child, output }
    }

    pub fn signal(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), signal);
    }

    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        let mut text = Vec::new();
        let read = File::open(&self.output).and_then(|mut file| file.read_to_end(&mut text));
        read.map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(LIMIT)
    }

    pub fn wait_within(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status,
                Err(error) => panic!("{error}"),
                Ok(None) => assert!(start.elapsed() < limit, "it does not end: {}", self.output()),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end; what it printed, if it succeeded.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}

pub fn wait_for_tcp(address: SocketAddr) {
    eventually(&format!("something listens at {address}"), || TcpStream::connect(address).is_ok());
}

/// The number behind `label`, from the first line that has it.
pub fn number_after(text: &str, label: &str) -> Option<f64> {
    let rest = text.split(label).nth(1)?.trim_start();
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// The user of this name that a package made, for programs that refuse to run as root.
pub fn become_user(command: &mut Command, name: &str, directory: &std::path::Path) -> io::Result<()> {
    if !nix::unistd::getuid().is_root() {
        return Ok(());
    }
    let user = nix::unistd::User::from_name(name)?;
    let user = user.unwrap_or_else(|| panic!("there is no user {name}: install the package that makes it"));
    std::os::unix::fs::chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    Ok(())
}
