//! The rows of the `appliance` block and of `management`. Those of links are in [`crate::link`].

use crate::settings::{AuthorizedKey, Ntp, path_of};
use crate::words::key;
use crate::{Management, Settings, Sysctl, Watchdog, Written, link, together};
use fairlead_conf::{Args, Block, Contexts, Cx, Diagnostic, Directive, Given, Level, Page, Repeat, Value};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

static LEVEL: LazyLock<Level<Settings>> =
    LazyLock::new(|| Level::new(Contexts::APPLIANCE).with(ROWS, |settings: &mut Settings| settings));
static MANAGEMENT_LEVEL: LazyLock<Level<Management>> =
    LazyLock::new(|| Level::new(Contexts::MANAGEMENT).with(MANAGEMENT, |management: &mut Management| management));

/// The row of the main context, over the settings that its block fills.
pub const DIRECTIVES: &[Directive<Settings>] = &[Directive {
    contexts: Contexts::MAIN,
    ..row(
        "appliance",
        Args::none().with_block(),
        "The machine itself where fairlead runs as an appliance: its links and addresses, name, clock, console and \
         management. A fairlead that runs on another system checks the block and leaves the machine alone.",
        |settings, given| {
            fill(given.block(), settings, given.cx);
            Ok(())
        },
    )
}];

/// Every row of the block as documentation.
pub fn pages() -> Vec<Page> {
    let mut all = fairlead_conf::pages(DIRECTIVES, "appliance");
    all.extend(fairlead_conf::pages(ROWS, "appliance"));
    all.extend(fairlead_conf::pages(link::LINK, "appliance links"));
    all.extend(fairlead_conf::pages(link::VLAN, "appliance links"));
    all.extend(fairlead_conf::pages(link::BOND, "appliance links"));
    all.extend(fairlead_conf::pages(MANAGEMENT, "appliance management"));
    all
}

/// Runs the rows over a block and looks at everything together.
pub(crate) fn fill(block: &Block, settings: &mut Settings, cx: &Cx) {
    LEVEL.eval(block, settings, cx);
    together::check(settings, cx);
}

