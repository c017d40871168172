//! Where fairlead answers otherwise than Debian's nginx 1.22, on purpose. A difference that is not
//! here fails the test, and so does one that is here and does not occur any more.

pub struct Difference {
    pub configurations: &'static [&'static str],
    pub cases: &'static [&'static str],
    /// A piece of what nginx makes of it.
    pub nginx: &'static str,
    /// A piece of what fairlead makes of it.
    pub fairlead: &'static str,
    pub reason: &'static str,
}

/// The row for this case of this configuration.
pub fn listed(configuration: &str, case: &str) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|row| row.configurations.contains(&configuration) && row.cases.contains(&case))
}

const WIRE: &[&str] = &["wire on a proxy", "wire on files", "wire on a return"];
const PROXY: &[&str] = &["wire on a proxy"];
const RETURN: &[&str] = &["wire on a return"];
const ANSWERS: &[&str] = &["answers of the peer"];
const OK: &str = "HTTP/1.1 200 OK";
const BAD: &str = "HTTP/1.1 400 Bad Request";
const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway";

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        configurations: WIRE,
        cases: &["bare lf everywhere", "bare lf after request line", "bare lf after a field"],
        nginx: "Connection: ",
        fairlead: BAD,
        reason: "a line ends with CRLF: two servers that see different ends see different requests (RFC 9112, 2.2)",
    },
    Difference {
        configurations: WIRE,
        cases: &["bare lf after chunk size", "bare lf after chunk", "bare lf at the end"],
        nginx: "Connection: keep-alive",
        fairlead: "Connection: close",
        reason: "so does a line of a chunked body (RFC 9112, 7.1)",
    },
    Difference {
        configurations: WIRE,
        cases: &["no colon"],
        nginx: "Connection: keep-alive",
        fairlead: BAD,
        reason: "a field has a colon; nginx invents an empty value (RFC 9112, 5.1)",
    },
    Difference {
        configurations: WIRE,
        cases: &["delete character in a value", "control character in a value"],
        nginx: "Connection: keep-alive",
        fairlead: BAD,
        reason: "control characters are no part of a value, and what stands behind us may trip over them (RFC 9110, 5.5)",
    },
    Difference {
        configurations: WIRE,
        cases: &["host with strange port", "host with at sign", "unclosed IPv6 host", "host with percent"],
        nginx: "Connection: keep-alive",
        fairlead: BAD,
        reason: "none of these is a host and a port (RFC 9110, 7.2)",
    },
    Difference {
        configurations: WIRE,
        cases: &["chunked with a tab"],
        nginx: "HTTP/1.1 501 Not Implemented",
        fairlead: "Connection: keep-alive",
        reason: "a tab around a value is optional white space like a blank (RFC 9110, 5.6.3)",
    },
    Difference {
        configurations: PROXY,
        cases: &["field with tab before"],
        nginx: "X-Test: \\tyes",
        fairlead: "X-Test: yes",
        reason: "a tab around a value is optional white space like a blank (RFC 9110, 5.6.3)",
    },
    Difference {
        configurations: PROXY,
        cases: &["field with tab after"],
        nginx: "X-Test: yes\\t",
        fairlead: "X-Test: yes\\r",
        reason: "a tab around a value is optional white space like a blank (RFC 9110, 5.6.3)",
    },
    Difference {
        configurations: WIRE,
        cases: &["trace"],
        nginx: "Connection: close",
        fairlead: "Connection: keep-alive",
        reason: "the refusal of a method leaves the connection in step; it can go on",
    },
    Difference {
        configurations: WIRE,
        cases: &["expect without body"],
        nginx: "HTTP/1.1 100 Continue",
        fairlead: "HTTP/1.1 200 OK",
        reason: "there is no body to ask for (RFC 9110, 10.1.1)",
    },
    Difference {
        configurations: &["wire on a proxy", "wire on a return"],
        cases: &["expect with the body at once"],
        nginx: "HTTP/1.1 100 Continue",
        fairlead: OK,
        reason: "the body is there already (RFC 9110, 10.1.1)",
    },
    Difference {
        configurations: RETURN,
        cases: &["expect, and the body after the answer", "expect in upper case"],
        nginx: "HTTP/1.1 100 Continue",
        fairlead: OK,
        reason: "the answer does not depend on the body; asking for it would only cost the client (RFC 9110, 10.1.1)",
    },
    Difference {
        configurations: ANSWERS,
        cases: &["status 99", "status 1000", "no status line"],
        nginx: "",
        fairlead: BAD_GATEWAY,
        reason: "nginx takes what does not begin like HTTP for an HTTP/0.9 body and passes it on without a head",
    },
    Difference {
        configurations: ANSWERS,
        cases: &["100 first", "103 first"],
        nginx: "HTTP/1.1 10",
        fairlead: OK,
        reason: "an interim answer is not the answer (RFC 9110, 15.2); nginx does so from 1.29 on",
    },
    Difference {
        configurations: ANSWERS,
        cases: &["101 unasked"],
        nginx: "HTTP/1.1 101 Switching Protocols",
        fairlead: BAD_GATEWAY,
        reason: "nobody asked for another protocol (RFC 9110, 15.2.2)",
    },
    Difference {
        configurations: ANSWERS,
        cases: &["204 with length"],
        nginx: "Content-Length: 0",
        fairlead: "HTTP/1.1 204 No Content",
        reason: "204 has no length (RFC 9110, 8.6)",
    },
    Difference {
        configurations: ANSWERS,
        cases: &["bad chunk"],
        nginx: "peer: GET / ",
        fairlead: BAD_GATEWAY,
        reason: "nothing was sent yet, so the client gets an answer; nginx closes without one",
    },
    Difference {
        configurations: ANSWERS,
        cases: &["bad length", "negative length", "two lengths", "length and chunks", "odd encoding"],
        nginx: OK,
        fairlead: BAD_GATEWAY,
        reason: "an answer whose end nobody can be sure of is not passed on (RFC 9112, 6.3); newer nginx refuses these too",
    },
    Difference {
        configurations: ANSWERS,
        cases: &["no colon"],
        nginx: "X-One: ",
        fairlead: BAD_GATEWAY,
        reason: "a field has a colon; nginx invents an empty value (RFC 9112, 5.1)",
    },
    Difference {
        configurations: ANSWERS,
        cases: &["http/2.0"],
        nginx: OK,
        fairlead: BAD_GATEWAY,
        reason: "HTTP/2 does not come as text",
    },
    Difference {
        configurations: &["files"],
        cases: &[
            "unmodified since, before",
            "unmodified since, nonsense",
            "match, weak",
            "match, other",
            "range and a failed match",
        ],
        nginx: "HTTP/1.1 412 Precondition Failed",
        fairlead: "HTTP/1.1 404 Not Found",
        reason: "both say keep-alive; nginx closes all the same, and does not answer the request that follows",
    },
    Difference {
        configurations: &["conditions and ranges"],
        cases: &["GET /gzip/index.html HTTP/1.1 Range: bytes=99-,100-"],
        nginx: "Vary: Accept-Encoding",
        fairlead: "HTTP/1.1 416",
        reason: "the page of an error does not differ by what a client accepts",
    },
    Difference {
        configurations: &["proxy ranges"],
        cases: &["GET /page/ HTTP/1.1 page Range: bytes=99-"],
        nginx: "HTTP/1.1 416",
        fairlead: "HTTP/1.1 200",
        reason: "what error_page says of a wrong range is not itself cut by that range",
    },
    Difference {
        configurations: &["returns"],
        cases: &["/304"],
        nginx: "Content-Length: 0",
        fairlead: "HTTP/1.1 304 Not Modified",
        reason: "a length in 304 is the length of what was not sent, which is not 0 (RFC 9110, 8.6)",
    },
    Difference {
        configurations: &["returns"],
        cases: &["/494"],
        nginx: "Connection: keep-alive",
        fairlead: "Connection: close",
        reason: "494 says that a head was too long to be read, after which no connection goes on",
    },
    Difference {
        configurations: &["returns"],
        cases: &["variables of a post"],
        nginx: "|b|1|2|t/t|",
        fairlead: "|b|1, 2|2|t/t|",
        reason: "a field that came twice has both values, as in nginx from 1.23 on",
    },
    Difference {
        configurations: &["line ends"],
        cases: &["/named/%0d%0aX-Injected:%20yes", "/return/%0d%0aX-Injected:%20yes"],
        nginx: "\nX-Injected: yes\n",
        fairlead: "%0D%0AX-Injected: yes\n",
        reason: "a line end that a variable brings along would begin a field that nobody wrote (RFC 9110, 5.5)",
    },
    Difference {
        configurations: &["line ends"],
        cases: &["/args/%0d%0aX-Injected:%20yes", "/variable/%0d%0aX-Injected:%20yes"],
        nginx: "\\r\\nX-Injected: yes HTTP/1.1",
        fairlead: "%0D%0AX-Injected: yes HTTP/1.1",
        reason: "nor does it end the request line that a peer gets (RFC 9112, 3)",
    },
    Difference {
        configurations: &["request bodies"],
        cases: &[
            "/plain expects 0",
            "/small expects 0",
            "/single expects 0",
            "/file expects 0",
            "/old expects 0",
            "/limited expects 0",
            "/made expects 0",
            "/shown expects 0",
            "/bare expects 0",
            "/put expects 0",
        ],
        nginx: "HTTP/1.1 100 Continue",
        fairlead: OK,
        reason: "a request that says it has no content has nothing to go on with (RFC 9110, 10.1.1)",
    },
    Difference {
        configurations: &["rows in every value"],
        cases: &[
            "GET /intercept/t?x=1 HTTP/1.1, 401",
            "POST /intercept/t?x=1 HTTP/1.1, 401",
            "PATCH /intercept/t?x=1 HTTP/1.1, 401",
        ],
        nginx: "Basic realm=a",
        fairlead: "WWW-Authenticate: Digest",
        reason: "what a page of ours asks the client for is all that the peer asked for, as in nginx from 1.23 on",
    },
];
