//! `brotli` and `zstd` beside `gzip`: their settings, and which coding a client gets. The directives are
//! in `brotli` and `zstd`, named as the well-known modules name them; `gzip_http_version`,
//! `gzip_proxied`, `gzip_disable` and `gzip_vary` hold for all three.
//!
//! A client gets the coding it gives the highest weight; of those it gives the same, zstd before brotli
//! before gzip.

use super::gzip::{Answer, Stored};
use super::mime::Types;
use super::{Settings as Filters, accept, head};
use crate::exchange::Exchange;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// In the order of preference.
    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// As `Accept-Encoding` and `Content-Encoding` call it.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// What stands behind the name of a file that is packed with it.
    pub fn ending(self) -> &'static [u8] {
        match self {
            Coding::Zstd => b".zst",
            Coding::Brotli => b".br",
            Coding::Gzip => b".gz",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub on: bool,
    pub level: u32,
    pub min_length: u64,
    pub types: Types,
    pub stored: Stored,
    /// Two to this power are the bytes of its window.
    pub window: u32,
}

impl Settings {
    pub fn is_off(&self) -> bool {
        !self.on && self.stored == Stored::Off
    }

    fn suits(&self, answer: &Answer<'_>) -> bool {
        self.on
            && matches!(answer.status, 200 | 403 | 404)
            && answer.length.is_none_or(|length| length >= self.min_length)
            && self.types.has(answer.content_type)
            && head::value(answer.head, b"Content-Encoding").is_none_or(<[u8]>::is_empty)
    }

    /// The window for a body of this length: none is larger than needed.
    pub fn window_for(&self, length: Option<u64>) -> u32 {
        let mut window = self.window;
        while window > LEAST_WINDOW && length.is_some_and(|length| length < 1 << (window - 1)) {
            window -= 1;
        }
        window
    }
}

pub(super) const LEAST_WINDOW: u32 = 10;

/// A file that may stand beside the one that was asked for.
pub(crate) struct Candidate {
    pub coding: Coding,
    /// This client gets it.
    pub wanted: bool,
    /// Every client gets it.
    pub always: bool,
}

impl Filters {
    fn suits(&self, coding: Coding, answer: &Answer<'_>) -> bool {
        match coding {
            Coding::Zstd => self.zstd.suits(answer),
            Coding::Brotli => self.brotli.suits(answer),
            Coding::Gzip => self.gzip.suits(answer),
        }
    }

    fn stored_of(&self, coding: Coding) -> Stored {
        match coding {
            Coding::Zstd => self.zstd.stored,
            Coding::Brotli => self.brotli.stored,
            Coding::Gzip => self.gzip.stored,
        }
    }

    /// Whether a response like this is packed for some clients, and for this one how.
    pub(super) fn coding(&self, exchange: &Exchange, answer: &Answer<'_>) -> (bool, Option<Coding>) {
        let mut suit = Coding::ALL.into_iter().filter(|coding| self.suits(*coding, answer)).peekable();
        if suit.peek().is_none() {
            return (false, None);
        }
        let field = exchange.request.header(b"accept-encoding").unwrap_or_default();
        let weighed = suit.filter_map(|coding| accept::weight(field, coding.name().as_bytes()).map(|q| (q, coding)));
        // Of equals the first.
        let best = weighed.reduce(|best, other| if other.0 > best.0 { other } else { best });
        (true, best.map(|(_, coding)| coding).filter(|_| self.gzip.may_pack(exchange, answer.head)))
    }

    /// The packed files to look for, what this client likes best first.
    pub fn stored(&self, exchange: &Exchange) -> Vec<Candidate> {
        let field = exchange.request.header(b"accept-encoding").unwrap_or_default();
        let mut found = Vec::new();
        for coding in Coding::ALL {
            let stored = self.stored_of(coding);
            if stored == Stored::Off {
                continue;
            }
            let weight = accept::weight(field, coding.name().as_bytes());
            let always = stored == Stored::Always;
            let wanted = always || (weight.is_some() && self.gzip.may_pack(exchange, b"\r\n"));
            if wanted || self.gzip.vary {
                found.push((weight, Candidate { coding, wanted, always }));
            }
        }
        found.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        found.into_iter().map(|(_, candidate)| candidate).collect()
    }
}
