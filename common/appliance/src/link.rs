//! `interface`, `vlan` and `bond`: the links of the machine and what is on them.

use crate::words::{self, link_name};
use crate::{Mac, Written};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Level, Repeat, Span, Value, Word};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

/// What any link may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub description: Option<Box<str>>,
    /// Bytes.
    pub mtu: Option<Written<u32>>,
    pub mac: Option<Mac>,
    /// `address dhcp`: one by DHCPv4.
    pub dhcp: Option<Span>,
    /// `address auto`: IPv6 by the advertisements of routers.
    pub auto: Option<Span>,
    /// With the bits of the host.
    pub addresses: Vec<Written<IpNet>>,
    pub gateways: Vec<Gateway>,
    pub routes: Vec<Route>,
}

/// Where packets go that no route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub address: Written<IpAddr>,
    pub metric: Option<u32>,
    /// It is a neighbour even though no address of the link says so.
    pub onlink: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub to: Written<IpNet>,
    /// `None`: the network is on the link itself.
    pub via: Option<Written<IpAddr>>,
    pub metric: Option<u32>,
    pub onlink: bool,
}

/// How an interface of the machine is found: by the kernel's name or by its hardware address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkName {
    Name(Box<str>),
    Mac(Mac),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: Written<LinkName>,
    pub link: Link,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    pub name: Written<Box<str>>,
    pub parent: Written<LinkName>,
    /// 1 to 4094.
    pub id: u16,
    pub link: Link,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bond {
    pub name: Written<Box<str>>,
    pub mode: BondMode,
    pub members: Vec<Written<LinkName>>,
    /// How often the carrier of the members is looked at.
    pub miimon: Duration,
    /// How long a member that came up waits to be used.
    pub updelay: Duration,
    /// How long a member that went down is still used.
    pub downdelay: Duration,
    /// The member of an active-backup bond that is used whenever it is up.
    pub primary: Option<Written<LinkName>>,
    pub lacp_rate: Option<Written<LacpRate>>,
    pub hash_policy: Option<Written<HashPolicy>>,
    /// Members that must be up for the bond to be up.
    pub min_links: Option<Written<u32>>,
    pub link: Link,
}

/// The numbers are those of the kernel, here and below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BondMode {
    ActiveBackup = 1,
    Lacp = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LacpRate {
    Slow = 0,
    Fast = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HashPolicy {
    Layer2 = 0,
    Layer34 = 1,
    Layer23 = 2,
}

impl fmt::Display for LinkName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkName::Name(name) => out.write_str(name),
            LinkName::Mac(mac) => mac.fmt(out),
        }
    }
}

impl LinkName {
    fn parse(given: &Given<'_>, index: usize) -> Result<Written<LinkName>, Diagnostic> {
        let name = match Mac::parse(given.text(index)) {
            Some(mac) => LinkName::Mac(mac),
            None => LinkName::Name(link_name(given, index)?),
        };
        Ok(Written::new(name, given.word(index)))
    }
}

const ANY_LINK: Contexts = Contexts::INTERFACE.or(Contexts::VLAN).or(Contexts::BOND);

/// Carrier of a bond's members is looked at ten times a second.
const DEFAULT_MIIMON: Duration = Duration::from_millis(100);

static INTERFACE_LEVEL: LazyLock<Level<Interface>> =
    LazyLock::new(|| Level::new(Contexts::INTERFACE).with(LINK, |interface: &mut Interface| &mut interface.link));
static VLAN_LEVEL: LazyLock<Level<Draft>> = LazyLock::new(|| {
    Level::new(Contexts::VLAN).with(VLAN, |draft: &mut Draft| draft).with(LINK, |draft| &mut draft.link)
});
static BOND_LEVEL: LazyLock<Level<Bond>> =
    LazyLock::new(|| Level::new(Contexts::BOND).with(BOND, |bond: &mut Bond| bond).with(LINK, |bond| &mut bond.link));

