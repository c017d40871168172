//! One more round under a tool, after the figures are taken: perf for where the time went, strace for what was asked of
//! the kernel. Printed at once, since both are for reading, not for comparing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::Options;
use crate::engine::{Engine, Tally};
use crate::proxies::Proxy;
use crate::scenario::{Kind, Scenario};
use crate::{Fault, measure, namespace};

const ATTACH: Duration = Duration::from_millis(700);
/// A traced proxy does a few hundred operations a second.
const LEAST_TRACED: Duration = Duration::from_secs(4);
const SYMBOLS: usize = 25;
/// System calls rarer than this are set-up and background.
const RARE: f64 = 0.002;

pub fn after(engine: &mut Engine, proxy: &Proxy, scenario: &Scenario, options: &Options) -> Result<(), Fault> {
    if matches!(scenario.kind, Kind::Idle(_) | Kind::Reload) {
        return Ok(());
    }
    if options.perf {
        perf(engine, proxy, scenario, options.round)?;
    }
    if options.syscalls {
        system_calls(engine, proxy, scenario, options.round)?;
    }
    Ok(())
}

fn perf(engine: &mut Engine, proxy: &Proxy, scenario: &Scenario, time: Duration) -> Result<(), Fault> {
    let data = namespace::directory().ok_or("no directory")?.join("perf.data");
    let mut record = Command::new("perf");
    record.args(["record", "-q", "-g", "-e", "cpu-clock", "-F", "4000", "-p", &pids(proxy, ","), "-o"]).arg(&data);
    record.arg("--").arg("sleep").arg(time.as_secs_f64().to_string()).stdout(Stdio::null());
    let mut load = scenario.load(proxy.address);
    engine.run(&mut load, ATTACH, |_| false)?;
    let mut recorder = record.spawn().map_err(|error| format!("perf (package linux-perf): {error}"))?;
    engine.run(&mut load, time + ATTACH, |_| false)?;
    drop(load);
    recorder.wait()?;
    println!("\nperf: {} {}", scenario.name, proxy.label);
    print_symbols(&data)
}

fn print_symbols(data: &Path) -> Result<(), Fault> {
    let mut report = Command::new("perf");
    report.args(["report", "--stdio", "--no-children", "--no-inline", "-g", "none", "--sort", "symbol", "-i"]);
    let output = report.arg(data).stderr(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<(f64, bool, &str)> = text.lines().filter_map(symbol).collect();
    let sum = |user: bool| rows.iter().filter(|row| row.1 == user).map(|row| row.0).sum::<f64>();
    for (side, user) in [("kernel", false), ("user", true)] {
        println!("  {side} {:.1} %", sum(user));
        rows.iter().filter(|row| row.1 == user).take(SYMBOLS).for_each(|row| println!("  {:6.2} %  {}", row.0, row.2));
    }
    Ok(())
}

/// A row of perf's report: share, whether user space, name.
fn symbol(line: &str) -> Option<(f64, bool, &str)> {
    let (share, rest) = line.trim().split_once('%')?;
    let (place, name) = rest.trim().split_once(' ')?;
    // Columns for branch records follow, empty ones as dashes.
    Some((share.parse().ok()?, place == "[.]", name.trim_matches([' ', '-'])))
}

fn system_calls(engine: &mut Engine, proxy: &Proxy, scenario: &Scenario, time: Duration) -> Result<(), Fault> {
    let table = namespace::directory().ok_or("no directory")?.join("strace.txt");
    let mut strace = Command::new("strace");
    strace.args(["-c", "-f", "-o"]).arg(&table).args(pids(proxy, " ").split(' ').flat_map(|pid| ["-p", pid]));
    let mut load = scenario.load(proxy.address);
    engine.run(&mut load, ATTACH, |_| false)?;
    let mut tracer =
        strace.stderr(Stdio::null()).spawn().map_err(|error| format!("strace (package strace): {error}"))?;
    // Nobody turns the loop meanwhile, so the tracer finds a proxy at rest and counts what the load counts.
    std::thread::sleep(ATTACH);
    *load.tally() = Tally::default();
    engine.run(&mut load, time.max(LEAST_TRACED), |_| false)?;
    let operations = load.done() as f64 / scenario.per_operation();
    kill(Pid::from_raw(tracer.id() as i32), Signal::SIGINT)?;
    drop(load);
    tracer.wait()?;
    println!("\nsystem calls per operation: {} {} ({operations:.0} operations)", scenario.name, proxy.label);
    for (name, calls, errors) in fs::read_to_string(&table)?.lines().filter_map(call) {
        if calls / operations > RARE {
            let failed =
                if errors > 0.0 { format!("  {:.3} of them failed", errors / operations) } else { String::new() };
            println!("  {:8.3}  {name}{failed}", calls / operations);
        }
    }
    Ok(())
}

/// A row of strace's summary: name, calls, errors (a column that is left empty for none).
fn call(line: &str) -> Option<(&str, f64, f64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (calls, errors, name) = match fields[..] {
        [_, _, _, calls, name] => (calls, "0", name),
        [_, _, _, calls, errors, name] => (calls, errors, name),
        _ => return None,
    };
    Some((name, calls.parse().ok()?, errors.parse().ok()?)).filter(|row| row.0 != "total")
}

fn pids(proxy: &Proxy, separator: &str) -> String {
    measure::tree(proxy.pid()).iter().map(u32::to_string).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_both_tools_are_read() {
        assert_eq!(
            symbol("    12.50%  [.] core::ptr::drop in place   -      -  "),
            Some((12.5, true, "core::ptr::drop in place"))
        );
        assert_eq!(symbol("     3.00%  [k] tcp_sendmsg"), Some((3.0, false, "tcp_sendmsg")));
        assert_eq!(symbol("# Overhead  Symbol"), None);
        assert_eq!(call(" 52.63    0.000010           1        10         2 recvfrom"), Some(("recvfrom", 10.0, 2.0)));
        assert_eq!(call(" 47.37    0.000009           0        20           writev"), Some(("writev", 20.0, 0.0)));
        assert_eq!(call("100.00    0.000019           0        30         2 total"), None);
        assert_eq!(call("% time     seconds  usecs/call     calls    errors syscall"), None);
    }
}
