//! One worker thread: a runtime of its own, both planes' newest workers, and a
//! task per listening socket. Shares nothing with the other threads.

use crate::generation::{Generation, Plane};
use crate::main_conf::Affinity;
use fairlead_core::net::{Listener, ListenerKey, Protocol};
use fairlead_core::worker::{Context, Current, Door};
use fairlead_l4 as l4;
use fairlead_l7 as l7;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::eventfd::EventFd;
use nix::unistd::Pid;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinHandle, LocalSet};

/// How often a draining thread looks whether its last connection has ended.
const DRAIN_INTERVAL: Duration = Duration::from_millis(10);

/// From the worker process's control loop.
pub enum Order {
    Serve(Arc<Generation>, Vec<Assigned>),
    /// Stop accepting; end when the last connection has.
    Drain,
    /// Drop every connection and end.
    Stop,
}

/// A socket this thread accepts on.
pub struct Assigned {
    pub id: u64,
    pub key: ListenerKey,
    pub plane: Plane,
    pub socket: OwnedFd,
}

/// To the control loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The thread (by its serial) serves this generation.
    Serving { thread: usize, generation: u64 },
    /// The thread has ended, and has cut off so many connections.
    Ended { thread: usize, cut: usize },
}

/// The way back to the control loop, which waits for `wake`.
#[derive(Clone)]
pub struct Replies {
    pub to: Sender<Reply>,
    pub wake: Arc<EventFd>,
}

impl Replies {
    fn send(&self, reply: Reply) {
        // The control loop is gone only when the process ends.
        let _ = self.to.send(reply);
        let _ = self.wake.write(1);
    }
}

struct Thread {
    number: usize,
    serial: usize,
    context: Rc<Context>,
    stream: Option<Rc<Current<l4::Worker>>>,
    http: Option<Rc<Current<l7::Worker>>>,
    accepting: HashMap<u64, (Plane, JoinHandle<()>)>,
    affinity: Affinity,
}

/// The whole life of the thread, which is one of several with this `number` over time.
///
/// # Errors
/// Those of making a runtime; nothing later ends a thread but [`Order::Drain`].
pub fn run(number: usize, serial: usize, orders: UnboundedReceiver<Order>, replies: &Replies) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cut = LocalSet::new().block_on(&runtime, Thread::new(number, serial).serve(orders, replies));
    // Connections are tasks of the runtime: they end, and their log lines are written, before we say so.
    runtime.shutdown_background();
    replies.send(Reply::Ended { thread: serial, cut });
    Ok(())
}

impl Thread {
    fn new(number: usize, serial: usize) -> Thread {
        Thread {
            number,
            serial,
            context: Context::new(number),
            stream: None,
            http: None,
            accepting: HashMap::new(),
            affinity: Affinity::None,
        }
    }

    /// How many connections were in progress at the end.
    async fn serve(mut self, mut orders: UnboundedReceiver<Order>, replies: &Replies) -> usize {
        let context = self.context.clone();
        tokio::task::spawn_local(async move { context.logs.run().await });
        let context = self.context.clone();
        tokio::task::spawn_local(async move { context.connections.cool().await });
        loop {
            match orders.recv().await {
                Some(Order::Serve(generation, sockets)) => {
                    self.take(&generation);
                    self.accept_on(sockets).await;
                    // Idle connections look at what has changed.
                    self.context.connections.wake_all();
                    replies.send(Reply::Serving { thread: self.serial, generation: generation.id });
                }
                Some(Order::Drain) => {
                    self.accept_on(Vec::new()).await;
                    self.drain(orders).await;
                    break;
                }
                Some(Order::Stop) | None => break,
            }
        }
        self.context.connections.active()
    }

