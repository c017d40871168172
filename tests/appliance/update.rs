//! A new system, written beside the running one.

use crate::appliance::RUNNING;
use crate::{Appliance, Laptop, Said};
use fairlead_disk::grubenv::Environment;
use fairlead_disk::signature::PrivateKey;
use fairlead_disk::uki::{Parts, build};
use std::fs;

const NEW: &str = "0.1.0-8";

/// A unified kernel image of some size around an empty program.
fn image(version: &str) -> Vec<u8> {
    let mut stub = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| stub[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &[0x80]);
    put(0x80, b"PE\0\0\x64\x86\x01");
    put(0x80 + 20, &[240, 0]);
    put(0x80 + 24, &[0x0b, 0x02]);
    put(0x80 + 24 + 36, &512_u32.to_le_bytes());
    put(0x80 + 24 + 60, &1024_u32.to_le_bytes());
    put(0x80 + 264, b".text\0\0\0");
    put(0x80 + 264 + 8, &100_u32.to_le_bytes());
    put(0x80 + 264 + 12, &0x4000_u32.to_le_bytes());
    let os_release = format!("ID=fairlead\nVERSION_ID={version}\n");
    let (command_line, kernel_release) = ("console=ttyS0", "6.12");
    let (kernel, initramfs) = (&vec![0x4b; 1_500_000][..], &vec![0x49; 200_000][..]);
    build(&Parts { stub: &stub, os_release: &os_release, command_line, kernel_release, kernel, initramfs }).unwrap()
}

/// An appliance with RUNNING in its slot, and a laptop with an image and what is said to be its signature.
fn setup(version: &str, contents: &[u8], signature: &[u8]) -> (Appliance, Laptop, String) {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    appliance.folder.write(&format!("esp/EFI/Linux/fairlead-{RUNNING}.efi"), image(RUNNING));
    let mut environment = Environment::default();
    environment.set("slot", RUNNING);
    appliance.folder.write("esp/grub/grubenv", environment.to_block().unwrap());
    let file = format!("fairlead-{version}.efi");
    laptop.home.write(&file, contents);
    laptop.home.write(&format!("{file}.sig"), signature);
    (appliance, laptop, file)
}

fn sign(seed: u8, contents: &[u8]) -> [u8; 64] {
    PrivateKey::from_seed(&[seed; 32]).sign(contents)
}

fn images(appliance: &Appliance) -> Vec<String> {
    let entries = fs::read_dir(appliance.folder.join("esp/EFI/Linux")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_signed_image_is_written_and_boots_next() {
    let new = image(NEW);
    let (appliance, laptop, file) = setup(NEW, &new, &sign(1, &new));
    let said = laptop.ctl(&appliance, &["update", &file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("Version 0.1.0-8 is written and verified beside 0.1.0-7."), "{said:?}");
    assert_eq!(images(&appliance), ["fairlead-0.1.0-7.efi", "fairlead-0.1.0-8+1.efi"]);
    assert!(fs::read(appliance.folder.join("esp/EFI/Linux/fairlead-0.1.0-8+1.efi")).unwrap() == new);
    let environment = Environment::parse(&fs::read(appliance.folder.join("esp/grub/grubenv")).unwrap()).unwrap();
    assert_eq!((environment.value("slot"), environment.value("try")), (RUNNING, NEW));
    assert!(appliance.folder.read("esp/fairlead/0.1.0-8.cfg").starts_with("set version=0.1.0-8\n"));
}

/// The update is refused with these words, and the disk is as it was.
#[track_caller]
fn is_refused(version: &str, contents: &[u8], signature: &[u8], (code, words): (i32, &str)) -> Said {
    let (appliance, laptop, file) = setup(version, contents, signature);
    let said = laptop.ctl(&appliance, &["update", &file]);
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.err.contains(words), "{said:?}");
    assert_eq!(images(&appliance), [format!("fairlead-{RUNNING}.efi")]);
    assert!(
        fs::read(appliance.folder.join(&format!("esp/EFI/Linux/fairlead-{RUNNING}.efi"))).unwrap() == image(RUNNING)
    );
    said
}

#[test]
fn a_bad_signature_is_refused_and_leaves_nothing() {
    let new = image(NEW);
    is_refused(NEW, &new, &sign(2, &new), (1, "signed by none of the keys"));
    let mut changed = new.clone();
    changed[1_000_000] ^= 1;
    is_refused(NEW, &changed, &sign(1, &new), (1, "signed by none of the keys"));
}

#[test]
fn what_is_cut_or_no_image_is_found_before_it_is_sent() {
    let new = image(NEW);
    is_refused(NEW, &new[..new.len() / 2], &sign(1, &new), (2, "the image is cut"));
    is_refused(NEW, &[7; 100_000], &sign(1, &new), (2, "not a unified kernel image"));
    is_refused(NEW, &new, &sign(1, &new)[1..], (2, "a signature has 64 bytes"));
}

#[test]
fn an_older_version_needs_to_be_asked_for() {
    let old = image("0.1.0-6");
    is_refused("0.1.0-6", &old, &sign(1, &old), (1, "--allow-downgrade"));
    let (appliance, laptop, file) = setup("0.1.0-6", &old, &sign(1, &old));
    let said = laptop.ctl(&appliance, &["update", &file, "--allow-downgrade"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(images(&appliance).len(), 2);
}

#[test]
fn rollback_has_the_version_before_boot_next() {
    let (appliance, laptop, _) = setup(NEW, b"", b"");
    let said = laptop.ctl(&appliance, &["rollback"]);
    assert_eq!((said.code, said.err.as_str()), (1, "there is no other version to go back to\n"), "{said:?}");
    appliance.folder.write("esp/EFI/Linux/fairlead-0.1.0-6.efi", image("0.1.0-6"));
    let said = laptop.ctl(&appliance, &["rollback"]);
    assert!(said.out.starts_with("Version 0.1.0-6 boots on trial at the next start."), "{said:?}");
}
