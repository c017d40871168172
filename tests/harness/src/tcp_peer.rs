//! TCP peers, and the small blocking client side the stream tests use.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use socket2::{Domain, SockRef, Socket, Type};

use crate::{PATIENCE, Port};

type Serve = dyn Fn(TcpStream) + Send + Sync;

/// A server that gives every connection to a closure, on a thread of its own.
pub struct TcpPeer {
    address: SocketAddr,
    listener: TcpListener,
    accepted: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<JoinHandle<()>>,
    port: Option<Port>,
}

impl TcpPeer {
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> TcpPeer {
        let port = Port::reserve();
        let mut peer = TcpPeer::start_at(port.address(), serve);
        peer.port = Some(port);
        peer
    }

    /// Start at an address the caller reserved (to come back where another peer was stopped).
    pub fn start_at(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> TcpPeer {
        let listener = crate::ports::patiently(|| TcpListener::bind(address));
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(Mutex::new(Vec::new()));
        let serve: Arc<Serve> = Arc::new(serve);
        let (socket, count, streams) = (listener.try_clone().expect("cloned"), accepted.clone(), open.clone());
        let acceptor = std::thread::spawn(move || accept_all(&socket, &count, &streams, &serve));
        TcpPeer { address, listener, accepted, open, acceptor: Some(acceptor), port: None }
    }

    /// Sends back what it gets, and closes when the client has finished.
    pub fn echo() -> TcpPeer {
        TcpPeer::start(|stream| {
            let _ = std::io::copy(&mut &stream, &mut &stream);
            let _ = stream.shutdown(Shutdown::Write);
        })
    }

    /// Answers each line with `NAME: line`, so that a test sees who served it.
    pub fn named(name: &str) -> TcpPeer {
        TcpPeer::start(answer_lines(name))
    }

    pub fn named_at(name: &str, address: SocketAddr) -> TcpPeer {
        TcpPeer::start_at(address, answer_lines(name))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Close the listener and every connection. The returned port keeps the address for a return.
    pub fn stop(mut self) -> Option<Port> {
        self.close();
        self.port.take()
    }

    fn close(&mut self) {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        for stream in self.open.lock().expect("not poisoned").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Drop for TcpPeer {
    fn drop(&mut self) {
        self.close();
    }
}

fn accept_all(listener: &TcpListener, count: &AtomicUsize, open: &Mutex<Vec<TcpStream>>, serve: &Arc<Serve>) {
    while let Ok((stream, _)) = listener.accept() {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = stream.set_nodelay(true);
        let (kept, ending) = (stream.try_clone().expect("cloned"), stream.try_clone().expect("cloned"));
        open.lock().expect("not poisoned").push(kept);
        let serve = serve.clone();
        std::thread::spawn(move || {
            serve(stream);
            let _ = ending.shutdown(Shutdown::Both);
        });
        forget_closed(open);
    }
}

/// What both sides have closed needs no descriptor any more.
fn forget_closed(open: &Mutex<Vec<TcpStream>>) {
    open.lock().expect("not poisoned").retain(|stream| stream.peer_addr().is_ok());
}

fn answer_lines(name: &str) -> impl Fn(TcpStream) + Send + Sync + 'static {
    let name = name.to_owned();
    move |stream| {
        let mut pending = Vec::new();
        let mut byte = [0];
        while matches!((&stream).read(&mut byte), Ok(1)) {
            pending.push(byte[0]);
            if byte[0] == b'\n' {
                let answer = [name.as_bytes(), b": ", &pending].concat();
                if (&stream).write_all(&answer).is_err() {
                    return;
                }
                pending.clear();
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Breaks a connection with a reset, whoever else holds it too.
pub fn reset(stream: &TcpStream) {
    let _ = rustix::net::connect_unspec(stream);
}

/// Connect, with limits on every read and write.
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
}

pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, PATIENCE).map(set_limits)
}

/// Connect from a loopback address of one's own (127.x.y.z).
#[track_caller]
pub fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let source: IpAddr = source.parse().expect("a source is an IP address");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("loopback addresses can be bound");
    socket.connect_timeout(&address.into(), PATIENCE).unwrap_or_else(|error| panic!("{address}: {error}"));
    set_limits(socket.into())
}

fn set_limits(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a limit can be set");
    stream.set_nodelay(true).expect("nodelay can be set");
    stream
}

/// One line, without its end; panics when the connection ends first.
#[track_caller]
pub fn read_line(stream: &TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        let mut stream = stream;
        match stream.read(&mut byte) {
            Ok(1) if byte[0] == b'\n' => return String::from_utf8_lossy(&line).into_owned(),
            Ok(1) => line.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&line)),
        }
    }
}

#[track_caller]
pub fn read_exactly(mut stream: &TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap_or_else(|error| panic!("{count} bytes did not come: {error}"));
    bytes
}

#[track_caller]
pub fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("no clean end: {error}"));
    bytes
}
