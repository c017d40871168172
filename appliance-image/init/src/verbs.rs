//! What process 1 can be asked, one word each. Whoever gets this far may ask anything: the console has
//! asked for the password, the management for a key.

use crate::control::{Answer, done, refused};
use crate::health::Transport;
use crate::machine::Machine;
use crate::power::End;
use crate::supervise::State;
use crate::{address, entropy, logs, password, processes, say, support};
use fairlead_appliance::management::{self, Asked, By, Request};
use fairlead_appliance::store::{Files, MAIN};
use nix::ifaddrs::getifaddrs;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Where a changed configuration is looked at.
const SCRATCH: &str = "/run/address.conf";
/// Bytes of what the console asks at most.
const LONGEST_OF_CONSOLE: usize = 4096;
const LOG_LINES: usize = 20_000;

pub fn answer(machine: &mut Machine, line: &[u8]) -> Answer {
    // Longer ones carry files, and are read once.
    if line.len() <= LONGEST_OF_CONSOLE
        && let Ok(request) = serde_json::from_slice(line)
        && let Some(answer) = answer_console(machine, &request)
    {
        return answer;
    }
    let asked = match Asked::parse(line) {
        Ok(asked) => asked,
        Err(answer) => return value(&answer),
    };
    if let Some(answer) = machine.desk(|desk, now, machine| desk.answer(&asked, now, machine)).flatten() {
        return value(&answer);
    }
    if let Some(answer) = machine.slot.answer(&asked) {
        if answer.ok && asked.request == Request::Rollback {
            machine.end(&format!("rolled back by {}", asked.by.words()), End::Reboot);
        }
        return value(&answer);
    }
    match asked.request {
        Request::Status => done(status(machine)),
        Request::Log { after, most } => log(after, most),
        Request::Support => support(machine),
        Request::Reboot => go(machine, End::Reboot, &asked.by),
        Request::Poweroff => go(machine, End::PowerOff, &asked.by),
        Request::FactoryReset => factory_reset(machine, &asked.by),
        Request::SetPassword { hash } => keep_password(machine, &hash),
        Request::SetAddress { address, gateway, .. } => {
            let gateway = gateway.map_or(String::new(), |gateway| format!(",{gateway}"));
            set_address(machine, &format!("{address}{gateway}"))
        }
        _ => refused("this system cannot do that"),
    }
}

/// What only the console asks, in words of its own.
fn answer_console(machine: &mut Machine, request: &Value) -> Option<Answer> {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    Some(match text("do") {
        "show" => done(json!({"text": machine.files.main_text()})),
        "login" => login(machine, text("password")),
        "set-password" if request["password"].is_string() => set_password(machine, text("password")),
        "set-address" if request["interface"].is_null() => set_address(machine, text("address")),
        "use-before" => use_before(machine),
        _ => return None,
    })
}

fn value(answer: &management::Answer) -> Answer {
    serde_json::to_value(answer).unwrap_or_else(refused)
}

fn go(machine: &mut Machine, how: End, by: &By) -> Answer {
    machine.end(&format!("asked to by {}", by.words()), how);
    done(json!({}))
}

/// What the status page shows, and more.
fn status(machine: &Machine) -> Value {
    let State::Running { pid, since } = machine.service.supervisor.state() else {
        return with_service(machine, json!({"state": "stopped"}));
    };
    let state = if machine.serves { "serving" } else { "starting" };
    with_service(machine, json!({"state": state, "pid": pid, "since": since, "processes": processes::of(pid)}))
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
        "configuration": machine.desk.as_ref().and_then(|desk| desk.in_force()).map(|number| number.to_string()),
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

/// Lines from number `after` on. What was said on the way up and since comes first, then what fairlead
/// wrote.
fn log(after: u64, most: u32) -> Answer {
    let mut all: Vec<String> =
        say::kept().iter().map(|line| format!("{} {}", say::stamp(line.at), line.text)).collect();
    all.extend(logs::tail(Path::new("/run/log").join(crate::service::LOG_NAME).as_path(), LOG_LINES));
    let from = usize::try_from(after).unwrap_or(usize::MAX).min(all.len());
    let lines: Vec<String> = all.split_off(from).into_iter().take(most as usize).collect();
    done(json!({"next": from + lines.len(), "lines": lines}))
}

fn lines_of_log() -> Vec<String> {
    let line = |line: &say::Line| format!("{} {}", say::stamp(line.at), line.text);
    let mut all: Vec<String> = say::kept().iter().map(line).collect();
    all.extend(logs::tail(&Path::new("/run/log").join(crate::service::LOG_NAME), LOG_LINES));
    all
}

/// What somebody who helps wants to see.
fn support(machine: &Machine) -> Answer {
    let parts = [
        ("status.json", serde_json::to_vec_pretty(&status(machine)).unwrap_or_default()),
        ("log.txt", lines_of_log().join("\n").into_bytes()),
        (MAIN, support::without_secrets(&machine.files.main_text()).into_bytes()),
    ];
    match support::bundle(&parts) {
        Ok(data) => done(json!({"data": data})),
        Err(error) => refused(error),
    }
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
    keep_password(machine, &hash)
}

fn keep_password(machine: &mut Machine, hash: &str) -> Answer {
    answer_of(machine.partition.write(|store| store.set_password(hash)), "console: the password was changed")
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

fn set_address(machine: &mut Machine, given: &str) -> Answer {
    let Some(wanted) = address::Wanted::parse(given) else {
        return refused("write dhcp, ADDRESS/LENGTH or ADDRESS/LENGTH,GATEWAY");
    };
    let now = machine.files.clone();
    let changed = address::change(&now.main_text(), Path::new(SCRATCH), &wanted).and_then(|text| {
        let mut files = Files::default();
        for (name, bytes) in now.iter() {
            let bytes = if name == MAIN { text.clone().into_bytes() } else { bytes.to_vec() };
            files.add(name, bytes).map_err(|error| error.to_string())?;
        }
        Ok(files)
    });
    match changed {
        Ok(files) => {
            let note = format!("address {given}");
            ask_desk(machine, Request::Push { files: files.to_wire(), dry_run: false, confirm: Some(0), note })
        }
        Err(error) => refused(error),
    }
}

/// Back to the version that was served before this one.
fn use_before(machine: &mut Machine) -> Answer {
    let before = machine.desk.as_ref().and_then(|desk| desk.store().card(desk.in_force()?).ok()?.before);
    let Some(version) = before else { return refused("there is no version before this one") };
    ask_desk(machine, Request::Use { version, confirm: Some(0) })
}

/// As whoever stands at the machine.
fn ask_desk(machine: &mut Machine, request: Request) -> Answer {
    let asked = Asked { by: By::default(), request };
    let answer = machine.desk(|desk, now, machine| desk.answer(&asked, now, machine)).flatten();
    answer.map_or_else(|| refused("the configuration partition cannot be read"), |answer| value(&answer))
}

fn factory_reset(machine: &mut Machine, by: &By) -> Answer {
    match machine.partition.reset() {
        Ok(()) => {
            say::step("factory reset: everything this machine was told is forgotten");
            go(machine, End::Reboot, by)
        }
        Err(error) => refused(error),
    }
}
