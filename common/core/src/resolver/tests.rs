//! Lookups against name servers on loopback that lie, stall and truncate.

use super::*;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{RData, Record, RecordType};
use std::collections::HashSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{LocalSet, spawn_local};

/// What a test waits for a server that will not answer.
const SOON: Duration = Duration::from_millis(30);

fn run(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let story = async { tokio::time::timeout(Duration::from_secs(30), story).await.unwrap() };
    LocalSet::new().block_on(&runtime, story);
}

type Log = Rc<RefCell<Vec<(Message, SocketAddr)>>>;

/// A name server: `behave` is given each query and its number and says what to send back.
struct Server {
    address: SocketAddr,
    queries: Log,
}

impl Server {
    async fn new(mut behave: impl FnMut(&Message, usize) -> Vec<Vec<u8>> + 'static) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let queries = Log::default();
        let log = queries.clone();
        spawn_local(async move {
            let mut buffer = [0; 2048];
            loop {
                let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer[..count]).unwrap();
                let number = log.borrow().len();
                log.borrow_mut().push((query.clone(), from));
                for reply in behave(&query, number) {
                    socket.send_to(&reply, from).await.unwrap();
                }
            }
        });
        Server { address, queries }
    }

    fn count(&self) -> usize {
        self.queries.borrow().len()
    }
}

fn resolver(servers: &[&Server]) -> Rc<Resolver> {
    resolver_with(Settings { servers: servers.iter().map(|server| server.address).collect(), ..Settings::default() })
}

fn only_ipv4(servers: &[&Server]) -> Rc<Resolver> {
    let servers = servers.iter().map(|server| server.address).collect();
    resolver_with(Settings { servers, ipv6: false, ..Settings::default() })
}

fn resolver_with(settings: Settings) -> Rc<Resolver> {
    Resolver::new(settings)
}

fn hasty(settings: Settings) -> Rc<Resolver> {
    Resolver::with_patience(settings, SOON)
}

fn reply(query: &Message, code: ResponseCode, records: Vec<Record>) -> Message {
    let mut message = query.clone();
    message.set_message_type(MessageType::Response).set_recursion_available(true).set_response_code(code);
    message.add_answers(records);
    message
}

/// 192.0.2.1 or ::1 for whatever name, for an hour.
fn good(query: &Message) -> Vec<u8> {
    let asked = query.query().unwrap();
    let data = match asked.query_type() {
        RecordType::AAAA => RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1)),
        _ => RData::A(A::new(192, 0, 2, 1)),
    };
    let record = Record::from_rdata(asked.name().clone(), 3600, data);
    reply(query, ResponseCode::NoError, vec![record]).to_vec().unwrap()
}

fn code(query: &Message, code: ResponseCode) -> Vec<Vec<u8>> {
    vec![reply(query, code, Vec::new()).to_vec().unwrap()]
}

fn four() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn six() -> IpAddr {
    "::1".parse().unwrap()
}

#[test]
fn both_families_are_asked_once_and_remembered() {
    run(async {
        let server = Server::new(|query, _| vec![good(query)]).await;
        let resolver = resolver(&[&server]);
        for name in ["www.example.test", "WWW.Example.Test", "www.example.test."] {
            assert_eq!(&*resolver.lookup(name).await.unwrap(), [four(), six()]);
        }
        assert_eq!(server.count(), 2);
    });
}

#[test]
fn each_address_comes_first_in_its_turn() {
    run(async {
        let server = Server::new(|query, _| vec![good(query)]).await;
        let resolver = resolver(&[&server]);
        let mut first = 0;
        for _ in 0..100 {
            let list = resolver.lookup_to_try("a.test").await.unwrap();
            assert!(list == [four(), six()] || list == [six(), four()], "{list:?}");
            first += u32::from(list[0] == four());
        }
        assert!((45..=55).contains(&first), "{first} of 100");
    });
}

#[test]
fn a_family_that_is_off_is_not_asked_for() {
    run(async {
        let server = Server::new(|query, _| vec![good(query)]).await;
        let resolver = only_ipv4(&[&server]);
        assert_eq!(&*resolver.lookup("a.test").await.unwrap(), [four()]);
        let asked = server.queries.borrow()[0].0.query().unwrap().query_type();
        assert_eq!((server.count(), asked), (1, RecordType::A));
    });
}

