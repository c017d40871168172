//! A Node application: its WebSocket, its events, and headless Chromium with everything at once.

use std::process::Command;
use std::time::{Duration, Instant};

use fairlead_harness::setup::installed;
use fairlead_harness::{Directory, Port, Proxy, eventually, eventually_within};

use crate::fairlead;
use crate::service::{LIMIT, Service, number_after};
use crate::web::{LONG, app, board, name, node};

struct Site {
    peers: [Service; 2],
    ports: [Port; 2],
    proxy: Proxy,
    directory: Directory,
}

fn site() -> Site {
    let directory = Directory::new();
    let ports = [Port::reserve(), Port::reserve()];
    let peers = std::array::from_fn(|at| board(&ports[at], &directory));
    let proxy =
        fairlead().set("a", ports[0].address()).set("b", ports[1].address()).set("apps", app("").display()).http(
            "log_format own '$upstream_addr|$upstream_status|$status|$request_uri';
         map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
         upstream board { least_conn; server {a} fail_timeout=1s; server {b} fail_timeout=1s; keepalive 8; }
         types { text/css css; text/javascript js; image/svg+xml svg; }
         server { listen 127.0.0.1:{port}; access_log {dir}/access.log own; proxy_http_version 1.1;
            location / { proxy_pass http://board; proxy_set_header Host $http_host; proxy_set_header Connection \"\"; }
            location /socket { proxy_pass http://board; proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade; proxy_read_timeout 1h; }
            location /events { proxy_pass http://board; proxy_buffering off; proxy_set_header Connection \"\"; }
            location /static/ { root {apps}; expires 1h; gzip on; gzip_types *; gzip_min_length 1; } }",
        );
    Site { peers, ports, proxy, directory }
}

impl Site {
    /// Kill the first server while `client` runs, and bring it back once the other has served without it.
    fn kill_and_bring_back(&mut self, client: &mut Service, progress: impl Fn(&Site, &Service) -> usize) {
        let advance = |site: &Site, client: &Service| {
            let (start, goal) = (Instant::now(), progress(site, client) + 2);
            while progress(site, client) < goal {
                assert!(start.elapsed() < LIMIT, "the client does not go on: {}", client.output());
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        advance(self, client);
        self.peers[0].kill();
        advance(self, client);
        self.peers[0] = board(&self.ports[0], &self.directory);
        advance(self, client);
    }

    /// Lines of the access log for requests of this path whose last peer was this one.
    fn served(&self, path: &str, at: usize) -> usize {
        let address = self.ports[at].address().to_string();
        let log = self.proxy.access_log();
        let mut fields = log.iter().map(|line| line.split('|').collect::<Vec<_>>());
        let of_peer = |fields: &Vec<&str>| fields[0].ends_with(&address) && fields[3].starts_with(path);
        fields.by_ref().filter(of_peer).count()
    }
}

fn figure(said: &str, label: &str) -> usize {
    number_after(said, &format!("\"{label}\":")).unwrap_or_else(|| panic!("no {label} in {said}")) as usize
}

#[test]
fn a_killed_server_takes_only_its_own_sockets_with_it() {
    let mut site = site();
    let stop = site.directory.join("stop");
    let mut talkers = node("talkers.js");
    talkers.arg(format!("ws://{}/socket", site.proxy.address())).arg("8").arg(&stop);
    let mut talkers = Service::start(talkers, &site.directory, "talkers");
    site.kill_and_bring_back(&mut talkers, |_, talkers| talkers.output().matches("answers").count());
    assert_eq!(site.served("/socket", 0), 4, "sockets of the killed one ended and were logged");
    site.directory.write("stop", "");
    assert!(talkers.wait().success(), "{}", talkers.output());
    let said = talkers.output();
    assert_eq!(["wrong", "lost", "refused"].map(|label| figure(&said, label)), [0, 4, 0], "{said}");
    assert_eq!([0, 1].map(|at| figure(&said, &name(&site.ports[at]))), [4, 8], "{said}");
}

#[test]
fn events_flow_for_a_minute_and_none_is_missed() {
    let mut site = site();
    let mut listeners = node("listeners.js");
    listeners.args([&format!("http://{}/events", site.proxy.address()), "8", "60000"]);
    let mut listeners = Service::start(listeners, &site.directory, "listeners");
    let listening = |listeners: &Service, count: usize| {
        eventually(&format!("{count} began to listen"), || listeners.output().matches("listening").count() == count);
    };
    let came = |listeners: &Service, count: &str| {
        eventually_within(LONG, &format!("{count} events"), || listeners.output().contains(&format!("came {count}")));
    };
    listening(&listeners, 8);
    came(&listeners, "1000");
    site.peers[0].kill();
    listening(&listeners, 12);
    came(&listeners, "2000");
    site.peers[0] = board(&site.ports[0], &site.directory);
    let back = |site: &Site| site.proxy.get("/api/who").text().contains(&name(&site.ports[0]));
    eventually("the killed one serves again", || back(&site));
    came(&listeners, "3000");
    // All listen at the second one by now, and then at the first.
    site.peers[1].kill();
    listening(&listeners, 20);
    site.peers[1] = board(&site.ports[1], &site.directory);

    assert!(listeners.wait_within(LONG).success(), "{}", listeners.output());
    let said = listeners.output();
    assert_eq!(["missed", "lost", "failed"].map(|label| figure(&said, label)), [0, 12, 0], "{said}");
    assert_eq!([0, 1].map(|at| figure(&said, &name(&site.ports[at]))), [12, 8], "{said}");
    // Ten a second for each of eight, less what the first moment and the last one cut off.
    assert!((4700..=4820).contains(&figure(&said, "events")), "{said}");
    assert!(figure(&said, "latest") < 5000, "events come as they happen: {said}");
}

#[test]
fn chromium_notices_nothing_of_a_killed_server() {
    let mut site = site();
    let mut chromium = Command::new(installed("chromium", "apt-get install chromium"));
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"]);
    chromium.arg(format!("--user-data-dir={}", site.directory.join("profile").display()));
    chromium.arg(format!("http://{}/", site.proxy.address()));
    let mut chromium = Service::start(chromium, &site.directory, "chromium");
    site.kill_and_bring_back(&mut chromium, |site, _| (0..2).map(|at| site.served("/api/who", at)).sum::<usize>() / 8);
    assert!(chromium.wait().success(), "{}", chromium.output());
    let said = chromium.output();
    let report = said.lines().find(|line| line.contains("id=\"report\"")).unwrap_or_else(|| panic!("{said}"));
    assert_eq!(["asked", "failed", "missed"].map(|label| figure(report, label)), [150, 0, 0], "{report}");
    assert!((0..2).all(|at| figure(report, &name(&site.ports[at])) > 10), "both servers answered: {report}");
    assert!(["events", "messages"].iter().all(|label| figure(report, label) > 15), "{report}");
    // The picture and the style are what the folder holds, the latter packed on its way.
    assert!(figure(report, "logo") == 40 && report.contains("rgb(1, 2, 3)"), "{report}");
}
