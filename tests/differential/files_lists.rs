//! Folders that answer with what is in them, their index files, and answers that are no files.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::files_try::requests;
use crate::pair::{Pair, case};
use crate::recorder::Answers;

/// Names that have to be escaped in one place or another, sizes around every rounding, links.
fn fill(files: &Path) {
    let folder = files.join("list");
    for name in ["sub", "sub dir", "<b>", "Zoo", "empty", "z\u{fc}rich"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    let long = "n".repeat(49);
    let longer = "l".repeat(51);
    let names = [
        "plain.txt",
        "with space",
        "a&b",
        "<tag>",
        "quote\"s",
        "per%cent",
        "hash#mark",
        "ques?tion",
        "semi;colon",
        "col:on",
        "plus+",
        "at@",
        "tilde~",
        "dash-dot._",
        "back\\slash",
        "tab\there",
        "new\nline",
        "bell\u{7}",
        "single'quote",
        "[box]",
        "{brace}",
        "eq=ual",
        "com,ma",
        "ex!cl",
        "dol$lar",
        "pipe|",
        "caret^",
        "grave`",
        "del\u{7f}",
        "\u{fc}mlaut",
        "\u{4e2d}\u{6587}",
        "emoji\u{1f600}",
        "UPPER",
        ".hidden",
        &long,
        &longer,
        &"\u{fc}".repeat(30),
        &"\u{fc}".repeat(60),
        &"<&>".repeat(20),
        "m".repeat(50).leak(),
    ];
    for name in names {
        std::fs::write(folder.join(name), name).unwrap();
    }
    for size in [0, 1, 9_999, 10_000, 10_239, 10_240, 10_751, 10_752, 1_048_575, 1_048_576, 1_572_863, 1_572_864] {
        let file = std::fs::File::create(folder.join(format!("size-{size}"))).unwrap();
        file.set_len(size).unwrap();
    }
    let file = std::fs::File::create(folder.join("size-huge")).unwrap();
    file.set_len(5_000_000_000).unwrap();
    symlink("plain.txt", folder.join("link-to-file")).unwrap();
    symlink("sub", folder.join("link-to-folder")).unwrap();
    symlink("nowhere", folder.join("link-to-nowhere")).unwrap();
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(folder.join("sub/only.txt"), "only\n").unwrap();
    let mut stamp = 1_000_000_000;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // The order they are found in is the same for both.
        stamp += 86_461;
        if path.is_file() || path.is_dir() {
            let file = std::fs::File::open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(stamp)).unwrap();
        }
    }
}

