//! Names kept against a name server on loopback whose answers the test changes.

use super::*;
use crate::log::{Destination, Registry};
use crate::upstream::members::{Line, Members, source};
use crate::upstream::{Hashing, Method, Server, Settings};
use fairlead_conf::{Span, Word};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData, Record};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::UdpSocket;
use tokio::task::LocalSet;

type Zone = Rc<RefCell<AHashMap<String, Vec<RData>>>>;

/// A name server over a zone; a name with no records at all gets SERVFAIL, an unknown one NXDOMAIN.
async fn serve() -> (SocketAddr, Zone) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let zone = Zone::default();
    let records = zone.clone();
    spawn_local(async move {
        let mut buffer = [0; 2048];
        loop {
            let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
            let mut message = Message::from_vec(&buffer[..count]).unwrap();
            let asked = message.query().unwrap().clone();
            message.set_message_type(MessageType::Response);
            match records.borrow().get(asked.name().to_ascii().trim_end_matches('.')) {
                None => drop(message.set_response_code(ResponseCode::NXDomain)),
                Some(data) if data.is_empty() => drop(message.set_response_code(ResponseCode::ServFail)),
                Some(data) => {
                    let wanted = data.iter().filter(|data| data.record_type() == asked.query_type());
                    wanted.for_each(|data| {
                        message.add_answer(Record::from_rdata(asked.name().clone(), 1, data.clone()));
                    });
                }
            }
            socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (address, zone)
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

fn srv(priority: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, 1, port, Name::from_ascii(format!("{target}.")).unwrap()))
}

fn word(text: &str) -> Word {
    Word { text: text.into(), span: Span::default(), quoted: false }
}

fn group(address: &str, service: Option<&str>, server: SocketAddr) -> Arc<Group> {
    group_of(&[(address, service)], Method::RoundRobin, server)
}

fn group_of(lines: &[(&str, Option<&str>)], method: Method, server: SocketAddr) -> Arc<Group> {
    let line = |(address, service): &(&str, Option<&str>)| {
        let service = service.map(word);
        let server = Server { resolve: true, service, default_port: Some(80), ..Server::new(word(address)) };
        let members = Members::Named(source(&server).unwrap().unwrap());
        Line { server, members }
    };
    let timeout = Duration::from_secs(5);
    let resolver = resolver::Settings { servers: vec![server], ipv6: false, timeout, ..resolver::Settings::default() };
    let settings = Settings { method, ..Settings::new(word("app")) };
    Group::with_roster(&settings, lines.iter().map(line).collect(), resolver).0
}

fn names(group: &Arc<Group>) -> Vec<String> {
    group.current().peers.iter().map(|peer| peer.name.to_string()).collect()
}

async fn become_(group: &Arc<Group>, expected: &[&str]) {
    let waiting = async {
        while names(group) != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("{:?} are not {expected:?}", names(group)));
}

fn run(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, story);
}

