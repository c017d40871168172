//! Two gigabytes down, with ranges and resumed where a killed server cut them, and two gigabytes up.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fairlead_harness::setup::installed;
use fairlead_harness::{Directory, Port, eventually, eventually_within, get};

use crate::fairlead;
use crate::service::{Service, number_after, run, wait_for_tcp};
use crate::web::{LONG, board, curl, name};

const SIZE: u64 = (2 << 30) + 12_345;
const SMALLER: u64 = (200 << 20) + 321;
const STEP: u64 = 1 << 20;

/// A file that takes little room: its own place is written every now and then, so that no piece of it can be
/// taken for another.
fn sparse(path: PathBuf, size: u64) -> PathBuf {
    let file = File::create(&path).unwrap();
    file.set_len(size).unwrap();
    for place in (0..size).step_by(STEP as usize) {
        file.write_all_at(format!("here is {place:>12}").as_bytes(), place.min(size - 20)).unwrap();
    }
    path
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |known| known.len())
}

/// A server of files: Debian's nginx or our own, on the same configuration.
fn server(program: &Path, port: &Port, directory: &Directory) -> Service {
    let (folder, number) = (directory.path().display(), port.number());
    std::fs::create_dir_all(directory.join("logs")).unwrap();
    let temporary = if program.ends_with("nginx") {
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/t;"))
            .join(" ")
    } else {
        String::new()
    };
    let text = format!(
        "daemon off; pid {folder}/pid-{number}; error_log {folder}/error-{number}.log; worker_processes 1; events {{ }}
         http {{ access_log off; sendfile on; {temporary} server {{ listen 127.0.0.1:{number}; root {folder}/files; }} }}"
    );
    let configuration = directory.write(&format!("files-{number}.conf"), text);
    let mut command = Command::new(program);
    command.arg("-p").arg(directory.path()).arg("-c").arg(configuration);
    let service = Service::start(command, directory, &format!("files-{number}"));
    wait_for_tcp(port.address());
    service
}

/// Somebody who asks for a short file again and again meanwhile, and gets it every time.
struct Visitor {
    leaves: Arc<AtomicBool>,
    visits: JoinHandle<usize>,
}

