//! The stream plane beside nginx's: each story is a `server` block and what a client does with it. What the client
//! gets and how its connection ends, what the peer gets, the access log line and the error log must agree.

mod peers;
mod stories;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fairlead_harness::{PATIENCE, Proxy, Setup, UdpClient, connect_from, eventually, reset};

use crate::pair::both;
use peers::Peers;

/// What one of a story's clients does.
#[derive(Clone)]
pub enum Act {
    Send(Vec<u8>),
    /// So many bytes must come (a datagram, for UDP).
    Read(usize),
    /// Everything until the end, and what kind of end it is.
    End,
    /// Nothing comes for a moment.
    Silence,
    Finish,
    Reset,
    Close,
}

pub struct Story {
    pub name: &'static str,
    /// The inside of the `server` block, but for `listen`'s address.
    pub server: &'static str,
    /// Parameters of `listen`.
    pub listen: &'static str,
    /// The number of the client, and what it does.
    pub acts: Vec<(usize, Act)>,
    pub sessions: usize,
    /// Why fairlead differs, where it does on purpose.
    pub differs: Option<&'static str>,
    /// Pieces of what nginx does, with what fairlead does in their place on purpose.
    pub but: Vec<(String, String)>,
}

impl Story {
    fn is_udp(&self) -> bool {
        self.listen.contains("udp")
    }

    pub fn sessions(mut self, sessions: usize) -> Story {
        self.sessions = sessions;
        self
    }

    /// fairlead counts what was read before the peer was there among the bytes of the client; nginx does not.
    pub fn counts_early_bytes(mut self, bytes: usize) -> Story {
        self.but.push(("in=0 ".into(), format!("in={bytes} ")));
        self.but.push(("from/to client:0/".into(), format!("from/to client:{bytes}/")));
        self
    }

    pub fn differs(mut self, reason: &'static str) -> Story {
        self.differs = Some(reason);
        self
    }
}

const FORMAT: &str = "log_format line '$remote_addr $protocol $status in=$bytes_received out=$bytes_sent \
     up=[$upstream_addr] up_in=[$upstream_bytes_received] up_out=[$upstream_bytes_sent] \
     connect=[$upstream_connect_time] first=[$upstream_first_byte_time] session=[$upstream_session_time] \
     took=$session_time server=$server_addr:$server_port pp=$proxy_protocol_addr:$proxy_protocol_port \
     pps=$proxy_protocol_server_addr:$proxy_protocol_server_port real=$realip_remote_addr limit=$limit_conn_status \
     sni=$ssl_preread_server_name tls=$ssl_preread_protocol alpn=$ssl_preread_alpn_protocols';\n";

