//! A request that a request makes: it finds its location and is answered like
//! any other, but its answer goes nowhere, or becomes part of another one; whoever
//! asked looks at the status and the header of what would have been sent.
//!
//! It is a GET without a body, with the header of the request behind it, shares
//! that request's variables, and has no line in the access log unless
//! `log_subrequest` asks for one. A copy that `mirror` makes keeps its method and
//! may have a body.

use crate::access_log;
use crate::client::Client;
use crate::exchange::{Ended, Exchange, Memory};
use crate::respond;
use std::pin::Pin;
use std::rc::Rc;

/// What a subrequest keeps of the one behind it.
pub(crate) struct Behind {
    /// `$request_method` is still the client's.
    pub method: Box<[u8]>,
    /// The charset of the response that it is put into.
    pub charset: Option<Vec<u8>>,
}

/// Runs `uri`, a normalised path. Give what comes back to [`end`] once it was looked at.
pub(crate) fn run<'a>(
    client: &'a mut Client,
    exchange: &mut Exchange,
    uri: &[u8],
    args: Option<&[u8]>,
) -> Pin<Box<dyn Future<Output = Box<Exchange>> + 'a>> {
    let asked = Box::new(exchange.subrequest(uri, args));
    Box::pin(async move {
        let was = client.mute(true);
        let asked = answer(client, asked).await;
        client.mute(was);
        asked
    })
}

/// Answers a subrequest to where its client leads at present; it is `completed` if all of it went there.
pub(crate) fn answer<'a>(
    client: &'a mut Client,
    mut asked: Box<Exchange>,
) -> Pin<Box<dyn Future<Output = Box<Exchange>> + 'a>> {
    // In a box: a subrequest's own phases are those of a request.
    Box::pin(async move {
        let ended = asked.serve(client).await;
        if let Ended::Reply(reply) = ended {
            respond::send(client, &mut asked, reply).await;
        }
        if asked.location.log_subrequest {
            access_log::write(&asked);
        }
        asked
    })
}

/// Answers a copy of a request that nobody waits for.
pub(crate) async fn aside(mut client: Client, copy: Box<Exchange>) {
    let mut copy = answer(&mut client, copy).await;
    copy.passed.leave();
}

/// The request behind it goes on with the variables they share.
pub(crate) fn end(exchange: &mut Exchange, asked: Exchange) {
    (exchange.values, exchange.passed, exchange.uid) = (asked.values, asked.passed, asked.uid);
}

impl Exchange {
    /// A request of this one's own, which takes its variables along until [`crate::subrequest::end`].
    pub(crate) fn subrequest(&mut self, uri: &[u8], args: Option<&[u8]>) -> Exchange {
        let method = self.request.method_bytes().into();
        let mut request = self.request.clone();
        request.become_get();
        let memory = Memory::with(request, uri.to_vec(), self.host.clone());
        let place = (self.server.clone(), self.location.clone());
        Exchange {
            values: std::mem::take(&mut self.values),
            passed: std::mem::take(&mut self.passed),
            uid: std::mem::take(&mut self.uid),
            behind: Some(Behind { method, charset: None }),
            made_args: args.map(<[u8]>::to_vec),
            moved: true,
            internal: true,
            started: self.started,
            id: self.id.clone(),
            pipelined: self.pipelined,
            ..Exchange::at(self.worker.clone(), self.connection.clone(), (self.requests, place), memory)
        }
    }

    /// The same request once more where it is, for the next slice of its response.
    pub(crate) fn slice(&mut self) -> Exchange {
        let (uri, args) = (std::mem::take(&mut self.uri), self.made_args.clone());
        let asked = self.subrequest(&uri, args.as_deref());
        self.uri = uri;
        Exchange {
            args: self.args,
            moved: self.moved,
            internal: self.internal,
            whole_uri: self.whole_uri,
            captures: self.captures.clone(),
            slices: std::mem::take(&mut self.slices),
            taken: self.taken.clone(),
            ..asked
        }
    }

    /// A request of this one's own that is answered by itself, whatever becomes of this one.
    pub(crate) fn mirror(&self, uri: &str) -> Exchange {
        let mut request = self.request.clone();
        request.leave_body();
        let memory = Memory::with(request, uri.as_bytes().to_vec(), self.host.clone());
        let place = (self.server.clone(), self.location.clone());
        Exchange {
            values: self.values.copy(),
            behind: Some(Behind { method: self.request.method_bytes().into(), charset: None }),
            made_args: self.query().map(<[u8]>::to_vec),
            moved: true,
            internal: true,
            started: self.started,
            id: self.id.clone(),
            pipelined: self.pipelined,
            taken: self.taken.clone().or_else(|| Some(Rc::new(self.without_body()))),
            ..Exchange::at(self.worker.clone(), self.connection.clone(), (self.requests, place), memory)
        }
    }
}
