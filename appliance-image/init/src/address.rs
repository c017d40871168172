//! The address of the first link, changed in the text of a configuration: at the console nobody writes
//! a block. What else the text says stays as it was written.

use crate::cmdline::Static;
use fairlead_conf::{Statement, Tree};
use std::fmt::Write;
use std::fs;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Dhcp,
    Fixed(Static),
}

impl Wanted {
    /// `dhcp` or `ADDRESS/LENGTH[,GATEWAY]`.
    pub fn parse(text: &str) -> Option<Wanted> {
        if text == "dhcp" { Some(Wanted::Dhcp) } else { Static::parse(text).map(Wanted::Fixed) }
    }

    fn statements(&self) -> String {
        let mut out = String::new();
        match self {
            Wanted::Dhcp => out.push_str("address dhcp;"),
            Wanted::Fixed(fixed) => {
                let _ = write!(out, "address {}/{};", fixed.address, fixed.prefix);
                if let Some(gateway) = fixed.gateway {
                    let _ = write!(out, " gateway {gateway};");
                }
            }
        }
        out
    }
}

/// The text with these addresses on its first interface; its own addresses and gateways go, the rest of
/// the block stays. `scratch` is a file to read it from.
///
/// # Errors
/// When the text is no configuration, or its block is in another file.
pub fn change(text: &str, scratch: &Path, wanted: &Wanted) -> Result<String, String> {
    fs::write(scratch, text).map_err(|error| format!("{}: {error}", scratch.display()))?;
    let tree = Tree::read(scratch, None);
    let here = |one: &&Statement| tree.sources.path(one.name.span.file) == scratch;
    let statements = wanted.statements();
    let Some(appliance) = tree.root.statements.iter().find(|one| &*one.name.text == "appliance") else {
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        return Ok(format!("{text}{end}\nappliance {{\n    interface eth0 {{ {statements} }}\n}}\n"));
    };
    let Some(inside) = Some(appliance).filter(here).and_then(|one| one.block.as_ref()) else {
        return Err("the appliance block is in a file of its own; push it with the new address".into());
    };
    let interface = inside.statements.iter().filter(here).find(|one| &*one.name.text == "interface");
    let Some(interface) = interface.and_then(|one| one.block.as_ref()) else {
        return insert(text, inside.span.start, &format!("\n    interface eth0 {{ {statements} }}"));
    };
    let mut out = text.to_owned();
    // From the last to the first: places before a change stay.
    let old = |one: &&Statement| matches!(&*one.name.text, "address" | "gateway");
    for old in interface.statements.iter().filter(here).filter(old).rev() {
        let start = old.name.span.start as usize;
        let last = old.args.last().map_or(old.name.span.end, |word| word.span.end) as usize;
        let end =
            out.get(last..).and_then(|rest| rest.find(';')).map(|at| last + at + 1).ok_or("a statement has no end")?;
        out.replace_range(start..end, "");
    }
    insert(&out, interface.span.start, &format!(" {statements}"))
}

/// Behind the brace at `brace`.
fn insert(text: &str, brace: u32, what: &str) -> Result<String, String> {
    match text.split_at_checked(brace as usize + 1) {
        Some((before, after)) if before.ends_with('{') => Ok([before, what, after].concat()),
        _ => Err("the appliance block cannot be changed; push it with the new address".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn changed(name: &str, text: &str, wanted: &str) -> String {
        let scratch = std::env::temp_dir().join(format!("fairlead-address-{}-{name}.conf", std::process::id()));
        let after = change(text, &scratch, &Wanted::parse(wanted).unwrap()).unwrap();
        fs::write(&scratch, &after).unwrap();
        let reading = fairlead_appliance::read(&scratch);
        fs::remove_file(&scratch).unwrap();
        assert!(reading.settings.is_some(), "{}", reading.complaints());
        after
    }

    #[test]
    fn the_first_interface_gets_its_new_address_and_keeps_the_rest() {
        let before = "events {}\nappliance {\n    dns 1.1.1.1;\n    interface eth0 { address dhcp; mtu 1400; }\n    interface eth1 { address auto; }\n}\nhttp {}\n";
        let after = changed("first", before, "192.0.2.9/24,192.0.2.1");
        assert!(after.contains("interface eth0 { address 192.0.2.9/24; gateway 192.0.2.1;  mtu 1400; }"), "{after}");
        assert!(after.contains("eth1 { address auto; }") && after.ends_with("http {}\n"), "{after}");
        let back = changed("back", &after, "dhcp");
        assert!(back.contains("address dhcp;") && !back.contains("192.0.2"), "{back}");
    }

    #[test]
    fn a_block_or_an_interface_that_is_not_there_is_made() {
        assert!(
            changed("none", "events {}", "dhcp").ends_with("appliance {\n    interface eth0 { address dhcp; }\n}\n")
        );
        let after = changed("empty", "appliance { hostname a; }\n", "2001:db8::1/64");
        assert_eq!(after, "appliance {\n    interface eth0 { address 2001:db8::1/64; } hostname a; }\n");
    }

    #[test]
    fn what_is_no_address_is_not_taken() {
        for text in ["", "192.0.2.1", "dhcp; }", "192.0.2.1/24;x"] {
            assert_eq!(Wanted::parse(text), None, "{text}");
        }
    }
}
