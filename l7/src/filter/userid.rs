//! `userid`: a cookie by which clients are told apart, and its directives.
//!
//! The cookie's bytes are those of nginx, so that identifiers that clients have keep their meaning:
//! the server's number, the time, the process and a count, in the order of the network (`on`) or of
//! a little-endian machine (`v1`). `filter` sets the cookie, the variables read it.

use super::{Settings as Filters, head};
use crate::directives::ALL;
use crate::exchange::Exchange;
use crate::variables::{cookie, decode_base64};
use fairlead_conf::value::parse_time;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value};
use fairlead_core::clock::{self, unix_millis};
use fairlead_core::log::Level;
use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use std::sync::OnceLock;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub mode: Mode,
    name: Box<str>,
    /// What follows the value: domain, path and flags, as they are sent.
    domain: Box<str>,
    path: Box<str>,
    flags: u8,
    expires: Expires,
    mark: Option<u8>,
    p3p: Box<str>,
    service: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    #[default]
    Off,
    Log,
    V1,
    On,
}

#[derive(Clone, Copy, Debug, Default)]
enum Expires {
    #[default]
    Off,
    Max,
    After(u64),
}

/// `userid_flags`: what each bit adds.
const FLAGS: [&str; 6] = ["off", "secure", "httponly", "samesite=strict", "samesite=lax", "samesite=none"];

/// An identifier's sixteen bytes as they go into the cookie.
pub(crate) type Uid = [u8; 16];

/// What is known of a request's identifiers once somebody has asked.
#[derive(Default)]
pub(crate) struct Context {
    got: OnceCell<Option<Box<Got>>>,
    set: OnceCell<Option<Box<New>>>,
}

struct Got {
    uid: Uid,
    /// The cookie as it was sent.
    cookie: Vec<u8>,
}

struct New {
    uid: Uid,
    /// Not the one that was got with another mark.
    fresh: bool,
}

/// A thread's count of the identifiers it made.
pub(crate) struct Sequence {
    v1: Cell<u32>,
    v2: Cell<u32>,
}

/// As in nginx: the last byte says which version made it.
const FIRST_V2: u32 = 0x0303_0302;

impl Default for Sequence {
    fn default() -> Sequence {
        Sequence { v1: Cell::new(1), v2: Cell::new(FIRST_V2) }
    }
}

impl Sequence {
    fn next_v1(&self) -> u32 {
        self.v1.replace(self.v1.get().wrapping_add(0x100))
    }

    fn next_v2(&self) -> u32 {
        let next = self.v2.get().wrapping_add(0x100);
        self.v2.replace(next.max(FIRST_V2))
    }
}

/// Who counts: no two threads of any process of this machine say the same for long.
fn start(thread: usize) -> u32 {
    static BEGAN: OnceLock<u64> = OnceLock::new();
    let began = *BEGAN.get_or_init(|| unix_millis() % 1000 * 50);
    let own = u32::try_from(began.wrapping_add(thread as u64) & 0xffff).unwrap_or(0);
    own << 16 | std::process::id() & 0xffff
}

