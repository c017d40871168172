use super::power_cut::Fragile;
use super::*;

const ROOT: &str = "/";

fn store(disk: &Fragile) -> Store<Fragile> {
    Store::on(disk.clone(), ROOT, Formats::OURS)
}

fn files(text: &str) -> Files {
    let mut files = Files::of_main(text).unwrap();
    files.add("tls/site/key.pem", format!("key of {text}").into_bytes()).unwrap();
    files
}

fn push<D: Disk>(store: &Store<D>, text: &str) -> Number {
    let number = store.add(&files(text), &Origin::default()).unwrap();
    store.switch(number).unwrap();
    number
}

fn served(disk: &Fragile) -> Option<String> {
    store(disk).boot().unwrap().0.map(|boot| {
        assert_eq!(boot.files, files(&boot.files.main_text()), "a mixture");
        boot.files.main_text()
    })
}

/// Stops `write` before each of its steps, restarts with each of some outcomes of what was not synced,
/// and looks at what is served then; a store that was cut short must also take one more version.
fn cut_everywhere(before: &Fragile, write: impl Fn(&Store<Fragile>) -> Result<()>, may_be: &[Option<&str>]) {
    // A full store is slow to copy.
    let seeds = if store(before).numbers().unwrap().len() < 5 { 256 } else { 16 };
    let whole = before.copy();
    let already = whole.steps();
    write(&store(&whole)).unwrap();
    let steps = whole.steps() - already;
    assert!(steps > 2, "{steps} steps prove nothing");
    for step in 0..=steps {
        for seed in 0..seeds {
            let disk = before.copy();
            disk.fail_at(already + step);
            let done = write(&store(&disk)).is_ok();
            assert_eq!(done, step == steps);
            let disk = disk.restart(seed);
            let now = served(&disk);
            let good = if done { may_be.last() == Some(&now.as_deref()) } else { may_be.contains(&now.as_deref()) };
            assert!(good, "step {step} of {steps}, seed {seed}: {now:?} is served");
            push(&store(&disk), "after");
            assert_eq!(served(&disk.restart(seed)).as_deref(), Some("after"), "step {step}, seed {seed}");
        }
    }
}

