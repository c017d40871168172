use crate::firmware::{Dice, Fat};
use crate::{Incoming, Installed, Offer, Slots};
use fairlead_disk::grubenv::Environment;
use fairlead_disk::signature::PrivateKey;
use fairlead_disk::slot::Version;
use fairlead_disk::uki::{Image, Parts, build};
use fairlead_disk::{Fault, grub};
use std::io::Cursor;

const OLDEST: &str = "0.1.0-6";
const OLD: &str = "0.1.0-7";
const NEW: &str = "0.1.0-8";

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn key() -> PrivateKey {
    PrivateKey::from_seed(&[1; 32])
}

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
    let (command_line, kernel_release) = ("console=ttyS0 panic=5", "6.12");
    let (kernel, initramfs) = (&[0x4b; 3000][..], &[0x49; 513][..]);
    build(&Parts { stub: &stub, os_release: &os_release, command_line, kernel_release, kernel, initramfs }).unwrap()
}

/// OLD is settled on and runs, OLDEST was before it.
fn disk() -> Fat {
    let fat = Fat::with_room(5 * image(OLD).len() as u64);
    for version in [OLDEST, OLD] {
        let mut file = Cursor::new(image(version));
        let text = grub::slot(&Image::read(&mut file).unwrap(), &mut file).unwrap();
        fat.put(&format!("EFI/Linux/fairlead-{version}.efi"), file.get_ref());
        fat.put(&format!("fairlead/{version}.cfg"), text.as_bytes());
    }
    let mut environment = Environment::default();
    environment.set("slot", OLD);
    environment.set("try", "");
    fat.put("grub/grubenv", &environment.to_block().unwrap());
    fat.leave(image("0.1.0-5"));
    fat
}

fn slots(disk: &Fat, running: &str) -> Slots<Fat> {
    Slots::new(disk.clone(), version(running), vec![key().public()])
}

fn offer(text: &str) -> Offer {
    Offer { version: version(text), size: image(text).len() as u64, allow_downgrade: true }
}

fn install(text: &str, slots: &Slots<Fat>) -> Result<Installed, Fault> {
    let image = image(text);
    let mut incoming = Incoming::begin(offer(text), slots)?;
    for piece in image.chunks(3000) {
        incoming.take(piece, slots)?;
    }
    incoming.commit(&key().sign(&image), slots)
}

#[derive(Clone, Copy, Debug)]
enum Firmware {
    Uefi,
    Bios,
}

const BOTH: [Firmware; 2] = [Firmware::Uefi, Firmware::Bios];

/// What boots; whatever it is, it is complete.
#[track_caller]
fn boot(firmware: Firmware, disk: &Fat, one_shot: Option<&str>) -> String {
    let (version, contents) = match firmware {
        Firmware::Uefi => disk.boot_uefi(one_shot),
        Firmware::Bios => disk.boot_bios(),
    }
    .expect("something boots");
    let version = version.to_string();
    assert!(contents == image(&version), "{version} is not what was signed");
    version
}

/// At each step, of each firmware.
const SEEDS: u64 = 12;

/// Runs `write` again and again, with the power going before each of its steps and in many ways, and
/// hands each disk to `check` once for each firmware. `true` is for a `write` that was done.
fn cut_everywhere(before: &Fat, write: impl Fn(&Fat) -> bool, check: impl Fn(Firmware, &Fat, bool, &str)) {
    let whole = before.copy();
    let already = whole.steps();
    assert!(write(&whole));
    assert!(whole.steps() - already > 1, "too few steps prove nothing");
    for step in already..=whole.steps() {
        for seed in 0..SEEDS {
            let disk = before.copy();
            disk.fail_at(step);
            let done = write(&disk);
            for firmware in BOTH {
                check(firmware, &disk.restart(seed), done, &format!("{firmware:?}, step {step}, seed {seed}"));
            }
        }
    }
}

