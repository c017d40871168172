use super::*;
use crate::management::{Proof, Side, prove};
use crate::store::power_cut::Fragile;
use crate::store::{File, Formats};

/// A machine that serves text; text that holds `bad` does not pass the check, `broken` not the start,
/// and what holds `address` changes how it is reached.
#[derive(Default)]
struct Bench {
    serves: Option<String>,
    writable: bool,
    log: Vec<String>,
    configured: Vec<AuthorizedKey>,
}

impl Machine for Bench {
    fn check(&mut self, folder: &Path) -> Result<Vec<String>, Vec<String>> {
        let file = folder.join("fairlead.conf");
        let text = fs::read_to_string(&file).unwrap();
        let errors: Vec<String> = text.matches("bad").map(|_| format!("bad word in {}:1", file.display())).collect();
        if errors.is_empty() { Ok(Vec::new()) } else { Err(errors) }
    }

    fn apply(&mut self, files: Option<&Files>) -> Result<(), Vec<String>> {
        let text = files.map(Files::main_text);
        if text.as_ref().is_some_and(|text| text.contains("broken")) {
            return Err(vec!["no such interface".to_owned()]);
        }
        self.serves = text;
        Ok(())
    }

    fn window(&self, files: &Files) -> Option<Duration> {
        files.main_text().contains("address").then_some(Duration::from_secs(300))
    }

    fn authorized_keys(&self) -> Vec<AuthorizedKey> {
        self.configured.clone()
    }

    fn writable(&mut self, yes: bool) -> std::io::Result<()> {
        assert_ne!(self.writable, yes, "asked twice");
        self.writable = yes;
        Ok(())
    }

    fn random(&mut self) -> [u8; 8] {
        [9; 8]
    }

    fn log(&mut self, line: &str) {
        self.log.push(line.to_owned());
    }
}

struct Setup {
    disk: Fragile,
    desk: Desk<Fragile>,
    machine: Bench,
    now: u64,
    folder: PathBuf,
}

impl Setup {
    fn new(name: &str) -> Setup {
        Setup::over(Fragile::new(), name)
    }

    fn over(disk: Fragile, name: &str) -> Setup {
        let folder = std::env::temp_dir().join(format!("fairlead-desk-{name}-{}", std::process::id()));
        let store = Store::on(disk.clone(), "/", Formats::OURS);
        let (desk, Start { boot, notes }) = Desk::start(store, &folder).unwrap();
        let mut machine = Bench { log: notes, ..Bench::default() };
        machine.apply(boot.map(|boot| boot.files).as_ref()).unwrap();
        Setup { disk, desk, machine, now: 0, folder }
    }

    fn ask(&mut self, request: Request) -> Answer {
        let by = By { key: None, name: "ann".to_owned() };
        let now = Now { tick: Tick(self.now), unix: 1_700_000_000 };
        let answer = self.desk.answer(&Asked { by, request }, now, &mut self.machine).unwrap();
        assert!(!self.machine.writable, "left writable");
        answer
    }

    fn push(&mut self, text: &str, confirm: Option<u64>) -> Answer {
        let files = Files::of_main(text).unwrap().to_wire();
        self.ask(Request::Push { files, dry_run: false, confirm, note: String::new() })
    }

    fn serves(&self) -> &str {
        self.machine.serves.as_deref().unwrap_or("nothing")
    }

    fn after(&mut self, seconds: u64) {
        self.now += seconds * 1000;
        self.desk.tick(Now { tick: Tick(self.now), unix: 0 }, &mut self.machine);
    }

