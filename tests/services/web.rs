//! Web servers and applications to balance over, and the programs people use them with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlead_harness::setup::installed;
use fairlead_harness::{Directory, Port};

use crate::service::{Service, run, wait_for_tcp};

/// For what takes a minute by itself.
pub const LONG: Duration = Duration::from_secs(240);

/// A file of `tests/services/apps`.
pub fn app(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/apps").join(name)
}

/// Flask's shop, served by gunicorn: two processes of four threads.
pub fn shop(port: &Port, directory: &Directory) -> Service {
    let mut gunicorn = Command::new(installed("gunicorn", "apt-get install gunicorn python3-flask"));
    gunicorn.args(["--bind", &port.address().to_string(), "--workers", "2", "--threads", "4", "--keep-alive", "30"]);
    gunicorn.arg("--chdir").arg(app("")).args(["--worker-tmp-dir", "/dev/shm", "shop:app"]);
    gunicorn.env("SHOP_NAME", name(port)).env("SHOP_ORDERS", directory.join("orders"));
    gunicorn.env("PYTHONDONTWRITEBYTECODE", "1");
    let service = Service::start(gunicorn, directory, &format!("gunicorn-{}", port.number()));
    wait_for_tcp(port.address());
    service
}

/// Node's board.
pub fn board(port: &Port, directory: &Directory) -> Service {
    let mut node = node("board.js");
    node.arg(port.number().to_string()).arg(directory.path());
    let service = Service::start(node, directory, &format!("node-{}", port.number()));
    wait_for_tcp(port.address());
    service
}

/// A script of ours. Debian's node finds Debian's modules; another one has to be told.
pub fn node(script: &str) -> Command {
    let mut node = Command::new(installed("node", "apt-get install nodejs node-ws"));
    node.env("NODE_PATH", "/usr/share/nodejs").arg(app(script));
    node
}

pub fn name(port: &Port) -> String {
    format!("peer-{}", port.number())
}

/// A client that must succeed; what it printed.
#[track_caller]
pub fn curl(arguments: &[&str]) -> String {
    let mut curl = Command::new(installed("curl", "apt-get install curl"));
    curl.args(["--silent", "--show-error", "--max-time", "60"]).args(arguments);
    run(&mut curl).unwrap_or_else(|said| panic!("curl {arguments:?}: {said}"))
}

/// `work` over and over on a thread of its own, until it is asked for what came of it.
pub struct Repeated<T> {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: JoinHandle<Vec<T>>,
}

impl<T: Send + 'static> Repeated<T> {
    pub fn start(work: impl Fn(usize) -> T + Send + 'static) -> Repeated<T> {
        let stop = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (begin, mut results) = (Instant::now(), Vec::new());
            while !stopped.load(std::sync::atomic::Ordering::SeqCst) && begin.elapsed() < LONG {
                results.push(work(results.len()));
            }
            results
        });
        Repeated { stop, thread }
    }

    pub fn finish(self) -> Vec<T> {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        self.thread.join().expect("the work goes on to its end")
    }
}