#[test]
fn folders_are_listed() {
    let http =
        "server { listen 127.0.0.1:{port}; root {files}; autoindex on; types { text/html html htm; text/plain txt; }
        location /json/ { alias {files}/list/; autoindex_format json; }
        location /jsonp/ { alias {files}/list/; autoindex_format jsonp; }
        location /xml/ { alias {files}/list/; autoindex_format xml; }
        location /short/ { alias {files}/list/; autoindex_exact_size off; }
        location /local/ { alias {files}/list/; autoindex_localtime on; }
        location /utf8/ { alias {files}/list/; charset utf-8; }
        location /latin/ { alias {files}/list/; charset iso-8859-1; }
        location /off/ { alias {files}/list/; autoindex off; }
        location /empty/ { alias {files}/list/empty/; }
        location /empty-json/ { alias {files}/list/empty/; autoindex_format json; }
        location /empty-xml/ { alias {files}/list/empty/; autoindex_format xml; }
        location /none/ { root {files}/none; }
        location /file/ { alias {files}/letters.txt/; }
        location /odd&<x>/ { alias {files}/list/sub/; }
        location /index/ { alias {files}/folder/; }
        location /gzip/ { alias {files}/list/; gzip on; gzip_types *; gzip_min_length 1; }
        location /headers/ { alias {files}/list/sub/; add_header X-One 1; expires 1h; }
        location /old/ { alias {files}/list/sub/; chunked_transfer_encoding off; }
        location /sub/ { alias {files}/list/sub/; sub_filter only ONLY; }
        location /error { error_page 404 = /json/; return 404; }
        location /kept { error_page 404 /json/; return 404; }
    }";
    let pair = Pair::start("listings", http, Answers::new());
    fill(pair.files());
    let targets = [
        "/list/",
        "/list",
        "/list/sub/",
        "/list/sub%20dir/",
        "/list/%3cb%3e/",
        "/list/z%c3%bcrich/",
        "/json/",
        "/jsonp/",
        "/jsonp/?callback=call",
        "/jsonp/?callback=a.b[0]$_",
        "/jsonp/?callback=a%28b",
        "/jsonp/?callback=",
        "/jsonp/?x=1&CALLBACK=call&y=2",
        "/jsonp/?callback=%61b",
        "/xml/",
        "/short/",
        "/local/",
        "/utf8/",
        "/latin/",
        "/off/",
        "/empty/",
        "/empty-json/",
        "/empty-xml/",
        "/none/",
        "/file/",
        "/odd&%3cx%3e/",
        "/index/",
        "/headers/",
        "/old/",
        "/sub/",
        "/error",
        "/kept",
        "/bare/",
        "/list/link-to-folder/",
        "/list/none/",
        "/list/plain.txt/",
    ];
    let lines = [
        "GET PATH HTTP/1.1",
        "HEAD PATH HTTP/1.1",
        "GET PATH HTTP/1.0",
        "POST PATH HTTP/1.1\r\nContent-Length: 0",
        "GET PATH HTTP/1.1\r\nIf-None-Match: *",
        "GET PATH HTTP/1.1\r\nRange: bytes=0-10",
    ];
    let mut cases = requests(&lines, &targets);
    let long = format!("GET /jsonp/?callback={} HTTP/1.1\r\nHost: a.test\r\n\r\n", "a".repeat(129));
    cases.push(case("a callback that is too long", long));
    cases.push(case("deleting a folder", "DELETE /list/ HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    pair.compare(&cases);
}

#[test]
fn folders_have_an_index() {
    let http = "server { listen 127.0.0.1:{port}; root {files}; types { text/html html htm; text/plain txt; }
        location /several/ { alias {files}/folder/; index none.html none/x.html second.htm index.html; }
        location /variable/ { alias {files}/folder/; index $arg_i index.html; }
        location /deep/ { alias {files}/; index folder/second.htm; }
        location /absolute/ { alias {files}/bare/; index none.html /letters.txt; }
        location /absolute-variable/ { alias {files}/bare/; index $arg_i /letters.txt; }
        location /as-folder/ { alias {files}/; index folder; }
        location /through-file/ { alias {files}/; index letters.txt/x index.html; }
        location /long/ { alias {files}/; index {long} index.html; }
        location /no-folder/ { alias {files}/none/; index a b /letters.txt; }
        location /listed/ { alias {files}/bare/; autoindex on; index none.html; }
        location /random/ { alias {files}/list/sub/; random_index on; }
        location /random-empty/ { alias {files}/list/empty/; random_index on; }
        location /random-index/ { alias {files}/none/; random_index on; }
        location /random/inside/ { alias {files}/list/sub/; }
        location ~ \\.htm$ { return 200 \"$uri $request_uri $args\"; }
        location /plain/ { alias {files}/folder/; }
    }"
    .replace("{long}", &"x".repeat(300));
    let pair = Pair::start("indexes", &http, Answers::new());
    fill(pair.files());
    let targets = [
        "/",
        "/folder/",
        "/several/",
        "/several/?x=1",
        "/variable/?i=second.htm",
        "/variable/?i=none",
        "/variable/",
        "/variable/?i=/letters.txt",
        "/deep/",
        "/absolute/",
        "/absolute/?x=1",
        "/absolute-variable/?i=none",
        "/absolute-variable/?i=file",
        "/as-folder/",
        "/through-file/",
        "/long/",
        "/no-folder/",
        "/listed/",
        "/random/",
        "/random/?x=1",
        "/random-empty/",
        "/random-index/",
        "/random/inside/",
        "/plain/",
        "/plain",
        "/several",
        "/plain/index.html/",
        "/list/sub",
        "/list/sub?a=b",
        "/folder?%20",
        "/list/sub%20dir",
        "/list/%3cb%3e",
        "/list/z%c3%bcrich?x",
    ];
    let lines = [
        "GET PATH HTTP/1.1",
        "HEAD PATH HTTP/1.1",
        "POST PATH HTTP/1.1\r\nContent-Length: 0",
        "PUT PATH HTTP/1.1\r\nContent-Length: 0",
        "GET PATH HTTP/1.0",
    ];
    pair.compare(&requests(&lines, &targets));
}

const DAY: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

#[test]
fn answers_that_are_no_files_have_conditions_too() {
    let http = "server { listen 127.0.0.1:{port}; root {files};
        location /gif { empty_gif; }
        location /gif/if { empty_gif; if ($arg_x) { set $y 1; } }
        location /gif/exact { empty_gif; if_modified_since before; }
        location /text { return 200 text; }
        location /made { return 201 made; }
        location /off { return 200 text; if_modified_since off; }
    }";
    let mut cases = Vec::new();
    let paths = ["/gif", "/gif/x?y=1", "/gif/if", "/gif/if?x=1", "/gif/exact", "/text", "/made", "/off"];
    for condition in [
        "",
        "\r\nIf-Modified-Since: Mon, 28 Sep 1970 06:00:00 GMT",
        "\r\nIf-Modified-Since: Mon, 28 Sep 1970 06:00:01 GMT",
        "\r\nIf-Modified-Since: x",
        "\r\nIf-None-Match: *",
        "\r\nIf-None-Match: \"x\"",
        "\r\nIf-Match: *",
        "\r\nRange: bytes=0-1",
        "\r\nIf-None-Match: *\r\nIf-Modified-Since: Mon, 28 Sep 1970 06:00:00 GMT",
    ] {
        let line: &'static str = format!("GET PATH HTTP/1.1{condition}").leak();
        cases.extend(requests(&[line], &paths));
    }
    cases.extend(requests(
        &["HEAD PATH HTTP/1.1", "POST PATH HTTP/1.1\r\nContent-Length: 0", "GET PATH HTTP/1.0"],
        &paths,
    ));
    Pair::start("made answers", http, Answers::new()).compare(&cases);
}

