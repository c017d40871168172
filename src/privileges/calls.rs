//! What a worker process asks of the kernel once it serves: the rows that [`super::filter`] turns
//! into a program. A call that is not named here is refused; those that only an intruder makes end
//! the process.

use super::filter::{Condition, Verdict};
use libc::*;

/// What is done about a call, or about it with certain arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Always(Verdict),
    /// The first where the condition holds, the second elsewhere.
    Where(Condition, Verdict),
}

/// The last call that the rows below take a stand on (`map_shadow_stack`). What a newer kernel has
/// beyond it "is not there", so that a newer C library falls back to what it used before.
pub const NEWEST: u32 = 453;

/// Every row with its call, in no order.
pub fn rules() -> impl Iterator<Item = (c_long, Rule)> {
    let always = |verdict| move |call: &c_long| (*call, Rule::Always(verdict));
    let allowed = [HOT, FILES, PROCESS, OLD].into_iter().flatten().map(always(Verdict::Allow));
    let hostile = HOSTILE.iter().map(always(Verdict::Kill));
    let conditional = CONDITIONAL.iter().map(|(call, condition, verdict)| (*call, Rule::Where(*condition, *verdict)));
    // Its flags lie behind a pointer, which a filter cannot follow; without it, `clone` is used.
    allowed.chain(hostile).chain(conditional).chain([(SYS_clone3, Rule::Always(Verdict::NotThere))])
}

/// What is called for each connection, request or datagram. Allowed whatever the arguments are: the
/// kernel remembers that and does not run the filter for them at all.
const HOT: &[c_long] = &[
    SYS_accept4,
    SYS_bind,
    SYS_close,
    SYS_connect,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_futex,
    SYS_getpeername,
    SYS_getrandom,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_listen,
    SYS_pipe2,
    SYS_pread64,
    SYS_preadv,
    SYS_preadv2,
    SYS_pwrite64,
    SYS_pwritev,
    SYS_pwritev2,
    SYS_read,
    SYS_readv,
    SYS_recvfrom,
    SYS_recvmmsg,
    SYS_recvmsg,
    SYS_sendfile,
    SYS_sendmmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_setsockopt,
    SYS_shutdown,
    SYS_splice,
    SYS_tee,
    SYS_write,
    SYS_writev,
];

/// Static files, temporary files, caches, logs.
const FILES: &[c_long] = &[
    SYS_copy_file_range,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fadvise64,
    SYS_fallocate,
    SYS_fchdir,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_fcntl,
    SYS_fdatasync,
    SYS_flock,
    SYS_fstat,
    SYS_fstatfs,
    SYS_fsync,
    SYS_ftruncate,
    SYS_getcwd,
    SYS_getdents64,
    SYS_linkat,
    SYS_lseek,
    SYS_mkdirat,
    SYS_newfstatat,
    SYS_openat,
    SYS_openat2,
    SYS_readahead,
    SYS_readlinkat,
    SYS_renameat,
    SYS_renameat2,
    SYS_statfs,
    SYS_statx,
    SYS_symlinkat,
    SYS_sync_file_range,
    SYS_umask,
    SYS_unlinkat,
    SYS_utimensat,
];

/// Memory, threads, time, and what the C library and the runtime want for themselves.
const PROCESS: &[c_long] = &[
    SYS_brk,
    SYS_capget,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_close_range,
    SYS_dup,
    SYS_dup3,
    SYS_epoll_create1,
    SYS_eventfd2,
    SYS_exit,
    SYS_exit_group,
    SYS_getcpu,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getgroups,
    SYS_getpid,
    SYS_getpriority,
    SYS_getrusage,
    SYS_gettid,
    SYS_gettimeofday,
    SYS_getuid,
    SYS_madvise,
    SYS_membarrier,
    SYS_mincore,
    SYS_mlock,
    SYS_mlock2,
    SYS_mremap,
    SYS_munlock,
    SYS_munmap,
    SYS_nanosleep,
    SYS_ppoll,
    SYS_pselect6,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigpending,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_sched_getaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_sched_setaffinity,
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_sigaltstack,
    SYS_signalfd4,
    SYS_sysinfo,
    SYS_timerfd_create,
    SYS_timerfd_gettime,
    SYS_timerfd_settime,
    SYS_uname,
];

