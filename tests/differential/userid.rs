//! Cookies that tell clients apart: what is set, and what is logged of what came.

use crate::http::PROXY;
use crate::pair::{Pair, case};
use crate::recorder::Answers;

#[test]
fn clients_are_told_apart_alike() {
    let http = format!(
        "{PROXY} log_format uids '$status $uid_got $uid_set $sent_http_set_cookie'; access_log {{dir}}/uids.log uids;
        map $arg_reset $uid_reset {{ default ''; 1 1; 0 0; log log; }}
        userid on;
        server {{ listen 127.0.0.1:{{port}}; root {{files}}; types {{ text/html html; text/plain txt; }}
            location / {{ return 200 text; }}
            location /peer/ {{ add_header X-Own 1; proxy_pass http://{{peer}}; }}
            location /files/ {{ alias {{files}}/; }}
            location /v1/ {{ userid v1; return 200 text; }}
            location /v1/number/ {{ userid v1; userid_service 258; return 200 text; }}
            location /number/ {{ userid_service 16909060; return 200 text; }}
            location /log/ {{ userid log; return 200 text; }}
            location /off/ {{ userid off; return 200 text; }}
            location /other/ {{ userid_name sid; userid_domain a.test; userid_path /other; userid_expires max;
                userid_p3p 'policyref=\"/w3c/p3p.xml\", CP=\"CUR ADM\"'; return 200 text; }}
            location /year/ {{ userid_expires 365d; userid_domain none; userid_p3p none; return 200 text; }}
            location /flags/ {{ userid_flags secure httponly samesite=strict; return 200 text; }}
            location /lax/ {{ userid_flags samesite=lax samesite=none; return 302 /x; }}
            location /mark/ {{ userid_mark x; return 200 text; }}
            location /same/ {{ userid_mark =; return 200 text; }}
            location /gone/ {{ return 404; }}
            location /say/ {{ return 200 '$uid_got|'; }}
            location /none/ {{ return 204; }}
            location /modified/ {{ add_header X-A $uid_set; if_modified_since before; alias {{files}}/; }}
        }}"
    );
    let paths = [
        "/",
        "/peer/",
        "/files/letters.txt",
        "/files/none",
        "/v1/",
        "/v1/number/",
        "/number/",
        "/log/",
        "/off/",
        "/other/",
        "/year/",
        "/flags/",
        "/lax/",
        "/mark/",
        "/same/",
        "/gone/",
        "/say/",
        "/none/",
    ];
    let v2 = "fwAAAWUBAgMJCAcGAwMDAg";
    let cookies = [
        String::new(),
        format!("Cookie: uid={v2}==\r\n"),
        format!("Cookie: a=b; UID={v2}x=; c=d\r\n"),
        format!("Cookie: sid={v2}\r\n"),
        format!("Cookie: a=b\r\nCookie: uid={v2}y=\r\n"),
        "Cookie: uid=short\r\n".into(),
        "Cookie: uid=!!!!!!!!!!!!!!!!!!!!!!!!\r\n".into(),
        "Cookie: uid=AAAAAAAAAAAAAAAAAAAAAAAA\r\n".into(),
        "Cookie: uid=fwAAAWUB===============x\r\n".into(),
    ];
    let mut cases = Vec::new();
    for path in paths {
        for cookie in &cookies {
            let title: &'static str = format!("{path} {cookie}").leak();
            cases.push(case(title, format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{cookie}\r\n")));
        }
    }
    for (path, reset) in
        ["/", "/mark/", "/v1/", "/log/"].into_iter().flat_map(|path| ["0", "1", "log"].map(|r| (path, r)))
    {
        let title: &'static str = format!("{path} reset {reset}").leak();
        let request = format!("GET {path}?reset={reset} HTTP/1.1\r\nHost: a.test\r\nCookie: uid={v2}==\r\n\r\n");
        cases.push(case(title, request));
    }
    cases.push(case("head", "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    cases.push(case("http/1.0", "GET / HTTP/1.0\r\n\r\n"));
    cases.push(case("a bad request", "GET / HTTP/1.1\r\n\r\n"));
    let pair = Pair::start("userid", &http, Answers::default());
    pair.compare(&cases);
    // Two of them end their connection at once, before one more request.
    pair.compare_lines("uids.log", cases.len() * 2 - 2, |line| Some(without_times(line)));
}

/// Identifiers of this moment: their two numbers in the middle are the clock's and the process's.
fn without_times(line: &str) -> String {
    line.split(' ')
        .map(|word| {
            // The two servers may answer in different seconds.
            let is_clock = word.len() == 8 && word.bytes().filter(|byte| *byte == b':').count() == 2;
            if is_clock {
                return "CLOCK".to_owned();
            }
            let fresh = word.split_once('=').filter(|(_, uid)| uid.len() == 32 && !uid.contains("6501"));
            fresh.map_or(crate::transcript::without_uid(word), |(name, uid)| {
                format!("{name}={}TIME{}", &uid[..8], &uid[24..])
            })
        })
        .collect::<Vec<_>>()
        .join(" ")
}
