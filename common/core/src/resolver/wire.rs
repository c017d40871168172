//! DNS messages: the questions we ask and what an answer to one of them means.
//!
//! Bytes in, a [`Reply`] out. A message that does not answer exactly our
//! question is none of ours and nothing in it is believed.

use super::{ResolveError, Service};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;

/// Aliases followed within one message; more is a loop or a joke.
const MAX_CHAIN: usize = 16;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    V4,
    V6,
    Services,
}

impl Kind {
    fn record(self) -> RecordType {
        match self {
            Kind::V4 => RecordType::A,
            Kind::V6 => RecordType::AAAA,
            Kind::Services => RecordType::SRV,
        }
    }
}

/// One question, to be asked under a new id each time.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub name: Name,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Somebody else's, or no DNS at all: keep waiting.
    NotOurs,
    /// Ask again over TCP.
    Truncated,
    /// TTLs are in seconds.
    Addresses {
        addresses: Vec<IpAddr>,
        ttl: u32,
    },
    Services {
        services: Vec<Service>,
        ttl: u32,
    },
    /// The chain of aliases leaves the message; ask for its end.
    Alias {
        name: Name,
        ttl: u32,
    },
    /// The name does not exist or has no such address; the TTL of that (RFC 2308 section 5) if told.
    Nothing {
        ttl: Option<u32>,
    },
    /// The server cannot or will not say.
    Failed,
}

/// The wire's form of a host name. Each label goes as it is: no escapes, no IDNA.
///
/// # Errors
/// What can be no name cannot be found.
pub(super) fn parse_name(name: &str) -> Result<Name, ResolveError> {
    let labels = name.strip_suffix('.').unwrap_or(name).split('.').map(str::as_bytes);
    Name::from_labels(labels).map_err(|_| ResolveError::NotFound)
}

impl Question {
    /// The query, recursion desired, under `id`.
    pub fn encode(&self, id: u16) -> Result<Vec<u8>, ResolveError> {
        let mut message = Message::new();
        message.set_id(id).set_message_type(MessageType::Query).set_op_code(OpCode::Query).set_recursion_desired(true);
        message.add_query(Query::query(self.name.clone(), self.kind.record()));
        message.to_vec().map_err(|_| ResolveError::NotFound)
    }

    /// What `bytes` say to the query under `id`.
    pub fn read(&self, id: u16, bytes: &[u8]) -> Reply {
        let Ok(message) = Message::from_vec(bytes) else { return Reply::NotOurs };
        if message.id() != id || !self.is_answered_by(&message) {
            return Reply::NotOurs;
        }
        if message.truncated() {
            return Reply::Truncated;
        }
        match message.response_code() {
            ResponseCode::NoError => self.read_answers(&message),
            ResponseCode::NXDomain => Reply::Nothing { ttl: negative_ttl(&message) },
            _ => Reply::Failed,
        }
    }

    fn is_answered_by(&self, message: &Message) -> bool {
        let [query] = message.queries() else { return false };
        message.message_type() == MessageType::Response
            && message.op_code() == OpCode::Query
            && query.query_class() == DNSClass::IN
            && query.query_type() == self.kind.record()
            && *query.name() == self.name
    }

    fn read_answers(&self, message: &Message) -> Reply {
        let mut name = &self.name;
        let mut ttl = u32::MAX;
        for _ in 0..MAX_CHAIN {
            let records = || message.answers().iter().filter(|record| is_of(record, name));
            let addresses: Vec<IpAddr> = collect(records(), &mut ttl, |record| self.address(record));
            if !addresses.is_empty() {
                return Reply::Addresses { addresses, ttl };
            }
            let services: Vec<Service> = collect(records(), &mut ttl, |record| self.service(record));
            if !services.is_empty() {
                return Reply::Services { services, ttl };
            }
            let Some((record, target)) = records().find_map(|record| Some((record, alias(record)?))) else {
                break;
            };
            ttl = ttl.min(record.ttl());
            name = target;
        }
        if *name == self.name {
            return Reply::Nothing { ttl: negative_ttl(message) };
        }
        Reply::Alias { name: name.clone(), ttl }
    }

