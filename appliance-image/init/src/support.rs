//! A bundle for somebody who helps: one tar file, without what is nobody else's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::io;

/// Files of the kernel that say how the machine is.
const KERNEL: &[&str] = &[
    "/proc/version",
    "/proc/cmdline",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/modules",
    "/proc/mounts",
    "/proc/interrupts",
    "/proc/net/dev",
    "/proc/net/route",
    "/proc/net/ipv6_route",
    "/proc/net/arp",
    "/proc/net/tcp",
    "/proc/net/tcp6",
    "/proc/net/udp",
    "/proc/net/snmp",
    "/proc/net/netstat",
    "/proc/net/sockstat",
];
const MOST_OF_ONE: usize = 1 << 20;
/// Directives whose value is a secret.
const SECRETS: &[&str] =
    &["console_password", "ssl_password_file", "auth_basic_user_file", "secret", "proxy_set_header", "password"];

/// The named parts and the kernel's files, as tar in base64.
///
/// # Errors
/// Those of making it.
pub fn bundle(parts: &[(&str, Vec<u8>)]) -> io::Result<String> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in parts {
        append(&mut archive, name, bytes)?;
    }
    for path in KERNEL {
        // What this kernel does not have is not there.
        let Ok(bytes) = fs::read(path) else { continue };
        append(&mut archive, &format!("kernel{path}"), &bytes)?;
    }
    Ok(STANDARD.encode(archive.into_inner()?))
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> io::Result<()> {
    // The end of a log matters more than its beginning.
    let bytes = bytes.get(bytes.len().saturating_sub(MOST_OF_ONE)..).unwrap_or_default();
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, bytes)
}

/// The text with the values of secret directives left out, line by line.
pub fn without_secrets(text: &str) -> String {
    let line = |line: &str| {
        let words = line.trim_start();
        let secret = SECRETS
            .iter()
            .any(|name| words.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '\t', '"', '\''])));
        if secret {
            let name = words.split_whitespace().next().unwrap_or_default();
            format!("{}{name} ...;", " ".repeat(line.len() - words.len()))
        } else {
            line.to_owned()
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_bundle_is_a_tar_file_with_every_part() {
        let data = bundle(&[("log.txt", b"hello".to_vec()), ("big", vec![b'x'; MOST_OF_ONE + 7])]).unwrap();
        let bytes = STANDARD.decode(data).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let sizes: Vec<(String, usize)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                (entry.path().unwrap().display().to_string(), bytes.len())
            })
            .collect();
        assert!(sizes.contains(&("log.txt".into(), 5)) && sizes.contains(&("big".into(), MOST_OF_ONE)));
        assert!(sizes.iter().any(|(name, _)| name == "kernel/proc/version"));
    }

    #[test]
    fn secrets_stay_at_home() {
        let text =
            "appliance {\n    console_password '$6$x';\n    proxy_set_header Authorization abc;\n    dns 1.1.1.1;\n}\n";
        let shown = without_secrets(text);
        assert!(!shown.contains("$6$") && !shown.contains("abc") && shown.contains("dns 1.1.1.1;"), "{shown}");
        assert!(shown.contains("    console_password ...;\n"));
    }
}
