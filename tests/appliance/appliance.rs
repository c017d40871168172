//! The machine that is managed: everything of it that the network reaches is real.

use crate::FAIRLEAD;
use fairlead_appliance::management::{
    Answer, Asked, By, Desk, Fingerprint, Key, Machine, Now, Request, Serving, serve,
};
use fairlead_appliance::store::{AuthorizedKey, Files, Store};
use fairlead_core::clock::tick;
use fairlead_disk::signature::PrivateKey;
use fairlead_harness::Directory;
use fairlead_update::{Mounted, Slots, Updates};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const RUNNING: &str = "0.1.0-7";

pub struct Appliance {
    pub folder: Directory,
    pub address: SocketAddr,
    pub key: Fingerprint,
    first: Arc<Mutex<First>>,
}

/// The stand-in for the first process.
struct First {
    desk: Desk,
    updates: Updates<Mounted>,
    bench: Bench,
}

/// What it does to the machine, noted.
#[derive(Default)]
struct Bench {
    in_force: Option<String>,
    log: Vec<String>,
    asked: Vec<String>,
}

impl Machine for Bench {
    fn check(&mut self, folder: &Path) -> Result<Vec<String>, Vec<String>> {
        let file = folder.join("fairlead.conf");
        // Where logs go that the configuration does not name.
        std::fs::create_dir(folder.join("logs")).unwrap();
        let output = Command::new(FAIRLEAD).args(["-t", "-q", "-c"]).arg(&file).arg("-p").arg(folder).output().unwrap();
        let text = vec![String::from_utf8_lossy(&output.stderr).into_owned()];
        if output.status.success() { Ok(Vec::new()) } else { Err(text) }
    }

    fn apply(&mut self, files: Option<&Files>) -> Result<(), Vec<String>> {
        self.in_force = files.map(Files::main_text);
        Ok(())
    }

    fn window(&self, _files: &Files) -> Option<Duration> {
        None
    }

    fn authorized_keys(&self) -> Vec<AuthorizedKey> {
        Vec::new()
    }

    fn writable(&mut self, _yes: bool) -> std::io::Result<()> {
        Ok(())
    }

    fn random(&mut self) -> [u8; 8] {
        tick().0.to_be_bytes()
    }

    fn log(&mut self, line: &str) {
        self.log.push(line.to_owned());
    }
}

impl First {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if !matches!(asked.request, Request::Authorize { .. }) {
            self.bench.asked.push(format!("{}: {:?}", asked.by.words(), asked.request));
        }
        let now = Now { tick: tick(), unix: 1_700_000_000 };
        self.desk.tick(now, &mut self.bench);
        let answer = self.desk.answer(asked, now, &mut self.bench).or_else(|| self.updates.answer(asked));
        answer.unwrap_or_else(|| match asked.request {
            Request::Status => Answer::done().with("version", RUNNING).with("state", "serving"),
            Request::Log { after, most } => {
                let all = &self.bench.log;
                let from = usize::try_from(after).unwrap().min(all.len());
                let lines: Vec<String> = all.iter().skip(from).take(most as usize).cloned().collect();
                Answer::done().with("next", from + lines.len()).with("lines", lines)
            }
            _ => Answer::refused("not here"),
        })
    }
}

impl Appliance {
    pub fn start() -> Appliance {
        let folder = Directory::new();
        for name in ["conf", "run", "esp"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        let store = Store::at(folder.join("conf"));
        store.set_server_key(Key::generate().unwrap().as_bytes()).unwrap();
        let key = Key::from_pem(&store.server_key().unwrap().unwrap()).unwrap();
        let (desk, _) = Desk::start(store, &folder.join("run")).unwrap();
        let signer = PrivateKey::from_seed(&[1; 32]).public();
        let slots = Slots::new(Mounted(folder.join("esp")), RUNNING.parse().unwrap(), vec![signer]);
        let first = First { desk, updates: Updates::over(slots), bench: Bench::default() };
        let first = Arc::new(Mutex::new(first));
        let init = folder.join("init.sock");
        let socket = UnixListener::bind(&init).unwrap();
        let shared = first.clone();
        std::thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let first = shared.clone();
                std::thread::spawn(move || answer_lines(&stream, &first));
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, print) = (listener.local_addr().unwrap(), key.fingerprint());
        std::thread::spawn(move || serve(&listener, &Serving { init, key, allow: Vec::new() }));
        Appliance { folder, address, key: print, first }
    }

    /// What the person at the console asks.
    pub fn console(&self, request: Request) -> Answer {
        self.first.lock().unwrap().answer(&Asked { by: By::default(), request })
    }

    pub fn code(&self) -> String {
        self.console(Request::EnrollCode).text("code").to_owned()
    }

    /// The configuration in force, once what is due has been done.
    pub fn in_force(&self) -> Option<String> {
        let first = &mut *self.first.lock().unwrap();
        first.desk.tick(Now { tick: tick(), unix: 0 }, &mut first.bench);
        first.bench.in_force.clone()
    }

    pub fn log(&self) -> Vec<String> {
        self.first.lock().unwrap().bench.log.clone()
    }

    /// What came from afar, and from whom.
    pub fn asked(&self) -> Vec<String> {
        self.first.lock().unwrap().bench.asked.clone()
    }

    pub fn store(&self) -> Store {
        Store::at(self.folder.join("conf"))
    }
}

fn answer_lines(stream: &UnixStream, first: &Mutex<First>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let answer =
            Asked::parse(line.as_bytes()).map_or_else(|refused| refused, |asked| first.lock().unwrap().answer(&asked));
        let mut stream = stream;
        if stream.write_all(answer.to_line().as_bytes()).is_err() {
            break;
        }
    }
}
