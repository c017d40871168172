//! What the processes may do: limits, priority, user, capabilities, and which calls the worker
//! process may make. Only ever gives away.

mod calls;
mod capabilities;
mod filter;

pub use capabilities::{keep_the_masters, may_be_transparent};

use crate::main_conf::{Main, WorkerSeccomp};
use fairlead_core::log::{ErrorLog, Level};
use filter::Temper;
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
        capabilities::close_the_door()?;
        become_user(main)?;
    }
    capabilities::keep_the_workers(transparent)?;
    prctl::set_no_new_privs().map_err(|error| failed("prctl(PR_SET_NO_NEW_PRIVS)", error))?;
    if main.rlimit_core.is_some() {
        // A process that has changed its user leaves no core file otherwise.
        prctl::set_dumpable(true).map_err(|error| failed("prctl(PR_SET_DUMPABLE)", error))?;
    }
    if let Some(folder) = &main.working_directory {
        std::env::set_current_dir(folder)
            .map_err(|error| io::Error::other(format!("chdir(\"{}\") failed ({error})", folder.display())))?;
    }
    filter_calls(main.seccomp)
}

/// From now on this process makes no other calls than serving takes; all of its threads.
///
/// # Errors
/// The call that failed: the kernel has no seccomp.
pub fn filter_calls(wanted: WorkerSeccomp) -> io::Result<()> {
    let temper = match wanted {
        WorkerSeccomp::Off => return Ok(()),
        WorkerSeccomp::On => Temper::Strict,
        WorkerSeccomp::Log => Temper::Noting,
    };
    let mut program = filter::compile(calls::rules(), temper, std::process::id());
    filter::install(&mut program).map_err(|error| io::Error::other(format!("seccomp() failed ({error})")))
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