/// Whatever boots proves itself, and boots again.
#[track_caller]
fn proves_itself(firmware: Firmware, disk: &Fat, first: &str, place: &str) {
    slots(disk, first).settle().unwrap();
    for _ in 0..3 {
        assert_eq!(boot(firmware, disk, None), first, "{place}");
    }
    assert!(!slots(disk, first).standing().unwrap().on_trial, "{place}");
}

#[test]
fn a_new_version_boots_once_and_stays_when_it_settles() {
    for firmware in BOTH {
        let disk = disk();
        let installed = install(NEW, &slots(&disk, OLD)).unwrap();
        assert_eq!(installed, Installed { version: version(NEW), one_shot: None });
        assert_eq!(boot(firmware, &disk, None), NEW);
        let standing = slots(&disk, NEW).standing().unwrap();
        assert_eq!((standing.on_trial, standing.other, standing.fell_back), (true, Some(version(OLD)), None));
        proves_itself(firmware, &disk, NEW, "");
    }
}

#[test]
fn a_new_version_that_does_not_start_gives_way_and_is_reported() {
    for firmware in BOTH {
        let disk = disk();
        install(NEW, &slots(&disk, OLD)).unwrap();
        assert_eq!(boot(firmware, &disk, None), NEW);
        for _ in 0..3 {
            assert_eq!(boot(firmware, &disk, None), OLD, "{firmware:?}");
        }
        let standing = slots(&disk, OLD).standing().unwrap();
        assert_eq!(standing.fell_back.as_deref(), Some("version 0.1.0-8 was given up: it did not start"));
        assert_eq!((standing.on_trial, standing.other), (false, Some(version(OLDEST))));
        slots(&disk, OLD).forget_trial().unwrap();
        assert_eq!(slots(&disk, OLD).standing().unwrap().fell_back, None);
    }
}

#[test]
fn a_new_version_that_starts_and_does_not_serve_says_why_it_gives_up() {
    for firmware in BOTH {
        let disk = disk();
        install(NEW, &slots(&disk, OLD)).unwrap();
        assert_eq!(boot(firmware, &disk, None), NEW);
        slots(&disk, NEW).give_up(&format!("it did not serve within 30 s\n{}", "x".repeat(2000))).unwrap();
        assert_eq!(boot(firmware, &disk, None), OLD);
        let said = slots(&disk, OLD).standing().unwrap().fell_back.unwrap();
        assert!(said.starts_with("version 0.1.0-8 was given up: it did not serve within 30 s xxx"), "{said}");
    }
}

#[test]
fn a_power_cut_at_any_step_of_an_update_leaves_one_that_boots() {
    let before = disk();
    let write = |disk: &Fat| install(NEW, &slots(disk, OLD)).is_ok();
    cut_everywhere(&before, write, |firmware, disk, done, place| {
        let first = boot(firmware, disk, None);
        assert!(first == OLD || first == NEW, "{place}: {first}");
        assert!(!done || first == NEW, "{place}: it was installed and does not boot");
        // It fails, and the old one is back.
        let failing = disk.copy();
        assert_eq!(boot(firmware, &failing, None), OLD, "{place}");
        // The old one takes another update, whatever was left behind.
        install(NEW, &slots(&failing, OLD)).unwrap();
        assert_eq!(boot(firmware, &failing, None), NEW, "{place}");
        proves_itself(firmware, disk, &first, place);
    });
}

#[test]
fn a_power_cut_while_it_settles_leaves_one_that_boots() {
    for firmware in BOTH {
        let before = disk();
        install(NEW, &slots(&before, OLD)).unwrap();
        boot(firmware, &before, None);
        let before = before.restart(0);
        let write = |disk: &Fat| slots(disk, NEW).settle().is_ok();
        cut_everywhere(&before, write, |other, disk, done, place| {
            if format!("{firmware:?}") != format!("{other:?}") {
                return;
            }
            let first = boot(firmware, disk, None);
            assert!(first == NEW || (!done && first == OLD), "{place}: {first}");
            proves_itself(firmware, disk, &first, place);
        });
    }
}

