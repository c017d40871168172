//! Files: folders and their index, conditions, ranges.

use crate::http::gets;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

#[test]
fn files() {
    let http = "server { listen 127.0.0.1:{port}; root {files}; index index.html second.htm;
        types { text/html html htm; text/plain txt; application/octet-stream bin; }
        default_type application/x-unknown;
        location /aliased/ { alias {files}/folder/; }
        location /aliased-file { alias {files}/letters.txt; }
        location /missing-root/ { root {files}/none; }
        location /plain/ { alias {files}/; etag off; max_ranges 0; if_modified_since off; }
        location /before/ { alias {files}/; if_modified_since before; max_ranges 1; }
        location /second/ { alias {files}/folder/; index none.html second.htm; }
    }";
    Pair::start("files", http, Answers::new()).compare(&file_requests());
}

const DAY: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const BEFORE: &str = "Sat, 08 Sep 2001 01:46:40 GMT";
const AFTER: &str = "Mon, 10 Sep 2001 01:46:40 GMT";
const ETAG: &str = "\"3b9aca00-1a\"";

fn fields(name: &'static str, target: &str, fields: &str) -> Case {
    case(name, format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n"))
}

fn letters(name: &'static str, line: &str) -> Case {
    fields(name, "/letters.txt", line)
}

fn file_requests() -> Vec<Case> {
    let mut cases = plain();
    cases.extend(methods());
    cases.extend(conditions());
    cases.extend(ranges());
    cases
}

fn plain() -> Vec<Case> {
    gets(&[
        "/",
        "/index.html",
        "/letters.txt",
        "/letters.txt?x=1",
        "/empty.txt",
        "/a%20b.txt",
        "/100%25.txt",
        "/folder",
        "/folder/",
        "/folder?x=1",
        "/folder/index.html",
        "/folder/../letters.txt",
        "/bare",
        "/bare/",
        "/bare/file",
        "/UPPER.TXT",
        "/upper.txt",
        "/none",
        "/none/",
        "/letters.txt/",
        "/letters.txt/x",
        "/big.bin",
        "/aliased/",
        "/aliased/second.htm",
        "/aliased",
        "/aliased-file",
        "/aliased-filex",
        "/missing-root/",
        "/missing-root/x",
        "/second/",
        "/plain/letters.txt",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/../etc/passwd",
        "/letters%2etxt",
        "/folder//index.html",
        "/folder%2findex.html",
        "/bare%00",
        "/fold%65r",
        "/a%20b",
        "/letters.txt%20",
    ])
}

fn methods() -> Vec<Case> {
    vec![
        case("head of a file", "HEAD /letters.txt HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("head of a folder", "HEAD /folder/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("head of nothing", "HEAD /none HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("head of a range", "HEAD /letters.txt HTTP/1.1\r\nHost: a.test\r\nRange: bytes=1-2\r\n\r\n"),
        case("post to a file", "POST /letters.txt HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case("delete of a file", "DELETE /letters.txt HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("post to a folder", "POST /folder/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case("post to a folder without slash", "POST /folder HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case("get with a body", "GET /letters.txt HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case("file in http/1.0", "GET /letters.txt HTTP/1.0\r\n\r\n"),
        case("file in http/0.9", "GET /letters.txt\r\n"),
        case("range in http/1.0", "GET /letters.txt HTTP/1.0\r\nRange: bytes=1-2\r\n\r\n"),
        letters("close", "Connection: close"),
    ]
}

fn conditions() -> Vec<Case> {
    vec![
        letters("modified since, same", &format!("If-Modified-Since: {DAY}")),
        letters("modified since, before", &format!("If-Modified-Since: {BEFORE}")),
        letters("modified since, after", &format!("If-Modified-Since: {AFTER}")),
        letters("modified since, nonsense", "If-Modified-Since: yesterday"),
        letters("modified since, old form", "If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT"),
        letters("modified since, asctime", "If-Modified-Since: Sun Sep  9 01:46:40 2001"),
        letters("unmodified since, same", &format!("If-Unmodified-Since: {DAY}")),
        letters("unmodified since, before", &format!("If-Unmodified-Since: {BEFORE}")),
        letters("unmodified since, after", &format!("If-Unmodified-Since: {AFTER}")),
        letters("unmodified since, nonsense", "If-Unmodified-Since: x"),
        letters("none match, same", &format!("If-None-Match: {ETAG}")),
        letters("none match, weak", &format!("If-None-Match: W/{ETAG}")),
        letters("none match, other", "If-None-Match: \"x\""),
        letters("none match, list", &format!("If-None-Match: \"x\", {ETAG}")),
        letters("none match, star", "If-None-Match: *"),
        letters("none match over modified since", &format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {DAY}")),
        letters("both say not modified", &format!("If-None-Match: {ETAG}\r\nIf-Modified-Since: {DAY}")),
        letters("match, same", &format!("If-Match: {ETAG}")),
        letters("match, weak", &format!("If-Match: W/{ETAG}")),
        letters("match, other", "If-Match: \"x\""),
        letters("match, star", "If-Match: *"),
        fields("not modified, of an index", "/", &format!("If-Modified-Since: {DAY}")),
        fields("no conditions allowed", "/plain/letters.txt", &format!("If-Modified-Since: {DAY}")),
        fields("before, before", "/before/letters.txt", &format!("If-Modified-Since: {BEFORE}")),
        fields("before, same", "/before/letters.txt", &format!("If-Modified-Since: {DAY}")),
        fields("before, after", "/before/letters.txt", &format!("If-Modified-Since: {AFTER}")),
    ]
}

fn ranges() -> Vec<Case> {
    vec![
        letters("range", "Range: bytes=2-4"),
        letters("range from", "Range: bytes=20-"),
        letters("range to the end", "Range: bytes=-5"),
        letters("range of everything", "Range: bytes=0-"),
        letters("range past the end", "Range: bytes=20-99"),
        letters("range longer than the file, from the end", "Range: bytes=-99"),
        letters("range outside", "Range: bytes=26-"),
        letters("range far outside", "Range: bytes=100-200"),
        letters("range backwards", "Range: bytes=5-2"),
        letters("range of zero at the end", "Range: bytes=-0"),
        letters("range without numbers", "Range: bytes=-"),
        letters("range in another unit", "Range: lines=1-2"),
        letters("range in upper case", "Range: BYTES=1-2"),
        letters("range with blanks", "Range: bytes= 1 - 2"),
        letters("range with blank before equals", "Range: bytes =1-2"),
        letters("range nonsense", "Range: bytes=a-b"),
        letters("range too large", "Range: bytes=0-99999999999999999999"),
        letters("range starts too large", "Range: bytes=99999999999999999999-"),
        letters("two ranges", "Range: bytes=0-1,3-4"),
        letters("two ranges with a blank", "Range: bytes=0-1, 3-4"),
        letters("overlapping ranges", "Range: bytes=0-9,5-14"),
        letters("ranges backwards", "Range: bytes=10-12,0-1"),
        letters("one of two ranges outside", "Range: bytes=0-1,50-60"),
        letters("both ranges outside", "Range: bytes=40-41,50-60"),
        letters("ranges that cover too much", "Range: bytes=0-25,0-25"),
        letters("empty range in a list", "Range: bytes=0-1,,3-4"),
        letters("comma at the end", "Range: bytes=0-1,"),
        letters("if-range with the tag", &format!("Range: bytes=0-1\r\nIf-Range: {ETAG}")),
        letters("if-range with another tag", "Range: bytes=0-1\r\nIf-Range: \"x\""),
        letters("if-range with a weak tag", &format!("Range: bytes=0-1\r\nIf-Range: W/{ETAG}")),
        letters("if-range with the date", &format!("Range: bytes=0-1\r\nIf-Range: {DAY}")),
        letters("if-range with another date", &format!("Range: bytes=0-1\r\nIf-Range: {AFTER}")),
        letters("range and not modified", &format!("Range: bytes=0-1\r\nIf-Modified-Since: {DAY}")),
        letters("range and a failed match", "Range: bytes=0-1\r\nIf-Match: \"x\""),
        fields("range of an empty file", "/empty.txt", "Range: bytes=0-"),
        fields("range of an empty file from the end", "/empty.txt", "Range: bytes=-1"),
        fields("range of a large file", "/big.bin", "Range: bytes=100000-100009"),
        fields("two ranges of a large file", "/big.bin", "Range: bytes=0-9,199990-"),
        fields("no ranges allowed", "/plain/letters.txt", "Range: bytes=0-1"),
        fields("one range allowed, one asked", "/before/letters.txt", "Range: bytes=0-1"),
        fields("one range allowed, two asked", "/before/letters.txt", "Range: bytes=0-1,3-4"),
    ]
}
