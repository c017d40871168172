use super::super::calls::rules;
use super::*;

const PID: u32 = 4711;

/// What the kernel would answer: a classic BPF machine of the six instructions in use.
fn answer(program: &[sock_filter], machine: u32, call: u32, arguments: [u64; 6]) -> u32 {
    let (mut at, mut held) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        let (jt, jf) = (usize::from(jt), usize::from(jf));
        at += 1;
        let jump = |holds: bool| if holds { jt } else { jf };
        match u32::from(code) {
            LOAD if k == NUMBER_AT => held = call,
            LOAD if k == MACHINE_AT => held = machine,
            LOAD => held = arguments[(k - ARGUMENTS_AT) as usize / 8] as u32,
            EQUAL => at += jump(held == k),
            AT_LEAST => at += jump(held >= k),
            ANY_BIT => at += jump(held & k != 0),
            JUMP => at += k as usize,
            RETURN => return k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn strict(call: c_long, arguments: [u64; 6]) -> u32 {
    answer(&compile(rules(), Temper::Strict, PID), MACHINE, call as u32, arguments)
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

#[test]
fn every_row_is_answered_as_it_says() {
    let program = compile(rules(), Temper::Strict, PID);
    let mut seen = std::collections::HashSet::new();
    for (call, rule) in rules() {
        assert!(seen.insert(call), "call {call} has two rows");
        if let Rule::Always(verdict) = rule {
            let expected = match verdict {
                Verdict::Allow => ALLOW,
                Verdict::Refuse => EPERM,
                Verdict::NotThere => ENOSYS,
                Verdict::Kill => KILL,
            };
            assert_eq!(answer(&program, MACHINE, call as u32, [u64::MAX; 6]), expected, "call {call}");
        }
    }
    for call in (0..=NEWEST).filter(|call| !seen.contains(&c_long::from(*call))) {
        assert_eq!(answer(&program, MACHINE, call, [0; 6]), EPERM, "call {call}");
    }
}

#[test]
fn a_thread_may_be_made_and_a_process_may_not() {
    let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64;
    assert_eq!(strict(libc::SYS_clone, [thread, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(strict(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]), KILL);
    assert_eq!(strict(libc::SYS_clone3, [0; 6]), ENOSYS);
    assert_eq!(strict(libc::SYS_execve, [0; 6]), KILL);
}

#[test]
fn memory_is_never_made_executable() {
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        assert_eq!(strict(call, [0, 4096, (libc::PROT_READ | libc::PROT_WRITE) as u64, 0, 0, 0]), ALLOW);
        assert_eq!(strict(call, [0, 4096, (libc::PROT_READ | libc::PROT_EXEC) as u64, 0, 0, 0]), EPERM);
    }
}

#[test]
fn sockets_are_of_three_families() {
    for family in 0..=libc::AF_VSOCK {
        let expected = if [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].contains(&family) { ALLOW } else { EPERM };
        assert_eq!(strict(libc::SYS_socket, [family as u64, 1, 0, 0, 0, 0]), expected, "family {family}");
    }
}

#[test]
fn only_this_process_is_signalled() {
    assert_eq!(strict(libc::SYS_tgkill, [PID.into(), 1, 6, 0, 0, 0]), ALLOW);
    assert_eq!(strict(libc::SYS_tgkill, [1, 1, 6, 0, 0, 0]), EPERM);
    assert_eq!(strict(libc::SYS_kill, [PID.into(), 9, 0, 0, 0, 0]), EPERM);
}

#[test]
fn calls_of_another_machine_or_of_the_future_are_not_taken_for_ours() {
    let program = compile(rules(), Temper::Strict, PID);
    let read = libc::SYS_read as u32;
    assert_eq!(answer(&program, MACHINE, read, [0; 6]), ALLOW);
    // i386, where the numbers mean something else.
    assert_eq!(answer(&program, 0x4000_0003, read, [0; 6]), KILL);
    assert_eq!(answer(&program, MACHINE, OTHER_NUMBERS | read, [0; 6]), KILL);
    assert_eq!(answer(&program, MACHINE, NEWEST + 1, [0; 6]), ENOSYS);
}

#[test]
fn a_noting_filter_refuses_nothing_that_a_program_counts_on() {
    let program = compile(rules(), Temper::Noting, PID);
    for call in [libc::SYS_execve, libc::SYS_kill, libc::SYS_socket] {
        assert_eq!(answer(&program, MACHINE, call as u32, [99; 6]), libc::SECCOMP_RET_LOG);
    }
    assert_eq!(answer(&program, MACHINE, libc::SYS_read as u32, [0; 6]), ALLOW);
}

#[test]
fn the_longest_way_through_it_is_short() {
    let program = compile(rules(), Temper::Strict, PID);
    // The kernel takes 4096.
    assert!(program.len() < 600, "{} instructions", program.len());
    let mut worst = 0;
    for call in 0..=NEWEST {
        let mut steps = 0;
        let (mut at, mut done) = (3, false);
        while !done {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            steps += 1;
            match u32::from(code) {
                AT_LEAST => at += usize::from(if call >= k { jt } else { jf }),
                JUMP => at += k as usize,
                LOAD if at == 4 => {}
                _ => done = true,
            }
        }
        worst = worst.max(steps);
    }
    assert!(worst <= 14, "{worst} instructions until the range of a call is found");
}
