//! The program as the kernel sees it: children, sockets, memory. Reads `/proc` alone.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The direct children of a process, oldest first.
pub fn children(parent: u32) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| status_field(*pid, "PPid:") == Some(u64::from(parent)))
        .filter(|pid| state(*pid).is_some_and(|state| state != 'Z'))
        .collect();
    found.sort_unstable();
    found
}

/// Does any process of this group run?
pub fn group_runs(group: u32) -> bool {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let mut pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.any(|pid| group_of(pid) == Some(group) && is_running(pid))
}

/// Field 5 of `stat`; the name before it may contain anything, so count from its closing bracket.
fn group_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

/// Does a process with this id exist and run (a zombie does not)?
pub fn is_running(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> u64 {
    status_field(pid, "VmRSS:").unwrap_or(0) * 1024
}

/// Most resident memory a process ever had, in bytes.
pub fn peak_resident(pid: u32) -> u64 {
    status_field(pid, "VmHWM:").unwrap_or(0) * 1024
}

/// Processor time a process has used so far, to a hundredth of a second.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Lets this process have so many descriptors open.
pub fn allow_descriptors(count: usize) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits can be read");
    let wanted = soft.max(count as u64);
    assert!(wanted <= hard, "this test needs {wanted} descriptors, the limit is {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).expect("a limit can be raised to the hard one");
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Does a TCP socket listen at this address?
pub fn tcp_listens(address: SocketAddr) -> bool {
    const LISTEN: &str = "0A";
    let table = if address.is_ipv4() { "tcp" } else { "tcp6" };
    socket_table(table).any(|(local, state)| local == address && state == LISTEN)
}

/// Is a UDP socket bound to this IPv4 address?
pub fn udp_bound(address: SocketAddr) -> bool {
    socket_table("udp").any(|(local, _)| local == address)
}

fn state(pid: u32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("State:"))?;
    line.split_whitespace().nth(1)?.chars().next()
}

fn status_field(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn socket_table(protocol: &str) -> impl Iterator<Item = (SocketAddr, String)> {
    let table = fs::read_to_string(format!("/proc/thread-self/net/{protocol}")).unwrap_or_default();
    let rows: Vec<_> = table.lines().skip(1).filter_map(parse_row).collect();
    rows.into_iter()
}

/// `  0: 0100007F:1F90 00000000:0000 0A …`: the address is in the machine's byte order.
fn parse_row(row: &str) -> Option<(SocketAddr, String)> {
    let mut words = row.split_whitespace().skip(1);
    let (host, port) = words.next()?.split_once(':')?;
    let state = words.nth(1)?.to_owned();
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = host.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let host = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(v4) => std::net::IpAddr::from(v4),
        Err(_) => <[u8; 16]>::try_from(&bytes[..]).ok()?.into(),
    };
    Some(((host, port).into(), state))
}
