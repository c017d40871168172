//! A connection to an appliance, as `fairleadctl` uses it: it learns the appliance's key first, and
//! sends nothing before its caller has found it to be the right one.

use super::enrol::{Code, Proof, Side, prove};
use super::frame::{self, Kind, MOST_BYTES};
use super::request::{Answer, Request};
use super::timed::Timed;
use super::{Fingerprint, Key, tls};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// For connecting and the handshake.
const TIME_TO_CONNECT: Duration = Duration::from_secs(10);
/// For a request and its answer.
const TIME_TO_ANSWER: Duration = Duration::from_secs(150);

pub struct Client {
    session: StreamOwned<ClientConnection, Timed>,
    own: Fingerprint,
    server: Fingerprint,
}

impl Client {
    /// `address` is `HOST:PORT`.
    pub fn connect(address: &str, key: &Key) -> io::Result<Client> {
        let stream = open(address)?;
        let config = tls::client(key).map_err(io::Error::other)?;
        // Nobody looks at the name: what counts is the key.
        let name = ServerName::try_from("fairlead").map_err(io::Error::other)?;
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut session = StreamOwned::new(tls, Timed::new(stream, TIME_TO_CONNECT));
        while session.conn.is_handshaking() {
            session.conn.complete_io(&mut session.sock)?;
        }
        let server = tls::key_of_peer(&session.conn).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Client { session, own: key.fingerprint(), server })
    }

    /// The key that the other side has proved to hold.
    pub fn server(&self) -> Fingerprint {
        self.server
    }

    pub fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        self.session.sock.allow(TIME_TO_ANSWER);
        let body = serde_json::to_vec(request)?;
        frame::write(Kind::Request, &body, &mut self.session)?;
        match frame::read(MOST_BYTES, &mut self.session)? {
            Some((Kind::Answer, body)) => Ok(serde_json::from_slice(&body)?),
            Some((Kind::Request, _)) => Err(io::ErrorKind::InvalidData.into()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Makes the own key known by a code of the console. When it is done, the appliance has shown
    /// that it knows the code as well: its key can be relied on from here.
    pub fn enroll(&mut self, code: &Code, name: &str) -> io::Result<Answer> {
        let proof = prove(code, self.server, self.own, Side::Client);
        let request = Request::Enroll { proof, server: self.server, client: self.own, name: name.to_owned() };
        let answer = self.ask(&request)?;
        let proof = answer.values.get("proof").and_then(|it| serde_json::from_value::<Proof>(it.clone()).ok());
        let proved = proof.is_some_and(|proof| code.is_proved_by(&proof, self.server, self.own, Side::Server));
        if answer.ok && !proved {
            return Ok(Answer::refused("whoever answered does not know the code: this is not the appliance"));
        }
        Ok(answer)
    }
}

fn open(address: &str) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIME_TO_CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