/// What newer architectures have no more, and C libraries on this one still use.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    SYS_access,
    SYS_arch_prctl,
    SYS_chmod,
    SYS_dup2,
    SYS_epoll_wait,
    SYS_getdents,
    SYS_getpgrp,
    SYS_link,
    SYS_lstat,
    SYS_mkdir,
    SYS_open,
    SYS_pipe,
    SYS_poll,
    SYS_readlink,
    SYS_rename,
    SYS_rmdir,
    SYS_select,
    SYS_stat,
    SYS_symlink,
    SYS_time,
    SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

const OTHERS: Verdict = Verdict::Refuse;

/// Calls that are part of serving with some arguments, and of a break-in with others.
const CONDITIONAL: &[(c_long, Condition, Verdict)] = &[
    // Threads, and no processes.
    (SYS_clone, Condition::Has { argument: 0, bit: CLONE_THREAD as u32 }, Verdict::Kill),
    (SYS_ioctl, Condition::OneOf { argument: 1, values: &[FIONBIO as u32, FIONREAD as u32, FIOCLEX as u32] }, OTHERS),
    // Memory is written or run, and what could be written never is run.
    (SYS_mmap, Condition::Lacks { argument: 2, bit: PROT_EXEC as u32 }, OTHERS),
    (SYS_mprotect, Condition::Lacks { argument: 2, bit: PROT_EXEC as u32 }, OTHERS),
    (SYS_prctl, Condition::OneOf { argument: 0, values: PRCTL }, OTHERS),
    (SYS_prlimit64, Condition::OneOf { argument: 0, values: &[0] }, OTHERS),
    (SYS_socket, Condition::OneOf { argument: 0, values: &[AF_UNIX as u32, AF_INET as u32, AF_INET6 as u32] }, OTHERS),
    (SYS_socketpair, Condition::OneOf { argument: 0, values: &[AF_UNIX as u32] }, OTHERS),
    // How a process ends itself: `abort`.
    (SYS_tgkill, Condition::OurProcess { argument: 0 }, OTHERS),
];

const PRCTL: &[u32] = &[
    PR_SET_NAME as u32,
    PR_GET_NAME as u32,
    PR_SET_VMA as u32,
    PR_GET_DUMPABLE as u32,
    PR_GET_NO_NEW_PRIVS as u32,
    PR_CAPBSET_READ as u32,
];

/// What no version of this program has ever called in a worker process. Who does has broken in: the
/// process ends at once, and the master says so and starts another.
#[cfg(target_arch = "x86_64")]
const HOSTILE: &[c_long] = &[
    // Other programs and processes.
    SYS_execve,
    SYS_execveat,
    SYS_fork,
    SYS_vfork,
    SYS_kcmp,
    SYS_pidfd_getfd,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_process_madvise,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_ptrace,
    // Another view of the system.
    SYS_chroot,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_mknod,
    SYS_mknodat,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_pivot_root,
    SYS_setns,
    SYS_swapoff,
    SYS_swapon,
    SYS_umount2,
    SYS_unshare,
    // Another identity.
    SYS_capset,
    SYS_setfsgid,
    SYS_setfsuid,
    SYS_setgid,
    SYS_setgroups,
    SYS_setregid,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setreuid,
    SYS_setuid,
    // The kernel and the machine.
    SYS_acct,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_finit_module,
    SYS_init_module,
    SYS_ioperm,
    SYS_iopl,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_modify_ldt,
    SYS_quotactl,
    SYS_reboot,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_settimeofday,
    SYS_syslog,
    SYS_vhangup,
    // Where most ways from a process into the kernel began.
    SYS_add_key,
    SYS_bpf,
    SYS_fanotify_init,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_keyctl,
    SYS_perf_event_open,
    SYS_personality,
    SYS_remap_file_pages,
    SYS_request_key,
    SYS_userfaultfd,
    SYS_vmsplice,
];
#[cfg(not(target_arch = "x86_64"))]
const HOSTILE: &[c_long] = &[SYS_bpf, SYS_execve, SYS_execveat, SYS_mount, SYS_ptrace, SYS_setns, SYS_unshare];
