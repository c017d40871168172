//! What the worker process may do: limits, priority, user, capabilities.
//! Only ever gives away, and only in the worker process.

use crate::main_conf::Main;
use fairlead_core::log::{ErrorLog, Level};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setuid};
use std::ffi::CString;
use std::io;

/// Applies the process settings of the configuration and gives up every privilege but, if it is
/// `transparent`, that of using addresses which are not ours.
///
/// # Errors
/// The call that failed, in nginx's words.
pub fn settle(main: &Main, log: &ErrorLog, transparent: bool) -> io::Result<()> {
    raise_limits(main, log);
    if main.priority != 0
        && let Err(error) = set_priority(main.priority)
    {
        log.write(Level::Alert, 0, format_args!("{error}"));
    }
    if Uid::effective().is_root() {
        // Else the change of user takes them all.
        prctl::set_keepcaps(transparent).map_err(|error| failed("prctl(PR_SET_KEEPCAPS)", error))?;
        become_user(main)?;
    }
    drop_capabilities(if transparent { NET_RAW } else { 0 })?;
    prctl::set_no_new_privs().map_err(|error| failed("prctl(PR_SET_NO_NEW_PRIVS)", error))?;
    if main.rlimit_core.is_some() {
        // A process that has changed its user leaves no core file otherwise.
        prctl::set_dumpable(true).map_err(|error| failed("prctl(PR_SET_DUMPABLE)", error))?;
    }
    match &main.working_directory {
        Some(folder) => std::env::set_current_dir(folder)
            .map_err(|error| io::Error::other(format!("chdir(\"{}\") failed ({error})", folder.display()))),
        None => Ok(()),
    }
}

fn failed(call: &str, error: nix::Error) -> io::Error {
    io::Error::other(format!("{call} failed ({}: {})", error as i32, error.desc()))
}

/// A limit that cannot be had is an alert, not the end: what there is still serves, as in nginx.
fn raise_limits(main: &Main, log: &ErrorLog) {
    let limits = [
        ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE, main.rlimit_nofile),
        ("RLIMIT_CORE", Resource::RLIMIT_CORE, main.rlimit_core),
    ];
    for (name, resource, limit) in limits {
        if let Some(limit) = limit
            && let Err(error) = setrlimit(resource, limit, limit)
        {
            log.write(Level::Alert, 0, format_args!("{}", failed(&format!("setrlimit({name}, {limit})"), error)));
        }
    }
}

#[allow(unsafe_code)]
fn set_priority(priority: i32) -> io::Result<()> {
    // SAFETY: takes three numbers and touches no memory of ours.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, priority) };
    if done == 0 { Ok(()) } else { Err(failed(&format!("setpriority({priority})"), nix::Error::last())) }
}

/// The account behind `user NAME [GROUP]`; the group is the one with the user's name if none is given.
///
/// # Errors
/// Who is not known, in nginx's words.
pub fn account(name: &str, group: Option<&str>) -> io::Result<(User, Gid)> {
    let group = group.unwrap_or(name);
    let user = user(name)?;
    let known = Group::from_name(group).ok().flatten();
    let gid = known.ok_or_else(|| io::Error::other(format!("getgrnam(\"{group}\") failed")))?.gid;
    Ok((user, gid))
}

fn user(name: &str) -> io::Result<User> {
    let known = User::from_name(name).ok().flatten();
    known.ok_or_else(|| io::Error::other(format!("getpwnam(\"{name}\") failed")))
}

fn become_user(main: &Main) -> io::Result<()> {
    let (user, gid) = match &main.user {
        Some((name, group)) => account(name, group.as_deref())?,
        None => {
            let nobody = user("nobody")?;
            let gid = nobody.gid;
            (nobody, gid)
        }
    };
    let name = CString::new(user.name.as_bytes())?;
    setgid(gid).map_err(|error| failed(&format!("setgid({gid})"), error))?;
    initgroups(&name, gid).map_err(|error| failed(&format!("initgroups({}, {gid})", user.name), error))?;
    setuid(user.uid).map_err(|error| failed(&format!("setuid({})", user.uid), error))
}

/// Those that survive a change of user, or were given to an ordinary user (ambient ones).
fn drop_capabilities(but: u32) -> io::Result<()> {
    clear_ambient()?;
    let [_, permitted, _] = capabilities()?;
    keep_only(but & permitted)
}

/// `CAP_NET_RAW`, among the first 32: what nginx keeps for `transparent`.
const NET_RAW: u32 = 1 << 13;

/// Whether sockets of this thread may use addresses that are not ours.
pub fn may_be_transparent() -> bool {
    capabilities().is_ok_and(|[effective, _, _]| effective & NET_RAW != 0)
}

#[allow(unsafe_code)]
fn clear_ambient() -> io::Result<()> {
    // SAFETY: this prctl takes numbers only.
    let done = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    // Kernels before 4.3 have no ambient set.
    if done == 0 || nix::Error::last() == nix::Error::EINVAL {
        Ok(())
    } else {
        Err(failed("prctl(PR_CAP_AMBIENT)", nix::Error::last()))
    }
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

/// The first 32 effective, permitted and inheritable ones.
#[allow(unsafe_code)]
fn capabilities() -> io::Result<[u32; 3]> {
    let header = Header::OURS;
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: version 3 reads the header and writes two data structs of three words each, which is
    // what is given.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets) };
    let [first, _] = sets;
    if done == 0 { Ok(first) } else { Err(failed("capget()", nix::Error::last())) }
}

/// `kept` are among those permitted.
#[allow(unsafe_code)]
fn keep_only(kept: u32) -> io::Result<()> {
    let header = Header::OURS;
    // Effective, permitted and inheritable, twice 32 of each.
    let sets = [[kept, kept, 0], [0; 3]];
    // SAFETY: version 3 reads the header and two data structs of three words each, which is what
    // is given; clearing sets is always allowed.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) };
    if done == 0 { Ok(()) } else { Err(failed("capset()", nix::Error::last())) }
}
