//! What a proxy has cost: CPU time and memory of its process tree, as /proc tells it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Fault;

/// The unit of times in /proc/PID/stat (USER_HZ), the same on every Linux this builds for.
const TICK: Duration = Duration::from_millis(10);

/// `root` and everything below it.
pub fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// CPU time of every thread of the tree, to the nanosecond, and of the children `root` has buried, to 10 ms.
pub fn cpu_time(root: u32) -> Duration {
    let alive: Duration = tree(root).into_iter().map(threads_time).sum();
    alive + buried(root).unwrap_or_default()
}

fn threads_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| run_time(&task.path())).sum()
}

fn run_time(task: &Path) -> Option<Duration> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn buried(pid: u32) -> Option<Duration> {
    let fields = stat(pid)?;
    let user: u32 = fields.get(13)?.parse().ok()?;
    let system: u32 = fields.get(14)?.parse().ok()?;
    Some(TICK * (user + system))
}

/// The fields of /proc/PID/stat after the command's name, which may itself hold spaces: 0 is the state, 1 the parent.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Proportional set size of the tree in bytes: what is shared counts once.
pub fn memory(root: u32) -> Result<u64, Fault> {
    let mut bytes = 0;
    for pid in tree(root) {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss in smaps_rollup")?;
        bytes += line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
    }
    Ok(bytes)
}
