//! Firmware that starts only what its key has signed.

use fairlead_boot_tests::media::{Form, OVERLAY_FORMAT, overlay, unsigned, with_image};
use fairlead_boot_tests::{Firmware, Image, Machine};
use fairlead_harness::Directory;

use crate::{BOOT, Peers};

#[test]
fn the_signed_image_boots_locked_down() {
    let disk = overlay(&Image::universal().file("qcow2"), "qcow2");
    let machine = Machine::new().firmware(Firmware::SecureBoot).disk(&disk.file(), OVERLAY_FORMAT);
    let machine = Peers::start().are_served_by(machine, Form::Iso, "qcow2, Secure Boot");
    assert!(machine.console().contains("lockdown integrity"));
}

#[test]
fn an_unsigned_image_is_refused() {
    let (image, folder) = (Image::universal(), Directory::new());
    let disk = with_image(&image.file("raw"), image.version(), &unsigned(&image.file("efi"), &folder));
    let mut machine = Machine::new().firmware(Firmware::SecureBoot).disk(&disk.file(), "raw").start();
    machine.wait("the firmware's refusal on the console", BOOT, |machine| {
        let console = machine.console().to_lowercase();
        console.contains("access denied") || console.contains("security violation")
    });
    assert!(!machine.console().contains("Linux version"));
    assert!(!machine.console().contains("on Linux"));
}
