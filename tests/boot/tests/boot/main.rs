//! The appliance as a machine: booted, served by, updated, and cut off from its power.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reached;
mod secure_boot;
mod up;

use std::io::Write;
use std::time::Duration;

use fairlead_boot_tests::machine::{HOST, try_get};
use fairlead_boot_tests::media::{Form, Seed};
use fairlead_boot_tests::{Machine, Running};
use fairlead_harness::{HttpPeer, TcpPeer, UdpClient, UdpPeer, connect, read_line};

/// Far beyond what an idle machine takes; this one may be busy.
const BOOT: Duration = Duration::from_secs(120);
/// For what a machine that serves already does at once.
const SOON: Duration = Duration::from_secs(20);

/// What a machine balances over: on this one, which it reaches at [`HOST`].
struct Peers {
    http: [HttpPeer; 2],
    tcp: TcpPeer,
    udp: UdpPeer,
}

impl Peers {
    fn start() -> Peers {
        let http = ["Served from port 8001", "Served from port 8002"].map(HttpPeer::named);
        Peers { http, tcp: TcpPeer::named("tcp"), udp: UdpPeer::named("udp") }
    }

    /// Two articles about nginx in one file, with these peers for theirs, and one server more.
    fn configuration(&self) -> String {
        let article = |name: &str| {
            let path = format!("{}/../conf/seeds/{name}.conf", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).expect("the article's configuration is there")
        };
        let there = |address: std::net::SocketAddr| format!("{HOST}:{}", address.port());
        let http = article("one-proxy")
            .replace("127.0.0.1:8001", &there(self.http[0].address()))
            .replace("127.0.0.1:8002", &there(self.http[1].address()));
        let tcp = there(self.tcp.address());
        let stream = article("weights").replace("events {\n}\n", "");
        let stream = ["127.0.0.1:12345", "127.0.0.1:12346", "127.0.0.1:12347"]
            .iter()
            .fold(stream, |text, server| text.replace(server, &tcp))
            .replace(
                "stream {",
                &format!("stream {{\n    server {{ listen 53 udp; proxy_pass {}; }}", there(self.udp.address())),
            );
        format!("{http}\n{stream}")
    }

    fn seed(&self, form: Form) -> Seed {
        Seed::new(form, &self.configuration())
    }

    /// Starts the machine with a seed, says when its first answer came, and asks in three protocols.
    #[track_caller]
    fn are_served_by(&self, machine: Machine, form: Form, name: &str) -> Running {
        let seed = self.seed(form);
        let machine = match form {
            Form::Iso => machine.cd(&seed.file()),
            Form::Fat => machine.second_disk(&seed.file()),
        };
        let mut machine = machine.tcp(80).tcp(12340).udp(53).start();
        let took = machine.wait_for_status("/", 200, BOOT);
        println!("{name}: first HTTP 200 after {:.1} s", took.as_secs_f64());
        let answers = [(); 2].map(|()| try_get(machine.at(80), "/").expect("it serves").1);
        assert_ne!(answers[0], answers[1], "both peers have their turn");
        let mut session = connect(machine.at(12340));
        session.write_all(b"hi\n").expect("sent");
        assert_eq!(read_line(&session), "tcp: hi");
        assert_eq!(UdpClient::connect(machine.at(53)).ask("hi"), "udp: hi");
        machine
    }
}
