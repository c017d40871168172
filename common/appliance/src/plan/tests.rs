use super::*;
use crate::tests::sound;
use crate::{Mac, Settings};
use fairlead_core::dice::Dice;
use std::fmt::Write;

const SEEDS: u64 = 256;
const CARDS: u64 = 4;

/// A machine with four cards of which nothing is set.
fn machine() -> Kernel {
    let card = |number: u64| KernelLink {
        name: format!("eth{number}").into(),
        index: number as u32 + 2,
        kind: Kind::Card,
        mac: Mac([2, 0, 0, 0, 0, number as u8]),
        permanent: Some(Mac([2, 0, 0, 0, 0, number as u8])),
        mtu: 1500,
        up: false,
        carrier: false,
        master: None,
        alias: "".into(),
    };
    let lo = KernelLink { name: "lo".into(), index: 1, kind: Kind::Loopback, mtu: 65536, up: true, ..card(0) };
    let lo = KernelLink { mac: Mac::default(), permanent: None, ..lo };
    let mut kernel = Kernel { links: vec![lo], hostname: "(none)".into(), ..Kernel::default() };
    kernel.sysctls.insert("net/ipv4/conf/all/promote_secondaries".into(), "0".into());
    kernel.sysctls.insert("net/core/somaxconn".into(), "4096".into());
    for number in 0..CARDS {
        kernel.links.push(card(number));
        kernel.sysctls.insert(format!("net/ipv6/conf/eth{number}/accept_ra").into(), "1".into());
    }
    kernel
}

fn lease(link: &str) -> Lease {
    Lease {
        link: link.into(),
        address: "172.16.0.9/24".parse().unwrap(),
        routers: vec!["172.16.0.1".parse().unwrap()],
        routes: Vec::new(),
        dns: vec!["172.16.0.53".parse().unwrap()],
        domain: Some("leased.example".into()),
        hostname: Some("leased".into()),
        ntp: Vec::new(),
        mtu: Some(1400),
    }
}

/// The inside of a link's block; networks are numbered, so that no two are the same.
fn inside(dice: &mut Dice, network: &mut u64) -> String {
    let mut text = String::new();
    for _ in 0..dice.roll(3) {
        *network += 1;
        let n = *network;
        // One address may stay over a change while others come and go.
        let host = 2 + dice.roll(2);
        let _ = write!(text, "address 10.{n}.0.{host}/24; ");
        if dice.roll(2) == 0 {
            let _ = write!(text, "address 10.{n}.0.{}/24; address 2001:db8:{n}::2/64; ", host + 10);
        }
        if dice.roll(2) == 0 {
            let _ = write!(text, "route 192.168.{n}.0/24 via 10.{n}.0.1 metric={}; ", dice.roll(3));
        }
        if dice.roll(3) == 0 {
            let _ = write!(text, "gateway 10.{n}.0.{} metric={n}; gateway fe80::1 metric={n}; ", 100 + dice.roll(2));
        }
    }
    if dice.roll(3) == 0 {
        text.push_str("description it; ");
    }
    if dice.roll(4) == 0 {
        text.push_str("address auto; ");
    }
    text
}

