//! What process 1 can be asked, one word each. Whoever gets this far may ask anything: the console has
//! asked for the password, the management for a key.

use crate::control::{Answer, done, refused};
use crate::health::Transport;
use crate::machine::Machine;
use crate::power::End;
use crate::supervise::State;
use crate::{address, check, entropy, logs, password, say, working};
use fairlead_appliance::store::{AuthorizedKey, Files, Number, Origin, StoreError};
use nix::ifaddrs::getifaddrs;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Where a changed configuration is looked at.
const SCRATCH: &str = "/run/address.conf";
const LOG_LINES: usize = 400;

pub fn answer(machine: &mut Machine, request: &Value) -> Answer {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    match text("do") {
        "status" => done(status(machine)),
        "show" => done(json!({"text": std::fs::read_to_string(working::MAIN).unwrap_or_default()})),
        "log" => done(json!({"lines": log(request["lines"].as_u64())})),
        "login" => login(machine, text("password")),
        "set-password" => set_password(machine, text("password")),
        "set-address" => set_address(machine, text("address")),
        "authorize" => authorize(machine, text("key"), text("comment")),
        "use-before" => use_before(machine),
        "reboot" => go(machine, End::Reboot),
        "poweroff" => go(machine, End::PowerOff),
        "factory-reset" => factory_reset(machine),
        other => refused(format!("this system does not know how to do \"{other}\"")),
    }
}

fn go(machine: &mut Machine, how: End) -> Answer {
    machine.end("asked to", how);
    done(json!({}))
}

/// What the status page shows, and more.
fn status(machine: &Machine) -> Value {
    let State::Running { pid, since } = machine.service.supervisor.state() else {
        return with_service(machine, json!({"state": "stopped"}));
    };
    let state = if machine.serves { "serving" } else { "starting" };
    with_service(machine, json!({"state": state, "pid": pid, "since": since}))
}

fn with_service(machine: &Machine, mut fairlead: Value) -> Value {
    fairlead["crashes"] = json!(machine.service.supervisor.crashes);
    let down: Vec<&String> = machine.service.peers.iter().filter(|(_, up)| !**up).map(|(peer, _)| peer).collect();
    let messages = say::kept();
    let messages = messages.iter().skip(messages.len().saturating_sub(50));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "slot": machine.line.slot,
        "trial": machine.on_trial(),
        "uptime": say::uptime(),
        "hostname": hostname(),
        "addresses": addresses(),
        "role": "single",
        "fairlead": fairlead,
        "configuration": machine.version.map(|number| number.to_string()),
        "partition": machine.partition.describe(),
        "listeners": listeners(machine),
        "peers": {"up": machine.service.peers.len() - down.len(), "down": down},
        "errors": machine.service.errors,
        "messages": messages.map(|line| format!("{} {}", say::stamp(line.at), line.text)).collect::<Vec<_>>(),
        "password": hash(machine).is_some(),
        "management": machine.settings.management.listen.map(|address| address.to_string()),
        "fingerprint": machine.fingerprint,
    })
}

pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| name != "(none)")
        .unwrap_or_default()
}

/// Addresses of the links, loopback apart.
pub fn addresses() -> Vec<String> {
    let mut found = BTreeSet::new();
    for interface in getifaddrs().into_iter().flatten().filter(|interface| interface.interface_name != "lo") {
        let Some(address) = interface.address else { continue };
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => v4.ip().to_string(),
            (_, Some(v6)) if !v6.ip().is_unicast_link_local() => v6.ip().to_string(),
            _ => continue,
        };
        let length = interface.netmask.and_then(|mask| match (mask.as_sockaddr_in(), mask.as_sockaddr_in6()) {
            (Some(mask), _) => Some(mask.ip().to_bits().count_ones()),
            (_, Some(mask)) => Some(mask.ip().to_bits().count_ones()),
            _ => None,
        });
        let length = length.map_or(String::new(), |length| format!("/{length}"));
        found.insert(format!("{} {ip}{length}", interface.interface_name));
    }
    found.into_iter().collect()
}

fn listeners(machine: &Machine) -> Vec<String> {
    let all: BTreeSet<_> = machine.service.listeners.iter().map(|one| (one.transport, one.address)).collect();
    let name = |(transport, address)| match transport {
        Transport::Tcp => format!("tcp {address}"),
        Transport::Udp => format!("udp {address}"),
    };
    all.into_iter().map(name).collect()
}

fn log(lines: Option<u64>) -> Vec<String> {
    let count = lines.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(LOG_LINES).min(20_000);
    let mut all: Vec<String> =
        say::kept().iter().map(|line| format!("{} {}", say::stamp(line.at), line.text)).collect();
    all.extend(logs::tail(Path::new("/run/log").join(crate::service::LOG_NAME).as_path(), count));
    let from = all.len().saturating_sub(count);
    all.split_off(from)
}

