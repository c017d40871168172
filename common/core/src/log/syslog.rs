//! syslog over UDP or a Unix datagram socket, framed as RFC 3164 section 4.1
//! (and nginx) frames it. One message a datagram; a lost one is counted, never
//! waited for.

use crate::clock;
use crate::log::Level;
use crate::log::queue::unpoisoned;
use crate::log::records::records;
use crate::log::sink::Loss;
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Mutex;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp", "ntp",
    "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// By their number in RFC 3164; the names are those of `error_log`.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];
const LOCAL7: usize = 23;
const INFO: usize = 6;
const DEFAULT_PORT: u16 = 514;
const MAX_TAG: usize = 32;

/// The parameters after `syslog:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    server: Server,
    facility: usize,
    severity: usize,
    tag: Box<str>,
    with_hostname: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    Host { name: Box<str>, port: u16 },
    Unix(PathBuf),
}

impl Target {
    /// # Errors
    /// nginx's words for what is wrong.
    pub fn parse(parameters: &str) -> Result<Target, String> {
        let (mut server, mut facility, mut severity, mut tag) = (None, None, None, None);
        let mut with_hostname = true;
        for parameter in parameters.split(',') {
            match parameter.split_once('=') {
                Some(("server", value)) => once(&mut server, "server", parse_server(value)?)?,
                Some(("facility", value)) => once(&mut facility, "facility", index(&FACILITIES, "facility", value)?)?,
                Some(("severity", value)) => once(&mut severity, "severity", index(&SEVERITIES, "severity", value)?)?,
                Some(("tag", value)) => once(&mut tag, "tag", parse_tag(value)?)?,
                None if parameter == "nohostname" => with_hostname = false,
                _ => return Err(format!("unknown syslog parameter \"{parameter}\"")),
            }
        }
        Ok(Target {
            server: server.ok_or("no syslog server specified")?,
            facility: facility.unwrap_or(LOCAL7),
            severity: severity.unwrap_or(INFO),
            tag: tag.unwrap_or_else(|| "fairlead".into()),
            with_hostname,
        })
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("duplicate syslog \"{name}\"")),
    }
}

fn index(names: &[&str], what: &str, name: &str) -> Result<usize, String> {
    names.iter().position(|known| *known == name).ok_or_else(|| format!("unknown syslog {what} \"{name}\""))
}

fn parse_tag(tag: &str) -> Result<Box<str>, String> {
    if tag.len() > MAX_TAG {
        return Err(format!("syslog tag length exceeds {MAX_TAG}"));
    }
    if !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("syslog \"tag\" only allows alphanumeric characters and underscore".into());
    }
    Ok(tag.into())
}

fn parse_server(text: &str) -> Result<Server, String> {
    let wrong = |what: &str| format!("{what} in syslog server \"{text}\"");
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() { Err(wrong("no path")) } else { Ok(Server::Unix(path.into())) };
    }
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("")) }),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    if name.is_empty() {
        return Err(wrong("no host"));
    }
    let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| wrong("invalid port")))?;
    if port == 0 {
        return Err(wrong("invalid port"));
    }
    Ok(Server::Host { name: name.into(), port })
}

/// A target with its socket.
#[derive(Debug)]
pub(super) struct Sender {
    target: Target,
    address: Option<SocketAddr>,
    hostname: String,
    socket: Mutex<Option<Socket>>,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Sender {
    /// Resolves the server's name; the socket opens with the first message.
    ///
    /// # Errors
    /// The name is not known.
    pub fn new(target: Target) -> io::Result<Sender> {
        let address = match &target.server {
            Server::Unix(_) => None,
            Server::Host { name, port } => Some(resolve(name, *port)?),
        };
        let hostname = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().to_lowercase();
        Ok(Sender { target, address, hostname, socket: Mutex::default() })
    }

    /// `<190>Nov 20 20:01:02 host tag: `. Access logs have no level and use the target's severity.
    pub fn push_header(&self, level: Option<Level>, out: &mut Vec<u8>) {
        let severity = level.map_or(self.target.severity, severity_of);
        // A `Vec` takes whatever is written to it.
        let _ = write!(out, "<{}>", self.target.facility * 8 + severity);
        clock::push_time_syslog(out);
        if self.target.with_hostname {
            out.push(b' ');
            out.extend_from_slice(self.hostname.as_bytes());
        }
        let _ = write!(out, " {}: ", self.target.tag);
    }

    /// Sends every record of `bytes`; those that fail do not keep the others.
    pub fn send_records(&self, bytes: &[u8]) -> Result<(), Loss> {
        let mut socket = unpoisoned(self.socket.lock());
        let mut loss: Option<Loss> = None;
        for message in records(bytes) {
            if let Err(error) = self.send(&mut socket, message) {
                loss.get_or_insert(Loss { error, lines: 0 }).lines += 1;
            }
        }
        loss.map_or(Ok(()), Err)
    }

    /// A connected socket's error may be the answer to an earlier message (or to a syslogd that has
    /// restarted since), so this message is tried once more on a new one.
    fn send(&self, slot: &mut Option<Socket>, message: &[u8]) -> io::Result<()> {
        if let Some(socket) = slot {
            match socket.send(message) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => *slot = None,
                sent => return sent.map(drop),
            }
        }
        let socket = self.connect()?;
        socket.send(message)?;
        *slot = Some(socket);
        Ok(())
    }

