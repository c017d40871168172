//! What the kernel says `fairlead`'s processes may do: their user, capabilities, and whether their
//! calls are filtered. Read for the status, never acted on.

use std::fs;

/// Rows of `/proc/PID/status` that matter.
const ROWS: &[&str] = &["Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"];

/// One line for the process and one for each that it has started.
pub fn of(pid: u32) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    let status = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(format!("{pid}: {}", line(&text)))
    };
    [pid].into_iter().chain(children).filter_map(status).collect()
}

/// `Uid 100, CapEff 0000000000000000, …`; of several ids the effective one.
fn line(status: &str) -> String {
    let rows = ROWS.iter().filter_map(|wanted| {
        let values = status.lines().find_map(|row| row.strip_prefix(wanted)?.strip_prefix(':'))?;
        let mut values = values.split_whitespace();
        let first = values.next()?;
        Some(format!("{wanted} {}", values.next().unwrap_or(first)))
    });
    rows.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_in_one_line() {
        let status = "Name:\tx\nUid:\t0\t100\t100\t100\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(line(status), "Uid 100, CapEff 0000000000000000, NoNewPrivs 1, Seccomp 2");
        assert!(of(std::process::id())[0].contains("NoNewPrivs"));
    }
}
