//! The formats as the tools of others see them: what we write, they read and find no fault with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fairlead_disk::{cpio, fat32, layout, mbr};

const TIME: u64 = 1_767_225_600; // 2026-01-01

fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// What the tool says; it must be content.
fn tool(program: &str, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(args)
        .env("TZ", "UTC")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    said
}

fn volume(bytes: u64) -> fat32::Volume<'static> {
    let mut volume = fat32::Volume::new("FLESP", 0x464c_4553, bytes, TIME).unwrap();
    volume.file("EFI/BOOT/BOOTX64.EFI", vec![1; 141_000]).unwrap();
    volume.file("EFI/Linux/fairlead-0.1.0-7.efi", vec![2; 3_000_001]).unwrap();
    volume.file("EFI/Linux/fairlead-0.1.0-8+1.efi", vec![3; 1024]).unwrap();
    volume.file("loader/loader.conf", &b"timeout 0\n"[..]).unwrap();
    volume.file("empty", Vec::new()).unwrap();
    // A folder of several clusters.
    (0..200).for_each(|number| volume.file(&format!("many/a rather long name, the {number}th"), vec![4]).unwrap());
    volume
}

#[test]
fn fsck_and_mtools_read_the_file_system() {
    for bytes in [fat32::LEAST_BYTES, 96 << 20, 300 << 20] {
        let path = place(&format!("fat-{bytes}"));
        let file = File::create(&path).unwrap();
        file.set_len(bytes).unwrap();
        volume(bytes).write(&mut &file, 0).unwrap();
        let path = path.to_str().unwrap();
        let said = tool("fsck.fat", &["-n", "-v", path], b"");
        assert!(!said.contains("dirty") && !said.contains("wrong"), "{said}");
        let listed = tool("mdir", &["-i", path, "-/", "::"], b"");
        for line in ["FAIRLE~1 EFI   3000001 2026-01-01   0:00  fairlead-0.1.0-7.efi", "Volume in drive : is FLESP"] {
            assert!(listed.contains(line), "{line}: {listed}");
        }
        let copy = place(&format!("copy-{bytes}"));
        let copied = ["-n", "-i", path, "::/EFI/Linux/fairlead-0.1.0-7.efi", copy.to_str().unwrap()];
        tool("mcopy", &copied, b"");
        assert_eq!(fs::read(copy).unwrap(), vec![2; 3_000_001]);
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn sgdisk_finds_no_fault_with_the_partitions() {
    let path = place("gpt");
    let file = File::create(&path).unwrap();
    file.set_len(layout::DISK_BYTES).unwrap();
    let table = layout::table(layout::DISK_BYTES).unwrap();
    std::io::Write::write_all(&mut &file, &mbr::first_sector(table.sectors, None).unwrap()).unwrap();
    table.write(&mut &file).unwrap();
    let esp = table.named(layout::ESP_NAME).unwrap();
    volume(esp.bytes()).beginning_at(esp.first as u32).write(&mut &file, esp.offset()).unwrap();
    let path = path.to_str().unwrap();
    let said = tool("sgdisk", &["-v", path], b"");
    assert!(said.contains("No problems found"), "{said}");
    let printed = tool("sgdisk", &["-p", "-i", "2", path], b"");
    for words in ["FLBOOT", "FLCONF", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "464C0000-0000-4000-8000-000000000012"] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let listed = tool("mdir", &["-i", &format!("{path}@@{}", esp.offset()), "::/EFI/Linux"], b"");
    assert!(listed.contains("fairlead-0.1.0-8+1.efi"), "{listed}");
}

#[test]
fn cpio_lists_the_archive() {
    let mut writer = cpio::Writer::new(Vec::new(), TIME as u32);
    writer.folder("dev", 0o755).unwrap();
    writer.device("dev/console", 0o600, (5, 1)).unwrap();
    writer.file("init", 0o755, b"#!").unwrap();
    writer.symlink("etc", "run/etc").unwrap();
    let listed = tool("cpio", &["-itvn", "--quiet"], &writer.finish().unwrap());
    let lines: Vec<String> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let date = "Jan 1 2026";
    let expected = [
        format!("drwxr-xr-x 2 0 0 0 {date} dev"),
        format!("crw------- 1 0 0 5, 1 {date} dev/console"),
        format!("-rwxr-xr-x 1 0 0 2 {date} init"),
        format!("lrwxrwxrwx 1 0 0 7 {date} etc -> run/etc"),
    ];
    assert_eq!(lines, expected);
}
