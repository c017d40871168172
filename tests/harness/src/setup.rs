//! From an inline configuration to a running program.
//!
//! `{port}`, `{port_admin}`, … become ports of the test's own, `{dir}` its folder, and every name
//! given to [`Setup::set`] its value. What is not such a name stays as it is (`${variable}`,
//! `[0-9]{2}`, blocks).

use std::fmt::Display;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::proxy::Proxy;
use crate::{Directory, Port};

pub struct Setup {
    program: PathBuf,
    pub(crate) directory: Directory,
    values: Vec<(String, String)>,
    ports: Vec<(String, Port)>,
    main: String,
    events: String,
    workers: usize,
}

impl Setup {
    /// Run `program`, or the one named by `FAIRLEAD_UNDER_TEST` (to check a test against nginx).
    pub fn new(program: &str) -> Setup {
        let program = std::env::var_os("FAIRLEAD_UNDER_TEST").map_or_else(|| program.into(), PathBuf::from);
        Setup::with_program(program)
    }

    /// Debian's nginx, to compare with.
    pub fn nginx() -> Setup {
        Setup::with_program(installed("nginx", "apt-get install nginx libnginx-mod-stream"))
    }

    fn with_program(program: PathBuf) -> Setup {
        let directory = Directory::new();
        // Where logs go that a configuration does not name.
        std::fs::create_dir(directory.join("logs")).expect("a folder can be made");
        Setup {
            program,
            directory,
            values: Vec::new(),
            ports: Vec::new(),
            main: String::new(),
            events: "worker_connections 4096;".into(),
            workers: 2,
        }
    }

    /// Replace `{name}` by `value` in the configuration.
    pub fn set(mut self, name: &str, value: impl Display) -> Setup {
        self.values.push((name.into(), value.to_string()));
        self
    }

    /// Put a file into the program's folder before it starts.
    pub fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Setup {
        self.directory.write(name, contents);
        self
    }

    /// Directives for the main context.
    pub fn main(mut self, directives: &str) -> Setup {
        self.main.push_str(directives);
        self
    }

    pub fn events(mut self, directives: &str) -> Setup {
        self.events = directives.into();
        self
    }

    pub fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    /// Start with this inside `http {}`.
    pub fn http(self, body: &str) -> Proxy {
        self.start(&http_block(body))
    }

    /// Start with this inside `stream {}`.
    pub fn stream(self, body: &str) -> Proxy {
        self.start(&stream_block(body))
    }

    /// Start with these blocks (`http {…}`, `stream {…}`) below the usual main directives.
    pub fn start(mut self, blocks: &str) -> Proxy {
        let text = self.render(blocks);
        self.write_configuration(&text);
        Proxy::start(self)
    }

    /// Start with exactly this configuration: it must stay in the foreground, have `{dir}/pid` for its pid file
    /// and listen at `127.0.0.1:{port}`.
    pub fn start_exactly(mut self, configuration: &str) -> Proxy {
        let text = self.substitute(configuration);
        self.write_configuration(&text);
        Proxy::start(self)
    }

    /// Run the program with these arguments on exactly this configuration, and wait for its end.
    pub fn run(mut self, arguments: &[&str], configuration: &str) -> (Output, Directory) {
        let text = self.substitute(configuration);
        self.write_configuration(&text);
        let output = self.command().args(arguments).output().expect("the program starts");
        (output, self.directory)
    }

