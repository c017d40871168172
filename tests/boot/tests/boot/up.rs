//! From power on to the first answer, on every firmware, from every medium, with every card: each
//! machine has 256 MB, and serves HTTP, TCP and UDP from the configuration in its seed.

use std::time::Duration;

use fairlead_boot_tests::machine::GUEST;
use fairlead_boot_tests::media::{Form, OVERLAY_FORMAT, overlay};
use fairlead_boot_tests::{Card, Firmware, Image, Machine};

use crate::{BOOT, Peers};

fn direct() -> Machine {
    let image = Image::universal();
    Machine::new().kernel(&image.file("vmlinuz"), &image.file("initramfs"), "fairlead.console=lines")
}

#[test]
fn boots_directly_with_the_cards_of_three_hypervisors() {
    for card in [Card::Virtio, Card::E1000e, Card::Vmxnet3] {
        Peers::start().are_served_by(direct().card(card), Form::Iso, &format!("direct, {card:?}"));
    }
}

#[test]
fn boots_from_disk_on_both_firmwares() {
    for (firmware, form) in [(Firmware::Bios, Form::Iso), (Firmware::Uefi, Form::Fat)] {
        let disk = overlay(&Image::universal().file("qcow2"), "qcow2");
        let machine = Machine::new().firmware(firmware).disk(&disk.file(), OVERLAY_FORMAT);
        Peers::start().are_served_by(machine, form, &format!("qcow2, {firmware:?}"));
    }
}

#[test]
fn boots_from_cd_on_both_firmwares() {
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let machine = Machine::new().firmware(firmware).cd(&Image::universal().file("iso"));
        Peers::start().are_served_by(machine, Form::Iso, &format!("ISO, {firmware:?}"));
    }
}

#[test]
fn a_machine_without_configuration_says_how_to_give_it_one() {
    let image = Image::universal();
    let line = format!("fairlead.address={GUEST}/24,10.0.2.2 fairlead.console=lines");
    let machine = Machine::new().kernel(&image.file("vmlinuz"), &image.file("initramfs"), &line);
    let mut machine = machine.tcp(80).start();
    machine.wait_for_status("/", 503, BOOT);
    machine.press_power_button();
    machine.wait_for_end(Duration::from_secs(30));
}