/// A VLAN of which not everything is written yet.
#[derive(Default)]
pub(crate) struct Draft {
    parent: Option<Written<LinkName>>,
    id: Option<u16>,
    link: Link,
}

/// # Errors
/// What is wrong with its name; the rest is reported.
pub(crate) fn read_interface(given: &Given<'_>) -> Result<Interface, Diagnostic> {
    let mut interface = Interface { name: LinkName::parse(given, 0)?, link: Link::default() };
    INTERFACE_LEVEL.eval(given.block(), &mut interface, given.cx);
    Ok(interface)
}

/// # Errors
/// What is wrong with its name, or missing; the rest is reported.
pub(crate) fn read_vlan(given: &Given<'_>) -> Result<Vlan, Diagnostic> {
    let name = Written::new(link_name(given, 0)?, given.word(0));
    let mut draft = Draft::default();
    VLAN_LEVEL.eval(given.block(), &mut draft, given.cx);
    let missing = |what: &str, help: &str| {
        Err(given.error(0, format!("vlan \"{}\" has no \"{what}\"", name.value)).help(help.to_owned()))
    };
    let wrote = |what: &str| given.block().statements.iter().any(|statement| &*statement.name.text == what);
    let (parent, id) = match (draft.parent, draft.id) {
        (Some(parent), Some(id)) => (parent, id),
        (None, _) if !wrote("parent") => return missing("parent", "the link it is on: parent eth0;"),
        (_, None) if !wrote("id") => return missing("id", "a number from 1 to 4094: id 10;"),
        // What is wrong with it was said.
        _ => (Written::new(LinkName::Name(name.value.clone()), given.word(0)), 1),
    };
    Ok(Vlan { name, parent, id, link: draft.link })
}

/// # Errors
/// What is wrong with its name, or missing; the rest is reported.
pub(crate) fn read_bond(given: &Given<'_>) -> Result<Bond, Diagnostic> {
    let mut bond = Bond {
        name: Written::new(link_name(given, 0)?, given.word(0)),
        mode: BondMode::ActiveBackup,
        members: Vec::new(),
        miimon: DEFAULT_MIIMON,
        updelay: Duration::ZERO,
        downdelay: Duration::ZERO,
        primary: None,
        lacp_rate: None,
        hash_policy: None,
        min_links: None,
        link: Link::default(),
    };
    BOND_LEVEL.defaults(&mut bond, given.cx);
    BOND_LEVEL.eval(given.block(), &mut bond, given.cx);
    let wrote = given.block().statements.iter().any(|statement| &*statement.name.text == "member");
    if bond.members.is_empty() && !wrote {
        let error = given.error(0, format!("bond \"{}\" has no \"member\"", bond.name.value));
        return Err(error.help("the links it is made of: member eth0 eth1;"));
    }
    Ok(bond)
}