    /// Connections accepted from now on are of this generation.
    fn take(&mut self, generation: &Generation) {
        self.context.connections.set_limit(generation.main.events.worker_connections);
        self.bind_to_cpus(&generation.main.affinity);
        let context = &self.context;
        let stream = generation.stream.clone().map(|plan| l4::Worker::new(plan, context.clone()));
        renew(&mut self.stream, stream);
        let http = generation.http.clone().map(|plan| l7::Worker::new(plan, context.clone()));
        renew(&mut self.http, http);
        self.open_doors();
    }

    /// Connections may be passed to any listener of either plane.
    fn open_doors(&self) {
        let stream = self.stream.iter().flat_map(|current| {
            let (plan, current) = (current.load().plan.clone(), current.clone());
            doors(plan.listeners(), Rc::new(move |key, passed| l4::take_over(key, passed, &current)))
        });
        let http = self.http.iter().flat_map(|current| {
            let (plan, current) = (current.load().plan.clone(), current.clone());
            doors(plan.listeners(), Rc::new(move |key, passed| l7::take_over(key, passed, &current)))
        });
        self.context.handover.replace(stream.chain(http));
    }

    /// Starts on sockets that are new, goes on with those it has, leaves the others.
    async fn accept_on(&mut self, sockets: Vec<Assigned>) {
        let mut before = std::mem::take(&mut self.accepting);
        for Assigned { id, key, plane, socket } in sockets {
            match before.remove(&id) {
                Some((served_by, task)) if served_by == plane => {
                    self.accepting.insert(id, (plane, task));
                    continue;
                }
                Some((_, task)) => end(task).await,
                None => {}
            }
            if let Some(task) = self.start(plane, socket, key) {
                self.accepting.insert(id, (plane, task));
            }
        }
        for (_, task) in before.into_values() {
            end(task).await;
        }
    }

    fn start(&self, plane: Plane, socket: OwnedFd, key: ListenerKey) -> Option<JoinHandle<()>> {
        match plane {
            Plane::Stream => {
                let current = self.stream.clone()?;
                Some(tokio::task::spawn_local(l4::serve(socket, key, current)))
            }
            Plane::Http => {
                let current = self.http.clone()?;
                Some(tokio::task::spawn_local(l7::serve(socket, key, current)))
            }
        }
    }

    async fn drain(&self, mut orders: UnboundedReceiver<Order>) {
        let connections = &self.context.connections;
        connections.drain();
        // The only order that can still come is to stop.
        while connections.active() > 0 && tokio::time::timeout(DRAIN_INTERVAL, orders.recv()).await.is_err() {}
    }

    /// A wish: a thread that the kernel does not let onto its processor runs elsewhere.
    fn bind_to_cpus(&mut self, affinity: &Affinity) {
        if self.affinity == *affinity {
            return;
        }
        self.affinity.clone_from(affinity);
        let usable = usable_cpus();
        let mut set = CpuSet::new();
        for cpu in affinity.cpus(self.number, &usable).unwrap_or(usable) {
            let _ = set.set(cpu);
        }
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

fn doors(listeners: Vec<Listener>, door: Door) -> impl Iterator<Item = (ListenerKey, Door)> {
    let connections = listeners.into_iter().filter(|listener| listener.key.protocol == Protocol::Tcp);
    connections.map(move |listener| (listener.key, door.clone()))
}

impl Drop for Thread {
    /// The doors hold the workers, which hold the context, which holds the doors.
    fn drop(&mut self) {
        self.context.handover.replace(std::iter::empty());
    }
}

/// The processors of the whole process: its main thread is bound to none.
fn usable_cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::this()).unwrap_or_default();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Puts the newest worker of a plane where its accepting tasks look for it.
fn renew<T>(current: &mut Option<Rc<Current<T>>>, newest: Option<Rc<T>>) {
    match (&*current, newest) {
        (Some(current), Some(newest)) => current.replace(newest),
        (None, Some(newest)) => *current = Some(Rc::new(Current::new(newest))),
        (_, None) => *current = None,
    }
}

/// Stops accepting on a socket and waits until it is closed.
async fn end(task: JoinHandle<()>) {
    task.abort();
    // It was cancelled, or had ended.
    let _ = task.await;
}
