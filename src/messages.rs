//! What master and worker process say to each other, and its bytes.

use crate::cli::Invocation;
use crate::control::{Control, Frame};
use crate::load::Names;
use fairlead_conf::Snapshot;
use fairlead_core::net::{Address, ListenerKey, Protocol};
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// From the master to the worker process.
#[derive(Debug)]
pub enum Order {
    Configure(Box<Configure>),
    /// Log files that have been opened anew.
    Logs(Vec<(PathBuf, OwnedFd)>),
    /// Stop accepting, end what runs, exit.
    Drain,
    /// Exit.
    Stop,
}

/// A generation to serve in place of the one before.
#[derive(Debug)]
pub struct Configure {
    pub generation: u64,
    pub invocation: Invocation,
    pub snapshot: Snapshot,
    pub names: Names,
    pub logs: Vec<(PathBuf, OwnedFd)>,
    /// Every socket of the generation.
    pub sockets: Vec<Socket>,
}

/// A listening socket; the master numbers them.
#[derive(Debug)]
pub struct Socket {
    pub id: u64,
    pub key: ListenerKey,
    /// `None` when the worker process holds it already.
    pub fd: Option<OwnedFd>,
}

/// From the worker process to the master.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// This generation is being served.
    Serving(u64),
    /// This generation could not be built; the one before goes on.
    Refused(u64, String),
}

const CONFIGURE: u8 = 1;
const LOGS: u8 = 2;
const DRAIN: u8 = 3;
const STOP: u8 = 4;
const SERVING: u8 = 16;
const REFUSED: u8 = 17;

impl Control {
    /// # Errors
    /// Those of [`Control::send`].
    pub fn order(&self, order: &Order) -> io::Result<()> {
        let mut out = Encoder::default();
        let kind = match order {
            Order::Configure(configure) => {
                out.configure(configure);
                CONFIGURE
            }
            Order::Logs(files) => {
                out.files(files);
                LOGS
            }
            Order::Drain => DRAIN,
            Order::Stop => STOP,
        };
        self.send(kind, &out.bytes, &out.fds)
    }

    /// # Errors
    /// Those of [`Control::send`].
    pub fn answer(&self, answer: &Answer) -> io::Result<()> {
        let mut out = Encoder::default();
        let kind = match answer {
            Answer::Serving(generation) => {
                out.number(*generation);
                SERVING
            }
            Answer::Refused(generation, reason) => {
                out.number(*generation);
                out.bytes(reason.as_bytes());
                REFUSED
            }
        };
        self.send(kind, &out.bytes, &[])
    }

    /// The next order; `None` when the master is gone.
    ///
    /// # Errors
    /// Those of [`Control::receive`], and `InvalidData`.
    pub fn next_order(&self) -> io::Result<Option<Order>> {
        let Some(frame) = self.receive()? else { return Ok(None) };
        let kind = frame.kind;
        let mut from = Decoder::new(frame);
        let order = match kind {
            CONFIGURE => Order::Configure(Box::new(from.configure()?)),
            LOGS => Order::Logs(from.files()?),
            DRAIN => Order::Drain,
            STOP => Order::Stop,
            _ => return Err(broken()),
        };
        from.end().map(|()| Some(order))
    }

    /// The next answer; `None` when the worker process is gone.
    ///
    /// # Errors
    /// Those of [`Control::receive`], and `InvalidData`.
    pub fn next_answer(&self) -> io::Result<Option<Answer>> {
        let Some(frame) = self.receive()? else { return Ok(None) };
        let kind = frame.kind;
        let mut from = Decoder::new(frame);
        let answer = match kind {
            SERVING => Answer::Serving(from.number()?),
            REFUSED => Answer::Refused(from.number()?, from.text()?),
            _ => return Err(broken()),
        };
        from.end().map(|()| Some(answer))
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "broken control message")
}

#[derive(Default)]
struct Encoder<'a> {
    bytes: Vec<u8>,
    fds: Vec<BorrowedFd<'a>>,
}

impl<'a> Encoder<'a> {
    fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.bytes(text.unwrap_or_default().as_bytes());
    }

    fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.number(items.len() as u64);
        items.for_each(|item| each(self, item));
    }

    fn files(&mut self, files: &'a [(PathBuf, OwnedFd)]) {
        self.list(files.iter(), |out, (path, fd)| {
            out.path(path);
            out.fds.push(fd.as_fd());
        });
    }

    fn configure(&mut self, configure: &'a Configure) {
        self.number(configure.generation);
        self.path(&configure.invocation.prefix);
        self.path(&configure.invocation.conf);
        self.optional(configure.invocation.error_log.as_deref());
        self.optional(configure.invocation.globals.as_deref());
        self.bytes(&configure.snapshot.encode());
        self.list(configure.names.iter(), |out, (name, addresses)| {
            out.bytes(name.as_bytes());
            out.list(addresses.iter(), |out, address| out.bytes(address.to_string().as_bytes()));
        });
        self.files(&configure.logs);
        self.list(configure.sockets.iter(), Encoder::socket);
    }

    fn socket(&mut self, socket: &'a Socket) {
        self.number(socket.id);
        self.bytes(key_text(&socket.key).as_bytes());
        self.number(u64::from(socket.fd.is_some()));
        self.fds.extend(socket.fd.as_ref().map(OwnedFd::as_fd));
    }
}

struct Decoder {
    payload: Vec<u8>,
    at: usize,
    fds: std::vec::IntoIter<OwnedFd>,
}

impl Decoder {
    fn new(frame: Frame) -> Decoder {
        Decoder { payload: frame.payload, at: 0, fds: frame.fds.into_iter() }
    }

    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        let end = self.at.checked_add(length).ok_or_else(broken)?;
        let taken = self.payload.get(self.at..end).ok_or_else(broken)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> io::Result<u64> {
        let bytes = self.take(8)?.first_chunk().ok_or_else(broken)?;
        Ok(u64::from_be_bytes(*bytes))
    }