const fn row<T>(
    name: &'static str,
    contexts: Contexts,
    args: Args,
    doc: &'static str,
    set: fn(&mut T, &Given<'_>) -> Result<(), Diagnostic>,
) -> Directive<T> {
    Directive { name, contexts, args, repeat: Repeat::Once, default: None, doc, set }
}

pub(crate) const LINK: &[Directive<Link>] = &[
    Directive {
        repeat: Repeat::Append,
        ..row(
            "address",
            ANY_LINK,
            Args::exactly(&[Value::Text], "address/length | dhcp | auto"),
            "An address of the link with the length of its network; `dhcp` takes one by DHCPv4 and keeps its lease \
             alive, together with the gateway, routes, name servers, time servers and MTU it comes with; `auto` makes \
             IPv6 addresses of what routers advertise. May be written several times: the first IPv4 address of a \
             network is the one that connections to it come from.",
            set_address,
        )
    },
    Directive {
        repeat: Repeat::Append,
        ..row(
            "gateway",
            ANY_LINK,
            Args::between(1, 3, &[Value::Text], "address [metric=number] [onlink]"),
            "Where packets go that no other route is for. It has to be in a network of the link, unless `onlink` says \
             that it is a neighbour all the same. Of several the one with the lowest `metric` is used.",
            set_gateway,
        )
    },
    Directive {
        repeat: Repeat::Append,
        ..row(
            "route",
            ANY_LINK,
            Args::between(1, 5, &[Value::Text], "network [via address] [metric=number] [onlink]"),
            "A network that is reached through a neighbour of the link, or, without `via`, on the link itself. Of \
             several to one network the one with the lowest `metric` is used.",
            set_route,
        )
    },
    row(
        "mtu",
        ANY_LINK,
        Args::exactly(&[Value::Int(68..=65_535)], "bytes"),
        "Largest packet of the link in bytes. By default what DHCP says, or 1500; of a VLAN, that of its parent. \
         IPv6 needs 1280 or more.",
        |link, given| {
            let mtu = u32::try_from(given.int(0)?).unwrap_or(1500);
            link.mtu = Some(Written::new(mtu, given.word(0)));
            Ok(())
        },
    ),
    row(
        "mac",
        ANY_LINK,
        Args::exactly(&[Value::Text], "address"),
        "The hardware address that the link takes in place of its own.",
        |link, given| words::mac(given, 0).map(|mac| link.mac = Some(mac)),
    ),
    row(
        "description",
        ANY_LINK,
        Args::exactly(&[Value::Text], "text"),
        "What the link is for. The console and `fairleadctl status` show it. At most 255 bytes.",
        |link, given| {
            if given.text(0).len() > 255 {
                return Err(given.error(0, "the description is longer than 255 bytes"));
            }
            link.description = Some(given.text(0).into());
            Ok(())
        },
    ),
];

pub(crate) const VLAN: &[Directive<Draft>] = &[
    row(
        "parent",
        Contexts::VLAN,
        Args::exactly(&[Value::Text], "link"),
        "The interface, bond or VLAN that carries this VLAN: a name or a hardware address, with a block of its own.",
        |draft, given| LinkName::parse(given, 0).map(|name| draft.parent = Some(name)),
    ),
    row(
        "id",
        Contexts::VLAN,
        Args::exactly(&[Value::Int(1..=4094)], "number"),
        "The number that frames of the VLAN are tagged with (IEEE 802.1Q).",
        |draft, given| given.int(0).map(|id| draft.id = u16::try_from(id).ok()),
    ),
];

pub(crate) const BOND: &[Directive<Bond>] = &[
    Directive {
        default: Some("active-backup"),
        ..row(
            "mode",
            Contexts::BOND,
            Args::exactly(&[Value::OneOf(&["active-backup", "802.3ad"])], "active-backup | 802.3ad"),
            "`active-backup` uses one member and another one when it fails; `802.3ad` uses all of them and \
             needs a switch that speaks LACP.",
            |bond, given| {
                bond.mode = if given.text(0) == "802.3ad" { BondMode::Lacp } else { BondMode::ActiveBackup };
                Ok(())
            },
        )
    },
    Directive {
        repeat: Repeat::Append,
        ..row(
            "member",
            Contexts::BOND,
            Args::at_least(1, &[Value::Text], "link ..."),
            "The interfaces that the bond is made of, by name or hardware address. They may have no addresses.",
            |bond, given| {
                for index in 0..given.len() {
                    bond.members.push(LinkName::parse(given, index)?);
                }
                Ok(())
            },
        )
    },
    Directive {
        default: Some("100ms"),
        ..row(
            "miimon",
            Contexts::BOND,
            Args::exactly(&[Value::Time], "time"),
            "How often the carrier of the members is looked at.",
            |bond, given| milliseconds(given).map(|time| bond.miimon = time),
        )
    },
    Directive {
        default: Some("0"),
        ..row(
            "updelay",
            Contexts::BOND,
            Args::exactly(&[Value::Time], "time"),
            "How long a member that came up waits before it is used. Rounded down to whole `miimon`s.",
            |bond, given| milliseconds(given).map(|time| bond.updelay = time),
        )
    },
    Directive {
        default: Some("0"),
        ..row(
            "downdelay",
            Contexts::BOND,
            Args::exactly(&[Value::Time], "time"),
            "How long a member that went down is still used. Rounded down to whole `miimon`s.",
            |bond, given| milliseconds(given).map(|time| bond.downdelay = time),
        )
    },
    row(
        "primary",
        Contexts::BOND,
        Args::exactly(&[Value::Text], "link"),
        "The member of an `active-backup` bond that is used whenever it is up.",
        |bond, given| LinkName::parse(given, 0).map(|name| bond.primary = Some(name)),
    ),
    row(
        "lacp_rate",
        Contexts::BOND,
        Args::exactly(&[Value::OneOf(&["slow", "fast"])], "slow | fast"),
        "How often the switch is asked to send LACP frames in an `802.3ad` bond: every 30 seconds (the default) or \
         every second.",
        |bond, given| {
            let rate = if given.text(0) == "fast" { LacpRate::Fast } else { LacpRate::Slow };
            bond.lacp_rate = Some(Written::new(rate, given.word(0)));
            Ok(())
        },
    ),
    row(
        "xmit_hash_policy",
        Contexts::BOND,
        Args::exactly(&[Value::OneOf(&["layer2", "layer2+3", "layer3+4"])], "layer2 | layer2+3 | layer3+4"),
        "What chooses the member that a frame leaves by in an `802.3ad` bond: hardware addresses (the default), those \
         and IP addresses, or IP addresses and ports.",
        |bond, given| {
            let policy = match given.text(0) {
                "layer3+4" => HashPolicy::Layer34,
                "layer2+3" => HashPolicy::Layer23,
                _ => HashPolicy::Layer2,
            };
            bond.hash_policy = Some(Written::new(policy, given.word(0)));
            Ok(())
        },
    ),
    row(
        "min_links",
        Contexts::BOND,
        Args::exactly(&[Value::Int(0..=64)], "number"),
        "How many members of an `802.3ad` bond have to be up for it to be up, 0 by default.",
        |bond, given| {
            let number = u32::try_from(given.int(0)?).unwrap_or(0);
            bond.min_links = Some(Written::new(number, given.word(0)));
            Ok(())
        },
    ),
];

fn milliseconds(given: &Given<'_>) -> Result<Duration, Diagnostic> {
    let time = given.time(0)?;
    let name = &given.statement.name.text;
    let within = time <= Duration::from_secs(60) && (&**name != "miimon" || !time.is_zero());
    if within { Ok(time) } else { Err(given.error(0, format!("\"{name}\" must be between 1ms and 60s"))) }
}

fn set_address(link: &mut Link, given: &Given<'_>) -> Result<(), Diagnostic> {
    let text = given.text(0);
    let span = given.word(0).span;
    let slot = match text {
        "dhcp" => &mut link.dhcp,
        "auto" => &mut link.auto,
        _ => {
            link.addresses.push(Written::new(host_address(given)?, given.word(0)));
            return Ok(());
        }
    };
    match slot.replace(span) {
        None => Ok(()),
        Some(_) => Err(given.error(0, format!("duplicate \"address {text}\""))),
    }
}

fn host_address(given: &Given<'_>) -> Result<IpNet, Diagnostic> {
    let text = given.text(0);
    let invalid = |help: String| Err(given.error(0, format!("invalid address \"{text}\"")).help(help));
    let Ok(net) = text.parse::<IpNet>() else {
        return match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => invalid(format!("write the length of its network too: {text}/24")),
            Ok(IpAddr::V6(_)) => invalid(format!("write the length of its network too: {text}/64")),
            Err(_) => invalid("an address with the length of its network such as 192.0.2.2/24, dhcp or auto".into()),
        };
    };
    let ip = net.addr();
    let broadcast = ip.is_ipv4() && net.prefix_len() < 31 && ip == net.broadcast();
    if ip.is_multicast() || ip.is_unspecified() || broadcast {
        return invalid("no machine can have this address".into());
    }
    // An IPv6 address of zeros is the routers' anycast address; hosts may have it with 127 or 128 bits.
    let longest = if ip.is_ipv4() { 31 } else { 127 };
    if ip == net.network() && net.prefix_len() < longest {
        return invalid("this is the address of the whole network; write the machine's own in it".into());
    }
    Ok(net)
}

