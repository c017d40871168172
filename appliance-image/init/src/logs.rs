//! Log files in memory: bounded, the older half goes when a file is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes of one file; there are two of each.
const LARGEST: u64 = 1 << 20;
/// Files that `fairlead` writes itself, by its `access_log` and `error_log`.
const LARGEST_FOREIGN: u64 = 2 << 20;

pub struct Log {
    path: PathBuf,
    file: Option<File>,
    written: u64,
}

impl Log {
    pub fn at(path: impl Into<PathBuf>) -> Log {
        Log { path: path.into(), file: None, written: 0 }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // A log that cannot be written is no reason to stop.
        let _ = self.append(bytes);
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written >= LARGEST {
            self.file = None;
            self.written = 0;
            fs::rename(&self.path, aside(&self.path))?;
        }
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().create(true).append(true).open(&self.path)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
            self.written += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Moves the files of `folder` that have grown too large out of the way; whether there were any. Who
/// writes them has to be told to open them again.
pub fn rotate(folder: &Path, ours: &str) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let grown = files.filter(|entry| {
        let name = entry.file_name();
        let is_old = Path::new(&name).extension().is_some_and(|ending| ending == "1");
        !is_old && name != ours && entry.metadata().is_ok_and(|about| about.is_file() && about.len() > LARGEST_FOREIGN)
    });
    grown.filter(|entry| fs::rename(entry.path(), aside(&entry.path())).is_ok()).count() > 0
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// The last `count` lines of a file and of the one before it.
pub fn tail(path: &Path, count: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for path in [aside(path), path.to_path_buf()] {
        let text = fs::read(path).unwrap_or_default();
        lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
    }
    let from = lines.len().saturating_sub(count);
    lines.split_off(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_keeps_its_last_part() {
        let folder = std::env::temp_dir().join(format!("fairlead-logs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.log");
        let mut log = Log::at(&path);
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        for _ in 0..2100 {
            log.write(&line);
        }
        log.write(b"the last\n");
        let kept = fs::metadata(&path).unwrap().len() + fs::metadata(aside(&path)).unwrap().len();
        assert!((LARGEST..=2 * LARGEST + 1024).contains(&kept), "{kept}");
        assert_eq!(tail(&path, 2).last().map(String::as_str), Some("the last"));

        fs::write(folder.join("access.log"), vec![b'x'; LARGEST_FOREIGN as usize + 1]).unwrap();
        assert!(rotate(&folder, "a.log") && !rotate(&folder, "a.log"));
        assert!(folder.join("access.log.1").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
