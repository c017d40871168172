//! The products side by side: where their binaries are, how one is started on CPU 0, reloaded and ended.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scenario::Scenario;
use crate::{Fault, LOAD_CPU, PROXY_CPU, configuration, namespace};

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Product {
    Nginx,
    Haproxy,
    Fairlead,
    /// With `worker_seccomp on`.
    Confined,
}

impl Product {
    pub const ALL: [Product; 4] = [Product::Nginx, Product::Haproxy, Product::Fairlead, Product::Confined];
    /// Run when none is named.
    pub const BY_DEFAULT: [Product; 3] = [Product::Nginx, Product::Haproxy, Product::Fairlead];

    pub fn name(self) -> &'static str {
        match self {
            Product::Nginx => "nginx",
            Product::Haproxy => "haproxy",
            Product::Fairlead => "fairlead",
            Product::Confined => "confined",
        }
    }

    fn command(self, configuration: &Path) -> Result<Command, Fault> {
        let mut command = Command::new(self.binary()?);
        match self {
            Product::Nginx => command.args(["-e", "stderr", "-c"]),
            Product::Haproxy => command.args(["-db", "-f"]),
            Product::Fairlead | Product::Confined => command.arg("-c"),
        };
        command.arg(configuration);
        Ok(command)
    }

    pub fn binary(self) -> Result<PathBuf, Fault> {
        match self {
            Product::Fairlead | Product::Confined => Ok(std::env::current_exe()?.with_file_name("fairlead")),
            // Debian keeps both outside of a user's PATH.
            Product::Nginx | Product::Haproxy => ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
                .iter()
                .map(|folder| Path::new(folder).join(self.name()))
                .find(|path| path.exists())
                .ok_or_else(|| format!("{0} is not installed: apt install {0}", self.name()).into()),
        }
    }

    /// One line that says which build was measured.
    pub fn version(self) -> Result<String, Fault> {
        let output = Command::new(self.binary()?).arg("-v").output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(text.lines().next().unwrap_or("no version").to_owned())
    }
}

/// Builds fairlead as it is shipped where there is no such build beside this program.
pub fn build_fairlead() -> Result<(), Fault> {
    let binary = Product::Fairlead.binary()?;
    let is_release = binary.parent().is_some_and(|folder| folder.ends_with("release"));
    if is_release && binary.exists() {
        return Ok(());
    }
    if !is_release {
        return Err("this is not a release build: run the benchmark with cargo run --release -p fairlead-bench".into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let status = Command::new(cargo).args(["build", "--release", "-p", "fairlead"]).current_dir(source).status()?;
    if status.success() { Ok(()) } else { Err("cargo build --release failed".into()) }
}

/// A running proxy; ended when dropped.
pub struct Proxy {
    pub label: String,
    pub address: SocketAddr,
    child: Child,
    errors: PathBuf,
}

impl Proxy {
    /// Started with CPU 0 as the only one it may use, which its worker inherits.
    pub fn start(product: Product, label: &str, number: usize, scenario: &Scenario) -> Result<Proxy, Fault> {
        let directory = namespace::directory().ok_or("no directory")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_001 + number as u16));
        let configuration = directory.join(format!("{}.conf", address.port()));
        let errors = directory.join(format!("{}.err", address.port()));
        files(&directory.join("files/item"))?;
        fs::write(&configuration, configuration::text(product, scenario, address, &directory))?;
        let mut command = product.command(&configuration)?;
        command.stdin(Stdio::null()).stdout(File::create(&errors)?).stderr(File::options().append(true).open(&errors)?);
        namespace::pin(PROXY_CPU)?;
        let child = command.spawn();
        namespace::pin(LOAD_CPU)?;
        Ok(Proxy { label: label.to_owned(), address, child: child?, errors })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last words of one that did not start.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.errors).unwrap_or_default();
        let first: Vec<&str> = text.lines().take(2).map(str::trim).collect();
        if first.is_empty() { "it said nothing".to_owned() } else { first.join(" ") }
    }

    pub fn reload(&self) -> Result<(), Fault> {
        Ok(kill(self.process(), Signal::SIGHUP)?)
    }

    fn process(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

/// What is served where files are: 1 KiB under each path that the load asks for.
fn files(folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    (0..512).try_for_each(|number| fs::write(folder.join(format!("{number:04}")), [b'f'; 1024]))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Fast shutdown lets the master end its worker; what is left after that goes with the namespace.
        let _ = kill(self.process(), Signal::SIGTERM);
        for _ in 0..200 {
            if !self.is_running() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
