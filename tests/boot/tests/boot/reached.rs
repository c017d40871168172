//! From the outside: what a running machine listens on, and that two of them reach each other.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use fairlead_boot_tests::machine::{Turn, try_get};
use fairlead_boot_tests::media::{Form, Seed};
use fairlead_boot_tests::{Image, Machine, Segment};

use crate::{BOOT, SOON};

const ONE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const STATION: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);

/// A machine with its second card on the segment.
fn on(segment: &Segment, number: u8, seed: &Seed) -> Machine {
    let image = Image::universal();
    let machine = Machine::new().kernel(&image.file("vmlinuz"), &image.file("initramfs"), "fairlead.console=lines");
    machine.segment(segment, number).cd(&seed.file()).tcp(80)
}

fn seed(address: Ipv4Addr, servers: &str) -> Seed {
    let text = format!(
        "appliance {{ interface eth0 {{ address dhcp; }} interface eth1 {{ address {address}/24; }} }}
         events {{ }}
         http {{ {servers} }}"
    );
    Seed::new(Form::Iso, &text)
}

#[test]
fn two_machines_on_one_segment_reach_each_other() {
    let segment = Segment::new();
    let turn = Turn::wait();
    let seeds = [
        seed(ONE, &format!("server {{ listen 80; location / {{ proxy_pass http://{TWO}; }} }}")),
        seed(TWO, "server { listen 80; return 200 \"the other machine\"; }"),
    ];
    let mut one = on(&segment, 1, &seeds[0]).start_in(&turn);
    let mut two = on(&segment, 2, &seeds[1]).start_in(&turn);
    two.wait_for_status("/", 200, BOOT);
    one.wait_for_status("/", 200, BOOT);
    assert_eq!(try_get(one.at(80), "/").unwrap().1, "the other machine");
    let station = segment.station(STATION);
    let macs = [ONE, TWO].map(|address| station.resolve(address, SOON));
    assert_ne!(macs[0], macs[1]);
    [ONE, TWO].iter().for_each(|address| station.ping(*address, SOON));
}

#[test]
fn nothing_listens_but_what_is_configured_and_management() {
    let segment = Segment::new();
    let seed = seed(ONE, "server { listen 80; listen 8080; return 200 x; }");
    let mut machine = on(&segment, 1, &seed).start();
    machine.wait_for_status("/", 200, BOOT);
    let open = segment.station(STATION).open_ports(ONE, Duration::from_secs(240));
    assert_eq!(open, BTreeSet::from([80, 8080, 8443]));
}