type Row = Directive<Filters>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "userid",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["on", "v1", "log", "off"])], "on | v1 | log | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Gives clients that come without one a cookie that tells them apart, in its second version (`on`) or the \
              first (`v1`), and reads it; `log` reads it only. What came and what was set is in `$uid_got` and \
              `$uid_set`.",
        set: |filters, given| {
            filters.userid.mode = match given.text(0) {
                "on" => Mode::On,
                "v1" => Mode::V1,
                "log" => Mode::Log,
                _ => Mode::Off,
            };
            Ok(())
        },
    },
    Row {
        name: "userid_name",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "name"),
        repeat: Repeat::Once,
        default: Some("uid"),
        doc: "The name of the cookie of `userid`.",
        set: |filters, given| {
            filters.userid.name = given.text(0).into();
            Ok(())
        },
    },
    Row {
        name: "userid_domain",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "name | none"),
        repeat: Repeat::Once,
        default: Some("none"),
        doc: "The domain that the cookie of `userid` is for; without one it is for the host that was asked.",
        set: |filters, given| {
            filters.userid.domain = match given.text(0) {
                "none" => Box::default(),
                domain => format!("; domain={domain}").into(),
            };
            Ok(())
        },
    },
    Row {
        name: "userid_path",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "path"),
        repeat: Repeat::Once,
        default: Some("/"),
        doc: "The path that the cookie of `userid` is for.",
        set: |filters, given| {
            filters.userid.path = format!("; path={}", given.text(0)).into();
            Ok(())
        },
    },
    Row {
        name: "userid_expires",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "time | max | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "How long a client is to keep the cookie of `userid`: a time, until the end of 2037 (`max`), or until it \
              is closed (`off`).",
        set: |filters, given| expires(given).map(|expires| filters.userid.expires = expires),
    },
    Row {
        name: "userid_flags",
        contexts: ALL,
        args: Args::between(1, 4, &[Value::AnyCase(&FLAGS)], "off | flag ..."),
        repeat: Repeat::List(|filters| filters.userid.flags = 0),
        default: Some("off"),
        doc: "Flags of the cookie of `userid`: `secure`, `httponly`, `samesite=strict`, `samesite=lax` or \
              `samesite=none`.",
        set: |filters, given| {
            given.warn_of_repeats();
            for word in given.words() {
                let bit = FLAGS.iter().position(|known| known.eq_ignore_ascii_case(&word.text)).unwrap_or(0);
                filters.userid.flags |= 1 << bit;
            }
            Ok(())
        },
    },
    Row {
        name: "userid_mark",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "letter | digit | = | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "A letter, a digit or `=` that marks cookies of `userid`: one with another mark is sent anew with this \
              one, its identifier kept, so that a changed `userid_expires` or domain reaches clients.",
        set: |filters, given| {
            filters.userid.mark = match given.text(0).as_bytes() {
                b"off" => None,
                [mark] if mark.is_ascii_alphanumeric() || *mark == b'=' => Some(*mark),
                _ => return Err(given.error(0, "value must be \"off\" or a single letter, digit or \"=\"")),
            };
            Ok(())
        },
    },
    Row {
        name: "userid_p3p",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "string | none"),
        repeat: Repeat::Once,
        default: Some("none"),
        doc: "The value of a `P3P` field that goes out with the cookie of `userid`.",
        set: |filters, given| {
            filters.userid.p3p = Some(given.text(0)).filter(|text| *text != "none").unwrap_or_default().into();
            Ok(())
        },
    },
    Row {
        name: "userid_service",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(0..=0xffff_ffff)], "number"),
        repeat: Repeat::Once,
        default: None,
        doc: "The number of this server in identifiers, which keeps those of several servers apart. Without it, it is \
              0 in the first version and the last four bytes of the address that was connected to in the second.",
        set: |filters, given| given.int(0).map(|number| filters.userid.service = u32::try_from(number).ok()),
    },
];

fn expires(given: &Given<'_>) -> Result<Expires, Diagnostic> {
    match given.text(0) {
        "max" => Ok(Expires::Max),
        "off" => Ok(Expires::Off),
        text => match parse_time(text).filter(|time| time.subsec_millis() == 0) {
            Some(time) if time.as_secs() == 0 => Ok(Expires::Off),
            // What a signed number of 32 bits holds, as nginx.
            Some(time) if time.as_secs() > 0x7fff_ffff => Err(given.error(0, "value must be less than 68 years")),
            Some(time) => Ok(Expires::After(time.as_secs())),
            None => Err(given.error(0, "invalid value")),
        },
    }
}

/// Sets the cookie where one is to be set.
pub(super) fn apply(settings: &Settings, exchange: &mut Exchange, local: bool) {
    if settings.mode < Mode::V1 {
        return;
    }
    let Some(new) = exchange.uid.given(settings, exchange) else { return };
    let mut value = [settings.name.as_bytes(), b"="].concat();
    match exchange.uid.got(settings, exchange) {
        Some(got) if !new.fresh => {
            value.extend_from_slice(got.cookie.get(..KEPT).unwrap_or_default());
            value.extend(settings.mark);
            value.push(b'=');
        }
        _ => {
            push_base64(&new.uid, &mut value);
            if let (Some(mark), Some(place)) = (settings.mark, value.iter_mut().nth_back(1)) {
                *place = mark;
            }
        }
    }
    push_attributes(settings, &mut value);
    head::push(&mut exchange.sent_head, local, b"Set-Cookie", &value);
    if !settings.p3p.is_empty() {
        head::push(&mut exchange.sent_head, local, b"P3P", settings.p3p.as_bytes());
    }
}