fn neighbour(given: &Given<'_>, word: &Word) -> Result<Written<IpAddr>, Diagnostic> {
    let name = &given.statement.name.text;
    let invalid = || Diagnostic::error(word.span, format!("invalid address \"{}\" in \"{name}\"", word.text));
    let found = word.text.parse::<IpAddr>().map_err(|_| invalid().help("an address such as 192.0.2.1"))?;
    if found.is_unspecified() || found.is_multicast() || found.is_loopback() {
        return Err(invalid().help("no neighbour can have this address"));
    }
    Ok(Written::new(found, word))
}

/// `metric=` and `onlink` from argument `from` on.
fn options(given: &Given<'_>, from: usize) -> Result<(Option<u32>, bool), Diagnostic> {
    let (mut metric, mut onlink) = (None, false);
    for (index, word) in given.words().iter().enumerate().skip(from) {
        let value = word.text.strip_prefix("metric=").map(str::parse::<u32>);
        match (&*word.text, value) {
            ("onlink", _) => onlink = true,
            (_, Some(Ok(number))) => metric = Some(number),
            _ => {
                let error = given.error(index, format!("invalid parameter \"{}\"", word.text));
                return Err(error.help(format!("write: {} {}", given.statement.name.text, syntax(given))));
            }
        }
    }
    Ok((metric, onlink))
}