fn log(name: &str) -> (ErrorLog, std::path::PathBuf) {
    let path = std::env::temp_dir().join(format!("fairlead-keeper-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let logs = [(Destination::File(path.clone()), Level::Info)];
    (Registry::default().error_log(&logs).unwrap(), path)
}

#[test]
fn peers_follow_their_name_and_outlive_a_failing_server_but_not_the_name() {
    run(async {
        let (server, zone) = serve().await;
        zone.borrow_mut().insert("a.test".into(), vec![a(1), a(2)]);
        let group = group("a.test:81", None, server);
        let (log, path) = log("follow");
        let mut keeper = Keeper::new(log, || {});
        keeper.take(std::slice::from_ref(&group));
        keeper.answers().await;
        keeper.settled().await;
        assert_eq!(names(&group), ["192.0.2.1:81", "192.0.2.2:81"]);
        zone.borrow_mut().insert("a.test".into(), vec![a(2), a(3)]);
        become_(&group, &["192.0.2.2:81", "192.0.2.3:81"]).await;

        zone.borrow_mut().insert("a.test".into(), Vec::new());
        while !std::fs::read_to_string(&path).unwrap().contains("a.test could not be resolved (2: Server failure)") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(names(&group).len(), 2, "a failure says nothing of the peers");
        zone.borrow_mut().clear();
        become_(&group, &[]).await;
        assert!(std::fs::read_to_string(&path).unwrap().contains("a.test could not be resolved (3: Host not found)"));
        let _ = std::fs::remove_file(&path);
    });
}

#[test]
fn a_service_becomes_peers_and_a_host_that_fails_keeps_its_own() {
    run(async {
        let (server, zone) = serve().await;
        zone.borrow_mut().insert("_http._tcp.app.test".into(), vec![srv(1, 8080, "a.test"), srv(2, 8081, "b.test")]);
        zone.borrow_mut().insert("a.test".into(), vec![a(1)]);
        zone.borrow_mut().insert("b.test".into(), vec![a(2)]);
        let group = group("app.test", Some("http"), server);
        let (log, path) = log("service");
        let mut keeper = Keeper::new(log, || {});
        keeper.take(std::slice::from_ref(&group));
        become_(&group, &["192.0.2.1:8080", "192.0.2.2:8081"]).await;
        assert!(group.current().peers[1].backup && &*group.current().peers[1].server == "b.test");

        zone.borrow_mut().insert("b.test".into(), Vec::new());
        zone.borrow_mut().insert("a.test".into(), vec![a(3)]);
        become_(&group, &["192.0.2.3:8080", "192.0.2.2:8081"]).await;
        let said = "b.test could not be resolved (2: Server failure) while resolving service http of app.test";
        assert!(std::fs::read_to_string(&path).unwrap().contains(said));
        let _ = std::fs::remove_file(&path);
    });
}

#[test]
fn a_reload_goes_on_with_what_is_known_and_stops_what_nobody_wants() {
    run(async {
        let (server, zone) = serve().await;
        zone.borrow_mut().insert("a.test".into(), vec![a(1)]);
        let (first, second) = (group("a.test", None, server), group("a.test:8080", None, server));
        let heard = Rc::new(Cell::new(0));
        let told = heard.clone();
        let mut keeper = Keeper::new(ErrorLog::default(), move || told.set(told.get() + 1));
        keeper.take(std::slice::from_ref(&first));
        keeper.answers().await;
        keeper.settled().await;
        assert_eq!((names(&first), heard.get()), (vec!["192.0.2.1:80".to_owned()], 1));
        keeper.take(std::slice::from_ref(&second));
        keeper.settled().await;
        assert_eq!(names(&second), ["192.0.2.1:8080"], "without another lookup");
        zone.borrow_mut().insert("a.test".into(), vec![a(9)]);
        become_(&second, &["192.0.2.9:8080"]).await;
        assert_eq!(names(&first), ["192.0.2.1:80"], "the old generation is left alone");
        keeper.take(&[]);
        assert!(keeper.watches.is_empty() && keeper.resolvers.is_empty());
    });
}

#[test]
fn answers_of_a_moment_are_one_edition() {
    run(async {
        let (server, zone) = serve().await;
        let hosts: Vec<String> = (0..20).map(|number| format!("n{number}.test")).collect();
        for (host, last) in hosts.iter().zip(1..) {
            zone.borrow_mut().insert(host.clone(), vec![a(last)]);
        }
        let lines: Vec<_> = hosts.iter().map(|host| (&**host, None)).collect();
        let [first, second] = [(); 2].map(|()| group_of(&lines, Method::RoundRobin, server));
        let heard = Rc::new(Cell::new(0));
        let told = heard.clone();
        let (log, path) = log("moment");
        let mut keeper = Keeper::new(log, move || told.set(told.get() + 1));
        keeper.take(std::slice::from_ref(&first));
        keeper.answers().await;
        keeper.settled().await;
        assert_eq!(names(&first).len(), 20);
        heard.set(0);
        keeper.take(&[second.clone(), second.clone()]);
        keeper.settled().await;
        assert_eq!((names(&second).len(), second.current().edition(), heard.get()), (20, 1, 1));
        let renewal = keeper.renewals[0].0.clone();
        for round in 100..110 {
            renewal.hear(0, vec![Member::plain([192, 0, 2, round].into())]);
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            renewal.hear(1, vec![Member::plain([192, 0, 3, round].into())]);
            keeper.settled().await;
        }
        let editions = second.current().edition() - 1;
        assert!(editions <= 15, "{editions} editions for twenty answers, two at a time");
        let said = "has 20 peers now, 20 new and 0 gone, by n0.test and 19 more";
        assert!(std::fs::read_to_string(&path).unwrap().contains(said));
        let _ = std::fs::remove_file(&path);
    });
}

#[test]
fn neither_workers_nor_health_checks_wait_for_a_table_that_is_made() {
    run(async {
        let (server, zone) = serve().await;
        // So many that the table is one of the largest.
        zone.borrow_mut().insert("a.test".into(), (1..=41).map(a).collect());
        let method = Method::Hash { key: word("$a"), table: Hashing::Maglev };
        let group = group_of(&[("a.test", None)], method, server);
        let seen = group.clone();
        let worker = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            loop {
                let began = tick();
                let now = seen.current();
                longest = longest.max(tick().since(began));
                if !now.peers.is_empty() {
                    return longest;
                }
                std::thread::yield_now();
            }
        });
        let mut keeper = Keeper::new(ErrorLog::default(), || {});
        keeper.take(std::slice::from_ref(&group));
        keeper.answers().await;
        let (began, mut longest) = (tick(), Duration::ZERO);
        let mut settled = std::pin::pin!(keeper.settled());
        let (mut before, mut over) = (began, false);
        while !over {
            over = tokio::time::timeout(Duration::from_millis(1), &mut settled).await.is_ok();
            longest = longest.max(tick().since(before));
            before = tick();
        }
        let took = tick().since(began);
        assert_eq!(names(&group).len(), 41);
        let waited = worker.join().unwrap();
        assert!(longest < took / 2, "this thread stood still for {longest:?} of {took:?}");
        assert!(waited < took / 2, "a worker waited {waited:?} of {took:?}");
    });
}

#[test]
fn failures_are_retried_ever_later_up_to_the_timeout() {
    let wait = |failures, limit| patience(failures, Duration::from_secs(limit)).as_secs();
    assert_eq!([1, 2, 3, 4, 5, 6, 99].map(|failures| wait(failures, 30)), [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(wait(5, 0), 1);
}