    fn address(&self, record: &Record) -> Option<IpAddr> {
        match (self.kind, record.data()) {
            (Kind::V4, RData::A(address)) => Some(IpAddr::V4(address.0)),
            (Kind::V6, RData::AAAA(address)) => Some(IpAddr::V6(address.0)),
            _ => None,
        }
    }

    fn service(&self, record: &Record) -> Option<Service> {
        match (self.kind, record.data()) {
            (Kind::Services, RData::SRV(srv)) => Some(Service {
                priority: srv.priority(),
                weight: srv.weight(),
                port: srv.port(),
                target: srv.target().to_ascii().trim_end_matches('.').to_ascii_lowercase().into(),
            }),
            _ => None,
        }
    }
}

/// What `take` makes of the records; `ttl` becomes the shortest of those it took.
fn collect<'a, T>(
    records: impl Iterator<Item = &'a Record>,
    ttl: &mut u32,
    take: impl Fn(&Record) -> Option<T>,
) -> Vec<T> {
    let taken = records.filter_map(|record| {
        let taken = take(record)?;
        *ttl = record.ttl().min(*ttl);
        Some(taken)
    });
    taken.collect()
}

/// The response code in a message's header.
pub(super) fn code_of(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |flags| flags & 0x0f)
}

fn is_of(record: &Record, name: &Name) -> bool {
    record.dns_class() == DNSClass::IN && record.name() == name
}

fn alias(record: &Record) -> Option<&Name> {
    match record.data() {
        RData::CNAME(target) => Some(&target.0),
        _ => None,
    }
}

