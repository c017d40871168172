//! The pages nginx answers errors with, in its words.
//!
//! Some browsers show a page of their own instead of a short one: [`pad`] makes it longer (`msie_padding`).

use crate::reply::{Body, Reply};
use crate::respond::SERVER;
use std::borrow::Cow;

/// The built-in page of `status`; `tokens` shows our version (`server_tokens`). nginx's own
/// statuses from 494 on go out as the 400 they are. A status without a page has no body.
pub fn error_page(status: u16, tokens: bool) -> Reply {
    let sent = match status {
        494..=497 => 400,
        status => status,
    };
    // After these the client's bytes cannot be trusted to be in step, or the answer was an accident.
    let close = matches!(sent, 400 | 413 | 414 | 500 | 501);
    match page(status, tokens) {
        Some(page) => Reply {
            status: sent,
            content_type: Some(Cow::Borrowed(b"text/html")),
            body: Body::Bytes(Cow::Owned(page.into_bytes())),
            close,
            page: Some(status),
            ..Reply::default()
        },
        None => Reply { status: sent, close, page: Some(status), ..Reply::default() },
    }
}

/// Six lines of it make any page long enough.
const PADDING: &str = "<!-- without these lines some browsers show a page of their own -->\r\n";

/// Makes a built-in page longer than the browsers' own are shown for.
pub(crate) fn pad(reply: &mut Reply) {
    if let Body::Bytes(page) = &mut reply.body {
        page.to_mut().extend_from_slice(PADDING.repeat(6).as_bytes());
    }
}

fn page(status: u16, tokens: bool) -> Option<String> {
    let (title, heading, explained) = words(status)?;
    let explained =
        if explained { format!("<center>{}</center>\r\n", title.get(4..).unwrap_or_default()) } else { String::new() };
    let signature = if tokens { SERVER } else { "fairlead" };
    Some(format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n{explained}\
         <hr><center>{signature}</center>\r\n</body>\r\n</html>\r\n"
    ))
}

/// Title, heading, and whether the title's words stand below the heading too.
fn words(status: u16) -> Option<(&'static str, &'static str, bool)> {
    let title = match status {
        301 => "301 Moved Permanently",
        302 => "302 Found",
        303 => "303 See Other",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        401 => "401 Authorization Required",
        402 => "402 Payment Required",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Not Allowed",
        406 => "406 Not Acceptable",
        408 => "408 Request Time-out",
        409 => "409 Conflict",
        410 => "410 Gone",
        411 => "411 Length Required",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        414 => "414 Request-URI Too Large",
        415 => "415 Unsupported Media Type",
        416 => "416 Requested Range Not Satisfiable",
        421 => "421 Misdirected Request",
        429 => "429 Too Many Requests",
        494 => return Some(("400 Request Header Or Cookie Too Large", "400 Bad Request", true)),
        495 => return Some(("400 The SSL certificate error", "400 Bad Request", true)),
        496 => return Some(("400 No required SSL certificate was sent", "400 Bad Request", true)),
        497 => return Some(("400 The plain HTTP request was sent to HTTPS port", "400 Bad Request", true)),
        500 => "500 Internal Server Error",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Temporarily Unavailable",
        504 => "504 Gateway Time-out",
        505 => "505 HTTP Version Not Supported",
        507 => "507 Insufficient Storage",
        _ => return None,
    };
    Some((title, title, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(status: u16, tokens: bool) -> String {
        match error_page(status, tokens).body {
            Body::Bytes(bytes) => String::from_utf8(bytes.into_owned()).unwrap(),
            other => panic!("{status} has {other:?}"),
        }
    }

    #[test]
    fn pages_are_nginx_s_but_for_the_name() {
        assert_eq!(
            body(404, false),
            "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n\
             <hr><center>fairlead</center>\r\n</body>\r\n</html>\r\n"
        );
        assert!(body(404, true).contains(concat!("<center>fairlead/", env!("CARGO_PKG_VERSION"), "</center>")));
    }

    #[test]
    fn nginx_s_own_statuses_are_explained_400s() {
        assert_eq!(error_page(494, true).status, 400);
        assert!(error_page(494, true).close);
        let page = body(494, true);
        assert!(page.contains("<title>400 Request Header Or Cookie Too Large</title>"));
        assert!(
            page.contains("<h1>400 Bad Request</h1></center>\r\n<center>Request Header Or Cookie Too Large</center>")
        );
    }

    /// Lengths of Debian's nginx 1.22.1 pages, whose signature is 12 bytes.
    #[test]
    fn lengths_agree_with_nginx() {
        for (status, length) in [
            (301, 169),
            (302, 145),
            (303, 153),
            (307, 171),
            (308, 171),
            (400, 157),
            (401, 179),
            (402, 167),
            (403, 153),
            (404, 153),
            (405, 157),
            (406, 163),
            (409, 151),
            (410, 143),
            (411, 165),
            (412, 173),
            (413, 183),
            (414, 177),
            (415, 179),
            (416, 197),
            (421, 173),
            (429, 169),
            (494, 233),
            (495, 215),
            (496, 237),
            (497, 255),
            (500, 177),
            (501, 165),
            (502, 157),
            (503, 197),
            (504, 167),
            (505, 187),
            (507, 175),
        ] {
            assert_eq!(body(status, false).len() - "fairlead".len() + "nginx/1.22.1".len(), length, "{status}");
        }
    }

    #[test]
    fn other_statuses_have_no_page() {
        assert!(error_page(430, true).body.len() == 0);
        assert_eq!(error_page(430, true).content_type, None);
    }
}