fn push_attributes(settings: &Settings, value: &mut Vec<u8>) {
    match settings.expires {
        Expires::Off => {}
        Expires::Max => value.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT"),
        Expires::After(seconds) => {
            value.extend_from_slice(b"; expires=");
            push_cookie_date(unix_millis() / 1000 + seconds, value);
        }
    }
    value.extend_from_slice(settings.domain.as_bytes());
    value.extend_from_slice(settings.path.as_bytes());
    let mut site = false;
    for (_, flag) in FLAGS.iter().enumerate().skip(1).filter(|(bit, _)| settings.flags & (1 << bit) != 0) {
        // As nginx: of several the strictest.
        if flag.starts_with("samesite") && std::mem::replace(&mut site, true) {
            continue;
        }
        value.extend_from_slice(b"; ");
        value.extend_from_slice(flag.as_bytes());
    }
}

/// `Thu, 31-Dec-37 23:55:55 GMT`: two digits of the year as long as they say which century.
fn push_cookie_date(seconds: u64, out: &mut Vec<u8>) {
    let date = clock::http_date(seconds);
    let part = |from: usize, to: usize| date.get(from..to).unwrap_or_default();
    let year = if part(12, 16) > b"2037".as_slice() { part(12, 16) } else { part(14, 16) };
    for piece in [part(0, 7), b"-", part(8, 11), b"-", year, part(16, 29)] {
        out.extend_from_slice(piece);
    }
}

/// As nginx: a cookie may have a mark or garbage behind this many characters.
const KEPT: usize = 22;

impl Context {
    /// What the client sent.
    fn got(&self, settings: &Settings, exchange: &Exchange) -> Option<&Got> {
        self.got.get_or_init(|| got(settings, exchange).map(Box::new)).as_deref()
    }

    /// What the client is to be given; `None` when it has what it needs.
    fn given(&self, settings: &Settings, exchange: &Exchange) -> Option<&New> {
        self.set.get_or_init(|| self.make(settings, exchange).map(Box::new)).as_deref()
    }

    fn make(&self, settings: &Settings, exchange: &Exchange) -> Option<New> {
        if let Some(got) = self.got(settings, exchange) {
            let mut reset = Vec::new();
            push_reset(exchange, &mut reset);
            if reset.is_empty() || reset == b"0" {
                let marked = settings.mark.is_none_or(|mark| got.cookie.get(KEPT..KEPT + 2) == Some(&[mark, b'=']));
                return (!marked).then_some(New { uid: got.uid, fresh: false });
            }
            if reset == b"log" {
                let mut text = Vec::new();
                push_text(settings, &got.uid, &mut text);
                let text = String::from_utf8_lossy(&text);
                exchange.log(Level::Notice, format_args!("userid cookie \"{text}\" was reset"));
            }
        }
        Some(New { uid: fresh(settings, exchange), fresh: true })
    }
}

fn got(settings: &Settings, exchange: &Exchange) -> Option<Got> {
    let name = settings.name.as_bytes();
    let mut fields = exchange.request.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
    let (field, sent) = fields.find_map(|(_, value)| cookie(value, name).map(|sent| (value, sent)))?;
    let wrong = |what: &str| {
        exchange.log(Level::Error, format_args!("client sent {what} userid cookie \"{}\"", field.escape_ascii()));
    };
    let Some(kept) = sent.get(..KEPT) else {
        wrong("too short");
        return None;
    };
    let Some(decoded) = decode_base64(kept) else {
        wrong("invalid");
        return None;
    };
    let mut uid = Uid::default();
    uid.iter_mut().zip(&decoded).for_each(|(byte, &decoded)| *byte = decoded);
    // As nginx: without a count it is none.
    let counted = uid.iter().skip(12).any(|&byte| byte != 0);
    counted.then(|| Got { uid, cookie: sent.to_vec() })
}

