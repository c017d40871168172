//! Capabilities of this process, read and given up. Never asks for any.

use super::failed;
use std::io;

/// What a master may need, for itself and for the worker processes and the new master it starts:
/// files of any owner (logs, keys, temporary folders), the change of user, signals to the worker
/// process, low ports and addresses that are not ours, limits and priority, and locked memory.
const MASTERS: u64 = bits(&[
    CHOWN,
    DAC_OVERRIDE,
    DAC_READ_SEARCH,
    FOWNER,
    FSETID,
    KILL,
    SETGID,
    SETUID,
    SETPCAP,
    NET_BIND_SERVICE,
    NET_ADMIN,
    NET_RAW,
    IPC_LOCK,
    SYS_NICE,
    SYS_RESOURCE,
]);

const CHOWN: u32 = 0;
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const FOWNER: u32 = 3;
const FSETID: u32 = 4;
const KILL: u32 = 5;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const SETPCAP: u32 = 8;
const NET_BIND_SERVICE: u32 = 10;
const NET_ADMIN: u32 = 12;
/// What nginx keeps for `transparent`.
const NET_RAW: u32 = 13;
const IPC_LOCK: u32 = 14;
const SYS_NICE: u32 = 23;
const SYS_RESOURCE: u32 = 24;

const fn bits(capabilities: &[u32]) -> u64 {
    let (mut set, mut at) = (0, 0);
    while at < capabilities.len() {
        set |= 1 << capabilities[at];
        at += 1;
    }
    set
}

/// The sets of a thread: one bit a capability.
#[derive(Clone, Copy, Debug, Default)]
struct Sets {
    effective: u64,
    permitted: u64,
    inheritable: u64,
}

/// Gives up what a master never needs, so that neither it nor what it starts can have it.
///
/// # Errors
/// The call that failed.
pub fn keep_the_masters() -> io::Result<()> {
    let held = held()?;
    clear_bounding(MASTERS)?;
    let kept = |set: u64| set & MASTERS;
    set(Sets { effective: kept(held.effective), permitted: kept(held.permitted), inheritable: kept(held.inheritable) })
}

/// Makes sure that nothing this process might start gets any back. Wants `CAP_SETPCAP`; without
/// it there is nobody who could.
///
/// # Errors
/// The call that failed.
pub fn close_the_door() -> io::Result<()> {
    clear_bounding(0)
}

/// Gives up all, those that survive a change of user and those given to an ordinary user (ambient
/// ones), but that of using addresses which are not ours, for a `transparent` worker process.
///
/// # Errors
/// The call that failed.
pub fn keep_the_workers(transparent: bool) -> io::Result<()> {
    clear_ambient()?;
    let kept = if transparent { bits(&[NET_RAW]) & held()?.permitted } else { 0 };
    set(Sets { effective: kept, permitted: kept, inheritable: 0 })
}

/// Whether sockets of this thread may use addresses that are not ours.
pub fn may_be_transparent() -> bool {
    held().is_ok_and(|held| held.effective & bits(&[NET_RAW]) != 0)
}

/// The bounding set limits what a program that is started can gain.
fn clear_bounding(but: u64) -> io::Result<()> {
    if held()?.effective & bits(&[SETPCAP]) == 0 {
        return Ok(());
    }
    for capability in (0..u64::BITS).filter(|capability| but & (1 << capability) == 0) {
        match option(libc::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            // Those above do not exist yet.
            Err(nix::Error::EINVAL) => return Ok(()),
            Err(error) => return Err(failed("prctl(PR_CAPBSET_DROP)", error)),
        }
    }
    Ok(())
}

fn clear_ambient() -> io::Result<()> {
    match option(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u32) {
        // Kernels before 4.3 have no ambient set.
        Ok(()) | Err(nix::Error::EINVAL) => Ok(()),
        Err(error) => Err(failed("prctl(PR_CAP_AMBIENT)", error)),
    }
}

#[allow(unsafe_code)]
fn option(option: i32, value: u32) -> nix::Result<()> {
    // SAFETY: the options above take numbers only.
    let done = unsafe { libc::prctl(option, libc::c_ulong::from(value), 0, 0, 0) };
    nix::Error::result(done).map(drop)
}

/// `struct __user_cap_header_struct` with `_LINUX_CAPABILITY_VERSION_3`, of the calling thread.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

impl Header {
    const OURS: Header = Header { version: 0x2008_0522, pid: 0 };
}

#[allow(unsafe_code)]
fn held() -> io::Result<Sets> {
    let header = Header::OURS;
    // Effective, permitted and inheritable: the first 32 of each, then the others.
    let mut words = [[0u32; 3]; 2];
    // SAFETY: version 3 reads the header and writes two data structs of three words each, which is
    // what is given.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut words) };
    if done != 0 {
        return Err(failed("capget()", nix::Error::last()));
    }
    let [low, high] = words;
    let [effective, permitted, inheritable] = [0, 1, 2].map(|set: usize| {
        let word = |words: [u32; 3]| words.get(set).copied().map_or(0, u64::from);
        word(low) | word(high) << 32
    });
    Ok(Sets { effective, permitted, inheritable })
}

/// To those or some of those that are held.
#[allow(unsafe_code)]
fn set(sets: Sets) -> io::Result<()> {
    let header = Header::OURS;
    let Sets { effective, permitted, inheritable } = sets;
    let [low, high] = [0, 32].map(|shift| [effective, permitted, inheritable].map(|set| (set >> shift) as u32));
    let words = [low, high];
    // SAFETY: version 3 reads the header and two data structs of three words each, which is what
    // is given; clearing sets is always allowed.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const words) };
    if done == 0 { Ok(()) } else { Err(failed("capset()", nix::Error::last())) }
}