const fn row<T>(
    name: &'static str,
    args: Args,
    doc: &'static str,
    set: fn(&mut T, &Given<'_>) -> Result<(), Diagnostic>,
) -> Directive<T> {
    Directive { name, contexts: Contexts::APPLIANCE, args, repeat: Repeat::Once, default: None, doc, set }
}

const fn many<T>(
    name: &'static str,
    args: Args,
    doc: &'static str,
    set: fn(&mut T, &Given<'_>) -> Result<(), Diagnostic>,
) -> Directive<T> {
    Directive { name, contexts: Contexts::APPLIANCE, args, repeat: Repeat::Append, default: None, doc, set }
}

const ROWS: &[Directive<Settings>] = &[
    row(
        "hostname",
        Args::exactly(&[Value::Text], "name"),
        "The machine's name. By default the one that DHCP gives, or \"fairlead\".",
        |settings, given| domain(given, 0).map(|name| settings.hostname = Some(name)),
    ),
    many(
        "dns",
        Args::at_least(1, &[Value::Text], "address ..."),
        "Name servers, at most three. By default those that DHCP names.",
        set_dns,
    ),
    many(
        "search",
        Args::at_least(1, &[Value::Text], "domain ..."),
        "Domains in which names without a dot are looked up. By default the one that DHCP names.",
        |settings, given| {
            for index in 0..given.len() {
                settings.search.push(domain(given, index)?);
            }
            Ok(())
        },
    ),
    many(
        "ntp",
        Args::at_least(1, &[Value::Text], "server ... | off"),
        "Servers that the clock is set by (SNTP), names or addresses, at most eight: set once at start, then held \
         without jumps. By default those that DHCP names. `off` leaves the clock to the hardware.",
        set_ntp,
    ),
    many(
        "interface",
        Args::exactly(&[Value::Text], "name | hardware-address").with_block(),
        "A network card: by the kernel's name (eth0) or by its hardware address, which stays the same when cards are \
         added. It is up, and has the addresses that its block names and no others.",
        |settings, given| link::read_interface(given).map(|interface| settings.interfaces.push(interface)),
    ),
    many(
        "vlan",
        Args::exactly(&[Value::Text], "name").with_block(),
        "A VLAN (IEEE 802.1Q) on an interface, a bond or another VLAN: its block names `parent` and `id`.",
        |settings, given| link::read_vlan(given).map(|vlan| settings.vlans.push(vlan)),
    ),
    many(
        "bond",
        Args::exactly(&[Value::Text], "name").with_block(),
        "Several interfaces used as one, so that one of them or its cable may fail.",
        |settings, given| link::read_bond(given).map(|bond| settings.bonds.push(bond)),
    ),
    row("management", Args::none().with_block(), "How `fairleadctl` reaches the appliance.", |settings, given| {
        MANAGEMENT_LEVEL.eval(given.block(), &mut settings.management, given.cx);
        Ok(())
    }),
    row(
        "console_password",
        Args::exactly(&[Value::Text], "hash"),
        "What the console asks for before it changes anything: the hash of a password as `mkpasswd` and \
         `openssl passwd -6` print it. Without it the console is open to whoever stands before the machine.",
        set_console_password,
    ),
    row(
        "watchdog",
        Args::exactly(&[Value::Text], "time | off"),
        "How long the hardware waits for a sign of life before it resets the machine: 5s to 10m, 30s by default.",
        set_watchdog,
    ),
    many(
        "sysctl",
        Args::exactly(&[Value::Text, Value::Text], "name value"),
        "A parameter of the kernel, by its name below /proc/sys with dots, or with slashes where a part holds a dot: \
         net/ipv4/conf/eth0.10/log_martians.",
        set_sysctl,
    ),
    many(
        "update_key",
        Args::exactly(&[Value::Text], "hex"),
        "A key that may sign new versions of the appliance, beside the one it was built with: 32 bytes of an ed25519 \
         public key in hexadecimal.",
        |settings, given| key(given, 0).map(|key| settings.update_keys.push(key)),
    ),
];

const MANAGEMENT: &[Directive<Management>] = &[
    Directive {
        contexts: Contexts::MANAGEMENT,
        ..row(
            "listen",
            Args::exactly(&[Value::Text], "[address:]port | off"),
            "Where the appliance waits for `fairleadctl`: port 8443 of all addresses by default. `off` leaves the \
             console as the only way in.",
            set_listen,
        )
    },
    Directive {
        contexts: Contexts::MANAGEMENT,
        ..many(
            "authorized_key",
            Args::between(1, 2, &[Value::Text], "hex [comment]"),
            "A client that may manage the appliance, beside those enrolled at the console: the SHA-256 of its public \
             key in hexadecimal, as `fairleadctl key` prints it, and whose it is.",
            |management, given| {
                let digest = key(given, 0)?;
                let comment = if given.len() > 1 { given.text(1) } else { "" };
                management.authorized_keys.push(AuthorizedKey { digest, comment: comment.into() });
                Ok(())
            },
        )
    },
    Directive {
        contexts: Contexts::MANAGEMENT,
        ..many(
            "allow",
            Args::at_least(1, &[Value::Cidr], "network ..."),
            "Networks that clients of the management may come from; without it they may come from everywhere.",
            set_allow,
        )
    },
    Directive {
        contexts: Contexts::MANAGEMENT,
        ..row(
            "confirm",
            Args::exactly(&[Value::Time], "time"),
            "How long a pushed configuration that changes how the appliance is reached waits to be confirmed before it \
             is rolled back: 10s to 1h, 5m by default.",
            |management, given| {
                between(given, Duration::from_secs(10)..=Duration::from_secs(3600), "10s and 1h")
                    .map(|time| management.confirm = time)
            },
        )
    },
];

/// Argument 0 as a time within bounds.
fn between(given: &Given<'_>, bounds: std::ops::RangeInclusive<Duration>, words: &str) -> Result<Duration, Diagnostic> {
    let time = given.time(0)?;
    if bounds.contains(&time) {
        return Ok(time);
    }
    Err(given.error(0, format!("\"{}\" must be between {words}", given.statement.name.text)))
}

/// Argument `index` as the name of a host or a domain (RFC 1123 section 2.1).
fn domain(given: &Given<'_>, index: usize) -> Result<Box<str>, Diagnostic> {
    let name = given.text(index);
    if is_domain(name) {
        return Ok(name.into());
    }
    let error = given.error(index, format!("invalid name \"{name}\" in \"{}\"", given.statement.name.text));
    Err(error.help("letters, digits and hyphens, in parts of at most 63 with dots between them"))
}

fn is_domain(name: &str) -> bool {
    let sound = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(sound)
}

fn set_dns(settings: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    for index in 0..given.len() {
        let text = given.text(index);
        let address: IpAddr = text.parse().map_err(|_| {
            let error = given.error(index, format!("invalid address \"{text}\" in \"dns\""));
            error.help("the address of a name server such as 192.0.2.53")
        })?;
        if settings.dns.contains(&address) {
            return Err(given.error(index, format!("duplicate name server \"{text}\"")));
        }
        if settings.dns.len() == 3 {
            return Err(given.error(index, "more than three name servers").help("no more are ever asked"));
        }
        settings.dns.push(address);
    }
    Ok(())
}

fn set_ntp(settings: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    for index in 0..given.len() {
        let text = given.text(index);
        if text == "off" {
            if given.len() > 1 || settings.ntp != Ntp::Leased {
                return Err(given.error(index, "\"off\" stands beside servers in \"ntp\""));
            }
            settings.ntp = Ntp::Off;
            return Ok(());
        }
        let server: Box<str> = match text.parse::<IpAddr>() {
            Ok(_) => text.into(),
            Err(_) => domain(given, index)?,
        };
        match &mut settings.ntp {
            Ntp::Off => return Err(given.error(index, "\"off\" stands beside servers in \"ntp\"")),
            Ntp::Servers(servers) if servers.contains(&server) => {
                return Err(given.error(index, format!("duplicate time server \"{text}\"")));
            }
            Ntp::Servers(servers) if servers.len() == 8 => {
                return Err(given.error(index, "more than eight time servers"));
            }
            Ntp::Servers(servers) => servers.push(server),
            Ntp::Leased => settings.ntp = Ntp::Servers(vec![server]),
        }
    }
    Ok(())
}

fn set_console_password(settings: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    let text = given.text(0);
    let known = ["$5$", "$6$", "$2a$", "$2b$", "$2y$"];
    let fields = text.split('$').count();
    if !known.iter().any(|prefix| text.starts_with(prefix)) || fields < 4 {
        let error = given.error(0, "this is no hash of a password in \"console_password\"");
        return Err(error.help("make one: openssl passwd -6, and write what it prints in single quotes"));
    }
    settings.console_password = Some(text.into());
    Ok(())
}

fn set_watchdog(settings: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    settings.watchdog = if given.text(0) == "off" {
        Watchdog::Off
    } else {
        Watchdog::After(between(given, Duration::from_secs(5)..=Duration::from_secs(600), "5s and 10m")?)
    };
    Ok(())
}

fn set_sysctl(settings: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    let (name, value) = (given.text(0), given.text(1));
    let error = |index, message: String| Err(given.error(index, message));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/@".contains(&byte);
    let path = path_of(name);
    let sound = path.contains('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !sound || !name.bytes().all(plain) {
        let help = "a name below /proc/sys such as net.core.somaxconn";
        return error(0, format!("invalid name \"{name}\" in \"sysctl\"")).map_err(|error| error.help(help));
    }
    if value.is_empty() || value.len() > 1024 || value.contains('\n') {
        return error(1, format!("invalid value of \"{name}\" in \"sysctl\""));
    }
    if settings.sysctls.iter().any(|other| other.path() == path) {
        return error(0, format!("duplicate sysctl \"{name}\""));
    }
    settings.sysctls.push(Sysctl { name: Written::new(name.into(), given.word(0)), value: value.into() });
    Ok(())
}

fn set_listen(management: &mut Management, given: &Given<'_>) -> Result<(), Diagnostic> {
    let text = given.text(0);
    let everywhere = |port: u16| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let address = match text.parse::<u16>() {
        Ok(port) => Some(everywhere(port)),
        Err(_) => text.parse::<SocketAddr>().ok(),
    };
    management.listen = match address.filter(|address| address.port() != 0) {
        None if text == "off" => None,
        None => {
            let error = given.error(0, format!("invalid address \"{text}\" in \"listen\""));
            return Err(error.help("8443, 192.0.2.2:8443, [2001:db8::2]:8443 or off"));
        }
        address => address,
    };
    Ok(())
}

fn set_allow(management: &mut Management, given: &Given<'_>) -> Result<(), Diagnostic> {
    for index in 0..given.len() {
        let text = given.text(index);
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let net = text.parse::<IpNet>().ok().or_else(address);
        let net = net.ok_or_else(|| given.error(index, format!("invalid parameter \"{text}\"")))?;
        management.allow.push(net.trunc());
    }
    Ok(())
}