/// An identifier that nobody has.
fn fresh(settings: &Settings, exchange: &Exchange) -> Uid {
    let worker = &exchange.worker;
    let now = u32::try_from((unix_millis() / 1000) & 0xffff_ffff).unwrap_or(0);
    let start = start(worker.context.id);
    let parts = if settings.mode == Mode::V1 {
        [settings.service.unwrap_or(0), now, start, worker.uids.next_v1()].map(u32::to_le_bytes)
    } else {
        let service = settings.service.map(u32::to_be_bytes).unwrap_or_else(|| own_address(exchange));
        [service, now.to_be_bytes(), start.to_be_bytes(), worker.uids.next_v2().to_be_bytes()]
    };
    let mut uid = Uid::default();
    uid.iter_mut().zip(parts.as_flattened()).for_each(|(byte, &part)| *byte = part);
    uid
}

fn own_address(exchange: &Exchange) -> [u8; 4] {
    match exchange.connection.local.ip() {
        Some(IpAddr::V4(address)) => address.octets(),
        Some(IpAddr::V6(address)) => address.octets().last_chunk().copied().unwrap_or_default(),
        None => [0; 4],
    }
}

/// `$uid_reset`, which only the configuration gives a value.
fn push_reset(exchange: &Exchange, out: &mut Vec<u8>) {
    if let Some(number) = exchange.worker.plan.customs.number("uid_reset") {
        exchange.push_value(&crate::variables::Variable::Custom(number), out);
    }
}

/// `uid=0100007F…`: the four numbers as a little-endian machine reads them, as in nginx's logs.
fn push_text(settings: &Settings, uid: &Uid, out: &mut Vec<u8>) {
    out.extend_from_slice(settings.name.as_bytes());
    out.push(b'=');
    for number in uid.as_chunks::<4>().0 {
        out.extend_from_slice(format!("{:08X}", u32::from_le_bytes(*number)).as_bytes());
    }
}

/// `$uid_got`; false when there is none.
pub(crate) fn push_got(exchange: &Exchange, out: &mut Vec<u8>) -> bool {
    with(exchange, Mode::Log, |settings| exchange.uid.got(settings, exchange).map(|got| got.uid), out)
}

/// `$uid_set`; false when there is none.
pub(crate) fn push_set(exchange: &Exchange, out: &mut Vec<u8>) -> bool {
    with(exchange, Mode::V1, |settings| exchange.uid.given(settings, exchange).map(|new| new.uid), out)
}

fn with(exchange: &Exchange, least: Mode, find: impl Fn(&Settings) -> Option<Uid>, out: &mut Vec<u8>) -> bool {
    let Some(filters) = exchange.location.filters.as_ref().filter(|filters| filters.userid.mode >= least) else {
        return false;
    };
    let Some(uid) = find(&filters.userid) else { return false };
    push_text(&filters.userid, &uid, out);
    true
}

fn push_base64(bytes: &Uid, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if place > group.len() { b'=' } else { digit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_written_as_nginx_writes_them() {
        let mut out = Vec::new();
        push_base64(&[127, 0, 0, 1, 0x65, 1, 2, 3, 9, 8, 7, 6, 3, 3, 3, 2], &mut out);
        assert_eq!(String::from_utf8(out.clone()).unwrap(), "fwAAAWUBAgMJCAcGAwMDAg==");
        assert_eq!(decode_base64(out.get(..KEPT).unwrap()).unwrap().len(), 16);
        let mut text = Vec::new();
        let settings = Settings { name: "uid".into(), ..Settings::default() };
        push_text(&settings, &[127, 0, 0, 1, 0x65, 1, 2, 3, 9, 8, 7, 6, 3, 3, 3, 2], &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), "uid=0100007F030201650607080902030303");
    }

    #[test]
    fn dates_have_two_digits_of_the_year_until_2037() {
        let date = |seconds| {
            let mut out = Vec::new();
            push_cookie_date(seconds, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(date(2_145_916_555), "Thu, 31-Dec-37 23:55:55 GMT");
        assert_eq!(date(2_145_916_555 + 86_400), "Fri, 01-Jan-2038 23:55:55 GMT");
    }

    #[test]
    fn counts_never_become_none() {
        let sequence = Sequence { v1: Cell::new(1), v2: Cell::new(u32::MAX - 0xfd) };
        assert_eq!((sequence.next_v1(), sequence.next_v1()), (1, 0x101));
        assert_eq!((sequence.next_v2(), sequence.next_v2()), (0xffff_ff02, FIRST_V2));
    }
}