#[test]
fn a_power_cut_while_it_gives_up_leaves_one_that_boots() {
    for firmware in BOTH {
        let before = disk();
        install(NEW, &slots(&before, OLD)).unwrap();
        boot(firmware, &before, None);
        let before = before.restart(0);
        let write = |disk: &Fat| slots(disk, NEW).give_up("it did not serve").is_ok();
        cut_everywhere(&before, write, |other, disk, _, place| {
            if format!("{firmware:?}") == format!("{other:?}") {
                assert_eq!(boot(firmware, disk, None), OLD, "{place}");
            }
        });
    }
}

#[test]
fn rollback_tries_the_version_before_and_settles_on_it() {
    for firmware in BOTH {
        let disk = disk();
        let installed = slots(&disk, OLD).rollback().unwrap();
        assert_eq!(installed.version, version(OLDEST));
        let one_shot = installed.one_shot.expect("UEFI prefers the newer one");
        assert_eq!(boot(firmware, &disk.copy(), Some(&one_shot)), OLDEST);
        // Given up, it is not tried again.
        let failing = disk.copy();
        boot(firmware, &failing, Some(&one_shot));
        assert_eq!(boot(firmware, &failing, None), OLD);
        boot(firmware, &disk, Some(&one_shot));
        assert!(slots(&disk, OLDEST).standing().unwrap().on_trial);
        proves_itself(firmware, &disk, OLDEST, "");
        // And forth again.
        let forth = slots(&disk, OLDEST).rollback().unwrap();
        assert_eq!(forth.version, version(OLD));
        assert_eq!(boot(firmware, &disk, forth.one_shot.as_deref()), OLD);
        proves_itself(firmware, &disk, OLD, "");
    }
}

#[test]
fn a_power_cut_during_a_rollback_leaves_one_that_boots() {
    let before = disk();
    let write = |disk: &Fat| slots(disk, OLD).rollback().is_ok();
    cut_everywhere(&before, write, |firmware, disk, _, place| {
        let one_shot = format!("fairlead-{OLDEST}[.+]*");
        let first = boot(firmware, disk, Some(&one_shot));
        let cut = disk.copy();
        proves_itself(firmware, disk, &first, place);
        assert_eq!(boot(firmware, &cut, None), OLD, "{place}");
    });
}

#[test]
fn an_older_version_needs_to_be_asked_for() {
    let disk = disk();
    let slots = slots(&disk, OLD);
    let offer = Offer { allow_downgrade: false, ..offer("0.1.0-5") };
    let refused = Incoming::begin(offer, &slots).unwrap_err().to_string();
    assert!(refused.starts_with("version 0.1.0-5 is older than 0.1.0-7"), "{refused}");
    let installed = install("0.1.0-5", &slots).unwrap();
    let one_shot = installed.one_shot.unwrap();
    for firmware in BOTH {
        let disk = disk.copy();
        assert_eq!(boot(firmware, &disk, Some(&one_shot)), "0.1.0-5");
        proves_itself(firmware, &disk, "0.1.0-5", "");
    }
}

#[test]
fn what_is_not_good_is_refused_and_leaves_nothing() {
    let good = image(NEW);
    let signature = key().sign(&good);
    let mut changed = good.clone();
    changed[5000] ^= 1;
    let mut first_sector = good.clone();
    first_sector[3] ^= 1;
    let unsigned = PrivateKey::from_seed(&[2; 32]).sign(&good);
    let other = image("0.1.0-9");
    let no_image = vec![7; good.len()];
    let cases: [(&str, &[u8], &[u8], &str); 7] = [
        ("another key", &good, &unsigned, "signed by none of the keys"),
        ("a changed byte", &changed, &signature, "signed by none of the keys"),
        ("a changed first sector", &first_sector, &signature, "signed by none of the keys"),
        ("a short signature", &good, &signature[1..], "64 bytes"),
        ("truncated", &good[..good.len() - 1], &signature, "bytes arrived"),
        ("another version", &other, &key().sign(&other), "is version 0.1.0-9, not 0.1.0-8"),
        ("no image", &no_image, &key().sign(&no_image), "not a unified kernel image"),
    ];
    for (what, image, signature, why) in cases {
        let disk = disk();
        let slots = slots(&disk, OLD);
        let mut incoming = Incoming::begin(offer(NEW), &slots).unwrap();
        incoming.take(image, &slots).unwrap();
        let refused = incoming.commit(signature, &slots).unwrap_err().to_string();
        assert!(refused.contains(why), "{what}: {refused}");
        assert_eq!(slots.versions().unwrap(), [version(OLDEST), version(OLD)], "{what}");
        for firmware in BOTH {
            assert_eq!(boot(firmware, &disk, None), OLD, "{what}");
        }
    }
}

