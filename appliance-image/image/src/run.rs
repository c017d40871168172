//! `make run-image`: the newest image in QEMU, on the serial console of this terminal, with its ports on 127.0.0.1 and a
//! seed disk that makes it balance over demo peers on this machine. The image itself is not written to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fairlead_disk::fat32;

use crate::progress::Progress;
use crate::{Fault, build, cli, output, program, tool};

/// On this machine, in the appliance, and what answers there.
const PORTS: &[(&str, u16, u16, &str)] = &[
    ("tcp", 8080, 80, "curl http://127.0.0.1:8080/"),
    ("tcp", 9000, 9000, "nc 127.0.0.1 9000"),
    ("udp", 9001, 9001, "echo hi | nc -u -w1 127.0.0.1 9001"),
    ("tcp", 8443, 8443, "fairleadctl 127.0.0.1 status"),
];
const FIRMWARE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const SEED_TIME: u64 = 1_767_225_600;

pub fn run(options: &cli::Run) -> Result<(), Fault> {
    let needs: &[&str] = if options.uefi { &["qemu-system-x86_64", tool::UEFI] } else { &["qemu-system-x86_64"] };
    tool::need(needs, &Progress::begin())?;
    let root = build::root()?;
    let out = build::out(&root, options.out.as_deref());
    let image = output::newest(&out, options.kind, "qcow2");
    let image = image.ok_or_else(|| format!("{} has no {} image: make image", out.display(), options.kind.name()))?;
    let seed = out.join("seed.raw");
    write_seed(&seed, &fs::read_to_string(root.join("appliance-image/image/demo.conf"))?)?;
    let peers = Peers::start(&root)?;
    println!("{}; Ctrl-A X ends it. Once it is up:", image.display());
    PORTS.iter().for_each(|(.., example)| println!("  {example}"));
    let status =
        qemu(options, &image, &seed, &out)?.status().map_err(|error| tool::missing("qemu-system-x86_64", &error));
    drop(peers);
    if !status?.success() {
        return Err("QEMU ended with an error".into());
    }
    Ok(())
}

fn qemu(options: &cli::Run, image: &Path, seed: &Path, out: &Path) -> Result<Command, Fault> {
    let mut qemu = tool::command("qemu-system-x86_64");
    let kvm = std::env::var("FAIRLEAD_KVM").is_ok_and(|value| value == "1");
    qemu.args(if kvm { ["-accel", "kvm", "-cpu", "host"] } else { ["-accel", "tcg", "-cpu", "max"] });
    qemu.args(["-machine", "q35", "-smp", "2", "-nographic", "-m", &options.memory.to_string()]);
    if options.uefi {
        let variables = out.join("variables.fd");
        fs::copy(FIRMWARE_VARIABLES, &variables)?;
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,readonly=on,file={}", tool::UEFI));
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,file={}", variables.display()));
    }
    qemu.arg("-drive").arg(format!("if=none,id=disk,snapshot=on,format=qcow2,file={}", image.display()));
    qemu.args(["-device", "virtio-blk-pci,drive=disk,bootindex=1"]);
    qemu.arg("-drive").arg(format!("if=none,id=seed,readonly=on,format=raw,file={}", seed.display()));
    qemu.args(["-device", "virtio-blk-pci,drive=seed", "-device", "virtio-rng-pci"]);
    let forwards: String =
        PORTS.iter().map(|(kind, here, there, _)| format!(",hostfwd={kind}:127.0.0.1:{here}-:{there}")).collect();
    qemu.arg("-netdev").arg(format!("user,id=net{forwards}")).args(["-device", "virtio-net-pci,netdev=net,romfile="]);
    qemu.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
    Ok(qemu)
}

/// A disk as NoCloud describes it, whose `user-data` is a configuration of ours.
fn write_seed(path: &Path, configuration: &str) -> Result<(), Fault> {
    let mut volume = fat32::Volume::new("CIDATA", 0x5345_4544, fat32::LEAST_BYTES, SEED_TIME)?;
    volume.file("meta-data", &b"instance-id: run-image\n"[..])?;
    volume.file("user-data", configuration.as_bytes())?;
    let mut disk = File::create(path)?;
    disk.set_len(fat32::LEAST_BYTES)?;
    Ok(volume.write(&mut disk, 0)?)
}

/// The peers of `fairlead demo`; they end with it.
struct Peers(Child);

impl Peers {
    fn start(root: &Path) -> Result<Peers, Fault> {
        let program = fairlead(root)?;
        let child = Command::new(&program).arg("demo").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Peers(child.map_err(|error| format!("{}: {error}", program.display()))?))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // The peers notice that their parent is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program that went into the image, or one built as for `make run`.
fn fairlead(root: &Path) -> Result<PathBuf, Fault> {
    let target = program::target_folder(root);
    let places = ["x86_64-unknown-linux-gnu/appliance/fairlead", "release/fairlead", "debug/fairlead"];
    let found = places.iter().map(|place| target.join(place)).find(|place| place.exists());
    found.ok_or_else(|| "fairlead itself is not built: cargo build --bin fairlead".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_labelled_and_holds_the_configuration() {
        let path = std::env::temp_dir().join(format!("fairlead-image-seed-{}", std::process::id()));
        write_seed(&path, "events {}\n").unwrap();
        let disk = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(&disk[71..82], b"CIDATA     ");
        let has = |text: &[u8]| disk.windows(text.len()).any(|bytes| bytes == text);
        assert!(has(b"events {}\n") && has(b"u\0s\0e\0r\0-\0"));
    }
}
