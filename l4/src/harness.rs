//! A stream plane in a test's own thread: plan from text, sockets on loopback,
//! logs in a folder of its own.

use crate::session::{self, Accepted};
use crate::{Plan, Worker, serve, take_over};
use fairlead_conf::{Cx, Tree};
use fairlead_core::log::{ErrorLogs, Registry};
use fairlead_core::net::{Stream, bind};
use fairlead_core::plan::Build;
use fairlead_core::worker::{Context, Current, Door};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, LocalSet};

/// Runs `test` as the process runs a worker thread. Nothing here may take longer than this.
pub(crate) fn run<F: Future>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = LocalSet::new();
    let limited = async { tokio::time::timeout(Duration::from_secs(10), test()).await.expect("ends in time") };
    local.block_on(&runtime, limited);
}

/// Builds the children of a `stream` block, or says what is wrong with them.
pub(crate) fn plan(text: &str, previous: Option<&Plan>, logs: &Registry) -> Result<Arc<Plan>, Vec<String>> {
    let tree = Tree::parse(Path::new("stream.conf"), text);
    assert!(tree.diagnostics.is_empty(), "syntax: {:?}", tree.diagnostics);
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let resolve = |host: &str| -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    };
    let build = Build { cx: &cx, resolve: &resolve, logs };
    let none = ErrorLogs::default();
    Plan::build(&tree.root, &none, previous, &build)
        .ok_or_else(|| cx.diagnostics.borrow().iter().map(|found| found.message.clone()).collect())
}

/// What is said of a text that is taken all the same.
pub(crate) fn warnings(text: &str) -> Vec<String> {
    let tree = Tree::parse(Path::new("stream.conf"), text);
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let resolve = |_: &str| -> io::Result<Vec<IpAddr>> { Ok(Vec::new()) };
    let logs = Registry::default();
    let built =
        Plan::build(&tree.root, &ErrorLogs::default(), None, &Build { cx: &cx, resolve: &resolve, logs: &logs });
    assert!(built.is_some(), "{text}");
    cx.diagnostics.borrow().iter().map(|found| found.message.clone()).collect()
}

pub(crate) struct Plane {
    folder: PathBuf,
    registry: Registry,
    context: Rc<Context>,
    current: Rc<Current<Worker>>,
    serving: Vec<JoinHandle<()>>,
}

impl Plane {
    /// Serves `text` with a log format `line` that says what most tests ask.
    pub fn start(text: &str) -> Plane {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fairlead-l4-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let registry = Registry::default();
        let plan = plan(&with_logs(text, &folder), None, &registry).expect("a plan");
        let context = Context::new(0);
        context.connections.set_limit(64);
        let worker = Worker::new(plan.clone(), context.clone());
        let current = Rc::new(Current::new(worker));
        let door: Door = {
            let current = current.clone();
            Rc::new(move |key, passed| take_over(key, passed, &current))
        };
        context.handover.replace(plan.listeners().into_iter().map(|listener| (listener.key, door.clone())));
        let mut serving = Vec::new();
        for listener in plan.listeners() {
            let sockets = bind(&listener, 1, false).expect("a free port");
            for socket in sockets {
                serving.push(tokio::task::spawn_local(serve(socket, listener.key.clone(), current.clone())));
            }
        }
        Plane { folder, registry, context, current, serving }
    }

    /// Swaps the generation, as a reload does.
    pub fn reload(&self, text: &str) {
        let old = self.current.load();
        let plan = plan(&with_logs(text, &self.folder), Some(&old.plan), &self.registry).expect("a plan");
        self.current.replace(Worker::new(plan, self.context.clone()));
    }

    pub fn limit(&self, connections: usize) {
        self.context.connections.set_limit(connections);
    }

    pub fn active(&self) -> usize {
        self.context.connections.active()
    }

    pub fn plan(&self) -> Arc<Plan> {
        self.current.load().plan.clone()
    }

    /// Bytes of the future of a session over `client`.
    pub fn session_size(&self, client: Stream) -> usize {
        let worker = self.current.load();
        let key = worker.plan.listeners().pop().expect("a listener").key;
        let entry = worker.entry(&key).expect("its entry");
        let ticket = self.context.admit().expect("room");
        size_of_val(&session::run(Accepted { client, address: None, worker, entry, ticket, passed: None }))
    }

    /// Stops accepting.
    pub async fn close(&mut self) {
        for serving in self.serving.drain(..) {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// The access log once it has `count` lines.
    pub async fn access(&self, count: usize) -> Vec<String> {
        loop {
            let lines = self.lines("access.log");
            if lines.len() >= count {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The error log's lines without time and process.
    pub fn errors(&self) -> Vec<String> {
        let tail = |line: &String| line.split_once("] ").map_or("", |(_, rest)| rest).to_owned();
        let text = |line: String| line.split_once(": ").map_or(line.clone(), |(_, rest)| rest.to_owned());
        self.lines("error.log").iter().map(tail).map(text).map(|line| strip_number(&line)).collect()
    }

    fn lines(&self, file: &str) -> Vec<String> {
        self.context.logs.flush();
        self.registry.flush();
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn strip_number(line: &str) -> String {
    match line.strip_prefix('*').and_then(|rest| rest.split_once(' ')) {
        Some((_, rest)) => rest.to_owned(),
        None => line.to_owned(),
    }
}

fn with_logs(text: &str, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "log_format line '$protocol $status $bytes_received/$bytes_sent $upstream_addr \
         $upstream_bytes_sent/$upstream_bytes_received';\n\
         access_log {folder}/access.log line;\nerror_log {folder}/error.log warn;\n{text}"
    )
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

/// A TCP peer that answers everything with `name` in front.
pub(crate) async fn tcp_peer(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let answer = [name.as_bytes(), b":", &buffer[..read]].concat();
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A UDP peer that answers everything `times` times with `name` in front.
pub(crate) async fn udp_peer(name: &'static str, times: usize) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("its address");
    tokio::task::spawn_local(async move {
        let mut buffer = vec![0; 65536];
        while let Ok((read, from)) = socket.recv_from(&mut buffer).await {
            let answer = [name.as_bytes(), b":", &buffer[..read]].concat();
            for _ in 0..times {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    address
}

pub(crate) async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("sends");
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).await.expect("reads");
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

pub(crate) async fn udp_client(to: impl ToSocketAddrs) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let to = to.to_socket_addrs().expect("an address").next().expect("one");
    socket.connect(to).await.expect("connects");
    socket
}

pub(crate) async fn exchange(socket: &UdpSocket, bytes: &[u8]) -> String {
    socket.send(bytes).await.expect("sends");
    let mut buffer = vec![0; 65536];
    let read = socket.recv(&mut buffer).await.expect("receives");
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}