fn any(dice: &mut Dice) -> Settings {
    let (mut text, mut network) = (String::new(), 0);
    let bonded = dice.roll(CARDS);
    let mut parents = Vec::new();
    if bonded > 0 {
        let mode = ["mode active-backup; primary eth0;", "mode 802.3ad; lacp_rate fast;", "mode 802.3ad; min_links 1;"];
        let members: Vec<String> = (0..bonded).map(|number| format!("eth{number}")).collect();
        let mode = mode[dice.roll(3) as usize];
        let mtu = ["", "mtu 9000;"][dice.roll(2) as usize];
        let own = inside(dice, &mut network);
        let _ = write!(
            text,
            "bond bond0 {{ {mode} {mtu} miimon {}; member {}; {own}}} ",
            1 + dice.roll(2),
            members.join(" ")
        );
        parents.push("bond0".to_owned());
    }
    for number in bonded..CARDS {
        if dice.roll(3) > 0 {
            let own = inside(dice, &mut network);
            let extra = ["", "address dhcp;", "mtu 2000;", "mac 02:00:00:00:09:01;"][dice.roll(4) as usize];
            let _ = write!(text, "interface eth{number} {{ {extra} {own}}} ");
            parents.push(format!("eth{number}"));
        }
    }
    for id in 1..=dice.roll(4) {
        if parents.is_empty() {
            break;
        }
        let parent = parents[dice.roll(parents.len() as u64) as usize].clone();
        let own = inside(dice, &mut network);
        let _ = write!(text, "vlan v{id} {{ parent {parent}; id {}; {own}}} ", id * 10 + dice.roll(2));
        parents.push(format!("v{id}"));
    }
    if dice.roll(2) == 0 {
        let _ = write!(
            text,
            "hostname lb{}; dns 192.0.2.1; sysctl net.core.somaxconn {}; ",
            dice.roll(3),
            1 + dice.roll(3)
        );
    }
    sound(&text)
}

fn run(kernel: &mut Kernel, wanted: &Wanted) -> Vec<Step> {
    let steps = plan(kernel, wanted);
    steps.iter().for_each(|step| kernel.take(step));
    steps
}

/// What may differ without anybody seeing it.
fn visible(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    for link in &mut kernel.links {
        link.index = 0;
        // A member's is that of its bond.
        link.mac = if link.master.is_some() { Mac::default() } else { link.mac };
    }
    kernel.links.sort_by(|one, other| one.name.cmp(&other.name));
    kernel.addresses.sort_by_key(|address| (address.link.clone(), address.net));
    kernel.routes.sort_by_key(|route| (route.to, route.metric));
    kernel
}

#[track_caller]
fn assert_is(kernel: &Kernel, wanted: &Wanted, seed: u64) {
    let after = plan(kernel, wanted);
    assert!(after.is_empty(), "seed {seed}: a second plan has {after:?}");
    for (name, link) in &wanted.links {
        let is = kernel.link(name).unwrap_or_else(|| panic!("seed {seed}: no {name}"));
        assert_eq!((is.up, &is.master), (link.up, &link.master), "seed {seed}: {name}");
        assert!(link.master.is_some() || link.mtu.is_none_or(|mtu| mtu == is.mtu), "seed {seed}: mtu of {name}");
    }
    let ours: Vec<_> = kernel.addresses.iter().filter(|address| address.ours).collect();
    assert_eq!(ours.len(), wanted.addresses.len(), "seed {seed}");
    assert!(wanted.addresses.iter().all(|address| ours.contains(&address)), "seed {seed}");
    assert_eq!(kernel.routes.len(), wanted.routes.len(), "seed {seed}");
    assert!(wanted.routes.iter().all(|route| kernel.routes.contains(route)), "seed {seed}");
    assert_eq!((&kernel.hostname, &kernel.resolv_conf), (&wanted.hostname, &wanted.resolv_conf), "seed {seed}");
}

#[test]
fn any_settings_follow_any_others_and_go_back() {
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let mut kernel = machine();
        for _ in 0..4 {
            let before = kernel.clone();
            let leases = if dice.roll(2) == 0 { vec![lease("eth3")] } else { Vec::new() };
            let wanted = Wanted::of(&any(&mut dice), &kernel, &leases);
            run(&mut kernel, &wanted);
            assert_is(&kernel, &wanted, seed);

            let mut back = kernel.clone();
            run(&mut back, &Wanted::as_it_was(&before));
            assert_eq!(visible(&back), visible(&before), "seed {seed}: it cannot go back");
        }
    }
}

#[test]
fn a_plan_that_stops_midway_is_undone() {
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let mut kernel = machine();
        let first = Wanted::of(&any(&mut dice), &kernel, &[]);
        run(&mut kernel, &first);
        let before = kernel.clone();
        let steps = plan(&kernel, &Wanted::of(&any(&mut dice), &kernel, &[]));
        steps.iter().take(dice.roll(steps.len() as u64 + 1) as usize).for_each(|step| kernel.take(step));
        run(&mut kernel, &Wanted::as_it_was(&before));
        assert_eq!(visible(&kernel), visible(&before), "seed {seed}");
    }
}