#[test]
fn the_first_version_is_there_whole_or_not_at_all() {
    let write = |store: &Store<Fragile>| store.add(&files("one"), &Origin::default()).and_then(|one| store.switch(one));
    cut_everywhere(&Fragile::new(), write, &[None, Some("one")]);
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_version_or_the_new_one() {
    let disk = Fragile::new();
    push(&store(&disk), "old");
    let write = |store: &Store<Fragile>| store.add(&files("new"), &Origin::default()).and_then(|new| store.switch(new));
    cut_everywhere(&disk, write, &[Some("old"), Some("new")]);
}

#[test]
fn removing_the_oldest_version_never_harms_the_one_that_is_served() {
    let disk = Fragile::new();
    (0..MOST_VERSIONS).for_each(|number| _ = push(&store(&disk), &number.to_string()));
    let last = (MOST_VERSIONS - 1).to_string();
    let write = |store: &Store<Fragile>| store.add(&files("new"), &Origin::default()).and_then(|new| store.switch(new));
    cut_everywhere(&disk, write, &[Some(&last), Some("new")]);
}

#[test]
fn a_trial_that_nobody_confirmed_is_not_served_after_a_restart() {
    let disk = Fragile::new();
    push(&store(&disk), "old");
    let trial = store(&disk).add(&files("new"), &Origin::default()).unwrap();
    store(&disk).begin_trial(trial).unwrap();
    assert_eq!(store(&disk).trial(), Some(trial));
    let (boot, notes) = store(&disk.restart(1)).boot().unwrap();
    assert_eq!(boot.unwrap().files.main_text(), "old");
    assert_eq!(notes, ["version 000002 was not confirmed before the restart and is not served"]);
    let confirm = |store: &Store<Fragile>| store.switch(trial).and_then(|()| store.end_trial());
    cut_everywhere(&disk, confirm, &[Some("old"), Some("new")]);
    confirm(&store(&disk)).unwrap();
    assert_eq!(store(&disk).boot().unwrap().1, Vec::<String>::new());
}

#[test]
fn a_key_file_is_the_old_one_or_the_new_one() {
    let disk = Fragile::new();
    let text = |store: &Store<Fragile>| store.password().unwrap();
    store(&disk).set_password("$6$old").unwrap();
    let already = disk.steps();
    let write = |disk: &Fragile| store(disk).set_password("$6$new");
    let whole = disk.copy();
    write(&whole).unwrap();
    for step in already..=whole.steps() {
        for seed in 0..256 {
            let disk = disk.copy();
            disk.fail_at(step);
            let done = write(&disk).is_ok();
            let now = text(&store(&disk.restart(seed))).unwrap();
            assert!(now == "$6$new" || (!done && now == "$6$old"), "step {step}, seed {seed}: {now}");
        }
    }
}

#[test]
fn the_last_twenty_are_kept_and_whatever_is_served() {
    let disk = Fragile::new();
    let store = store(&disk);
    let first = push(&store, "first");
    (0..30).for_each(|number| _ = store.add(&files(&number.to_string()), &Origin::default()).unwrap());
    let numbers = store.numbers().unwrap();
    assert_eq!(numbers.len(), MOST_VERSIONS);
    assert_eq!((numbers[0], numbers[1], numbers[19]), (first, Number(13), Number(31)));
    assert_eq!(served(&disk).as_deref(), Some("first"));
}

#[test]
fn bytes_are_bounded_as_well() {
    let disk = Fragile::new();
    let store = store(&disk);
    let big = |number: usize| Files::of_main(vec![b'0' + number as u8; MOST_BYTES]).unwrap();
    (0..9).for_each(|number| _ = store.add(&big(number), &Origin::default()).unwrap());
    assert_eq!(store.numbers().unwrap().len(), MOST_BYTES_KEPT / MOST_BYTES);
}

#[test]
fn a_damaged_version_gives_way_to_the_one_that_was_served_before() {
    let disk = Fragile::new();
    push(&store(&disk), "old");
    store(&disk).add(&files("only tried"), &Origin::default()).unwrap();
    let new = push(&store(&disk), "new");
    disk.write(Path::new("/versions/000003/tls/site/key.pem"), b"other bytes").unwrap();
    assert!(matches!(store(&disk).read(new), Err(StoreError::Damaged(Number(3), _))));
    let (boot, notes) = store(&disk).boot().unwrap();
    assert_eq!(boot.unwrap().number, Number(1));
    assert_eq!(
        notes,
        ["version 000003 is damaged: its contents are not what was written; version 000001 is served instead"]
    );
}

fn shout(files: Files) -> std::result::Result<Files, String> {
    let text = files.main_text();
    if text == "no way" { Err(text) } else { Ok(self::files(&text.to_uppercase())) }
}

const NEWER: Formats = Formats { newest: 2, steps: &[shout] };

#[test]
fn a_newer_format_migrates_and_an_older_system_goes_back() {
    let disk = Fragile::new();
    push(&store(&disk), "old words");
    let newer = Store::on(disk.clone(), ROOT, NEWER);
    assert!(newer.boot().unwrap().0.unwrap().older);
    assert_eq!(newer.migrate(7).unwrap(), Some(Number(2)));
    assert_eq!(newer.migrate(7).unwrap(), None);
    assert_eq!(newer.boot().unwrap().0.unwrap().files.main_text(), "OLD WORDS");
    // However many versions the newer system writes, one is left that the older one can read.
    (0..MOST_VERSIONS * 2).for_each(|_| _ = push(&newer, "NEW WORDS"));
    let (boot, notes) = store(&disk).boot().unwrap();
    assert_eq!(boot.unwrap().files.main_text(), "old words");
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("is written in format 2; this system reads formats up to 1; version 000001"),
        "{notes:?}"
    );
    // And what the older one writes from there on is migrated again.
    push(&store(&disk), "newer words");
    newer.migrate(8).unwrap();
    assert_eq!(newer.boot().unwrap().0.unwrap().files.main_text(), "NEWER WORDS");
}