    fn bytes(&mut self) -> io::Result<&[u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| broken())?;
        self.take(length)
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| broken())
    }

    fn path(&mut self) -> io::Result<PathBuf> {
        Ok(OsString::from_vec(self.bytes()?.to_vec()).into())
    }

    fn optional(&mut self) -> io::Result<Option<String>> {
        let there = self.number()? != 0;
        Ok(Some(self.text()?).filter(|_| there))
    }

    fn fd(&mut self) -> io::Result<OwnedFd> {
        self.fds.next().ok_or_else(broken)
    }

    /// Grows with what is there, whatever the count says.
    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.number()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(each(self)?);
        }
        Ok(items)
    }

    fn files(&mut self) -> io::Result<Vec<(PathBuf, OwnedFd)>> {
        self.list(|from| Ok((from.path()?, from.fd()?)))
    }

    fn configure(&mut self) -> io::Result<Configure> {
        Ok(Configure {
            generation: self.number()?,
            invocation: Invocation {
                prefix: self.path()?,
                conf: self.path()?,
                error_log: self.optional()?,
                globals: self.optional()?,
            },
            snapshot: Snapshot::decode(self.bytes()?).ok_or_else(broken)?,
            names: self.list(|from| Ok((from.text()?, from.list(Decoder::ip)?)))?.into_iter().collect(),
            logs: self.files()?,
            sockets: self.list(Decoder::socket)?,
        })
    }

    fn ip(&mut self) -> io::Result<IpAddr> {
        self.text()?.parse().map_err(|_| broken())
    }

    fn socket(&mut self) -> io::Result<Socket> {
        let id = self.number()?;
        let key = parse_key(&self.text()?).ok_or_else(broken)?;
        let sent = self.number()? != 0;
        let fd = if sent { Some(self.fd()?) } else { None };
        Ok(Socket { id, key, fd })
    }

    fn end(self) -> io::Result<()> {
        if self.at == self.payload.len() && self.fds.len() == 0 { Ok(()) } else { Err(broken()) }
    }
}

/// `tcp 127.0.0.1:80`, `udp [::1]:53`, `tcp unix:/run/app.sock`.
pub fn key_text(key: &ListenerKey) -> String {
    let protocol = match key.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{protocol} {}", key.address)
}

pub fn parse_key(text: &str) -> Option<ListenerKey> {
    let (protocol, address) = text.split_once(' ')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let address = match address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Ip(address.parse().ok()?),
    };
    Some(ListenerKey { protocol, address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn configure(fd: OwnedFd) -> Configure {
        let key = |text| parse_key(text).unwrap();
        Configure {
            generation: 7,
            invocation: Invocation {
                prefix: "/p".into(),
                conf: "/p/c.conf".into(),
                error_log: None,
                globals: Some("daemon off;".into()),
            },
            snapshot: Snapshot {
                files: vec![("/p/c.conf".into(), Arc::from("include x*;"))],
                globs: vec![("x*".into(), vec!["/p/x1".into()])],
                failures: vec![("/p/y".into(), "gone".into())],
            },
            names: [("a.test".to_owned(), vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()])].into(),
            logs: vec![("/p/e.log".into(), fd.try_clone().unwrap())],
            sockets: vec![
                Socket { id: 1, key: key("tcp 0.0.0.0:80"), fd: None },
                Socket { id: 2, key: key("udp [::1]:53"), fd: Some(fd) },
                Socket { id: 3, key: key("tcp unix:/run/a b.sock"), fd: None },
            ],
        }
    }

    #[test]
    fn a_configuration_survives_the_journey() {
        let (master, worker) = Control::pair().unwrap();
        let (_, writer) = io::pipe().unwrap();
        master.order(&Order::Configure(Box::new(configure(writer.into())))).unwrap();
        let Some(Order::Configure(got)) = worker.next_order().unwrap() else { panic!("another order") };
        let (_, writer) = io::pipe().unwrap();
        let sent = configure(writer.into());
        assert_eq!(got.generation, 7);
        assert_eq!(got.invocation, sent.invocation);
        assert_eq!(got.snapshot, sent.snapshot);
        assert_eq!(got.names, sent.names);
        assert_eq!(got.logs.len(), 1);
        let keys = |sockets: &[Socket]| -> Vec<(u64, ListenerKey, bool)> {
            sockets.iter().map(|socket| (socket.id, socket.key.clone(), socket.fd.is_some())).collect()
        };
        assert_eq!(keys(&got.sockets), keys(&sent.sockets));
    }

    #[test]
    fn answers_survive_the_journey() {
        let (master, worker) = Control::pair().unwrap();
        for answer in [Answer::Serving(3), Answer::Refused(4, "no".into())] {
            worker.answer(&answer).unwrap();
            assert_eq!(master.next_answer().unwrap(), Some(answer));
        }
        drop(worker);
        assert_eq!(master.next_answer().unwrap(), None);
    }

    #[test]
    fn a_cut_message_is_refused_wherever_it_is_cut() {
        let (_, writer) = io::pipe().unwrap();
        let configure = configure(writer.into());
        let mut whole = Encoder::default();
        whole.configure(&configure);
        for end in 0..whole.bytes.len() {
            let payload = whole.bytes.get(..end).unwrap().to_vec();
            let fds = configure.logs.iter().map(|(_, fd)| fd.try_clone().unwrap()).collect();
            assert!(Decoder::new(Frame { kind: CONFIGURE, payload, fds }).configure().is_err(), "cut at {end}");
        }
    }
}
