//! Claims about the reactor's tasks and sockets, on a runtime as a worker thread has.

use super::*;
use crate::log::Level;
use crate::net::{Acceptor, Address, NotAccepted, NotConnected, Push, Stream};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs") })
}

fn listen() -> (Acceptor, Address) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = Address::Ip(socket.local_addr().unwrap());
    (Acceptor::new(OwnedFd::from(socket)).unwrap(), address)
}

fn target(address: &Address) -> std::net::SocketAddr {
    match address {
        Address::Ip(address) => *address,
        Address::Unix(_) => panic!("not an IP address"),
    }
}

async fn pair() -> (TcpStream, Stream) {
    let (acceptor, address) = listen();
    let outside = TcpStream::connect(target(&address)).unwrap();
    (outside, acceptor.accept().await.unwrap().0)
}

async fn read(stream: &Stream, room: usize) -> Vec<u8> {
    let mut bytes = vec![0; room];
    let count = poll_fn(|cx| stream.poll_read(cx, &mut bytes)).await.unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn a_task_is_polled_when_it_was_woken_and_only_then() {
    run(async {
        let (polls, count) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (seen, kept) = (polls.clone(), Rc::new(RefCell::new(None)));
        let keep = kept.clone();
        spawn(poll_fn(move |cx| {
            seen.set(seen.get() + 1);
            *keep.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }));
        let other = count.clone();
        spawn(async move { other.set(1) });
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!((polls.get(), count.get()), (1, 1));
        let waker: Waker = kept.borrow().clone().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(polls.get(), 2, "two wakes before a poll are one");
    });
}

#[test]
fn a_waker_that_outlives_its_task_wakes_nobody() {
    run(async {
        let kept = Rc::new(RefCell::new(None));
        let keep = kept.clone();
        spawn(poll_fn(move |cx| {
            *keep.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        tokio::task::yield_now().await;
        let polls = Rc::new(Cell::new(0));
        let seen = polls.clone();
        spawn(poll_fn(move |_| {
            seen.set(seen.get() + 1);
            Poll::Pending
        }));
        tokio::task::yield_now().await;
        let waker: Waker = kept.borrow().clone().unwrap();
        waker.wake();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(polls.get(), 1);
    });
}

#[test]
fn other_threads_wake_a_task() {
    run(async {
        let (to_task, mut from_thread) = mpsc::unbounded_channel();
        let (done, waiting) = oneshot::channel();
        spawn(async move {
            let mut sum = 0;
            while let Some(number) = from_thread.recv().await {
                sum += number;
            }
            done.send(sum).unwrap();
        });
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let to_task = to_task.clone();
                std::thread::spawn(move || (0..2000u64).for_each(|number| to_task.send(number).unwrap()))
            })
            .collect();
        drop(to_task);
        assert_eq!(waiting.await.unwrap(), 4 * 1999 * 1000);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn tasks_end_with_the_runtime_and_the_next_one_starts_anew() {
    struct Ends(Rc<Cell<bool>>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let ended = Rc::new(Cell::new(false));
    let ends = Ends(ended.clone());
    run(async {
        spawn(async move {
            let _ends = ends;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
    });
    assert!(ended.get());
    run(async {
        let (mut outside, inside) = pair().await;
        outside.write_all(b"again").unwrap();
        assert_eq!(read(&inside, 100).await, b"again");
    });
}

#[test]
fn tasks_that_never_rest_leave_timers_their_turn() {
    run(async {
        spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        tokio::time::sleep(Duration::from_millis(20)).await;
    });
}

#[test]
fn a_stream_that_never_runs_dry_leaves_others_their_turn() {
    run(async {
        let (mut outside, inside) = pair().await;
        outside.write_all(b"one").unwrap();
        let reads = Rc::new(Cell::new(0));
        let seen = reads.clone();
        spawn(async move {
            let mut byte = [0];
            // What is read comes back, so the stream is never drained.
            while poll_fn(|cx| inside.poll_read(cx, &mut byte)).await.is_ok_and(|count| count > 0) {
                outside.write_all(&byte).unwrap();
                seen.set(seen.get() + 1);
            }
        });
        let least = reads.clone();
        let (done, waiting) = oneshot::channel();
        spawn(async move { done.send(least.get()).unwrap() });
        assert!(waiting.await.unwrap() <= BUDGET);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(reads.get() > BUDGET, "{} reads", reads.get());
    });
}

#[test]
fn a_read_that_falls_short_waits_for_the_next_event() {
    run(async {
        let (mut outside, inside) = pair().await;
        for text in [b"one".as_slice(), b"three", b"a third"] {
            outside.write_all(text).unwrap();
            assert_eq!(read(&inside, 100).await, text);
            assert_eq!(inside.try_read(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        outside.write_all(b"full").unwrap();
        assert_eq!(read(&inside, 4).await, b"full");
        drop(outside);
        assert_eq!(read(&inside, 4).await, b"");
    });
}

#[test]
fn who_looks_for_the_end_now_and_then_hears_of_it() {
    run(async {
        let (mut outside, inside) = pair().await;
        outside.write_all(b"question").unwrap();
        assert_eq!(read(&inside, 100).await, b"question");
        let still_there = |cx: &mut Context<'_>| Poll::Ready(inside.poll_read_ready_soon(cx).is_pending());
        assert!(poll_fn(still_there).await);
        drop(outside);
        poll_fn(|cx| inside.poll_read_ready_soon(cx)).await;
        assert!(inside.is_ended());
    });
}

#[test]
fn a_stream_closed_before_anybody_waited_for_it_is_forgotten() {
    run(async {
        for round in 0..3 {
            let (mut outside, inside) = pair().await;
            outside.write_all(b"question").unwrap();
            assert_eq!(read(&inside, 100).await, b"question");
            assert!(poll_fn(|cx| Poll::Ready(inside.poll_read_ready_soon(cx))).await.is_pending());
            drop(inside);
            // The next stream has its place, and is not taken for it when its time comes.
            let (mut outside, inside) = pair().await;
            tokio::time::sleep(PATIENCE * 2).await;
            outside.write_all(b"another").unwrap();
            assert_eq!(read(&inside, 100).await, b"another", "round {round}");
        }
    });
}

#[test]
fn bytes_may_go_out_with_the_end() {
    run(async {
        let (mut outside, inside) = pair().await;
        let sent = poll_fn(|cx| inside.poll_write_as(cx, b"last words", Push::WithNext)).await.unwrap();
        assert_eq!(sent, 10);
        drop(inside);
        let mut words = String::new();
        outside.read_to_string(&mut words).unwrap();
        assert_eq!(words, "last words");
    });
}

#[test]
fn what_came_before_the_end_is_read_before_it() {
    run(async {
        let (mut outside, inside) = pair().await;
        outside.write_all(b"last words").unwrap();
        drop(outside);
        assert_eq!(read(&inside, 4).await, b"last");
        assert_eq!(read(&inside, 100).await, b" words");
        assert_eq!(read(&inside, 100).await, b"");
        assert_eq!(read(&inside, 100).await, b"");
    });
}

#[test]
fn urgent_data_does_not_hide_what_follows_it() {
    run(async {
        let (mut outside, inside) = pair().await;
        outside.write_all(b"before").unwrap();
        socket2::SockRef::from(&outside).send_out_of_band(b"!").unwrap();
        outside.write_all(b"after").unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut got = Vec::new();
        while got.len() < 11 {
            got.extend(read(&inside, 100).await);
        }
        assert_eq!(got, b"beforeafter");
    });
}

#[test]
fn descriptors_sent_along_do_not_hide_what_follows_them() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    run(async {
        let (outside, inside) = std::os::unix::net::UnixStream::pair().unwrap();
        inside.set_nonblocking(true).unwrap();
        let inside = Stream::adopt(inside.into()).unwrap();
        let sent = [std::os::fd::AsFd::as_fd(&outside)];
        let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = SendAncillaryBuffer::new(&mut room);
        assert!(along.push(SendAncillaryMessage::ScmRights(&sent)));
        sendmsg(&outside, &[std::io::IoSlice::new(b"with")], &mut along, SendFlags::empty()).unwrap();
        (&outside).write_all(b"after").unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!((read(&inside, 100).await, read(&inside, 100).await), (b"with".to_vec(), b"after".to_vec()));
    });
}

#[test]
fn a_stream_that_is_full_is_writable_once_there_is_room() {
    run(async {
        let (mut outside, inside) = pair().await;
        let block = vec![7; 1 << 20];
        let mut sent = 0;
        while let Ok(count) = inside.try_write(&block) {
            sent += count;
        }
        let reading = std::thread::spawn(move || {
            let mut bytes = vec![0; sent + block.len()];
            outside.read_exact(&mut bytes).unwrap();
        });
        let block = vec![7; 1 << 20];
        let mut left = block.as_slice();
        while !left.is_empty() {
            let count = poll_fn(|cx| inside.poll_write(cx, left)).await.unwrap();
            left = &left[count..];
        }
        reading.join().unwrap();
    });
}

#[test]
fn a_refused_connection_says_so_and_a_good_one_stands() {
    run(async {
        let (acceptor, address) = listen();
        let (stream, accepted) = tokio::join!(Stream::connect(&address), acceptor.accept());
        let (stream, (accepted, from)) = (stream.unwrap(), accepted.unwrap());
        assert_eq!(stream.local_socket(), from);
        assert_eq!(accepted.local_address(), Some(address.clone()));
        drop((stream, accepted, acceptor));
        let refused = Stream::connect(&address).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn closing_a_stream_frees_its_place_and_nothing_is_left() {
    run(async {
        let (acceptor, address) = listen();
        for _ in 0..50 {
            let streams: Vec<_> = (0..8).map(|_| TcpStream::connect(target(&address)).unwrap()).collect();
            let mut accepted = Vec::new();
            for _ in &streams {
                accepted.push(acceptor.accept().await.unwrap().0);
            }
            streams.iter().for_each(|mut stream| stream.write_all(b"x").unwrap());
            assert_eq!(read(&accepted[3], 10).await, b"x");
        }
        let reactor = here().unwrap();
        assert_eq!(reactor.watched.borrow().used(), 1, "the listener's");
    });
}

#[test]
fn a_listener_held_open_elsewhere_is_let_go_of() {
    run(async {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let held = socket.try_clone().unwrap();
        let address = socket.local_addr().unwrap();
        drop(Acceptor::new(socket.into()).unwrap());
        let again = Acceptor::new(held.try_clone().unwrap().into()).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        again.accept().await.unwrap();
        let reactor = here().unwrap();
        let mut events = 0;
        let _other = TcpStream::connect(address).unwrap();
        reactor.epoll.take(|_| events += 1);
        assert_eq!(events, 1, "one registration, one event");
    });
}

#[test]
fn a_connection_begins_on_a_prepared_socket_and_a_failure_says_whose_it_is() {
    run(async {
        let (acceptor, address) = listen();
        let own = "127.0.0.9:0".parse::<std::net::SocketAddr>().unwrap();
        let bound = |socket: &socket2::Socket| socket.bind(&own.into()).map_err(NotConnected::before("bind()"));
        let stream = Stream::begin(&address, bound).unwrap();
        poll_fn(|cx| stream.poll_connected(cx)).await.unwrap();
        assert_eq!(acceptor.accept().await.unwrap().1.unwrap().ip(), own.ip());

        let refused = |_: &socket2::Socket| Err(NotConnected::before("bind()")(std::io::ErrorKind::AddrInUse.into()));
        let failed = Stream::begin(&address, refused).err().unwrap();
        assert_eq!((&*failed.call, failed.ours), ("bind()", true), "no peer is to blame");
        let nobody = Address::Unix("x".repeat(200).into());
        let failed = Stream::begin(&nobody, |_| Ok(())).err().unwrap();
        assert_eq!((&*failed.call, failed.ours), ("connect()", false), "another peer may do");
    });
}

#[test]
fn who_waits_for_what_cannot_be_watched_finds_out() {
    run(async {
        // No epoll instance takes it.
        let nothing = std::fs::File::open("/dev/null").unwrap();
        let watch = Watch::unregistered(here().unwrap(), Events::NONE);
        poll_fn(|cx| watch.poll_readable(&nothing, cx)).await;
        poll_fn(|cx| watch.poll_writable(&nothing, cx)).await;
    });
}

#[test]
fn accepting_rests_when_the_process_is_out_of_something() {
    let of = |code| NotAccepted(io::Error::from_raw_os_error(code));
    assert_eq!(of(libc::EMFILE).to_string(), "accept4() failed (24: Too many open files)");
    let pause = Some(Duration::from_millis(500));
    for (code, level, rests) in [
        (libc::EMFILE, Level::Crit, pause),
        (libc::ENFILE, Level::Crit, pause),
        (libc::ENOMEM, Level::Alert, pause),
        (libc::ECONNABORTED, Level::Error, None),
    ] {
        assert_eq!((of(code).level(), of(code).pause()), (level, rests), "{code}");
    }
}