    fn connect(&self) -> io::Result<Socket> {
        if let Server::Unix(path) = &self.target.server {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect(path)?;
            return Ok(Socket::Unix(socket));
        }
        let address = self.address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(address)?;
        Ok(Socket::Udp(socket))
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target.server {
            Server::Host { name, port } => write!(f, "{name}:{port}"),
            Server::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Socket {
    fn send(&self, message: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Udp(socket) => socket.send(message),
            Socket::Unix(socket) => socket.send(message),
        }
    }
}

fn resolve(name: &str, port: u16) -> io::Result<SocketAddr> {
    let found = (name, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("host not found in syslog server \"{name}\"")))
}

fn severity_of(level: Level) -> usize {
    match level {
        Level::Emerg => 0,
        Level::Alert => 1,
        Level::Crit => 2,
        Level::Error => 3,
        Level::Warn => 4,
        Level::Notice => 5,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_nginx_s_defaults() {
        let target = Target::parse("server=127.0.0.1").unwrap();
        assert_eq!(target.server, Server::Host { name: "127.0.0.1".into(), port: 514 });
        assert_eq!((target.facility, target.severity, &*target.tag), (23, 6, "fairlead"));
        assert!(target.with_hostname);
    }

    #[test]
    fn every_parameter_is_taken() {
        let target = Target::parse("server=[::1]:5140,facility=local3,tag=lb_1,severity=warn,nohostname").unwrap();
        assert_eq!(target.server, Server::Host { name: "::1".into(), port: 5140 });
        assert_eq!((target.facility, target.severity, &*target.tag), (19, 4, "lb_1"));
        assert!(!target.with_hostname);
        assert_eq!(Target::parse("server=unix:/dev/log").unwrap().server, Server::Unix("/dev/log".into()));
        assert_eq!(
            Target::parse("server=[::1]").unwrap().server,
            Server::Host { name: "::1".into(), port: DEFAULT_PORT }
        );
    }

    #[test]
    fn mistakes_are_named_as_nginx_names_them() {
        for (parameters, message) in [
            ("facility=user", "no syslog server specified"),
            ("server=a,server=b", "duplicate syslog \"server\""),
            ("server=a,facility=loud", "unknown syslog facility \"loud\""),
            ("server=a,severity=err", "unknown syslog severity \"err\""),
            ("server=a,tag=a-b", "syslog \"tag\" only allows alphanumeric characters and underscore"),
            ("server=a,tag=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "syslog tag length exceeds 32"),
            ("server=a,colour=red", "unknown syslog parameter \"colour=red\""),
            ("server=a:0", "invalid port in syslog server \"a:0\""),
            ("server=:514", "no host in syslog server \":514\""),
        ] {
            assert_eq!(Target::parse(parameters), Err(message.to_owned()), "{parameters}");
        }
    }

    #[test]
    fn headers_carry_priority_time_host_and_tag() {
        let sender = Sender::new(Target::parse("server=127.0.0.1,facility=user,tag=t,nohostname").unwrap()).unwrap();
        let header = |level| {
            let mut out = Vec::new();
            sender.push_header(level, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert!(header(None).starts_with("<14>") && header(None).ends_with(" t: "), "{}", header(None));
        assert!(header(Some(Level::Emerg)).starts_with("<8>"));
        assert_eq!(header(Some(Level::Debug)).len(), "<15>Nov 20 20:01:02 t: ".len());
    }
}
