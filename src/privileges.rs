//! What the worker process may do: limits, priority, user, capabilities.
//! Only ever gives away, and only in the worker process.

use crate::main_conf::Main;
use fairlead_core::log::{ErrorLog, Level};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setuid};
use std::ffi::CString;
use std::io;

/// Applies the process settings of the configuration and gives up every privilege.
///
/// # Errors
/// The call that failed, in nginx's words.
pub fn settle(main: &Main, log: &ErrorLog) -> io::Result<()> {
    raise_limits(main, log);
    if main.priority != 0
        && let Err(error) = set_priority(main.priority)
    {
        log.write(Level::Alert, 0, format_args!("{error}"));
    }
    if Uid::effective().is_root() {
        become_user(main)?;
    }
    drop_capabilities()?;
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
fn drop_capabilities() -> io::Result<()> {
    clear_ambient()?;
    clear_all()
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

#[allow(unsafe_code)]
fn clear_all() -> io::Result<()> {
    /// `struct __user_cap_header_struct` with `_LINUX_CAPABILITY_VERSION_3`.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    // Effective, permitted and inheritable, twice 32 of each.
    let none = [[0u32; 3]; 2];
    // SAFETY: version 3 reads the header and two data structs of three words each, which is what
    // is given; clearing sets is always allowed.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const none) };
    if done == 0 { Ok(()) } else { Err(failed("capset()", nix::Error::last())) }
}
