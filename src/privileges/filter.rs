//! A seccomp filter: turns rows of calls into the program that the kernel asks before it obeys, and
//! hands it over for every thread of this process. There is no way back.
//!
//! Neighbouring calls that are treated alike are one range, and the range of a call is found by
//! halving: eight comparisons where a list takes a hundred. For what is allowed whatever its
//! arguments the kernel (5.11 and newer) does not even do these.

use super::calls::{NEWEST, Rule};
use libc::{c_long, sock_filter};
use std::collections::BTreeMap;
use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// `EPERM`.
    Refuse,
    /// `ENOSYS`.
    NotThere,
    /// The end of the process.
    Kill,
}

/// About the lower half of an argument, which is all that these calls look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Has { argument: u32, bit: u32 },
    Lacks { argument: u32, bit: u32 },
    OneOf { argument: u32, values: &'static [u32] },
    OurProcess { argument: u32 },
}

/// What becomes of a call that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    Strict,
    /// It is done, and noted in the kernel's log.
    Noting,
}

#[cfg(target_arch = "x86_64")]
const MACHINE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const MACHINE: u32 = 0xc000_00b7;

/// From here on the numbers are those of x32, which nobody here is built for.
const OTHER_NUMBERS: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const MACHINE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// The calls from `first` up to where the next range begins.
struct Range {
    first: u32,
    rule: Rule,
}

/// The program for `rules`, run by a process whose id is `pid`.
pub fn compile(rules: impl Iterator<Item = (c_long, Rule)>, temper: Temper, pid: u32) -> Vec<sock_filter> {
    let ranges = ranges(rules);
    let compiler = Compiler { temper, pid };
    let mut program = vec![
        instruction(LOAD, MACHINE_AT, 0, 0),
        instruction(EQUAL, MACHINE, 1, 0),
        compiler.verdict(Verdict::Kill),
        instruction(LOAD, NUMBER_AT, 0, 0),
    ];
    program.extend(compiler.search(&ranges));
    program
}

fn ranges(rules: impl Iterator<Item = (c_long, Rule)>) -> Vec<Range> {
    let known: BTreeMap<u32, Rule> = rules.filter_map(|(call, rule)| Some((u32::try_from(call).ok()?, rule))).collect();
    let rule_of = |call| known.get(&call).copied().unwrap_or(Rule::Always(Verdict::Refuse));
    let mut ranges: Vec<Range> = Vec::new();
    let beyond = [(NEWEST + 1, Rule::Always(Verdict::NotThere)), (OTHER_NUMBERS, Rule::Always(Verdict::Kill))];
    for (first, rule) in (0..=NEWEST).map(|call| (call, rule_of(call))).chain(beyond) {
        if ranges.last().is_none_or(|last| last.rule != rule) {
            ranges.push(Range { first, rule });
        }
    }
    ranges
}

struct Compiler {
    temper: Temper,
    pid: u32,
}

impl Compiler {
    fn search(&self, ranges: &[Range]) -> Vec<sock_filter> {
        let (below, above) = match ranges {
            [] => return Vec::new(),
            [range] => return self.rule(range.rule),
            _ => ranges.split_at(ranges.len() / 2),
        };
        let first = above.first().map_or(0, |range| range.first);
        let (below, above) = (self.search(below), self.search(above));
        // A conditional jump reaches 255 instructions.
        let mut program = match u8::try_from(below.len()) {
            Ok(length) => vec![instruction(AT_LEAST, first, length, 0)],
            Err(_) => vec![instruction(AT_LEAST, first, 0, 1), instruction(JUMP, length(&below), 0, 0)],
        };
        program.extend(below);
        program.extend(above);
        program
    }

    fn rule(&self, rule: Rule) -> Vec<sock_filter> {
        let (condition, otherwise) = match rule {
            Rule::Always(verdict) => return vec![self.verdict(verdict)],
            Rule::Where(condition, otherwise) => (condition, self.verdict(otherwise)),
        };
        let allow = self.verdict(Verdict::Allow);
        let load = |argument: u32| instruction(LOAD, ARGUMENTS_AT + argument * 8, 0, 0);
        match condition {
            Condition::Has { argument, bit } => {
                vec![load(argument), instruction(ANY_BIT, bit, 0, 1), allow, otherwise]
            }
            Condition::Lacks { argument, bit } => {
                vec![load(argument), instruction(ANY_BIT, bit, 1, 0), allow, otherwise]
            }
            Condition::OurProcess { argument } => {
                vec![load(argument), instruction(EQUAL, self.pid, 0, 1), allow, otherwise]
            }
            Condition::OneOf { argument, values } => {
                let compare = values.iter().flat_map(|value| [instruction(EQUAL, *value, 0, 1), allow]);
                [load(argument)].into_iter().chain(compare).chain([otherwise]).collect()
            }
        }
    }

    fn verdict(&self, verdict: Verdict) -> sock_filter {
        let refuse = |error: i32| libc::SECCOMP_RET_ERRNO | (error as u32 & libc::SECCOMP_RET_DATA);
        let answer = match (verdict, self.temper) {
            (Verdict::Allow, _) => libc::SECCOMP_RET_ALLOW,
            // A C library expects it: nothing to note.
            (Verdict::NotThere, _) => refuse(libc::ENOSYS),
            (_, Temper::Noting) => libc::SECCOMP_RET_LOG,
            (Verdict::Refuse, Temper::Strict) => refuse(libc::EPERM),
            (Verdict::Kill, Temper::Strict) => libc::SECCOMP_RET_KILL_PROCESS,
        };
        instruction(RETURN, answer, 0, 0)
    }
}

fn length(program: &[sock_filter]) -> u32 {
    u32::try_from(program.len()).unwrap_or(u32::MAX)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // Every code above fits.
    sock_filter { code: code as u16, jt, jf, k }
}

/// Hands the program to the kernel for all threads of this process, now and to come. They must have
/// given up gaining privileges.
///
/// # Errors
/// Those of `seccomp(2)`: a kernel without it.
#[allow(unsafe_code)]
pub fn install(program: &mut [sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // Kernels before 5.16 would slow every thread down for a side channel between programs of one process.
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the program and the instructions it points to live until the call returns; the kernel
    // copies them and writes nothing.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match done {
        0 => Ok(()),
        error if error < 0 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!("thread {thread} has a filter of its own"))),
    }
}

#[cfg(test)]
mod tests;