impl Visitor {
    fn start(address: SocketAddr) -> Visitor {
        let leaves = Arc::new(AtomicBool::new(false));
        let left = leaves.clone();
        let visits = std::thread::spawn(move || {
            let mut count = 0;
            while !left.load(Ordering::Relaxed) {
                let answer = get(address, "/short");
                assert_eq!((answer.status(), answer.text().as_str()), (200, "short"), "visit {count}");
                count += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            count
        });
        Visitor { leaves, visits }
    }

    fn leave(self) -> usize {
        self.leaves.store(true, Ordering::Relaxed);
        self.visits.join().expect("every visit went well")
    }
}

/// As many bytes a second as let a download of 2 GB be under way when a server comes back.
const RATE: &str = "300M";

/// Start a download that begins at the first of two servers of `program`, kill that one while `download`
/// goes on, let `resume` take it up again, bring the server back meanwhile, and compare what came.
fn story(
    program: &Path,
    download: impl Fn(&str, &Path, &Directory) -> Service,
    resume: impl Fn(Service, &str, &Path, &Directory) -> Service,
) {
    let directory = Directory::new();
    std::fs::create_dir(directory.join("files")).unwrap();
    let original = sparse(directory.join("files/large"), SIZE);
    directory.write("files/short", "short");
    let ports = [Port::reserve(), Port::reserve()];
    let [mut doomed, _survivor] = std::array::from_fn(|at| server(program, &ports[at], &directory));
    let proxy = fairlead().set("a", ports[0].address()).set("b", ports[1].address()).http(
        "log_format own '$upstream_addr|$status|$body_bytes_sent|$http_range';
         upstream files { server {a}; server {b}; }
         upstream short { server {a} max_fails=0; server {b}; }
         server { listen 127.0.0.1:{port}; access_log {dir}/access.log own;
            location / { proxy_pass http://files; proxy_max_temp_file_size 0; }
            location /short { proxy_pass http://short; access_log {dir}/short.log own; } }",
    );
    let visitor = Visitor::start(proxy.address());
    let first = ports[0].address().to_string();
    // The last line that is whole: who was asked for the short file, and with which outcome.
    let last_visit = || {
        let log = std::fs::read_to_string(proxy.directory().join("short.log")).unwrap_or_default();
        log.lines().rev().nth(1).unwrap_or_default().to_owned()
    };
    let (url, copy) = (format!("http://{}/large", proxy.address()), directory.join("copy"));

    // Pieces from anywhere, the last bytes, several at once.
    let piece = |range: &str| curl(&["-r", range, &url]);
    let place = 1500 * STEP;
    assert_eq!(piece(&format!("{place}-{}", place + 19)), format!("here is {place:>12}"));
    assert_eq!(piece("-5").len(), 5);
    let mut asked = 3;
    if program.ends_with("nginx") {
        asked += 1;
        let two = piece(&format!("0-19,{STEP}-{}", STEP + 19));
        assert!(
            two.contains("here is            0\r\n") && two.contains(&format!("bytes {STEP}-{}/{SIZE}", STEP + 19)),
            "{two}"
        );
    }
    let status = curl(&["-o", "/dev/null", "-w", "%{http_code}", "-r", &format!("{SIZE}-"), &url]);
    assert_eq!(status, "416");

    // The next request is the first server's.
    if proxy.access_lines(asked)[asked - 1].starts_with(&ports[0].address().to_string()) {
        piece("0-0");
    }
    let client = download(&url, &copy, &directory);
    eventually("the download has come some way", || length(&copy) > 100 * STEP);
    doomed.kill();
    let mut client = resume(client, &url, &copy, &directory);
    // Asked in vain, which nobody notices.
    eventually("the killed server is missed", || last_visit().starts_with(&format!("{first}, ")));
    let _back = server(program, &ports[0], &directory);
    eventually("it serves again", || last_visit().starts_with(&format!("{first}|200")));
    assert!(length(&copy) < SIZE, "the download goes on meanwhile");
    assert!(client.wait_within(LONG).success(), "{}", client.output());
    assert!(visitor.leave() > 20, "all along");
    assert_eq!(length(&copy), SIZE);
    let same = run(Command::new("cmp").arg(&original).arg(&copy));
    assert!(same.is_ok(), "{same:?}");
    // Two requests: the one that was cut, and one for what was missing.
    let log = proxy.access_log();
    let [.., cut, rest] = &log[..] else { panic!("{log:?}") };
    let (cut, rest): (Vec<&str>, Vec<&str>) = (cut.split('|').collect(), rest.split('|').collect());
    assert_eq!((cut[0], cut[1], cut[3]), (&*ports[0].address().to_string(), "200", "-"), "{log:?}");
    assert!(rest[0].ends_with(&ports[1].address().to_string()) && rest[1] == "206", "{log:?}");
    let (before, after): (u64, u64) = (cut[2].parse().unwrap(), rest[2].parse().unwrap());
    assert!(before + after >= SIZE && before < SIZE && after < SIZE, "{log:?}");
}

#[test]
fn curl_resumes_a_download_from_nginx_at_the_other_server() {
    let start = |url: &str, copy: &Path, directory: &Directory| {
        let mut curl = Command::new(installed("curl", "apt-get install curl"));
        curl.args(["--silent", "--show-error", "-o"]).arg(copy).arg(url);
        Service::start(curl, directory, "curl")
    };
    story(&installed("nginx", "apt-get install nginx"), start, |mut cut, url, copy, directory| {
        // 18: only a part of the file came.
        assert_eq!(cut.wait_within(LONG).code(), Some(18), "{}", cut.output());
        let mut curl = Command::new(installed("curl", "apt-get install curl"));
        curl.args(["--silent", "--show-error", "--limit-rate", RATE, "-C", "-", "-o"]).arg(copy).arg(url);
        Service::start(curl, directory, "curl-again")
    });
}

#[test]
fn wget_resumes_a_download_from_fairlead_at_the_other_server() {
    let start = |url: &str, copy: &Path, directory: &Directory| {
        let mut wget = Command::new(installed("wget", "apt-get install wget"));
        wget.args(["--no-verbose", "--continue", "--tries=3", "--waitretry=0", "--limit-rate", RATE, "-O"]);
        wget.arg(copy).arg(url);
        Service::start(wget, directory, "wget")
    };
    story(Path::new(env!("CARGO_BIN_EXE_fairlead")), start, |wget, _, _, _| {
        // It comes again by itself.
        wget
    });
}

struct Uploads {
    peers: [Service; 2],
    ports: [Port; 2],
    proxy: fairlead_harness::Proxy,
    directory: Directory,
}

fn uploads(buffering: &str) -> Uploads {
    let directory = Directory::new();
    let ports = [Port::reserve(), Port::reserve()];
    let peers = std::array::from_fn(|at| board(&ports[at], &directory));
    let proxy = fairlead().set("a", ports[0].address()).set("b", ports[1].address()).http(&format!(
        "log_format own '$upstream_addr|$upstream_status|$status|$request_length';
         upstream board {{ server {{a}} fail_timeout=1s; server {{b}}; }}
         server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log own; client_max_body_size 0;
            location / {{ proxy_pass http://board; proxy_request_buffering {buffering}; proxy_http_version 1.1; }} }}"
    ));
    Uploads { peers, ports, proxy, directory }
}

impl Uploads {
    /// curl sends `size` bytes; the first server, which has them first, is killed meanwhile and comes back.
    fn send(&mut self, size: u64, arguments: &[&str]) -> String {
        let original = sparse(self.directory.join("original"), size);
        let sum = run(Command::new("sha256sum").arg(&original)).unwrap();
        let mut curl = Command::new(installed("curl", "apt-get install curl"));
        curl.args(["--silent", "--show-error"]).args(arguments).arg("-T").arg(&original);
        curl.arg(format!("http://{}/upload", self.proxy.address()));
        let mut curl = Service::start(curl, &self.directory, "curl");
        let began = self.directory.join(&format!("upload-{}", name(&self.ports[0])));
        eventually_within(LONG, "the first server has some of it", || began.exists());
        self.peers[0].kill();
        assert!(curl.wait_within(LONG).success(), "{}", curl.output());
        self.peers[0] = board(&self.ports[0], &self.directory);
        let said = curl.output();
        assert_eq!(number_after(&said, "\"bytes\":"), Some(size as f64), "{said}");
        assert!(said.contains(sum.split(' ').next().unwrap()), "{said}, but {sum}");
        assert!(said.contains(&name(&self.ports[1])), "{said}");
        said
    }

    /// The most that the folder of the balancer held, in bytes on disk.
    fn kept(&self) -> u64 {
        fn below(path: &Path) -> u64 {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .map(|entry| {
                    entry.metadata().map_or(
                        0,
                        |known| {
                            if known.is_dir() { below(&entry.path()) } else { known.blocks() * 512 }
                        },
                    )
                })
                .sum()
        }
        below(self.proxy.directory().path())
    }
}

#[test]
fn two_gigabytes_stream_up_and_a_client_that_repeats_them_gets_through() {
    let mut site = uploads("off");
    // What was passed on as it came is nobody's to repeat but the client's.
    site.send(SIZE, &["--retry", "3", "--retry-delay", "1"]);
    let log = site.proxy.access_lines(2);
    assert!(log[0].starts_with(&format!("{}|502|502|", site.ports[0].address())), "{log:?}");
    assert!(log[1].starts_with(&format!("{}|200|200|", site.ports[1].address())), "{log:?}");
    assert!(site.kept() < 1 << 20, "{} bytes were kept", site.kept());
    eventually("the killed one serves again", || site.proxy.get("/api/who").text().contains(&name(&site.ports[0])));
}

#[test]
fn an_upload_that_is_taken_in_whole_outlives_its_server() {
    let mut site = uploads("on");
    site.send(SMALLER, &[]);
    let log = site.proxy.access_lines(1);
    let [a, b] = site.ports.each_ref().map(Port::address);
    assert!(log[0].starts_with(&format!("{a}, {b}|502, 200|200|")), "{log:?}");
    // What was kept on disk is gone with the request.
    eventually("nothing is kept", || site.kept() < 1 << 20);
}
