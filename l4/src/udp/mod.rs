//! Datagrams.

use crate::worker::Worker;
use fairlead_core::net::ListenerKey;
use fairlead_core::worker::Current;
use std::os::fd::OwnedFd;
use std::rc::Rc;

pub(crate) async fn serve(_socket: OwnedFd, _key: ListenerKey, _current: Rc<Current<Worker>>) {}
