//! The time from servers of our own, told to a hand that writes down what it would do: nobody's
//! clock is touched.

use crate::beyond::wait;
use crate::space::Space;
use fairlead_appliance::Ntp;
use fairlead_core::clock::tick;
use fairlead_network::sntp::decide::Adjust;
use fairlead_network::{Clock, Told};
use std::cell::RefCell;
use std::net::{IpAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

const SECOND: i64 = 1_000_000_000;

/// Answers at `address` with a clock that is `ahead` by seconds, for the length of a test.
fn server(address: &str, ahead: i64) {
    let socket = UdpSocket::bind((address, 1123)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    std::thread::spawn(move || {
        let mut room = [0; 100];
        while let Ok((48, from)) = socket.recv_from(&mut room) {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let seconds = (since.as_secs() as i64 + ahead + 2_208_988_800) as u32;
            let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
            let time = [seconds.to_be_bytes(), (fraction as u32).to_be_bytes()].concat();
            let mut answer = vec![0x24, 2, 6, 0xe8];
            answer.resize(24, 0);
            answer.extend_from_slice(&room[40..48]);
            answer.extend_from_slice(&time);
            answer.extend_from_slice(&time);
            socket.send_to(&answer, from).unwrap();
        }
    });
}

fn clock(space: &Space) -> (Clock, Rc<RefCell<Vec<Adjust>>>) {
    let done = Rc::new(RefCell::new(Vec::new()));
    let hand = Rc::clone(&done);
    let hand = Box::new(move |adjust| {
        hand.borrow_mut().push(adjust);
        Ok(())
    });
    (Clock::with_hand(space.folder.join("resolv.conf"), 7, hand).at_port(1123), done)
}

fn told(clock: &mut Clock) -> Vec<Told> {
    let mut all = Vec::new();
    wait("the clock is told something", || {
        all.extend(clock.on_ready(tick()));
        !all.is_empty()
    });
    all
}

fn names(all: &[&str]) -> Ntp {
    Ntp::Servers(all.iter().map(|name| (*name).into()).collect())
}

#[test]
fn the_clock_steps_to_what_most_servers_say() {
    let space = Space::enter("time", 0);
    server("127.0.0.1", 3600);
    server("127.0.0.2", 3600);
    server("127.0.0.3", -86_400);
    let (mut clock, done) = clock(&space);
    clock.follow(&names(&["127.0.0.3", "127.0.0.1", "127.0.0.2"]), &[], tick());
    let Told::Stepped { by, server } = told(&mut clock)[0] else { panic!("it does not step") };
    assert!((by - 3600 * SECOND).abs() < SECOND / 2, "{by}");
    assert_ne!(server, "127.0.0.3".parse::<IpAddr>().unwrap());
    assert_eq!(*done.borrow(), [Adjust::Step(by)]);
    assert!(clock.fds().is_empty(), "no socket is open between the rounds");
    let next = clock.deadline().unwrap().since(tick());
    assert!((60..65).contains(&next.as_secs()), "{next:?}");
}

#[test]
fn a_clock_that_is_right_is_led() {
    let space = Space::enter("led", 0);
    server("127.0.0.1", 0);
    let (mut clock, done) = clock(&space);
    clock.follow(&names(&["127.0.0.1"]), &[], tick());
    assert!(matches!(told(&mut clock)[0], Told::Led { .. }));
    assert!(matches!(done.borrow()[..], [Adjust::Lead { .. }]));
    assert!(clock.offset().unwrap().abs() < SECOND / 10);
    clock.follow(&Ntp::Off, &[], tick());
    assert_eq!(clock.deadline(), None, "nobody is asked any more");
}

#[test]
fn servers_that_are_silent_are_asked_again() {
    let space = Space::enter("silent", 0);
    let (mut clock, done) = clock(&space);
    clock.follow(&names(&["127.0.0.9"]), &[], tick());
    assert_eq!(told(&mut clock), [Told::Nobody { servers: 1 }]);
    assert!(clock.deadline().is_some() && done.borrow().is_empty());
    server("127.0.0.9", 0);
    assert!(matches!(told(&mut clock)[0], Told::Led { .. }));
}

#[test]
fn names_are_looked_up() {
    let space = Space::enter("names", 0);
    let mut dns = std::process::Command::new("dnsmasq")
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
            "--pid-file=",
        ])
        .args(["--host-record=time.example,127.0.0.1", "--address=/example/"])
        .spawn()
        .unwrap();
    std::fs::write(space.folder.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    server("127.0.0.1", 100);
    let (mut clock, _) = clock(&space);
    wait("the name server is there", || UdpSocket::bind("127.0.0.1:53").is_err());
    clock.follow(&names(&["none.example", "time.example"]), &[], tick());
    let told = told(&mut clock);
    dns.kill().unwrap();
    dns.wait().unwrap();
    assert!(matches!(told[0], Told::Stepped { .. }), "{told:?}");
}
