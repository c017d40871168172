//! Who knows whose key.

use crate::{Appliance, FAIRLEAD, Laptop};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_code_of_the_console_makes_both_keys_known_once() {
    let appliance = Appliance::start();
    let laptop = Laptop::new();
    let code = appliance.code();
    let said = laptop.ctl(&appliance, &["enroll", &code, "--name", "ann's laptop"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&appliance.key.to_string()), "{said:?}");
    let said = laptop.ctl(&appliance, &["status"]);
    assert_eq!((said.code, said.out.as_str()), (0, "state: serving\nversion: 0.1.0-7\n"), "{said:?}");
    assert_eq!(appliance.store().authorized_keys().unwrap()[0].name, "ann's laptop");
    assert_eq!(appliance.asked().last().unwrap(), "ann's laptop: Status");
    let said = Laptop::new().ctl(&appliance, &["enroll", &code]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("ask for a code at the console"), "{said:?}");
}

#[test]
fn a_wrong_code_makes_nothing_known() {
    let appliance = Appliance::start();
    let laptop = Laptop::new();
    appliance.code();
    let said = laptop.ctl(&appliance, &["enroll", "0000-0000-0000"]);
    assert_eq!((said.code, said.out.as_str()), (4, ""), "{said:?}");
    assert!(appliance.store().authorized_keys().unwrap().is_empty());
    assert_eq!(laptop.home.read(".config/fairlead/appliances"), "");
}

#[test]
fn a_key_that_is_not_known_is_told_how_it_becomes_so() {
    let appliance = Appliance::start();
    let laptop = Laptop::new();
    laptop.run(&["keygen"]);
    let said = laptop.ctl(&appliance, &["reboot", "--fingerprint", &appliance.key.to_string()]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("this appliance does not know the key"), "{said:?}");
    assert!(said.err.contains("enroll CODE"), "{said:?}");
    assert!(appliance.asked().is_empty(), "{:?}", appliance.asked());
}

#[test]
fn an_appliance_that_is_not_known_is_not_trusted_without_a_word() {
    let appliance = Appliance::start();
    let laptop = Laptop::new();
    laptop.run(&["keygen"]);
    let said = laptop.ctl(&appliance, &["status"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains(&format!("--fingerprint {}", appliance.key)), "{said:?}");
    assert!(appliance.asked().is_empty());
}

#[test]
fn another_key_than_the_known_one_ends_it_before_anything_is_sent() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    let others = "ab".repeat(32);
    let known = laptop.home.read(".config/fairlead/appliances");
    laptop.home.write(".config/fairlead/appliances", known.replace(&appliance.key.to_string(), &others));
    let before = appliance.asked().len();
    for args in [&["status"][..], &["status", "--fingerprint", &others]] {
        let said = laptop.ctl(&appliance, args);
        assert_eq!(said.code, 4, "{said:?}");
        assert!(said.err.contains("has another key than the one that is known. Nothing was sent."), "{said:?}");
    }
    assert_eq!(appliance.asked().len(), before);
    assert_eq!(laptop.ctl(&appliance, &["status", "--fingerprint", &appliance.key.to_string()]).code, 0);
    assert_eq!(laptop.ctl(&appliance, &["status"]).code, 0, "it is known from then on");
}

#[test]
fn a_key_that_is_taken_away_is_refused() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    appliance.store().set_authorized_keys(&[]).unwrap();
    assert_eq!(laptop.ctl(&appliance, &["status"]).code, 4);
}

#[test]
fn a_name_of_the_user_s_own_stands_for_an_appliance() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    let line = format!("lb1 {} {}\n", appliance.address, appliance.key);
    laptop.home.write(".config/fairlead/appliances", line);
    assert_eq!(laptop.run(&["lb1", "status"]).code, 0);
    let said = laptop.run_as(FAIRLEAD, &["ctl", "lb1", "status"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn the_key_is_made_once_and_for_its_user_alone() {
    let laptop = Laptop::new();
    let (first, again) = (laptop.run(&["keygen"]), laptop.run(&["keygen"]));
    assert!(first.out.starts_with("A new key is in") && again.out.starts_with("The key is in"), "{first:?} {again:?}");
    let line = |text: &str| text.lines().find(|line| line.contains("authorized_key")).map(str::to_owned);
    assert_eq!(line(&first.out), line(&again.out));
    let mode = fs::metadata(laptop.home.join(".config/fairlead/client.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_cannot_be_reached_and_what_is_mistyped_have_codes_of_their_own() {
    let laptop = Laptop::new();
    laptop.run(&["keygen"]);
    let said = laptop.run(&["127.0.0.1:1", "status"]);
    assert_eq!(said.code, 3, "{said:?}");
    let said = laptop.run(&["127.0.0.1:1", "stauts"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (2, "fairleadctl: there is no command \"stauts\"; did you mean status?\n")
    );
    let said = laptop.run(&["--help"]);
    assert!(said.code == 0 && said.out.contains("Usage: fairleadctl HOST COMMAND"), "{said:?}");
}
