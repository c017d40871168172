//! Values of the kernel that are files: `/proc/sys`, `/sys`. A value an older kernel does not have
//! is no error; one it refuses is.

use std::fs;
use std::io;
use std::path::PathBuf;

/// What a machine that only proxies wants of its kernel, before anything listens.
const PROXY: &[(&str, &str)] = &[
    ("kernel.panic", "5"),
    ("kernel.panic_on_oops", "1"),
    ("kernel.kptr_restrict", "2"),
    ("kernel.dmesg_restrict", "1"),
    ("kernel.unprivileged_bpf_disabled", "1"),
    ("kernel.yama.ptrace_scope", "2"),
    ("kernel.sysrq", "0"),
    ("kernel.core_pattern", "|/bin/false"),
    ("fs.file-max", "4194304"),
    ("fs.nr_open", "4194304"),
    ("fs.suid_dumpable", "0"),
    ("fs.protected_symlinks", "1"),
    ("fs.protected_hardlinks", "1"),
    ("net.core.somaxconn", "65535"),
    ("net.core.netdev_max_backlog", "16384"),
    ("net.core.default_qdisc", "fq"),
    ("net.core.rmem_max", "16777216"),
    ("net.core.wmem_max", "16777216"),
    ("net.core.bpf_jit_harden", "2"),
    ("net.ipv4.tcp_max_syn_backlog", "65535"),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv4.tcp_congestion_control", "bbr"),
    ("net.ipv4.tcp_fin_timeout", "15"),
    ("net.ipv4.tcp_tw_reuse", "1"),
    ("net.ipv4.tcp_max_tw_buckets", "1048576"),
    ("net.ipv4.tcp_slow_start_after_idle", "0"),
    ("net.ipv4.tcp_notsent_lowat", "131072"),
    ("net.ipv4.tcp_mtu_probing", "1"),
    ("net.ipv4.tcp_rfc1337", "1"),
    ("net.ipv4.ip_local_port_range", "1024 65535"),
    ("net.ipv4.ip_nonlocal_bind", "1"),
    ("net.ipv6.ip_nonlocal_bind", "1"),
    // Loose: an answer may leave by another link than its question came by.
    ("net.ipv4.conf.all.rp_filter", "2"),
    ("net.ipv4.conf.default.rp_filter", "2"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.conf.all.accept_source_route", "0"),
    // An address answers on the link that has it and no other: addresses move between machines.
    ("net.ipv4.conf.all.arp_ignore", "1"),
    ("net.ipv4.conf.all.arp_announce", "2"),
    ("net.ipv4.icmp_echo_ignore_broadcasts", "1"),
    ("net.ipv6.conf.all.accept_redirects", "0"),
    ("net.ipv6.conf.default.accept_redirects", "0"),
    ("vm.swappiness", "0"),
    ("vm.panic_on_oom", "0"),
];

/// Sets them all; what was refused, in words.
pub fn settle() -> (usize, Vec<String>) {
    let mut refused = Vec::new();
    let mut set = 0;
    for (name, value) in PROXY {
        match write(name, value) {
            Ok(true) => set += 1,
            Ok(false) => {}
            Err(error) => refused.push(format!("{name}={value}: {error}")),
        }
    }
    (set, refused)
}

/// False when this kernel has no such value.
///
/// # Errors
/// Those of `write`.
pub fn write(name: &str, value: &str) -> io::Result<bool> {
    match fs::write(path(name), value) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub fn read(name: &str) -> Option<String> {
    Some(fs::read_to_string(path(name)).ok()?.trim().to_owned())
}

fn path(name: &str) -> PathBuf {
    // A name with slashes has dots inside its parts: net/ipv4/conf/eth0.10/rp_filter.
    let below = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    PathBuf::from("/proc/sys").join(below)
}

/// How far the kernel keeps even the superuser out of itself: what firmware that checks signatures asks for.
pub fn lockdown() -> String {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    chosen(&text).unwrap_or("not there").to_owned()
}

/// The word in brackets: `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(chosen, _)| chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_below_proc_sys_and_may_have_dots_in_its_parts() {
        assert_eq!(path("net.core.somaxconn"), PathBuf::from("/proc/sys/net/core/somaxconn"));
        assert_eq!(path("net/ipv4/conf/eth0.10/rp_filter"), PathBuf::from("/proc/sys/net/ipv4/conf/eth0.10/rp_filter"));
    }

    #[test]
    fn a_value_the_kernel_does_not_have_is_no_error() {
        assert!(!write("kernel.fairlead_has_no_such_value", "1").unwrap());
    }
}