    /// `-t` on these blocks: the exit code's verdict, and what was printed.
    pub fn check(mut self, blocks: &str) -> (bool, String) {
        let text = self.render(blocks);
        self.write_configuration(&text);
        let output = self.command().arg("-t").output().expect("the program starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The program's folder, `{dir}`.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    pub fn is_nginx(&self) -> bool {
        self.program.file_name().is_some_and(|name| name == "nginx")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-p").arg(self.directory.path()).arg("-c").arg(self.directory.join("main.conf"));
        command
    }

    pub(crate) fn port(&self, name: &str) -> Option<SocketAddr> {
        self.ports.iter().find(|(known, _)| known == name).map(|(_, port)| port.address())
    }

    pub(crate) fn replace(&mut self, name: &str, value: String) {
        self.values.retain(|(known, _)| known != name);
        self.values.push((name.into(), value));
    }

    /// What the written configuration listens on at this test's own ports: the address, and
    /// whether it is UDP.
    pub(crate) fn listeners(&self) -> Vec<(SocketAddr, bool)> {
        let text = self.directory.read("main.conf");
        let statements: Vec<&str> = text.split([';', '{', '}']).map(str::trim).collect();
        let listens = statements.iter().filter_map(|statement| statement.strip_prefix("listen "));
        let own = listens.filter_map(|arguments| {
            let words: Vec<&str> = arguments.split_whitespace().collect();
            let address: SocketAddrV4 = words.first()?.parse().ok()?;
            Some((address.into(), words.contains(&"udp")))
        });
        own.collect()
    }

    pub(crate) fn write_configuration(&self, text: &str) {
        // A new file moved over the old one: a program that reads meanwhile sees one or the other.
        let new = self.directory.write("main.conf.new", text);
        std::fs::rename(new, self.directory.join("main.conf")).expect("a file can be moved");
    }

    /// The whole file around the blocks of a test.
    pub(crate) fn render(&mut self, blocks: &str) -> String {
        let mut text = String::new();
        if self.is_nginx() {
            text.push_str(&nginx_preamble(blocks));
        }
        text.push_str(&format!(
            "daemon off;\npid {{dir}}/pid;\nerror_log {{dir}}/error.log info;\nworker_processes {};\n{}\nevents {{ {} }}\n",
            self.workers, self.main, self.events
        ));
        if !self.is_nginx() && !self.main.contains("worker_seccomp") {
            text.push_str(&confinement());
        }
        text.push_str(blocks);
        if self.is_nginx() {
            text = text.replacen("http {", &format!("http {{ {NGINX_TEMPORARY}"), 1);
        }
        self.substitute(&text)
    }

    pub(crate) fn substitute(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, from) = rest.split_at(open);
            out.push_str(before);
            let name: &str = from[1..].split('}').next().unwrap_or_default();
            let value = if before.ends_with('$') || name.len() + 2 > from.len() { None } else { self.value(name) };
            match value {
                Some(value) => {
                    out.push_str(&value);
                    rest = &from[name.len() + 2..];
                }
                None => {
                    out.push('{');
                    rest = &from[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&mut self, name: &str) -> Option<String> {
        if let Some((_, value)) = self.values.iter().find(|(known, _)| known == name) {
            return Some(value.clone());
        }
        if name == "dir" {
            return Some(self.directory.path().display().to_string());
        }
        if !name.starts_with("port") || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        if self.port(name).is_none() {
            self.ports.push((name.into(), Port::reserve()));
        }
        self.port(name).map(|address| address.port().to_string())
    }
}

/// Everything is tested with the calls of the worker process filtered. `FAIRLEAD_TEST_SECCOMP=log` finds
/// out, in the kernel's log, which call a test misses.
fn confinement() -> String {
    format!("worker_seccomp {};\n", std::env::var("FAIRLEAD_TEST_SECCOMP").as_deref().unwrap_or("on"))
}

pub fn http_block(body: &str) -> String {
    format!("http {{ access_log {{dir}}/access.log;\n{body}\n}}\n")
}

pub fn stream_block(body: &str) -> String {
    format!("stream {{\n{body}\n}}\n")
}

/// Where Debian's build would write below `/var` otherwise.
const NGINX_TEMPORARY: &str = "client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; \
                               uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;";

fn nginx_preamble(blocks: &str) -> String {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let mut text = String::new();
    if nix::unistd::getuid().is_root() {
        text.push_str("user root;\n");
    }
    if blocks.contains("stream {") {
        assert!(Path::new(module).exists(), "nginx's stream module is missing: apt-get install libnginx-mod-stream");
        text.push_str(&format!("load_module {module};\n"));
    }
    text
}

/// The path of a program a test needs; a sentence that says what to install when it is not there.
pub fn installed(name: &str, install: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/usr/local/sbin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("this test needs {name}, which is not installed: {install}"))
}
