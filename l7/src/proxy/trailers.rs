//! Fields behind a peer's body: `proxy_pass_trailers` lets clients have them, `$upstream_trailer_…` the
//! configuration. `transfer` collects them, and sends on what [`Trailers::end`] leaves of them.

use crate::h1::Known;
use crate::proxy::{NameSet, Proxy};
use crate::respond::push_field;
use crate::variables::head_fields;

#[derive(Debug, Default)]
pub(super) struct Trailers {
    /// Names that clients do not see; `None` shows them nothing.
    hidden: Option<NameSet>,
    /// As the peer sent them, behind an empty first line.
    pub came: Vec<u8>,
    /// Lines for the client.
    pub lines: Vec<u8>,
}

impl Trailers {
    pub fn new(proxy: &Proxy) -> Trailers {
        Trailers { hidden: proxy.pass_trailers.then(|| proxy.hidden.clone()), ..Trailers::default() }
    }

    /// All of them have come: which of them the client gets.
    pub fn end(&mut self) {
        self.came.splice(..0, *b"\n");
        let Some(hidden) = &self.hidden else { return };
        let shown = head_fields(&self.came).filter(|(name, _)| is_passed(name) && !hidden.contains(name));
        shown.for_each(|(name, value)| push_field(name, value, &mut self.lines));
    }
}

/// Never what says where messages end or whose they are (RFC 9110 section 6.5.1).
fn is_passed(name: &[u8]) -> bool {
    !matches!(
        Known::of(name),
        Known::Host
            | Known::Connection
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Te
            | Known::Trailer
            | Known::Upgrade
            | Known::Expect
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::ContentType
            | Known::XAccel
    )
}