fn syntax(given: &Given<'_>) -> &'static str {
    let row = LINK.iter().find(|row| row.name == &*given.statement.name.text);
    row.map_or("", |row| row.args.syntax)
}

fn set_gateway(link: &mut Link, given: &Given<'_>) -> Result<(), Diagnostic> {
    let address = neighbour(given, given.word(0))?;
    let (metric, onlink) = options(given, 1)?;
    let same = |other: &Gateway| other.address.is_ipv4() == address.is_ipv4() && other.metric == metric;
    if link.gateways.iter().any(same) {
        let error = given.error(0, "duplicate gateway of this family");
        return Err(error.help("a second one needs another metric: gateway 192.0.2.2 metric=100;"));
    }
    link.gateways.push(Gateway { address, metric, onlink });
    Ok(())
}

fn set_route(link: &mut Link, given: &Given<'_>) -> Result<(), Diagnostic> {
    let text = given.text(0);
    let invalid = |help: String| given.error(0, format!("invalid network \"{text}\" in \"route\"")).help(help);
    let to = text.parse::<IpNet>().map_err(|_| invalid("a network such as 10.0.0.0/8".into()))?;
    if to.trunc() != to {
        return Err(invalid(format!("bits of a host are set; the network is {}", to.trunc())));
    }
    if to.prefix_len() == 0 {
        return Err(invalid("the route to everything is written: gateway 192.0.2.1;".into()));
    }
    let via = match given.words().get(1) {
        Some(word) if &*word.text == "via" => {
            let missing = || given.error(1, "no address after \"via\"").help(format!("write: route {}", syntax(given)));
            Some(neighbour(given, given.words().get(2).ok_or_else(missing)?)?)
        }
        _ => None,
    };
    let (metric, onlink) = options(given, if via.is_some() { 3 } else { 1 })?;
    if let Some(via) = via.filter(|via| via.is_ipv4() != to.addr().is_ipv4()) {
        let message = format!("\"{}\" and \"{to}\" are not of one family", via.value);
        return Err(Diagnostic::error(via.span, message).help("IPv4 goes via IPv4, IPv6 via IPv6"));
    }
    link.routes.push(Route { to: Written::new(to, given.word(0)), via, metric, onlink });
    Ok(())
}