/// The configuration's hash goes before the one set at the console.
fn hash(machine: &Machine) -> Option<String> {
    let configured = machine.settings.console_password.as_deref().map(str::to_owned);
    configured.or_else(|| crate::partition::Partition::store().password().ok().flatten())
}

fn login(machine: &mut Machine, given: &str) -> Answer {
    let now = say::uptime();
    if let Some(wait) = machine.attempts.wait(now) {
        return json!({"ok": false, "wait": wait, "errors": [format!("wait {} s", wait.div_ceil(1000))]});
    }
    let right = hash(machine).is_none_or(|hash| password::is_right(&hash, given));
    if right {
        machine.attempts.succeeded();
        return done(json!({}));
    }
    machine.attempts.failed(now);
    say::step("console: a wrong password was given");
    let wait = machine.attempts.wait(now).unwrap_or(0);
    json!({"ok": false, "wait": wait, "errors": ["the password is wrong"]})
}

fn set_password(machine: &mut Machine, given: &str) -> Answer {
    if machine.settings.console_password.is_some() {
        return refused("the configuration sets console_password; change it there");
    }
    if !given.is_empty() && given.chars().count() < 8 {
        return refused("a password has 8 characters or more");
    }
    let hash = if given.is_empty() {
        Some(String::new())
    } else {
        entropy::bytes::<12>().and_then(|salt| password::hash(given, salt))
    };
    let Some(hash) = hash else { return refused("no random numbers yet; try again") };
    answer_of(machine.partition.write(|store| store.set_password(&hash)), "console: the password was changed")
}

fn authorize(machine: &mut Machine, key: &str, comment: &str) -> Answer {
    let Ok(key) = key.parse() else { return refused("a key is given by its fingerprint: 64 hexadecimal digits") };
    let name = if comment.is_empty() { "console" } else { comment };
    let key = AuthorizedKey { key, name: name.to_owned() };
    answer_of(machine.partition.write(|store| store.authorize(key)), "management: a key was authorised")
}

fn answer_of(outcome: Result<(), String>, said: &str) -> Answer {
    match outcome {
        Ok(()) => {
            say::step(said);
            done(json!({}))
        }
        Err(error) => refused(error),
    }
}

/// Puts a new version into force at once: kept, served, the network with it.
pub fn take_on(machine: &mut Machine, files: &Files, by: &str, note: &str) -> Result<Number, String> {
    check::files(files)?;
    let origin = Origin { made: 0, by: by.to_owned(), note: note.to_owned() };
    let number = machine.partition.write(|store| {
        let number = store.add(files, &origin)?;
        store.switch(number)?;
        Ok::<Number, StoreError>(number)
    })?;
    machine.use_files(files, Some(number));
    Ok(number)
}

fn set_address(machine: &mut Machine, given: &str) -> Answer {
    let Some(wanted) = address::Wanted::parse(given) else {
        return refused("write dhcp, ADDRESS/LENGTH or ADDRESS/LENGTH,GATEWAY");
    };
    let now = machine.files.clone();
    let changed = address::change(&now.main_text(), Path::new(SCRATCH), &wanted).and_then(|text| {
        let mut files = Files::default();
        for (name, bytes) in now.iter() {
            let bytes = if name == "fairlead.conf" { text.clone().into_bytes() } else { bytes.to_vec() };
            files.add(name, bytes).map_err(|error| error.to_string())?;
        }
        take_on(machine, &files, "console", &format!("address {given}"))
    });
    match changed {
        Ok(number) => done(json!({"version": number.to_string()})),
        Err(error) => refused(error),
    }
}

/// Back to the version that was served before this one.
fn use_before(machine: &mut Machine) -> Answer {
    let store = crate::partition::Partition::store();
    let before = store.current().and_then(|current| store.card(current).ok()?.before);
    let Some(number) = before else { return refused("there is no version before this one") };
    let files = match store.read(number) {
        Ok(files) => files,
        Err(error) => return refused(error),
    };
    if let Err(error) = machine.partition.write(|store| store.switch(number)) {
        return refused(error);
    }
    machine.use_files(&files, Some(number));
    done(json!({"version": number.to_string()}))
}

fn factory_reset(machine: &mut Machine) -> Answer {
    match machine.partition.reset() {
        Ok(()) => {
            say::step("factory reset: everything this machine was told is forgotten");
            go(machine, End::Reboot)
        }
        Err(error) => refused(error),
    }
}
