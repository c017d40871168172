//! One configuration served twice: by nginx and by fairlead, in front of the same peer and the
//! same files. A case is sent to both; what came back and what the peer got must agree.

use std::cell::Cell;
use std::fmt::Write;
use std::net::SocketAddr;

use fairlead_harness::{Directory, Proxy, Setup, connect, eventually};
use std::io::{ErrorKind, Read, Write as _};
use std::net::Shutdown;
use std::panic::resume_unwind;

use crate::differences::{DIFFERENCES, listed};
use crate::recorder::{Answers, Recorder};
use crate::transcript::{Side, has_answer, has_any_answer, show, transcript};

/// Bytes to send, and what they are called in the list of differences.
pub struct Case {
    pub name: &'static str,
    /// Before each part but the first, some answer has come (100 Continue, say).
    pub parts: Vec<Vec<u8>>,
    /// Nothing more is sent, rather than one more request to see whether the connection lives.
    pub finish: bool,
}

/// The same bytes whatever the name.
pub fn case(name: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    Case { name, parts: vec![bytes.as_ref().to_vec()], finish: false }
}

/// What both make of it, at the same time.
pub fn both<S: Sync, T: Send>(sides: &[S; 2], run: impl Fn(&S) -> T + Sync) -> [T; 2] {
    std::thread::scope(|scope| {
        let one = scope.spawn(|| run(&sides[0]));
        let other = run(&sides[1]);
        [one.join().unwrap_or_else(|panic| resume_unwind(panic)), other]
    })
}

/// One more request, to which a living connection gives an answer and then ends.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: last.test\r\nConnection: close\r\n\r\n";

/// Said of a case that took as long as a test may wait.
const NO_END: &str = "no end: ";

pub struct Pair {
    configuration: &'static str,
    recorder: Recorder,
    nginx: Proxy,
    /// What fairlead calls itself (nginx, when these tests are tried on nginx itself).
    ours: &'static str,
    fairlead: Proxy,
    files: Directory,
    /// How many requests the peer gets for one of a client's that may come in any order; 0 where their
    /// order counts, and they are there with the answer.
    at_peer: Cell<usize>,
}

impl Pair {
    /// Serve `http`, the inside of an `http` block, twice. `{peer}` is the peer, `{files}` the files.
    pub fn start(configuration: &'static str, http: &str, answers: Answers) -> Pair {
        Pair::with_files(configuration, http, answers, &[])
    }

    /// The same with more files: their names and what is in them.
    pub fn with_files(configuration: &'static str, http: &str, answers: Answers, more: &[(&str, &[u8])]) -> Pair {
        let recorder = Recorder::start(answers);
        let files = files(more);
        // What a wrong request leaves in the error log is not compared here.
        let http = format!("error_log {{dir}}/error.log crit;\n{http}");
        let prepare = |setup: Setup| {
            setup.workers(1).set("peer", recorder.address()).set("files", files.path().display()).http(&http)
        };
        let nginx = prepare(Setup::nginx());
        let setup = Setup::new(env!("CARGO_BIN_EXE_fairlead"));
        let ours = if setup.is_nginx() { "nginx" } else { "fairlead" };
        let fairlead = prepare(setup);
        Pair { configuration, recorder, nginx, ours, fairlead, files, at_peer: Cell::new(0) }
    }

    /// The folder that both serve.
    pub fn files(&self) -> &std::path::Path {
        self.files.path()
    }

    /// The same as [`Pair::compare`] where each request becomes so many at the peer, some of which
    /// nobody waits for.
    #[track_caller]
    pub fn compare_at_peer(&self, cases: &[Case], requests: usize) {
        self.at_peer.set(requests);
        self.compare(cases);
        self.at_peer.set(0);
    }

    /// Send every case to both; panic with every difference that is not listed, and with every
    /// listed one that did not show.
    #[track_caller]
    pub fn compare(&self, cases: &[Case]) {
        let mut wrong = String::new();
        for case in cases {
            let (theirs, ours) = (self.ask("nginx", &self.nginx, case), self.ask(self.ours, &self.fairlead, case));
            if let Some(problem) = self.judge(case.name, &theirs, &ours) {
                let sent: Vec<String> = case.parts.iter().map(|part| part.escape_ascii().to_string()).collect();
                let _ = writeln!(wrong, "\n=== {}: {problem}\nsent: {}", case.name, sent.join(" … "));
                let _ = writeln!(wrong, "--- nginx\n{theirs}--- fairlead\n{ours}");
            }
        }
        for row in DIFFERENCES.iter().filter(|row| row.configurations.contains(&self.configuration)) {
            for name in row.cases.iter().filter(|name| !cases.iter().any(|case| case.name == **name)) {
                let _ = writeln!(wrong, "\n=== {name}: listed, but there is no such case");
            }
        }
        assert!(wrong.is_empty(), "{}: fairlead differs\n{wrong}", self.configuration);
    }

