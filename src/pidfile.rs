//! The file that holds the master's process id, and sending it a signal.

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Removed when dropped, unless another process has put its own id there.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes our id, making the file's folder if it is missing.
    ///
    /// # Errors
    /// In nginx's words, with the path.
    pub fn create(path: &Path) -> io::Result<PidFile> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed("mkdir()", folder, &error))?;
        }
        fs::write(path, format!("{}\n", std::process::id())).map_err(|error| failed("open()", path, &error))?;
        Ok(PidFile { path: path.to_owned() })
    }

    /// Makes way for the file of the process that is to follow us.
    ///
    /// # Errors
    /// In nginx's words, with the path.
    pub fn rename(&mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to).map_err(|error| failed("rename()", &self.path, &error))?;
        to.clone_into(&mut self.path);
        Ok(())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if read(&self.path).is_ok_and(|pid| pid.as_raw().unsigned_abs() == std::process::id()) {
            // A file that is left behind is stale, and looks it: its process is gone.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where the id of a process that is being followed by a new one goes.
pub fn old(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".oldbin");
    name.into()
}

/// Sends `signal` to the process whose id is in `path`.
///
/// # Errors
/// In nginx's words, with the path or the id.
pub fn send(path: &Path, signal: Signal) -> io::Result<()> {
    let pid = read(path)?;
    signal::kill(pid, signal).map_err(|error| {
        io::Error::other(format!("kill({pid}, {}) failed ({}: {})", signal as i32, error as i32, error.desc()))
    })
}

fn read(path: &Path) -> io::Result<Pid> {
    let text = fs::read_to_string(path).map_err(|error| failed("open()", path, &error))?;
    let number = text.trim_end().parse().ok().filter(|number| *number > 0);
    let invalid = || io::Error::other(format!("invalid PID number \"{}\" in \"{}\"", text.trim_end(), path.display()));
    number.map(Pid::from_raw).ok_or_else(invalid)
}

fn failed(call: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{call} \"{}\" failed ({})", path.display(), reason(error)))
}

/// `98: Address already in use`, as nginx writes the reason of a failed call.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{number}: {}", Errno::from_raw(number).desc()),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fairlead-pidfile-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn the_file_goes_with_its_process_and_follows_a_rename() {
        let folder = folder("rename");
        let path = folder.join("run/x.pid");
        let mut file = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        file.rename(&old(&path)).unwrap();
        assert!(!path.exists());
        assert!(folder.join("run/x.pid.oldbin").exists());
        drop(file);
        assert!(!folder.join("run/x.pid.oldbin").exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_file_of_another_process_is_left_alone() {
        let folder = folder("foreign");
        let path = folder.join("x.pid");
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_process_id_gets_no_signal() {
        let folder = folder("broken");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x.pid");
        let missing = send(&path, Signal::SIGTERM).unwrap_err().to_string();
        assert_eq!(missing, format!("open() \"{}\" failed (2: No such file or directory)", path.display()));
        for text in ["", "0", "-1", "x"] {
            fs::write(&path, text).unwrap();
            let error = send(&path, Signal::SIGTERM).unwrap_err().to_string();
            assert_eq!(error, format!("invalid PID number \"{text}\" in \"{}\"", path.display()));
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