#[test]
fn addresses_need_no_server() {
    run(async {
        let resolver = resolver(&[]);
        assert_eq!(&*resolver.lookup("192.0.2.1").await.unwrap(), [four()]);
        assert_eq!(&*resolver.lookup("[::1]").await.unwrap(), [six()]);
        assert_eq!(resolver.lookup("a..b").await, Err(ResolveError::NotFound));
        assert_eq!(resolver.lookup(&"a.".repeat(4000)).await, Err(ResolveError::NotFound));
    });
}

#[test]
fn lookups_of_one_name_share_a_query() {
    run(async {
        let server = Server::new(|query, _| vec![good(query)]).await;
        let resolver = resolver(&[&server]);
        let lookups: Vec<_> = (0..20)
            .map(|_| {
                let resolver = resolver.clone();
                spawn_local(async move { resolver.lookup("a.test").await })
            })
            .collect();
        for lookup in lookups {
            assert_eq!(lookup.await.unwrap().unwrap().len(), 2);
        }
        assert_eq!(server.count(), 2);
    });
}

#[test]
fn who_gives_up_does_not_take_the_query_from_the_others() {
    run(async {
        let server = Server::new(|query, _| vec![good(query)]).await;
        let resolver = resolver(&[&server]);
        let mut first = Box::pin(resolver.lookup("a.test"));
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx).is_pending())).await);
        drop(first);
        assert_eq!(resolver.lookup("a.test").await.unwrap().len(), 2);
        assert_eq!(server.count(), 2);
    });
}

#[test]
fn truncated_answers_are_asked_for_over_tcp() {
    run(async {
        // The TCP port of the same number may be somebody's: another pair is tried then.
        let (server, listener) = loop {
            let server = Server::new(|query, _| {
                let mut message = reply(query, ResponseCode::NoError, Vec::new());
                message.set_truncated(true);
                vec![message.to_vec().unwrap()]
            })
            .await;
            if let Ok(listener) = TcpListener::bind(server.address).await {
                break (server, listener);
            }
        };
        spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            let query = Message::from_vec(&query).unwrap();
            let name = query.query().unwrap().name().clone();
            let records = (0..200).map(|n| Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, n))));
            let answer = reply(&query, ResponseCode::NoError, records.collect()).to_vec().unwrap();
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        });
        assert_eq!(only_ipv4(&[&server]).lookup("many.test").await.unwrap().len(), 200);
    });
}

#[test]
fn forged_answers_are_not_believed() {
    run(async {
        let server = Server::new(|query, _| {
            let mut wrong_id = Message::from_vec(&evil(query)).unwrap();
            wrong_id.set_id(query.id().wrapping_add(1));
            let mut wrong_name = Message::from_vec(&evil(query)).unwrap();
            wrong_name.queries_mut()[0].set_name(wire::parse_name("evil.test").unwrap());
            vec![vec![0xff; 5], wrong_id.to_vec().unwrap(), wrong_name.to_vec().unwrap(), good(query)]
        })
        .await;
        assert_eq!(&*only_ipv4(&[&server]).lookup("a.test").await.unwrap(), [four()]);
        assert_eq!(server.count(), 1);
    });
}

fn evil(query: &Message) -> Vec<u8> {
    let name = query.query().unwrap().name().clone();
    let record = Record::from_rdata(name, 3600, RData::A(A::new(203, 0, 113, 66)));
    reply(query, ResponseCode::NoError, vec![record]).to_vec().unwrap()
}

#[test]
fn an_answer_from_another_socket_does_not_reach_the_query() {
    run(async {
        let forger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = relay.local_addr().unwrap();
        spawn_local(async move {
            let mut buffer = [0; 2048];
            let (count, from) = relay.recv_from(&mut buffer).await.unwrap();
            let query = Message::from_vec(&buffer[..count]).unwrap();
            forger.send_to(&evil(&query), from).unwrap();
            relay.send_to(&good(&query), from).await.unwrap();
        });
        let settings = Settings { servers: vec![address], ipv6: false, ..Settings::default() };
        assert_eq!(&*resolver_with(settings).lookup("a.test").await.unwrap(), [four()]);
    });
}

