//! The program under test while it runs. Dropping it stops it and fails the test if it does not
//! stop cleanly; when the test is already failing, its process group is killed and its logs shown.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::setup::Setup;
use crate::{Response, client, eventually, eventually_within, process};

const STOP_LIMIT: Duration = Duration::from_secs(15);

pub struct Proxy {
    setup: Setup,
    child: Child,
    /// The master: the child, or the one that took its place.
    master: u32,
    stopped: bool,
}

impl Proxy {
    pub(crate) fn start(setup: Setup) -> Proxy {
        let stderr = File::create(setup.directory.join("stderr")).expect("a file can be made");
        let mut command = setup.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let master = child.id();
        let mut proxy = Proxy { setup, child, master, stopped: false };
        proxy.wait_until_it_serves();
        proxy
    }

    /// Where `{port}` listens.
    pub fn address(&self) -> SocketAddr {
        self.port("port")
    }

    /// Where `{NAME}` listens.
    pub fn port(&self, name: &str) -> SocketAddr {
        self.setup.port(name).unwrap_or_else(|| panic!("the configuration has no {{{name}}}"))
    }

    pub fn get(&self, path: &str) -> Response {
        client::get(self.address(), path)
    }

    /// The master's process id.
    pub fn pid(&self) -> u32 {
        self.master
    }

    /// The process id in the program's pid file.
    pub fn pid_file(&self) -> Option<u32> {
        self.setup.directory.read("pid").trim().parse().ok()
    }

    /// From now on the process in the pid file is the master: the first one must end by itself.
    #[track_caller]
    pub fn follow_the_new_master(&mut self) {
        let status = self.wait_for_exit();
        assert!(status.success(), "the old master ended with {status}\n{}", self.logs());
        self.master = self.pid_file().expect("the new master has its pid file");
        assert!(process::is_running(self.master), "the new master runs\n{}", self.logs());
        self.stopped = false;
    }

    /// The processes that carry traffic.
    pub fn workers(&self) -> Vec<u32> {
        process::children(self.pid())
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("the master can be signalled");
    }

    /// Put other blocks into the configuration file, without telling the program.
    pub fn rewrite(&mut self, blocks: &str) {
        let text = self.setup.render(blocks);
        self.setup.write_configuration(&text);
    }

    /// Replace `{name}` by another value from the next [`Proxy::rewrite`] on.
    pub fn set(&mut self, name: &str, value: impl std::fmt::Display) {
        self.setup.replace(name, value.to_string());
    }

    pub fn directory(&self) -> &crate::Directory {
        &self.setup.directory
    }

    pub fn error_log(&self) -> String {
        self.setup.directory.read("error.log")
    }

    pub fn stderr(&self) -> String {
        self.setup.directory.read("stderr")
    }

    pub fn access_log(&self) -> Vec<String> {
        self.setup.directory.read("access.log").lines().map(str::to_owned).collect()
    }

    /// The access log once it has this many lines.
    #[track_caller]
    pub fn access_lines(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines in the access log"), || self.access_log().len() >= count);
        self.access_log()
    }

    /// Wait until the error log, or what the program printed, contains `words`.
    #[track_caller]
    pub fn wait_for_error(&self, words: &str) {
        eventually(&format!("{words:?} in the error log"), || {
            self.error_log().contains(words) || self.stderr().contains(words)
        });
    }

    /// Ask it to stop at once; panic unless it ends with success and leaves nobody behind.
    pub fn stop(mut self) {
        self.stop_with(Signal::SIGTERM);
    }

    /// Ask it to stop with `signal`; panic unless it ends with success.
    pub fn stop_with(&mut self, signal: Signal) {
        self.signal(signal);
        if self.master == self.child.id() {
            let status = self.wait_for_exit();
            assert!(status.success(), "stopped with {status}\n{}", self.logs());
        }
        eventually_within(STOP_LIMIT, "every process of the group is gone", || !process::group_runs(self.child.id()));
        self.stopped = true;
        let log = self.stderr() + &self.error_log();
        assert!(!log.contains("panicked at"), "it panicked\n{}", self.logs());
    }

    /// Wait for the end of the process that was started.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        eventually_within(STOP_LIMIT, "the program ends", || matches!(self.child.try_wait(), Ok(Some(_))));
        self.stopped = true;
        self.child.wait().expect("its status can be read")
    }

    fn wait_until_it_serves(&mut self) {
        let listeners = self.setup.listeners();
        let limit = Duration::from_secs(30);
        eventually_within(limit, "the program serves", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.stopped = true;
                panic!("ended at once with {status}\n{}", self.logs());
            }
            let ready = |(address, udp): &(SocketAddr, bool)| match udp {
                true => process::udp_bound(*address),
                false => process::tcp_listens(*address),
            };
            !self.setup.directory.read("pid").is_empty() && listeners.iter().all(ready) && !self.workers().is_empty()
        });
    }

    fn logs(&self) -> String {
        let error_log = self.error_log();
        let lines: Vec<&str> = error_log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("--- stderr\n{}\n--- error.log\n{tail}\n---", self.stderr())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        } else if !self.stopped {
            self.stop_with(Signal::SIGTERM);
        }
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