#[test]
fn what_stays_the_same_is_not_touched() {
    let text = "interface eth0 { address 192.0.2.2/24; gateway 192.0.2.1; } vlan v { parent eth0; id 7; }";
    let mut kernel = machine();
    let wanted = Wanted::of(&sound(text), &kernel, &[]);
    run(&mut kernel, &wanted);
    let more = Wanted::of(&sound(&format!("{text} hostname lb9;")), &kernel, &[]);
    assert_eq!(plan(&kernel, &more), [Step::SetHostname("lb9".into())]);
    let other = Wanted::of(&sound(&text.replace("192.0.2.2", "192.0.2.3")), &kernel, &[]);
    let told: Vec<String> = plan(&kernel, &other).iter().map(Step::to_string).collect();
    assert_eq!(told, ["add 192.0.2.3/24 to eth0", "remove 192.0.2.2/24 from eth0"], "the new one is there first");
}

#[test]
fn addresses_of_others_stay() {
    let mut kernel = machine();
    kernel.addresses.push(KernelAddress { link: "eth0".into(), net: "192.0.2.77/32".parse().unwrap(), ours: false });
    let wanted = Wanted::of(&sound("interface eth0 { address 192.0.2.2/24; }"), &kernel, &[]);
    run(&mut kernel, &wanted);
    assert_eq!(kernel.addresses.len(), 2);
}

#[test]
fn a_link_that_a_driver_made_gives_its_name_up() {
    let mut kernel = machine();
    let stranger = KernelLink { name: "bond0".into(), kind: Kind::Other, ..kernel.links[1].clone() };
    kernel.links.push(stranger);
    let wanted = Wanted::of(&sound("bond bond0 { member eth0 eth1; address 192.0.2.2/24; }"), &kernel, &[]);
    run(&mut kernel, &wanted);
    assert_is(&kernel, &wanted, 0);
}

#[test]
fn a_lease_gives_what_is_not_written() {
    let mut kernel = machine();
    let leases = [lease("eth0")];
    let wanted = Wanted::of(&sound("interface eth0 { address dhcp; }"), &kernel, &leases);
    run(&mut kernel, &wanted);
    assert_eq!(&*kernel.resolv_conf, "search leased.example\nnameserver 172.16.0.53\n");
    assert_eq!((&*kernel.hostname, kernel.link("eth0").unwrap().mtu), ("leased", 1400));
    assert_eq!(kernel.routes[0].to_string(), "0.0.0.0/0 via 172.16.0.1 on eth0 metric 100");

    let text = "hostname lb1; dns 192.0.2.53; search a.example; interface eth0 { address dhcp; mtu 9000; }";
    let wanted = Wanted::of(&sound(text), &kernel, &leases);
    run(&mut kernel, &wanted);
    assert_eq!(&*kernel.resolv_conf, "search a.example\nnameserver 192.0.2.53\n");
    assert_eq!((&*kernel.hostname, kernel.link("eth0").unwrap().mtu), ("lb1", 9000));

    let gone = Wanted::of(&sound("interface eth0 { address dhcp; }"), &kernel, &[]);
    run(&mut kernel, &gone);
    assert!(kernel.addresses.is_empty() && kernel.routes.is_empty());
}

#[test]
fn a_card_is_found_by_the_address_it_was_made_with() {
    let mut kernel = machine();
    let text = "interface 02:00:00:00:00:02 { address 192.0.2.2/24; mac 02:00:00:00:09:09; } \
                interface 02:00:00:00:00:99 { }";
    for _ in 0..2 {
        let wanted = Wanted::of(&sound(text), &kernel, &[]);
        run(&mut kernel, &wanted);
        assert_eq!(&*kernel.addresses[0].link, "eth2");
        assert_eq!(wanted.missing.len(), 1);
    }
}