#[test]
fn ids_and_ports_are_different_each_time() {
    run(async {
        let server = Server::new(|query, _| vec![good(query)]).await;
        let resolver = only_ipv4(&[&server]);
        for n in 0..100 {
            resolver.lookup(&format!("{n}.test")).await.unwrap();
        }
        let queries = server.queries.borrow();
        let ids: HashSet<u16> = queries.iter().map(|(query, _)| query.id()).collect();
        let ports: HashSet<u16> = queries.iter().map(|(_, from)| from.port()).collect();
        let steps = queries.windows(2).filter(|pair| pair[1].0.id().wrapping_sub(pair[0].0.id()) == 1).count();
        assert!(ids.len() > 90 && ports.len() > 50 && steps < 5, "{} {} {steps}", ids.len(), ports.len());
    });
}

#[test]
fn a_silent_server_is_given_up_on_for_the_next() {
    run(async {
        let silent = Server::new(|_, _| Vec::new()).await;
        let server = Server::new(|query, _| vec![good(query)]).await;
        let servers = vec![silent.address, server.address];
        let resolver = hasty(Settings { servers, ipv6: false, ..Settings::default() });
        assert_eq!(&*resolver.lookup("a.test").await.unwrap(), [four()]);
        assert!(silent.count() >= 1 && server.count() >= 1);
        assert!(resolver.stats().unanswered.load() >= 1);
    });
}

#[test]
fn servers_are_asked_in_turn() {
    run(async {
        let servers =
            [Server::new(|query, _| vec![good(query)]).await, Server::new(|query, _| vec![good(query)]).await];
        let resolver = only_ipv4(&[&servers[0], &servers[1]]);
        for n in 0..10 {
            resolver.lookup(&format!("{n}.test")).await.unwrap();
        }
        assert_eq!((servers[0].count(), servers[1].count()), (5, 5));
    });
}

#[test]
fn nobody_answering_is_a_timeout() {
    run(async {
        let silent = Server::new(|_, _| Vec::new()).await;
        let settings = Settings { servers: vec![silent.address], timeout: 3 * SOON, ..Settings::default() };
        let resolver = hasty(settings);
        assert_eq!(resolver.lookup("a.test").await, Err(ResolveError::TimedOut));
        assert!(silent.count() >= 2, "it is asked more than once");
        assert_eq!(ResolveError::TimedOut.to_string(), "Operation timed out");
    });
}

#[test]
fn a_server_that_is_down_is_no_reason_to_spin() {
    run(async {
        let settings = Settings {
            servers: vec!["127.0.0.1:1".parse().unwrap()],
            timeout: 4 * SOON,
            ipv6: false,
            ..Settings::default()
        };
        let resolver = hasty(settings);
        assert_eq!(resolver.lookup("a.test").await, Err(ResolveError::TimedOut));
        let queries = resolver.stats().queries.load();
        assert!((1..=6).contains(&queries), "{queries}");
    });
}

#[test]
fn a_failing_server_is_left_at_once_and_failing_ones_are_told_of() {
    run(async {
        let failing = Server::new(|query, _| code(query, ResponseCode::ServFail)).await;
        let refusing = Server::new(|query, _| code(query, ResponseCode::Refused)).await;
        let server = Server::new(|query, _| vec![good(query)]).await;
        assert_eq!(resolver(&[&failing, &refusing, &server]).lookup("a.test").await.unwrap().len(), 2);
        let resolver = resolver(&[&failing, &refusing]);
        assert_eq!(resolver.lookup("a.test").await, Err(ResolveError::ServerFailure));
        let before = failing.count() + refusing.count();
        assert_eq!(resolver.lookup("a.test").await, Err(ResolveError::ServerFailure));
        assert!(failing.count() + refusing.count() > before, "failures are not remembered");
    });
}

#[test]
fn a_name_that_does_not_exist_is_remembered_as_such() {
    run(async {
        let server = Server::new(|query, _| {
            let mut message = reply(query, ResponseCode::NXDomain, Vec::new());
            let zone = wire::parse_name("test").unwrap();
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 30);
            message.add_name_server(Record::from_rdata(zone, 30, RData::SOA(soa)));
            vec![message.to_vec().unwrap()]
        })
        .await;
        let resolver = resolver(&[&server]);
        for _ in 0..3 {
            assert_eq!(resolver.lookup("no.test").await, Err(ResolveError::NotFound));
        }
        assert_eq!(server.count(), 2);
    });
}