#[test]
fn a_migration_that_fails_leaves_everything_as_it_is() {
    let disk = Fragile::new();
    push(&store(&disk), "no way");
    let newer = Store::on(disk.clone(), ROOT, NEWER);
    assert!(matches!(newer.migrate(7), Err(StoreError::Migration(why)) if why == "no way"));
    assert_eq!(served(&disk).as_deref(), Some("no way"));
}

#[test]
fn a_power_cut_during_a_migration_serves_the_same_configuration_in_either_format() {
    let disk = Fragile::new();
    push(&store(&disk), "words");
    let whole = disk.copy();
    let already = disk.steps();
    Store::on(whole.clone(), ROOT, NEWER).migrate(7).unwrap();
    for step in already..=whole.steps() {
        for seed in 0..256 {
            let disk = disk.copy();
            disk.fail_at(step);
            let _ = Store::on(disk.clone(), ROOT, NEWER).migrate(7);
            let disk = disk.restart(seed);
            assert_eq!(served(&disk).as_deref(), Some("words"), "step {step}, seed {seed}");
            let newer = Store::on(disk, ROOT, NEWER);
            newer.migrate(7).unwrap();
            assert_eq!(newer.boot().unwrap().0.unwrap().files.main_text(), "WORDS", "step {step}, seed {seed}");
        }
    }
}

#[test]
fn a_backup_is_one_file_and_comes_back() {
    let disk = Fragile::new();
    let store = store(&disk);
    assert_eq!(store.backup(false).unwrap(), None);
    push(&store, "worker_processes 2;");
    store.set_password("$6$x").unwrap();
    store.set_server_key(b"PEM").unwrap();
    let backup = store.backup(false).unwrap().unwrap();
    let read = Backup::from_tar(&backup.to_tar().unwrap()).unwrap();
    assert_eq!(read, backup);
    let other = Store::on(Fragile::new(), ROOT, Formats::OURS);
    other.restore_identity(&read).unwrap();
    assert_eq!(other.password().unwrap().as_deref(), Some("$6$x"));
    assert_eq!(other.server_key().unwrap().as_deref(), Some(b"PEM".as_slice()));
    assert_eq!(other.files_of(&read).unwrap(), files("worker_processes 2;"));
    let bare = store.backup(true).unwrap().unwrap();
    assert_eq!((bare.password, bare.server_key, bare.authorized_keys), (None, None, None));
}

#[test]
fn what_is_no_backup_is_refused() {
    let backup = Backup { files: files("x"), format: 1, ..Backup::default() };
    let good = backup.to_tar().unwrap();
    assert!(matches!(Backup::from_tar(b""), Err(BadBackup::NotOne)));
    assert!(Backup::from_tar(&[b'x'; 4096]).is_err());
    for length in 0..good.len() - 1024 {
        assert!(Backup::from_tar(&good[..length]).ok().is_none_or(|read| read != backup), "{length} bytes");
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    tar.append_data(&mut header, "etc/passwd", &b""[..]).unwrap();
    assert!(matches!(Backup::from_tar(&tar.into_inner().unwrap()), Err(BadBackup::NotOne)));
    let newer = Backup { format: 9, ..backup };
    assert!(Store::on(Fragile::new(), ROOT, Formats::OURS).files_of(&newer).is_err());
}

#[test]
fn the_kernel_s_file_system_does_what_the_model_does() {
    let folder = std::env::temp_dir().join(format!("fairlead-store-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let store = Store::at(&folder);
    (0..25).for_each(|number| _ = push(&store, &number.to_string()));
    assert_eq!(store.numbers().unwrap().len(), MOST_VERSIONS);
    assert_eq!(store.boot().unwrap().0.unwrap().files, files("24"));
    assert_eq!(store.versions().unwrap()[19].card.before, Some(Number(24)));
    store.begin_trial(Number(25)).unwrap();
    store.end_trial().unwrap();
    store.set_instance_id("i-1").unwrap();
    assert_eq!(store.instance_id().unwrap().as_deref(), Some("i-1"));
    std::fs::remove_dir_all(&folder).unwrap();
}
