//! `proxy_store`: what a peer answers becomes a file, with the time that `Last-Modified` says.
//!
//! The body is written to a temporary file while it goes to the client, and takes its place when it is
//! whole; a client that leaves does not stop it. What cannot be stored is logged and not stored.

use super::spool::Spool;
use crate::content::file_name;
use crate::exchange::Exchange;
use crate::h1::{Known, Method};
use crate::proxy::Proxy;
use crate::temp_file::{Name, Place, TempFile};
use crate::variables::Variable;
use fairlead_conf::Template;
use fairlead_core::log::Level;
use std::ffi::OsString;
use std::future::poll_fn;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::task::{Context, Poll};

/// Where responses are stored.
#[derive(Clone, Debug)]
pub enum StoreTo {
    /// `on`: the file that `root` or `alias` leads to.
    Root,
    /// Relative to the prefix.
    File(Template<Variable>),
}

/// A response on its way to its file.
pub(super) struct Store {
    spool: Spool,
    place: Place,
    failed: bool,
}

/// Bytes worth a write.
const ENOUGH: usize = 64 << 10;

impl Store {
    /// For the answer whose head has come; `None` when it is not one to be stored.
    pub fn begin(exchange: &Exchange, proxy: &Proxy) -> Option<Box<Store>> {
        let to = proxy.store.as_ref()?;
        let buffers = exchange.buffering.unwrap_or(proxy.buffering);
        if exchange.response.status != 200 || exchange.request.method == Method::Head || !buffers {
            return None;
        }
        let path = match to {
            StoreTo::Root => file_name(exchange)?,
            StoreTo::File(template) => {
                let mut path = Vec::new();
                exchange.render(template, &mut path);
                path
            }
        };
        let path = exchange.location.root.prefix.join(PathBuf::from(OsString::from_vec(path)));
        let modified = exchange.response.known(Known::LastModified, &exchange.upstream_head);
        let modified = modified.and_then(|text| httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok());
        let place = Place { path, access: proxy.store_access, modified };
        let spool = Spool::new(TempFile::new(proxy.temp_path.clone(), Name::Request), ENOUGH);
        Some(Box::new(Store { spool, place, failed: false }))
    }

    /// Body bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.spool.waiting.extend_from_slice(bytes);
        }
    }

    /// Ready when more may be pushed.
    pub fn poll(&mut self, cx: &mut Context<'_>, exchange: &Exchange, all: bool) -> Poll<()> {
        if self.failed {
            return Poll::Ready(());
        }
        self.spool.poll(cx, all).map(|written| {
            if let Err(failed) = written {
                exchange.log(Level::Crit, format_args!("{failed} while reading upstream"));
                self.failed = true;
                self.spool.waiting = Vec::new();
            }
        })
    }

    /// The body is whole: it goes to its place.
    pub async fn finish(mut self: Box<Self>, exchange: &Exchange) {
        poll_fn(|cx| self.poll(cx, exchange, true)).await;
        if self.failed {
            return;
        }
        if let Err(failed) = self.spool.into_place(self.place).await {
            exchange.log(Level::Crit, format_args!("{failed} while reading upstream"));
        }
    }
}