#[test]
fn conditions_and_ranges_meet() {
    let http = "server { listen 127.0.0.1:{port}; root {files}; types { text/html html htm; text/plain txt; }
        location /aliased/ { alias {files}/; max_ranges 2; etag off; }
        location /charset/ { alias {files}/; charset utf-8; }
        location /headers/ { alias {files}/; add_header X-One 1; expires 1h; }
        location /gzip/ { alias {files}/; gzip on; gzip_min_length 1; gzip_vary on; }
        location /sub/ { alias {files}/; sub_filter abc ABC; sub_filter_types *; sub_filter_last_modified on; }
        location /before/ { alias {files}/; if_modified_since before; }
        location /missing { error_page 404 = /letters.txt; return 404; }
    }";
    let mut cases = Vec::new();
    let ranges = [
        "0-1,3-4",
        "0-0",
        "-1",
        "0-0,-1",
        "1-2,5-6,9-10",
        "0-25",
        "0-24,25-25",
        "0-25,0-0",
        "5-1",
        "3-4,99-",
        "99-,3-4",
        "0-1,0-1",
        "-0",
        "0-1,-0",
        "25-,0-",
        "1-1,2-2,3-3,4-4,5-5,6-6,7-7",
        " 0-1 , 3-4 ",
        "0 -1",
        "0-1;3-4",
    ];
    let conditions = ["", "\r\nIf-Range: \"3b9aca00-1a\"", "\r\nIf-Range: \"x\"", "\r\nIf-None-Match: \"x\""];
    for range in ranges {
        for condition in conditions {
            let line: &'static str = format!("GET PATH HTTP/1.1\r\nRange: bytes={range}{condition}").leak();
            cases.extend(requests(&[line], &["/letters.txt", "/aliased/letters.txt", "/charset/letters.txt"]));
        }
    }
    let dated: &'static str = format!("GET PATH HTTP/1.1\r\nRange: bytes=0-1,3-4\r\nIf-Range: {DAY}").leak();
    let lines = [
        "GET PATH HTTP/1.1\r\nRange: bytes=0-1,3-4",
        "GET PATH HTTP/1.1\r\nRange: bytes=2-",
        "HEAD PATH HTTP/1.1\r\nRange: bytes=0-1,3-4",
        "GET PATH HTTP/1.0\r\nRange: bytes=0-1,3-4",
        "GET PATH HTTP/1.1\r\nAccept-Encoding: gzip\r\nRange: bytes=0-1,3-4",
        "GET PATH HTTP/1.1\r\nRange: bytes=99-,100-",
        dated,
    ];
    let places = [
        "/headers/letters.txt",
        "/gzip/letters.txt",
        "/gzip/index.html",
        "/sub/letters.txt",
        "/before/letters.txt",
        "/missing",
        "/big.bin",
        "/empty.txt",
        "/none",
        "/folder/",
    ];
    cases.extend(requests(&lines, &places));
    Pair::start("conditions and ranges", http, Answers::new()).compare(&cases);
}