    /// Compare a file that both wrote, line by line, once it has `least` lines; `shown` takes from a
    /// line what must agree.
    #[track_caller]
    pub fn compare_lines(&self, file: &str, least: usize, shown: impl Fn(&str) -> Option<String>) {
        let lines = |proxy: &Proxy| {
            let read = || proxy.directory().read(file);
            eventually(&format!("{least} lines in {file}"), || read().lines().count() >= least);
            read()
                .lines()
                .filter_map(&shown)
                .map(|line| {
                    line.replace(&proxy.address().port().to_string(), "PORT")
                        .replace(&proxy.directory().path().display().to_string(), "DIR")
                })
                .collect::<Vec<_>>()
        };
        let (theirs, ours) = (lines(&self.nginx), lines(&self.fairlead));
        let pairs = theirs.iter().zip(&ours).enumerate();
        let wrong: Vec<_> = pairs.filter(|(_, (theirs, ours))| theirs != ours).take(10).collect();
        assert!(wrong.is_empty(), "{file}, (line, (nginx, fairlead)): {wrong:#?}");
        assert_eq!(theirs.len(), ours.len(), "lines in {file}");
    }

    fn judge(&self, case: &str, theirs: &str, ours: &str) -> Option<String> {
        match listed(self.configuration, case) {
            None if theirs == ours && theirs.contains(NO_END) => Some("both wait for what does not come".into()),
            None if theirs == ours => None,
            None => Some("an unlisted difference".into()),
            Some(row) if theirs == ours => Some(format!("listed as different ({}), but they agree", row.reason)),
            Some(row) if theirs.contains(row.nginx) && ours.contains(row.fairlead) => None,
            Some(row) => Some(format!("listed with {:?} and {:?} ({})", row.nginx, row.fairlead, row.reason)),
        }
    }

    /// What one of them makes of a case, and what the peer got.
    fn ask(&self, name: &'static str, proxy: &Proxy, case: &Case) -> String {
        let side = Side { name, address: proxy.address() };
        let head = case.parts[0].starts_with(b"HEAD ");
        let mut text = match talk(side.address, case, head) {
            Ok(bytes) => transcript(&side, &bytes, head),
            Err((error, bytes)) => format!("{}{error}\n", transcript(&side, &bytes, head)),
        };
        let wanted = self.at_peer.get();
        if wanted > 0 {
            eventually(&format!("{wanted} requests at the peer for {}", case.name), || self.recorder.count() >= wanted);
        }
        let mut requests = self.recorder.take();
        if wanted > 0 {
            requests.sort();
        }
        for request in requests {
            let _ = writeln!(text, "peer: {}", show(&side, &request));
        }
        text
    }
}

/// Everything that comes back until the connection ends.
fn talk(address: SocketAddr, case: &Case, head: bool) -> Result<Vec<u8>, (String, Vec<u8>)> {
    let mut stream = connect(address);
    let mut came = Vec::new();
    let mut chunk = [0; 65536];
    let mut parts = case.parts.iter();
    let send = |stream: &mut std::net::TcpStream, bytes: &[u8]| {
        // A server that refused early may have closed: what it said is still to be read.
        let _ = stream.write_all(bytes);
    };
    send(&mut stream, parts.next().expect("a case has a part"));
    if case.finish {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut asked_last = case.finish;
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(came),
            Ok(count) => came.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(came),
            Err(error) => return Err((format!("{NO_END}{error}"), came)),
        }
        while has_any_answer(&came, head)
            && let Some(part) = parts.next()
        {
            send(&mut stream, part);
        }
        if !asked_last && has_answer(&came, head) {
            asked_last = true;
            send(&mut stream, LAST);
        }
    }
}

/// As `gzip` writes it.
pub fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).expect("memory takes all");
    packer.finish().expect("memory takes all")
}

/// What both serve from a folder: the same files, with the same times.
fn files(more: &[(&str, &[u8])]) -> Directory {
    let files = Directory::new();
    files.write("index.html", "<p>front\n");
    files.write("letters.txt", "abcdefghijklmnopqrstuvwxyz");
    files.write("empty.txt", "");
    files.write("a b.txt", "blank\n");
    files.write("100%.txt", "percent\n");
    files.write("folder/index.html", "<p>folder\n");
    files.write("folder/second.htm", "<p>second\n");
    files.write("bare/file", "no ending\n");
    files.write("UPPER.TXT", "upper\n");
    files.write("private/users", "#joe:{PLAIN}secret\njoe:{PLAIN}secret\nann:{PLAIN}a:b\nempty:{PLAIN}\n");
    files.write("big.bin", (0..200_000_u32).map(|number| (number % 251) as u8).collect::<Vec<u8>>());
    files.write("stored.txt", "the file itself\n");
    files.write("stored.txt.gz", packed(b"the packed file\n"));
    for (name, bytes) in more {
        files.write(name, bytes);
    }
    let dated =
        ["stored.txt", "stored.txt.gz", "index.html", "letters.txt", "empty.txt", "folder/index.html", "big.bin"];
    for name in dated.iter().chain(more.iter().map(|(name, _)| name)) {
        let file = std::fs::File::options().write(true).open(files.join(name)).expect("it was just written");
        let day = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_modified(day).expect("a file's time can be set");
    }
    files
}
