//! What a `User-Agent` says of a browser, as nginx reads it: some of long ago need to be humoured.
//!
//! `respond`, `exchange` and error pages ask.

/// The kinds that are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Browser {
    pub msie: bool,
    /// Internet Explorer 4 to 6, but not the one of Windows XP's second service pack.
    pub msie6: bool,
    pub chrome: bool,
    /// Safari, on a Mac.
    pub safari: bool,
}

impl Browser {
    pub fn of(agent: &[u8]) -> Browser {
        let has = |text: &[u8]| memchr::memmem::find(agent, text).is_some();
        if has(b"Opera") {
            return Browser::default();
        }
        let msie = memchr::memmem::find(agent, b"MSIE ").and_then(|at| agent.get(at + 5..));
        if let Some([major, dot, rest @ ..]) = msie.filter(|version| version.len() > 2) {
            let old = match (major, dot) {
                (b'4' | b'5', b'.') => true,
                (b'6', b'.') => memchr::memmem::find(rest, b"SV1").is_none(),
                _ => false,
            };
            return Browser { msie: true, msie6: old, ..Browser::default() };
        }
        let gecko = has(b"Gecko/");
        let chrome = !gecko && has(b"Chrome/");
        let safari = !gecko && !chrome && has(b"Safari/") && has(b"Mac OS X");
        Browser { chrome, safari, ..Browser::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_their_words() {
        let none = Browser::default();
        let msie = Browser { msie: true, ..none };
        for (agent, expected) in [
            ("curl/8", none),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", Browser { msie6: true, ..msie }),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", msie),
            ("Mozilla/4.0 (compatible; MSIE 8.0)", msie),
            ("Mozilla/4.0 (compatible; MSIE 6.0) Opera 8", none),
            (
                "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
                Browser { chrome: true, ..none },
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605 (KHTML, like Gecko) Safari/605",
                Browser { safari: true, ..none },
            ),
            ("Mozilla/5.0 (X11; rv:1) Gecko/20100101 Firefox/1", none),
        ] {
            assert_eq!(Browser::of(agent.as_bytes()), expected, "{agent}");
        }
    }
}
