//! Leaves the terminal. The process the user started waits until the daemon
//! serves or has failed, so that its exit code is the truth and every message
//! of the start reaches the terminal.

use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use std::fs::{File, OpenOptions};
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;

pub enum Side {
    /// The process the user started; whether the daemon came up.
    Starter {
        up: bool,
    },
    Daemon(Readiness),
}

/// The daemon's promise to say when it is up; dropped without, it has failed.
pub struct Readiness {
    pipe: PipeWriter,
}

/// Splits off the daemon: a grandchild in a session of its own that can never get a terminal again.
///
/// # Errors
/// Those of `pipe`, `fork` and `setsid`.
pub fn detach() -> io::Result<Side> {
    let (mut reader, pipe) = io::pipe()?;
    if let ForkResult::Parent { .. } = split()? {
        drop(pipe);
        let mut said = Vec::new();
        let up = reader.read_to_end(&mut said).is_ok() && said == [1];
        return Ok(Side::Starter { up });
    }
    drop(reader);
    setsid()?;
    if let ForkResult::Parent { .. } = split()? {
        // The pipe's end here must close: the starter waits for the daemon's alone.
        std::process::exit(0);
    }
    umask(Mode::from_bits_truncate(0o022));
    Ok(Side::Daemon(Readiness { pipe }))
}

#[allow(unsafe_code)]
fn split() -> io::Result<ForkResult> {
    // SAFETY: the process has one thread only (threads start after this), so nothing another
    // thread held is left locked in the child.
    Ok(unsafe { fork() }?)
}

impl Readiness {
    /// Lets go of the terminal and tells the starter. `None` keeps standard error, where the
    /// configuration logs to it.
    ///
    /// # Errors
    /// Those of `open` and `dup2`.
    pub fn up(mut self, standard_error: Option<OwnedFd>) -> io::Result<()> {
        let null: File = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        standard_error.map_or(Ok(()), dup2_stderr)?;
        self.pipe.write_all(&[1])
    }
}
