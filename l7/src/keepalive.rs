//! Whether a connection may carry another request, and for whom hints are.

use crate::browser::Browser;
use crate::exchange::Exchange;
use crate::h1::Method;
use fairlead_core::clock::tick;

impl Exchange {
    /// Whether the connection may carry another request after this one.
    pub(crate) fn may_keep_alive(&self) -> bool {
        let location = &self.location;
        let draining = self.worker.context.connections.draining();
        self.request.wants_keepalive()
            && !self.ends_connection
            && !location.keepalive_timeout.is_zero()
            && self.requests < location.keepalive_requests
            && tick().since(self.connection.started) < location.keepalive_time
            && (!draining || !location.keepalive_min_timeout.is_zero())
            && !self.is_disabled(location.keepalive_disable)
    }

    /// `keepalive_disable`: this browser is one of those.
    fn is_disabled(&self, (msie6, safari): (bool, bool)) -> bool {
        let post = self.request.method == Method::Post;
        if !(safari || msie6 && post) {
            return false;
        }
        let browser = self.browser();
        (msie6 && post && browser.msie6) || (safari && browser.safari)
    }

    pub(crate) fn browser(&self) -> Browser {
        self.request.header(b"user-agent").map(Browser::of).unwrap_or_default()
    }

    /// `early_hints`: one of its values is true.
    pub(crate) fn takes_hints(&self) -> bool {
        self.location.early_hints.iter().any(|condition| {
            let mut value = Vec::new();
            self.render(condition, &mut value);
            !value.is_empty() && value != b"0"
        })
    }
}
