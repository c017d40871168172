//! The server and the client over loopback, with a first process that answers what a test says.

use super::client::Client;
use super::*;
use crate::store::hex;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn key() -> Key {
    Key::from_pem(Key::generate().unwrap().as_bytes()).unwrap()
}

struct Setup {
    address: SocketAddr,
    server: Fingerprint,
    folder: PathBuf,
}

impl Setup {
    /// `first` answers every line that comes to PID 1's socket.
    fn start(first: impl Fn(Asked) -> Answer + Send + Sync + Clone + 'static) -> Setup {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("fairlead-management-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let init = folder.join("init.sock");
        let socket = UnixListener::bind(&init).unwrap();
        std::thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let first = first.clone();
                std::thread::spawn(move || {
                    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                        let answer = Asked::parse(line.as_bytes()).map_or_else(|refused| refused, &first);
                        if (&stream).write_all(answer.to_line().as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, key) = (listener.local_addr().unwrap(), key());
        let server = key.fingerprint();
        std::thread::spawn(move || serve(&listener, &Serving { init, key, allow: Vec::new() }));
        Setup { address, server, folder }
    }

    fn connect(&self, key: &Key) -> Client {
        let client = Client::connect(&self.address.to_string(), key).unwrap();
        assert_eq!(client.server(), self.server);
        client
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Knows one key, and repeats what it is asked.
fn knows(known: Fingerprint) -> impl Fn(Asked) -> Answer + Send + Sync + Clone + 'static {
    move |asked| match asked.request {
        Request::Authorize { key } if key == known => Answer::done().with("name", "ann"),
        Request::Authorize { .. } => Answer::refused("no"),
        request => Answer::done().with("by", asked.by.words()).with("asked", serde_json::to_value(request).unwrap()),
    }
}

#[test]
fn a_known_key_is_relayed_with_its_name() {
    let ann = key();
    let setup = Setup::start(knows(ann.fingerprint()));
    let mut client = setup.connect(&ann);
    for _ in 0..3 {
        let answer = client.ask(&Request::Status).unwrap();
        assert_eq!((answer.ok, answer.text("by")), (true, "ann"));
    }
    let data = "x".repeat(3 << 20);
    let answer = client.ask(&Request::UpdateData { data: data.clone() }).unwrap();
    assert_eq!(answer.values["asked"]["data"].as_str(), Some(data.as_str()));
}

#[test]
fn an_unknown_key_may_do_nothing() {
    let setup = Setup::start(knows(Fingerprint([0; 32])));
    for request in [Request::Status, Request::Reboot, Request::EnrollCode, Request::Authorize { key: setup.server }] {
        let stranger = key();
        let mut client = setup.connect(&stranger);
        let answer = client.ask(&request).unwrap();
        assert_eq!(answer.errors, [format!("this appliance does not know the key {}", stranger.fingerprint())]);
        assert!(client.ask(&Request::Status).is_err(), "the connection is over");
    }
}

#[test]
fn what_is_for_the_console_is_refused_from_afar() {
    let ann = key();
    let setup = Setup::start(knows(ann.fingerprint()));
    let mut client = setup.connect(&ann);
    for request in [Request::EnrollCode, Request::FactoryReset, Request::SetPassword { hash: String::new() }] {
        assert_eq!(client.ask(&request).unwrap().errors, ["only the console may do that"]);
    }
    assert!(client.ask(&Request::Status).unwrap().ok);
}

#[test]
fn enrolment_is_said_of_the_keys_of_the_session() {
    let setup = Setup::start(|asked| match asked.request {
        Request::Enroll { server, client, name, .. } => {
            Answer::refused(format!("{server} {client} {name} {}", hex(&asked.by.key.unwrap().0)))
        }
        _ => Answer::refused("no"),
    });
    let ann = key();
    let answer = setup.connect(&ann).enroll(&"K7QF-2M9X-WB4T".parse().unwrap(), "laptop").unwrap();
    let own = ann.fingerprint();
    assert_eq!(answer.errors, [format!("{} {own} laptop {own}", setup.server)]);
}

#[test]
fn whoever_cannot_prove_the_code_is_not_the_appliance() {
    let setup = Setup::start(|asked| match asked.request {
        Request::Enroll { proof, .. } => Answer::done().with("proof", serde_json::to_value(proof).unwrap()),
        _ => Answer::refused("no"),
    });
    let answer = setup.connect(&key()).enroll(&"K7QF-2M9X-WB4T".parse().unwrap(), "laptop").unwrap();
    assert_eq!(answer.errors, ["whoever answered does not know the code: this is not the appliance"]);
}

#[test]
fn garbage_ends_its_connection_and_no_other() {
    let ann = key();
    let setup = Setup::start(knows(ann.fingerprint()));
    let mut good = setup.connect(&ann);
    for seed in 0..64_u64 {
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let garbage: Vec<u8> = std::iter::repeat_with(|| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice.to_be_bytes()[3]
        })
        .take(500)
        .collect();
        let mut stream = TcpStream::connect(setup.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // A server that is gone already is as good.
        let _ = stream.write_all(&garbage).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "seed {seed}");
    }
    assert!(good.ask(&Request::Status).unwrap().ok);
}

#[test]
fn strangers_who_say_nothing_do_not_keep_others_out() {
    let ann = key();
    let setup = Setup::start(knows(ann.fingerprint()));
    let mut good = setup.connect(&ann);
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(setup.address).unwrap()).collect();
    assert!(good.ask(&Request::Status).unwrap().ok);
    drop(silent);
    // Their places are free again once they are gone.
    let known = (0..1000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        Client::connect(&setup.address.to_string(), &ann).ok()
    });
    assert!(known.unwrap().ask(&Request::Status).unwrap().ok);
}

#[test]
fn a_first_process_that_is_gone_is_an_answer() {
    let ann = key();
    let setup = Setup::start(knows(ann.fingerprint()));
    let mut client = setup.connect(&ann);
    assert!(client.ask(&Request::Status).unwrap().ok);
    std::fs::remove_file(setup.folder.join("init.sock")).unwrap();
    // The relay of this connection is open still; a new one finds nobody to ask, and admits nobody.
    let answer = setup.connect(&ann).ask(&Request::Status).unwrap();
    assert!(!answer.ok);
}
