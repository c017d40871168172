//! A backup of one machine makes another one the same.

use crate::{Appliance, Laptop, page};

#[test]
fn a_backup_makes_another_machine_the_same() {
    let (old, new) = (Appliance::start(), Appliance::start());
    let laptop = Laptop::enrolled(&old);
    laptop.home.write("lb.conf", page("one"));
    laptop.ctl(&old, &["push", "lb.conf"]);
    old.store().set_password("$6$hash").unwrap();
    let said = laptop.ctl(&old, &["backup", "lb1.tar"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(laptop.ctl(&old, &["backup", "lb1.tar"]).code == 2, "it is not written over");
    let other = Laptop::enrolled(&new);
    std::fs::copy(laptop.home.join("lb1.tar"), other.home.join("lb1.tar")).unwrap();
    let said = other.ctl(&new, &["restore", "lb1.tar"]);
    assert_eq!((said.code, said.out.as_str()), (0, "Version 000001 is in force.\n"), "{said:?}");
    assert_eq!(new.in_force(), Some(page("one")));
    assert_eq!(new.store().password().unwrap().as_deref(), Some("$6$hash"));
    assert_eq!(new.store().server_key().unwrap(), old.store().server_key().unwrap());
    // Whoever restored it is still let in, and so is whoever the backup knows.
    assert_eq!(other.ctl(&new, &["status"]).code, 0);
    assert_eq!(laptop.ctl(&new, &["status", "--fingerprint", &new.key.to_string()]).code, 0);
}

#[test]
fn a_backup_of_the_configuration_holds_no_key() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    laptop.home.write("lb.conf", page("one"));
    laptop.ctl(&appliance, &["push", "lb.conf"]);
    appliance.store().set_password("$6$hash").unwrap();
    assert_eq!(laptop.ctl(&appliance, &["backup", "conf.tar", "--only-configuration"]).code, 0);
    let tar = laptop.home.read("conf.tar");
    assert!(tar.contains("return 200") && !tar.contains("$6$hash") && !tar.contains("PRIVATE KEY"));
}

#[test]
fn what_is_no_backup_changes_nothing() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    laptop.home.write("nonsense.tar", [7; 3000]);
    let said = laptop.ctl(&appliance, &["restore", "nonsense.tar"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!((appliance.in_force(), appliance.store().numbers().unwrap().len()), (None, 0));
}