#[test]
fn one_family_is_enough_when_the_other_has_none_or_is_swallowed() {
    run(async {
        for swallow in [false, true] {
            let server = Server::new(move |query, _| match query.query().unwrap().query_type() {
                RecordType::A => vec![good(query)],
                _ if swallow => Vec::new(),
                _ => code(query, ResponseCode::NoError),
            })
            .await;
            let resolver = hasty(Settings { servers: vec![server.address], ..Settings::default() });
            assert_eq!(&*resolver.lookup("a.test").await.unwrap(), [four()], "swallow: {swallow}");
        }
    });
}

#[test]
fn aliases_are_followed_to_their_end_and_no_further() {
    run(async {
        let server = Server::new(|query, _| {
            let asked = query.query().unwrap().clone();
            let first = asked.name().to_ascii();
            let target = match first.as_str() {
                "www.test." => "middle.test",
                "middle.test." => "end.test",
                "end.test." => return vec![good(query)],
                "here.test." => "there.test",
                _ => "here.test",
            };
            let data = RData::CNAME(CNAME(wire::parse_name(target).unwrap()));
            let record = Record::from_rdata(asked.name().clone(), 60, data);
            vec![reply(query, ResponseCode::NoError, vec![record]).to_vec().unwrap()]
        })
        .await;
        let resolver = only_ipv4(&[&server]);
        assert_eq!(&*resolver.lookup("www.test").await.unwrap(), [four()]);
        assert_eq!(server.count(), 3);
        assert_eq!(resolver.lookup("here.test").await, Err(ResolveError::NotFound));
        assert_eq!(server.count(), 3 + MAX_ALIASES);
    });
}

#[test]
fn lookups_in_progress_are_bounded() {
    run(async {
        let silent = Server::new(|_, _| Vec::new()).await;
        let resolver = resolver(&[&silent]);
        // Boarded but never flown: nothing here lets the tasks run.
        for n in 0..MAX_FLIGHTS {
            assert!(resolver.shared.board(&format!("{n}.test"), Tick(0)).is_ok());
        }
        assert_eq!(resolver.shared.board("more.test", Tick(0)).err(), Some(ResolveError::ServerFailure));
        assert!(resolver.shared.board("0.test", Tick(0)).is_ok(), "joining costs nothing");
        assert_eq!(resolver.stats().refused.load(), 1);
    });
}

#[test]
fn services_are_asked_for_anew_each_time_and_counted_in_their_zone() {
    use hickory_proto::rr::rdata::SRV;
    run(async {
        let server = Server::new(|query, _| {
            let asked = query.query().unwrap();
            let target = wire::parse_name("a.test").unwrap();
            let data = match asked.query_type() {
                RecordType::SRV => RData::SRV(SRV::new(1, 2, 8080, target)),
                _ => return code(query, ResponseCode::Refused),
            };
            let record = Record::from_rdata(asked.name().clone(), 30, data);
            vec![reply(query, ResponseCode::NoError, vec![record]).to_vec().unwrap()]
        })
        .await;
        let status_zone = Some("counted".into());
        let settings = Settings { servers: vec![server.address], ipv6: false, status_zone, ..Settings::default() };
        let (one, other) = (resolver_with(settings.clone()), resolver_with(settings));
        for resolver in [&one, &other] {
            let (found, lifetime) = resolver.services("_http._tcp.app.test").await;
            let service = Service { priority: 1, weight: 2, port: 8080, target: "a.test".into() };
            assert_eq!((found, lifetime), (Ok(vec![service]), Duration::from_secs(30)));
        }
        assert_eq!(one.lookup("a.test").await, Err(ResolveError::ServerFailure));
        let zone = zones().into_iter().find(|(name, _)| &**name == "counted").unwrap().1;
        let counts = [&zone.srv, &zone.name, &zone.noerror, &zone.refused, &zone.timedout].map(|it| it.load());
        assert_eq!(counts, [2, 1, 2, 1, 0]);
        drop((one, other, zone));
        assert!(zones().iter().all(|(name, _)| &**name != "counted"), "a zone ends with its resolvers");
    });
}

#[test]
fn an_answer_is_known_for_as_long_as_its_ttl() {
    run(async {
        let server = Server::new(|query, _| vec![good(query)]).await;
        let resolver = only_ipv4(&[&server]);
        let (found, left) = resolver.lookup_for("a.test").await;
        assert_eq!(&*found.unwrap(), [four()]);
        assert!(left > Duration::from_secs(3590) && left <= Duration::from_secs(3600), "{left:?}");
        assert!(resolver.lookup_for("192.0.2.7").await.1 > Duration::from_secs(3600), "an address stays what it is");
    });
}