/// Runs the stories through both, and says where they differ.
#[track_caller]
pub fn compare(common: &str, stories: Vec<Story>) {
    let mut blocks = format!("{FORMAT}{common}\n");
    for story in &stories {
        let Story { name, server, listen, .. } = story;
        let _ = writeln!(
            blocks,
            "server {{ listen 127.0.0.1:{{port_{name}}} {listen}; access_log {{dir}}/{name}.log line; \
             error_log {{dir}}/{name}.err info; {server} }}"
        );
    }
    let sides =
        [Side::start(Setup::nginx(), &blocks), Side::start(Setup::new(env!("CARGO_BIN_EXE_fairlead")), &blocks)];
    let mut wrong = String::new();
    for story in &stories {
        let began = Instant::now();
        let mut told = both(&sides, |side| side.tell(story));
        if began.elapsed() >= PATIENCE {
            let _ = writeln!(wrong, "{}: waits for what does not come", story.name);
        }
        if told[0] != told[1] && story.differs.is_none() && story.but.is_empty() {
            // A machine that was busy for a moment is no difference: those show every time.
            told = both(&sides, |side| side.tell(story));
        }
        let [nginx, ours] = told;
        let nginx = story.but.iter().fold(nginx, |text, (theirs, ours)| text.replace(theirs, ours));
        match (nginx == ours, story.differs) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(reason)) => {
                let _ = writeln!(wrong, "{}: the difference ({reason}) is gone", story.name);
            }
            (false, None) => {
                let _ = writeln!(wrong, "== {}\nnginx:\n{nginx}fairlead:\n{ours}", story.name);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// One of the two, with peers of its own.
struct Side {
    peers: Peers,
    proxy: Proxy,
}

impl Side {
    fn start(setup: Setup, blocks: &str) -> Side {
        let peers = Peers::start();
        let setup = peers.addresses().fold(setup.workers(1), |setup, (name, address)| setup.set(name, address));
        let proxy = setup.stream(blocks);
        Side { peers, proxy }
    }

    fn file(&self, story: &Story, kind: &str) -> String {
        self.proxy.directory().read(&format!("{}.{kind}", story.name))
    }

    /// Everything that can be seen of a story, as text.
    fn tell(&self, story: &Story) -> String {
        let Side { peers, proxy } = self;
        let address = proxy.port(&format!("port_{}", story.name));
        let before = ["log", "err"].map(|kind| self.file(story, kind).len());
        let log = || self.file(story, "log").split_off(before[0]);
        let errors = || self.file(story, "err").split_off(before[1]);
        tell(story, Scene { peers, address, log: &log, errors: &errors })
    }
}

/// Where a story plays, and what is written about it.
struct Scene<'a> {
    peers: &'a Peers,
    address: SocketAddr,
    log: &'a dyn Fn() -> String,
    errors: &'a dyn Fn() -> String,
}

fn tell(story: &Story, scene: Scene) -> String {
    let Scene { peers, address, log, errors } = scene;
    peers.forget();
    let mut text = String::new();
    let clients = story.acts.iter().map(|(client, _)| client + 1).max().unwrap_or(0);
    let mut clients: Vec<Client> = (0..clients).map(|number| Client::new(number, address, story.is_udp())).collect();
    for (number, act) in &story.acts {
        if let Some(seen) = clients[*number].act(act) {
            let _ = writeln!(text, "  client {number}: {seen}");
        }
    }
    drop(clients);
    eventually(&format!("{}: {} lines in the access log", story.name, story.sessions), || {
        log().lines().count() >= story.sessions
    });
    for seen in peers.seen() {
        let _ = writeln!(text, "  peer {}", header_ports(&own_ports(&seen), address.port()));
    }
    let named = |line: &str| own_ports(&peers.name(&line.replace(&address.to_string(), "LISTENER")));
    let log = log();
    // Sessions that end together are logged in any order.
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    for line in lines {
        let line = line.replace(&format!(":{} pp", address.port()), ":PORT pp");
        let _ = writeln!(text, "  log {}", without_times(&named(&line)));
    }
    let errors = errors();
    let mut lines: Vec<String> = Vec::new();
    for line in errors.lines().filter(|line| line.contains(": *")) {
        let level = line.split(['[', ']']).nth(1).unwrap_or_default();
        let message = line.split_once(": *").and_then(|(_, rest)| rest.split_once(' ')).map_or(line, |(_, rest)| rest);
        lines.push(format!("  error {level}: {}\n", named(message)));
    }
    // So are the lines of two sessions at once.
    if story.sessions > 1 {
        lines.sort_unstable();
    }
    text.extend(lines);
    text
}

enum Client {
    Tcp(Option<TcpStream>),
    Udp(UdpClient),
}

impl Client {
    fn new(number: usize, address: SocketAddr, udp: bool) -> Client {
        let source = format!("127.0.0.{}", number + 1);
        match udp {
            true => Client::Udp(UdpClient::connect_from(&source, address)),
            false => Client::Tcp(Some(connect_from(&source, address))),
        }
    }

    /// What is seen of it, if anything.
    fn act(&mut self, act: &Act) -> Option<String> {
        match self {
            Client::Udp(client) => on_datagrams(client, act),
            Client::Tcp(stream) => on_stream(stream, act),
        }
    }
}

const MOMENT: Duration = Duration::from_millis(200);

fn on_datagrams(client: &UdpClient, act: &Act) -> Option<String> {
    match act {
        Act::Send(bytes) => client.send(bytes),
        Act::Read(_) => return Some(format!("got {}", shown(&client.receive()))),
        Act::Silence => return Some(format!("hears: {}", client.hears_within(MOMENT))),
        Act::End | Act::Finish | Act::Reset | Act::Close => {}
    }
    None
}

fn on_stream(slot: &mut Option<TcpStream>, act: &Act) -> Option<String> {
    let stream = slot.as_mut()?;
    match act {
        Act::Send(bytes) => {
            let _ = stream.write_all(bytes);
        }
        Act::Read(count) => {
            let mut bytes = vec![0; *count];
            return Some(match stream.read_exact(&mut bytes) {
                Ok(()) => format!("got {}", shown(&bytes)),
                Err(error) => format!("instead of {count} bytes: {:?}", error.kind()),
            });
        }
        Act::End => {
            let mut bytes = Vec::new();
            let end =
                stream.read_to_end(&mut bytes).map_or_else(|error| format!("{:?}", error.kind()), |_| "end".into());
            return Some(format!("got {} then {end}", shown(&bytes)));
        }
        Act::Silence => {
            let _ = stream.set_read_timeout(Some(MOMENT));
            let heard = !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
            let _ = stream.set_read_timeout(Some(PATIENCE));
            return Some(format!("hears: {heard}"));
        }
        Act::Finish => {
            let _ = stream.shutdown(Shutdown::Write);
        }
        Act::Reset => {
            reset(stream);
            *slot = None;
        }
        Act::Close => *slot = None,
    }
    None
}

/// Short bytes whole, long ones by their number and sum.
pub(super) fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= 120 {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} bytes ({sum:x})", bytes.len())
}

/// Ports that the kernel chose say nothing: `127.0.0.1:40312` becomes `127.0.0.1:*`.
fn own_ports(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("127.0.0.") {
        let (before, address) = rest.split_at(at);
        let end = address.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(address.len());
        let (ip, after) = address.split_at(end);
        let digits = after.strip_prefix(':').map_or(0, |port| port.bytes().take_while(u8::is_ascii_digit).count());
        out.push_str(before);
        out.push_str(ip);
        rest = if digits > 0 {
            out.push_str(":*");
            &after[1 + digits..]
        } else {
            after
        };
    }
    out.push_str(rest);
    out
}

/// So does what a PROXY header says of our own ends.
fn header_ports(text: &str, listener: u16) -> String {
    let text = &text.replace(&format!(" {listener}\\r"), " PORT\\r");
    let Some((before, rest)) = text.split_once("PROXY TCP4 127.0.0.1 127.0.0.1 ") else { return text.to_owned() };
    let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
    format!("{before}PROXY TCP4 127.0.0.1 127.0.0.1 * *{rest}")
}

/// `0.013` becomes `T`: that there is a time counts, and how many.
fn without_times(line: &str) -> String {
    let bytes = line.as_bytes();
    let mut out = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let whole = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let fraction = &bytes[at + whole..];
        let is_time = whole > 0
            && fraction.len() >= 4
            && fraction[0] == b'.'
            && fraction[1..4].iter().all(u8::is_ascii_digit)
            && fraction.get(4).is_none_or(|byte| !byte.is_ascii_digit() && *byte != b'.');
        let length = if is_time { whole + 4 } else { whole.max(1) };
        out.push_str(if is_time { "T" } else { &line[at..at + length] });
        at += length;
    }
    out
}