    /// The power goes and comes back.
    fn restart(self) -> Setup {
        Setup::over(self.disk.restart(1), self.folder.file_name().unwrap().to_str().unwrap())
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_push_is_in_force_and_survives() {
    let mut setup = Setup::new("push");
    assert_eq!(setup.push("one", None).number("version"), Some(1));
    assert_eq!(setup.serves(), "one");
    let again = setup.push("one", None);
    assert_eq!((again.number("version"), again.values["unchanged"].as_bool()), (Some(1), Some(true)));
    assert_eq!(setup.machine.log, ["version 000001 is in force, by ann"]);
    assert_eq!(setup.restart().serves(), "one");
}

#[test]
fn a_bad_file_changes_nothing_and_every_diagnostic_comes_back() {
    let mut setup = Setup::new("bad");
    setup.push("one", None);
    let steps = setup.disk.steps();
    let answer = setup.push("bad and bad", None);
    assert_eq!(answer.errors, ["bad word in fairlead.conf:1", "bad word in fairlead.conf:1"]);
    assert_eq!((setup.serves(), setup.disk.steps()), ("one", steps));
    let name = "../etc/passwd".to_owned();
    let files = vec![File { name, data: String::new() }];
    let answer = setup.ask(Request::Push { files, dry_run: true, confirm: None, note: String::new() });
    assert!(answer.errors[0].contains("cannot be a file's name"), "{answer:?}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let mut setup = Setup::new("dry");
    let files = Files::of_main("one").unwrap().to_wire();
    let answer = setup.ask(Request::Push { files, dry_run: true, confirm: None, note: String::new() });
    assert!(answer.ok);
    assert_eq!((setup.serves(), setup.disk.steps()), ("nothing", 0));
}

#[test]
fn what_nobody_confirms_is_taken_back_with_one_line() {
    let mut setup = Setup::new("expire");
    setup.push("one", None);
    assert_eq!(setup.push("address two", None).number("confirm"), Some(300));
    setup.after(299);
    assert_eq!(setup.serves(), "address two");
    setup.after(1);
    setup.after(1);
    assert_eq!(setup.serves(), "one");
    let said: Vec<_> = setup.machine.log.iter().filter(|line| line.contains("not confirmed")).collect();
    assert_eq!(said, ["version 000002 was not confirmed within 5m; version 000001 is back"]);
    assert!(!setup.ask(Request::Confirm).ok);
    assert_eq!(setup.restart().machine.log, Vec::<String>::new());
}

#[test]
fn what_is_confirmed_stays() {
    let mut setup = Setup::new("confirm");
    setup.push("one", None);
    setup.push("two", Some(60));
    assert_eq!(setup.ask(Request::Confirm).number("version"), Some(2));
    setup.after(600);
    assert_eq!(setup.serves(), "two");
    assert_eq!(setup.restart().serves(), "two");
}

#[test]
fn a_restart_before_it_is_confirmed_takes_it_back() {
    let mut setup = Setup::new("restart");
    setup.push("one", None);
    setup.push("two", Some(60));
    let setup = setup.restart();
    assert_eq!(setup.serves(), "one");
    assert_eq!(setup.machine.log, ["version 000002 was not confirmed before the restart and is not served"]);
}

#[test]
fn a_first_configuration_on_trial_gives_way_to_none() {
    let mut setup = Setup::new("first");
    setup.push("one", Some(60));
    setup.after(60);
    assert_eq!(setup.serves(), "nothing");
    setup.push("one", Some(60));
    assert!(setup.ask(Request::Cancel).ok);
    assert_eq!(setup.serves(), "nothing");
}

#[test]
fn what_cannot_be_put_into_force_gives_way_to_what_was() {
    let mut setup = Setup::new("broken");
    setup.push("one", None);
    setup.push("two", Some(60));
    for confirm in [None, Some(60)] {
        let answer = setup.push("broken", confirm);
        assert_eq!(answer.errors, ["no such interface", "it could not be put into force; version 000001 is back"]);
        assert_eq!(setup.serves(), "one");
    }
    assert_eq!(setup.restart().serves(), "one");
}

#[test]
fn an_earlier_version_is_used_again() {
    let mut setup = Setup::new("use");
    setup.push("one", None);
    setup.push("two", None);
    assert!(setup.ask(Request::Use { version: Number(1), confirm: Some(60) }).ok);
    assert_eq!(setup.serves(), "one");
    setup.after(60);
    assert_eq!(setup.serves(), "two");
    assert!(setup.ask(Request::Use { version: Number(1), confirm: None }).ok);
    let missing = setup.ask(Request::Use { version: Number(9), confirm: None });
    assert_eq!(missing.errors, ["there is no version 000009"]);
    let versions = setup.ask(Request::Versions);
    assert_eq!((versions.number("current"), versions.values["versions"].as_array().unwrap().len()), (Some(1), 2));
    assert_eq!(setup.restart().serves(), "one");
}

/// Whatever is done, whenever the power goes: what a restart serves was confirmed.
#[test]
fn a_restart_serves_what_was_settled_last() {
    for seed in 0..256_u64 {
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut setup = Setup::new(&format!("seed-{seed}"));
        let (mut settled, mut waiting) = ("nothing".to_owned(), None);
        for number in 0..12 {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let text = format!("text {number}");
            match dice >> 32 & 3 {
                0 if setup.push(&text, None).ok => (settled, waiting) = (text, None),
                1 if setup.push(&text, Some(60)).ok => waiting = Some(text),
                2 if setup.ask(Request::Confirm).ok => settled = waiting.take().unwrap(),
                3 => {
                    setup.after(60);
                    waiting = None;
                }
                _ => {}
            }
            assert_eq!(setup.serves(), waiting.as_deref().unwrap_or(&settled), "seed {seed}");
            if dice >> 40 & 7 == 0 {
                (setup, waiting) = (setup.restart(), None);
                assert_eq!(setup.serves(), settled, "seed {seed}");
            }
        }
    }
}

#[test]
fn keys_come_from_the_configuration_and_from_the_console() {
    let mut setup = Setup::new("keys");
    let key = |number| Fingerprint([number; 32]);
    setup.machine.configured.push(AuthorizedKey { key: key(1), name: "seed".to_owned() });
    assert_eq!(setup.ask(Request::Authorize { key: key(1) }).text("name"), "seed");
    assert!(!setup.ask(Request::Authorize { key: key(2) }).ok);
    let code = setup.ask(Request::EnrollCode).text("code").parse().unwrap();
    let enroll = |proof: Proof| Request::Enroll { proof, server: key(9), client: key(2), name: "laptop".to_owned() };
    assert!(!setup.ask(enroll(prove(&code, key(8), key(2), Side::Client))).ok, "another server's proof");
    let answer = setup.ask(enroll(prove(&code, key(9), key(2), Side::Client)));
    let proof: Proof = serde_json::from_value(answer.values["proof"].clone()).unwrap();
    assert!(code.is_proved_by(&proof, key(9), key(2), Side::Server));
    assert_eq!(setup.ask(Request::Authorize { key: key(2) }).text("name"), "laptop");
    assert_eq!(setup.restart().ask(Request::Authorize { key: key(2) }).text("name"), "laptop");
}

#[test]
fn a_backup_makes_another_machine_the_same() {
    let mut setup = Setup::new("backup");
    assert!(!setup.ask(Request::Backup { only_configuration: false }).ok);
    setup.push("one", None);
    setup.desk.store().set_password("$6$x").unwrap();
    setup.desk.store().authorize(AuthorizedKey { key: Fingerprint([1; 32]), name: String::new() }).unwrap();
    let data = setup.ask(Request::Backup { only_configuration: false }).text("data").to_owned();
    let mut other = Setup::new("restore");
    let by = By { key: Some(Fingerprint([2; 32])), name: "ann".to_owned() };
    let asked = Asked { by, request: Request::Restore { data, confirm: None } };
    let answer = other.desk.answer(&asked, Now::default(), &mut other.machine).unwrap();
    assert!(answer.ok, "{answer:?}");
    assert_eq!((other.serves(), other.desk.store().password().unwrap().as_deref()), ("one", Some("$6$x")));
    for key in [1, 2] {
        assert!(other.ask(Request::Authorize { key: Fingerprint([key; 32]) }).ok, "key {key}");
    }
    let refused = other.ask(Request::Restore { data: "AAAA".to_owned(), confirm: None });
    assert!(refused.errors[0].contains("backup"), "{refused:?}");
}

#[test]
fn a_question_about_something_else_is_left_to_others() {
    let mut setup = Setup::new("other");
    let asked = Asked { by: By::default(), request: Request::Reboot };
    assert_eq!(setup.desk.answer(&asked, Now::default(), &mut setup.machine), None);
}
