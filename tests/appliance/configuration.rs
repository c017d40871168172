//! Push, confirm, pull and versions, as they look on the laptop's screen.

use crate::{Appliance, Laptop, page};
use fairlead_harness::eventually;

#[test]
fn every_mistake_is_on_the_screen_with_its_place_here() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    laptop.home.write("lb.conf", "evnets {}\nevents {}\nhttp {\n    server { listen 80x; }\n    sendfile maybe;\n}\n");
    let said = laptop.ctl(&appliance, &["push", "lb.conf"]);
    assert_eq!(said.code, 1, "{said:?}");
    for words in
        ["unknown directive \"evnets\" in lb.conf:1:1", "lb.conf:4:", "lb.conf:5:", "   1 | evnets {}\n     | ^^^^^^"]
    {
        assert!(said.err.contains(words), "{words} is not in\n{}", said.err);
    }
    assert!(said.err.ends_with("the configuration was refused\n"), "{}", said.err);
    assert!(!said.err.contains("/check/"), "{}", said.err);
    assert_eq!(appliance.in_force(), None);
    assert!(laptop.ctl(&appliance, &["versions"]).out.contains("no configuration yet"));
}

#[test]
fn what_is_pushed_is_in_force_and_comes_back_byte_for_byte() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    laptop.home.write("lb.conf", page("one"));
    let said = laptop.ctl(&appliance, &["push", "lb.conf", "--note", "first"]);
    assert_eq!((said.code, said.out.as_str()), (0, "Version 000001 is in force.\n"), "{said:?}");
    assert_eq!(appliance.in_force(), Some(page("one")));
    assert_eq!(laptop.ctl(&appliance, &["pull"]).out, page("one"));
    let said = laptop.ctl(&appliance, &["push", "lb.conf"]);
    assert_eq!(said.out, "Nothing has changed: that is version 000001 already.\n");
    let said = laptop.ctl(&appliance, &["versions"]);
    assert_eq!(said.out, "-> 000001  Tue, 14 Nov 2023 22:13:20 GMT  ann  first\n");
    assert_eq!(appliance.log().last().unwrap(), "version 000001 is in force, by ann");
    assert_eq!(laptop.ctl(&appliance, &["logs"]).out.lines().count(), 2, "the key, and the version");
    assert_eq!(laptop.ctl(&appliance, &["logs", "--lines", "1"]).out, "version 000001 is in force, by ann\n");
}

#[test]
fn a_folder_is_pushed_with_all_that_it_includes() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    laptop.home.write("site/fairlead.conf", "events {}\nhttp { include conf.d/*.conf; }\n");
    laptop.home.write("site/conf.d/a.conf", "server { listen 127.0.0.1:18998; }\n");
    laptop.home.write("site/.git/config", "not this");
    let said = laptop.ctl(&appliance, &["push", "site"]);
    assert_eq!(said.code, 0, "{said:?}");
    let said = laptop.ctl(&appliance, &["pull", "--to", "copy"]);
    assert_eq!((said.code, said.out.as_str()), (0, "Version 000001: 2 files in copy\n"), "{said:?}");
    assert_eq!(laptop.home.read("copy/conf.d/a.conf"), laptop.home.read("site/conf.d/a.conf"));
    laptop.home.write("site/conf.d/a.conf", "server { lisetn 80; }\n");
    let said = laptop.ctl(&appliance, &["push", "site"]);
    assert!(said.err.contains("in site/conf.d/a.conf:1:10"), "{}", said.err);
}

#[test]
fn a_dry_run_changes_nothing() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    laptop.home.write("lb.conf", page("one"));
    let said = laptop.ctl(&appliance, &["push", "--dry-run", "lb.conf"]);
    assert!(said.code == 0 && said.out.starts_with("The configuration is good;"), "{said:?}");
    assert_eq!((appliance.in_force(), appliance.store().numbers().unwrap().len()), (None, 0));
}

#[test]
fn what_nobody_confirms_in_time_is_taken_back() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    for (text, args) in [("one", &["push", "lb.conf"][..]), ("two", &["push", "lb.conf", "--confirm", "1s"])] {
        laptop.home.write("lb.conf", page(text));
        let said = laptop.ctl(&appliance, args);
        assert_eq!(said.code, 0, "{said:?}");
    }
    eventually("version 1 is back", || appliance.in_force() == Some(page("one")));
    assert_eq!(appliance.log().last().unwrap(), "version 000002 was not confirmed within 1s; version 000001 is back");
    let said = laptop.ctl(&appliance, &["confirm"]);
    assert_eq!((said.code, said.err.as_str()), (1, "nothing waits to be confirmed\n"), "{said:?}");
}

#[test]
fn what_is_confirmed_stays_and_an_earlier_version_is_used_again() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    laptop.home.write("lb.conf", page("one"));
    laptop.ctl(&appliance, &["push", "lb.conf"]);
    laptop.home.write("lb.conf", page("two"));
    let said = laptop.ctl(&appliance, &["push", "lb.conf", "--confirm", "5m"]);
    assert!(said.out.starts_with("Version 000002 is in force for 5 min. To keep it: fairleadctl"), "{said:?}");
    assert!(laptop.ctl(&appliance, &["versions"]).out.contains("-> 000002"));
    assert_eq!(appliance.store().current().map(|number| number.0), Some(1));
    assert_eq!(laptop.ctl(&appliance, &["confirm"]).out, "Version 000002 stays in force.\n");
    assert_eq!(appliance.store().current().map(|number| number.0), Some(2));
    assert_eq!(laptop.ctl(&appliance, &["use", "1"]).out, "Version 000001 is in force.\n");
    assert_eq!(appliance.in_force(), Some(page("one")));
    let said = laptop.ctl(&appliance, &["use", "9"]);
    assert_eq!((said.code, said.err.as_str()), (1, "there is no version 000009\n"));
}
