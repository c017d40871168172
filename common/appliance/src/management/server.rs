//! The process that listens for management: ends TLS, learns the key, relays what it may to PID 1.
//!
//! It holds no secret but its key, writes no file and decides nothing: PID 1 says whether a key is
//! known. Connections are few, so each has a thread, and every one has its time. Called by
//! `fairlead-init manage`, after it has dropped its privileges.

use super::frame::{self, Kind, MOST_BYTES, MOST_BYTES_OF_STRANGER};
use super::places::{Place, Places};
use super::relay::Relay;
use super::request::{Answer, Asked, By, Request};
use super::timed::Timed;
use super::{Fingerprint, Key, tls};
use ipnet::IpNet;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// For a handshake, and for all that a stranger may say.
const TIME_OF_STRANGER: Duration = Duration::from_secs(10);
/// For one frame either way, and between two.
const TIME_OF_FRAME: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(300);

/// What the server is told.
#[derive(Clone, Debug)]
pub struct Serving {
    /// PID 1's socket.
    pub init: PathBuf,
    pub key: Key,
    /// Networks that may connect; none means all.
    pub allow: Vec<IpNet>,
}

type Session = StreamOwned<ServerConnection, Timed>;

/// Serves until accepting fails for good.
pub fn serve(listener: &TcpListener, serving: &Serving) -> io::Result<()> {
    let config = tls::server(&serving.key).map_err(io::Error::other)?;
    let serving = Arc::new(serving.clone());
    let places = Arc::new(Places::default());
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            // The one who connected is gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            // Out of descriptors or memory: what is served now will free some.
            Err(error) if matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105)) => {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            Err(error) => return Err(error),
        };
        let address = peer.ip().to_canonical();
        let Some(place) = serving.admits(address).then(|| places.enter(address)).flatten() else { continue };
        let (config, serving) = (config.clone(), serving.clone());
        let name = "management".to_owned();
        // A thread that cannot be had is a connection that is closed.
        let _ = std::thread::Builder::new().name(name).spawn(move || {
            // Whatever went wrong, the connection ends, and its other end sees that.
            let _ = connection(stream, place, &serving, config);
        });
    }
}

impl Serving {
    fn admits(&self, address: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(&address))
    }
}

fn connection(stream: TcpStream, mut place: Place, serving: &Serving, config: Arc<ServerConfig>) -> io::Result<()> {
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut session = StreamOwned::new(tls, Timed::new(stream, TIME_OF_STRANGER));
    while session.conn.is_handshaking() {
        session.conn.complete_io(&mut session.sock)?;
    }
    let key = tls::key_of_peer(&session.conn).ok_or(io::ErrorKind::InvalidData)?;
    let mut relay = Relay::to(&serving.init);
    match owner_of(key, &mut relay) {
        Some(_) if place.is_known() => while answer_known(&mut session, key, &mut relay)? {},
        Some(_) => say(&Answer::refused("too many management connections"), &mut session)?,
        None => {
            if let Some(answer) = answer_stranger(&mut session, key, serving, &mut relay)? {
                say(&answer, &mut session)?;
            }
        }
    }
    session.conn.send_close_notify();
    session.conn.complete_io(&mut session.sock).map(drop)
}

/// Whose key it is, if it is known.
fn owner_of(key: Fingerprint, relay: &mut Relay) -> Option<By> {
    let answer = relay.ask(&Asked { by: By::default(), request: Request::Authorize { key } });
    answer.ok.then(|| By { key: Some(key), name: answer.text("name").to_owned() })
}

/// One request and its answer; `false` when there are no more.
fn answer_known(session: &mut Session, key: Fingerprint, relay: &mut Relay) -> io::Result<bool> {
    session.sock.allow(IDLE);
    let Some(body) = next_request(MOST_BYTES, session)? else { return Ok(false) };
    // A key that was taken away in the meantime is taken away.
    let answer = match (owner_of(key, relay), parse(&body)) {
        (None, _) => Answer::refused("this key may not manage this appliance any more"),
        (_, Err(answer)) => answer,
        (Some(by), Ok(request)) => relay.ask(&Asked { by, request }),
    };
    say(&answer, session)?;
    Ok(true)
}

fn parse(body: &[u8]) -> Result<Request, Answer> {
    let request = Asked::parse(body)?.request;
    if request.is_for_the_network() { Ok(request) } else { Err(Answer::refused("only the console may do that")) }
}

/// A key that nobody knows may be enrolled, and nothing else.
fn answer_stranger(
    session: &mut Session,
    key: Fingerprint,
    serving: &Serving,
    relay: &mut Relay,
) -> io::Result<Option<Answer>> {
    let Some(body) = next_request(MOST_BYTES_OF_STRANGER, session)? else { return Ok(None) };
    let Ok(Asked { request: Request::Enroll { proof, name, .. }, .. }) = Asked::parse(&body) else {
        let words = format!("this appliance does not know the key {key}");
        return Ok(Some(Answer::refused(words).with("unknown", true)));
    };
    // The keys are those of this session, whatever the client says.
    let request = Request::Enroll { proof, name, server: serving.key.fingerprint(), client: key };
    let by = By { key: Some(key), name: String::new() };
    Ok(Some(relay.ask(&Asked { by, request })))
}

fn next_request(most: usize, session: &mut Session) -> io::Result<Option<Vec<u8>>> {
    match frame::read(most, session) {
        Ok(Some((Kind::Request, body))) => Ok(Some(body)),
        Ok(Some((Kind::Answer, _))) => Err(io::ErrorKind::InvalidData.into()),
        Ok(None) => Ok(None),
        Err(error) => {
            if error.kind() == io::ErrorKind::InvalidData {
                // It may be a client of another version, which shows this to its user.
                let _ = say(&Answer::refused(error.to_string()), session);
            }
            Err(error)
        }
    }
}

fn say(answer: &Answer, session: &mut Session) -> io::Result<()> {
    session.sock.allow(TIME_OF_FRAME);
    frame::write(Kind::Answer, answer.to_line().as_bytes(), session)
}