#[test]
fn sizes_are_bounded_and_versions_are_not_written_over() {
    let disk = disk();
    let slots = slots(&disk, OLD);
    let begin = |offer: Offer| Incoming::begin(offer, &slots).unwrap_err().to_string();
    assert!(begin(Offer { size: u64::MAX, ..offer(NEW) }).contains("bytes"));
    assert!(begin(Offer { size: 0, ..offer(NEW) }).contains("bytes"));
    assert_eq!(begin(offer(OLD)), "version 0.1.0-7 is running already");
    let mut incoming = Incoming::begin(offer(NEW), &slots).unwrap();
    assert!(incoming.take(&vec![0; image(NEW).len() + 1], &slots).is_err());
    let nobody = Slots::new(disk.clone(), version(OLD), Vec::new());
    assert!(Incoming::begin(offer(NEW), &nobody).is_err());
}

#[test]
fn two_versions_are_kept_and_fewer_where_there_is_no_room() {
    let disk = disk();
    install(NEW, &slots(&disk, OLD)).unwrap();
    assert_eq!(slots(&disk, OLD).versions().unwrap().len(), 3);
    boot(Firmware::Uefi, &disk, None);
    slots(&disk, NEW).settle().unwrap();
    install("0.1.0-9", &slots(&disk, NEW)).unwrap();
    assert_eq!(slots(&disk, NEW).versions().unwrap(), [OLD, NEW, "0.1.0-9"].map(version));
    // There is room for two images and a half.
    let small = Fat::with_room(5 * image(OLD).len() as u64 / 2 + 4096);
    for path in ["EFI/Linux/fairlead-0.1.0-6.efi", "EFI/Linux/fairlead-0.1.0-7.efi", "grub/grubenv"] {
        small.put(path, &self::disk().contents(path).unwrap());
    }
    install(NEW, &slots(&small, OLD)).unwrap();
    assert_eq!(slots(&small, OLD).versions().unwrap(), [OLD, NEW].map(version));
    let full = Fat::with_room(image(OLD).len() as u64 + 2048);
    full.put("EFI/Linux/fairlead-0.1.0-7.efi", &image(OLD));
    assert!(matches!(install(NEW, &slots(&full, OLD)), Err(Fault::Full { .. })));
    assert_eq!(boot(Firmware::Uefi, &full, None), OLD);
}

/// Updates good and bad, rollbacks and power cuts in any order: something that is complete boots, always.
#[test]
fn whatever_happens_something_complete_boots() {
    for seed in 0..256 {
        let mut dice = Dice::of(seed);
        let firmware = BOTH[dice.roll(2)];
        let mut disk = disk();
        let mut running = OLD.to_owned();
        for round in 0..12 {
            disk.fail_at(disk.steps() + dice.roll(60));
            let slots = slots(&disk, &running);
            let next = match dice.roll(4) {
                0 => slots.rollback().ok(),
                1 => slots.settle().ok().and(None),
                2 => slots.give_up("a reason").ok().and(None),
                _ => install(&format!("0.1.0-{}", 5 + dice.roll(12)), &slots).ok(),
            };
            let one_shot = next.and_then(|next| next.one_shot);
            disk = disk.restart(seed * 100 + round);
            running = boot(firmware, &disk, one_shot.as_deref());
        }
    }
}
