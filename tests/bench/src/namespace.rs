//! A network, process and mount namespace of the benchmark's own.
//!
//! `outside` starts this program again as process 1 of fresh namespaces and waits: whatever ends either of the two (an
//! error, a panic, Ctrl-C, a kill), the kernel ends every proxy with process 1, and no port of the host is touched.
//! `inside` prepares the namespaces from within. Needs root.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use nix::unistd::{Pid, geteuid};

use crate::Fault;

const MARK: &str = "FAIRLEAD_BENCH_DIRECTORY";
const DESCRIPTORS: u64 = 200_000;

/// The directory for configurations, when this process is the one inside.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os(MARK).map(PathBuf::from)
}

/// Runs this program again inside and removes what it wrote, however it ends.
pub fn outside() -> Result<ExitCode, Fault> {
    if !geteuid().is_root() {
        return Err("the benchmark makes a network namespace of its own and needs root: run it with sudo".into());
    }
    let all = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    unshare(all).map_err(|error| {
        format!("this machine does not let root make namespaces ({error}); in a container, run it with --privileged")
    })?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let directory = std::env::temp_dir().join(format!("fairlead-bench-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let child = Command::new(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(MARK, &directory).spawn();
    let code = child.map_err(Fault::from).and_then(wait);
    fs::remove_dir_all(&directory)?;
    code
}

fn wait(mut child: Child) -> Result<ExitCode, Fault> {
    let signals = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Blocked only now: the mask would be inherited by the child and by every proxy.
    signals.thread_block()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(ExitCode::from(status.code().unwrap_or(1) as u8));
        }
        let signal = signals.wait()?;
        if signal != Signal::SIGCHLD {
            child.kill()?;
            child.wait()?;
            return Ok(ExitCode::from(128 + signal as u8));
        }
    }
}

/// Brings the loopback up, shows the own processes in /proc, and lifts what limits a load generator.
pub fn inside() -> Result<(), Fault> {
    set_pdeathsig(Signal::SIGKILL)?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)?;
    loopback_up()?;
    for (name, value) in [
        ("net/ipv4/ip_local_port_range", "20000 65535"),
        ("net/core/somaxconn", "65535"),
        // Connection churn would otherwise leave the later rounds more sockets in TIME-WAIT than the first.
        ("net/ipv4/tcp_max_tw_buckets", "8192"),
        // One that paces (bbr) sends in small pieces from timers, which would be what is measured. Every namespace may
        // choose this one; on loopback, where nothing is lost, it does as the usual one does.
        ("net/ipv4/tcp_congestion_control", "reno"),
    ] {
        let path = Path::new("/proc/sys").join(name);
        fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Even root may not pass its hard limit where a container withholds CAP_SYS_RESOURCE.
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS)
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, most, most))?;
    Ok(())
}

/// How many descriptors this process, and each proxy it starts, may have.
pub fn descriptors() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(now, _)| now as usize)
}

/// Moves the calling thread, and what it starts from now on, to one CPU.
pub fn pin(cpu: usize) -> Result<(), Fault> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .map_err(|error| format!("CPU {cpu} is not ours to use ({error}); the benchmark needs two CPUs").into())
}

/// RTM_NEWLINK for interface 1, which `lo` is in every network namespace (rtnetlink(7)).
fn loopback_up() -> Result<(), Fault> {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence and port
    message.extend([0; 4]); // family, padding, device type
    message.extend(1i32.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // flags
    message.extend(IFF_UP.to_ne_bytes()); // which of them change
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(netlink.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0u8; 128];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let error = answer.get(16..20.min(length)).and_then(|it| it.try_into().ok()).map(i32::from_ne_bytes);
    match error {
        Some(0) => Ok(()),
        other => Err(format!("could not bring the loopback interface up (netlink answered {other:?})").into()),
    }
}