fn negative_ttl(message: &Message) -> Option<u32> {
    message.name_servers().iter().find_map(|record| match record.data() {
        RData::SOA(soa) => Some(soa.minimum().min(record.ttl())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};

    fn question() -> Question {
        Question { name: parse_name("www.example.test").unwrap(), kind: Kind::V4 }
    }

    fn record(name: &str, ttl: u32, data: RData) -> Record {
        Record::from_rdata(parse_name(name).unwrap(), ttl, data)
    }

    fn a(name: &str, ttl: u32, last: u8) -> Record {
        record(name, ttl, RData::A(A::new(192, 0, 2, last)))
    }

    fn cname(name: &str, ttl: u32, target: &str) -> Record {
        record(name, ttl, RData::CNAME(CNAME(parse_name(target).unwrap())))
    }

    fn answer(question: &Question, id: u16, records: Vec<Record>) -> Message {
        let mut message = Message::from_vec(&question.encode(id).unwrap()).unwrap();
        message.set_message_type(MessageType::Response).set_recursion_available(true);
        message.add_answers(records);
        message
    }

    fn read(records: Vec<Record>) -> Reply {
        let question = question();
        question.read(7, &answer(&question, 7, records).to_vec().unwrap())
    }

    #[test]
    fn addresses_come_with_the_smallest_ttl_of_the_chain() {
        let reply = read(vec![
            a("end.example.test", 60, 2),
            cname("www.example.test", 30, "END.example.test"),
            a("end.example.test", 90, 1),
            a("other.example.test", 1, 66),
        ]);
        let addresses = vec!["192.0.2.2".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        assert_eq!(reply, Reply::Addresses { addresses, ttl: 30 });
    }

    #[test]
    fn other_families_are_not_taken_for_ours() {
        let six = record("www.example.test", 60, RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1)));
        assert_eq!(read(vec![six]), Reply::Nothing { ttl: None });
    }

    #[test]
    fn services_come_with_their_targets_in_lower_case() {
        use hickory_proto::rr::rdata::SRV;
        let question = Question { name: parse_name("_http._tcp.test").unwrap(), kind: Kind::Services };
        let srv = |name: &str, ttl, target: &str| {
            record(name, ttl, RData::SRV(SRV::new(10, 5, 8080, parse_name(target).unwrap())))
        };
        let records =
            vec![srv("_http._tcp.test", 30, "B.test"), srv("x.test", 1, "x.test"), a("_http._tcp.test", 2, 9)];
        let reply = question.read(7, &answer(&question, 7, records).to_vec().unwrap());
        let service = Service { priority: 10, weight: 5, port: 8080, target: "b.test".into() };
        assert_eq!(reply, Reply::Services { services: vec![service], ttl: 30 });
        let addresses = vec![srv("www.example.test", 30, "b.test")];
        assert_eq!(read(addresses), Reply::Nothing { ttl: None }, "no address was asked for and none came");
    }

    #[test]
    fn a_chain_that_leaves_the_message_is_to_be_asked_for() {
        let reply = read(vec![cname("www.example.test", 30, "a.test"), cname("a.test", 20, "b.test")]);
        assert_eq!(reply, Reply::Alias { name: parse_name("b.test").unwrap(), ttl: 20 });
    }

    #[test]
    fn a_loop_of_aliases_ends() {
        assert_eq!(read(vec![cname("www.example.test", 30, "www.example.test")]), Reply::Nothing { ttl: None });
        let reply = read(vec![cname("www.example.test", 30, "a.test"), cname("a.test", 30, "www.example.test")]);
        assert!(matches!(reply, Reply::Nothing { .. } | Reply::Alias { .. }), "{reply:?}");
    }

    #[test]
    fn only_the_answer_to_our_question_under_our_id_is_ours() {
        let question = question();
        let right = answer(&question, 7, vec![a("www.example.test", 1, 1)]);
        assert!(matches!(question.read(7, &right.to_vec().unwrap()), Reply::Addresses { .. }));
        assert_eq!(question.read(8, &right.to_vec().unwrap()), Reply::NotOurs);
        let mut query = right.clone();
        query.set_message_type(MessageType::Query);
        assert_eq!(question.read(7, &query.to_vec().unwrap()), Reply::NotOurs);
        for (name, kind) in [("www.example.test", Kind::V6), ("xxx.example.test", Kind::V4)] {
            let other = Question { name: parse_name(name).unwrap(), kind };
            assert_eq!(other.read(7, &right.to_vec().unwrap()), Reply::NotOurs);
        }
        assert_eq!(question.read(7, b""), Reply::NotOurs);
    }

    #[test]
    fn negative_answers_carry_the_zone_s_ttl() {
        let question = question();
        let name = parse_name("test").unwrap();
        let soa = RData::SOA(SOA::new(name.clone(), name.clone(), 1, 2, 3, 4, 15));
        for (code, ttl, expected) in [(ResponseCode::NXDomain, 60, 15), (ResponseCode::NoError, 10, 10)] {
            let mut message = answer(&question, 7, Vec::new());
            message.set_response_code(code).add_name_server(Record::from_rdata(name.clone(), ttl, soa.clone()));
            assert_eq!(question.read(7, &message.to_vec().unwrap()), Reply::Nothing { ttl: Some(expected) });
        }
        for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr] {
            let mut message = answer(&question, 7, Vec::new());
            message.set_response_code(code);
            assert_eq!(question.read(7, &message.to_vec().unwrap()), Reply::Failed);
        }
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_fuss() {
        let question = question();
        let records = vec![cname("www.example.test", 30, "a.test"), a("a.test", 1, 1)];
        let whole = answer(&question, 7, records).to_vec().unwrap();
        for at in 0..whole.len() {
            question.read(7, &whole[..at]);
            for bits in [0x01, 0x40, 0x80, 0xc0, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= bits;
                question.read(7, &bytes);
            }
        }
    }

    #[test]
    fn what_is_no_name_is_not_found() {
        let long = format!("{}.test", "x".repeat(64));
        let longer = ["x".repeat(60).as_str(); 5].join(".");
        for name in ["", ".", "a..b", ".a", long.as_str(), longer.as_str()] {
            assert_eq!(parse_name(name), Err(ResolveError::NotFound), "{name}");
        }
        assert_eq!(parse_name("a.test."), parse_name("A.test"));
    }
}
