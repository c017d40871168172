//! DNS: dnsperf's and dig's queries over two name servers.

use std::process::Command;

use fairlead_harness::setup::installed;
use fairlead_harness::{Directory, Port, eventually};

use crate::fairlead;
use crate::service::{Service, number_after, run, wait_for_tcp};

const ZONE: &str = "$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 192.0.2.1\n\
                    www IN A 192.0.2.80\nbig IN TXT ";

fn server(port: &Port, directory: &Directory) -> Service {
    let folder = directory.path().display();
    let own = port.number();
    // An answer that fits no datagram of 512 bytes.
    let big: String = (0..8).map(|part| format!("\"{}\" ", format!("{part}").repeat(200))).collect();
    directory.write("example.zone", format!("{ZONE}{big}\n"));
    let configuration = directory.write(
        &format!("nsd-{own}.conf"),
        format!(
            "server:\n ip-address: 127.0.0.1@{own}\n server-count: 1\n rrl-ratelimit: 0\n minimal-responses: yes\n username: \"\"\n zonesdir: \"{folder}\"\n \
             pidfile: \"{folder}/nsd-{own}.pid\"\n zonelistfile: \"{folder}/nsd-{own}.list\"\n \
             xfrdfile: \"{folder}/nsd-{own}.xfrd\"\n xfrdir: \"{folder}\"\nremote-control:\n control-enable: no\n\
             zone:\n name: example.test\n zonefile: example.zone\n"
        ),
    );
    let mut nsd = Command::new(installed("nsd", "apt-get install nsd"));
    nsd.arg("-d").arg("-c").arg(configuration);
    let service = Service::start(nsd, directory, &format!("nsd-{own}"));
    wait_for_tcp(port.address());
    service
}

fn dig(port: u16, arguments: &[&str]) -> String {
    let mut dig = Command::new(installed("dig", "apt-get install bind9-dnsutils"));
    dig.args(["@127.0.0.1", "-p", &port.to_string(), "+tries=1", "+time=5", "+short"]).args(arguments);
    run(&mut dig).unwrap()
}

#[test]
fn a_killed_server_loses_only_the_queries_it_had() {
    let directory = Directory::new();
    let ports = [Port::reserve(), Port::reserve()];
    let [mut doomed, _survivor] = std::array::from_fn(|at| server(&ports[at], &directory));
    let proxy = fairlead().set("a", ports[0].address()).set("b", ports[1].address()).stream(
        "log_format own '$upstream_addr $bytes_received $bytes_sent';
         upstream group { server {a} fail_timeout=60s; server {b}; }
         server { listen 127.0.0.1:{port} udp; proxy_pass group; proxy_responses 1; proxy_timeout 2s;
                  access_log {dir}/access.log own; }
         server { listen 127.0.0.1:{port}; proxy_pass group; }",
    );
    let port = proxy.address().port();
    for _ in 0..4 {
        assert_eq!(dig(port, &["www.example.test", "A"]), "192.0.2.80\n");
    }
    // Too long for a datagram: dig comes again over TCP.
    assert!(dig(port, &["+noedns", "big.example.test", "TXT"]).contains(&"7".repeat(200)));

    // One question and one answer, so that bytes tell how many of each a session had.
    let queries = directory.write("queries", "www.example.test A\n");
    let before = proxy.access_lines(5).len();
    let mut dnsperf = Command::new(installed("dnsperf", "apt-get install dnsperf"));
    dnsperf.args([
        "-s",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-l",
        "3",
        "-c",
        "8",
        "-Q",
        "2000",
        "-q",
        "20",
        "-t",
        "1",
        "-d",
    ]);
    dnsperf.arg(queries);
    let mut load = Service::start(dnsperf, &directory, "dnsperf");
    eventually("queries pass", || proxy.access_log().len() > before + 500);
    doomed.kill();
    assert!(load.wait().success(), "{}", load.output());

    let said = load.output();
    let figure = |label: &str| number_after(&said, label).unwrap_or_else(|| panic!("no {label} in {said}")) as u64;
    let (sent, lost) = (figure("Queries sent:"), figure("Queries lost:"));
    let mut sessions = Vec::new();
    eventually("every query is in the log", || {
        sessions = proxy.access_log().iter().skip(before).map(|line| Session::new(line)).collect();
        sessions.iter().map(|session| session.queries).sum::<u64>() == sent
    });
    let unanswered = |session: &Session| session.queries - session.answers;
    assert_eq!(sessions.iter().map(unanswered).sum::<u64>(), lost, "{said}");
    let doomed = ports[0].address().to_string();
    assert!(sessions.iter().filter(|session| session.peer == doomed).count() > 100);
    assert!(sessions.iter().all(|session| session.peer == doomed || unanswered(session) == 0));
    // What was on its way when it died, and the queries that found out.
    assert!(lost <= 40 && sent > 1500, "{said}");
}

struct Session {
    peer: String,
    queries: u64,
    answers: u64,
}

impl Session {
    fn new(line: &str) -> Session {
        // Header, name, type and class; the answer adds a pointer, type, class, lifetime and an address.
        const QUERY: u64 = 12 + 18 + 4;
        const ANSWER: u64 = QUERY + 16;
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        assert!(number(1) % QUERY == 0 && number(2) % ANSWER == 0, "{line}");
        Session { peer: words[0].to_owned(), queries: number(1) / QUERY, answers: number(2) / ANSWER }
    }
}
