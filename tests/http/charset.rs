//! What `Content-Type` says of a text, and texts in another charset than they were stored in.

use fairlead_harness::{Answer, HttpPeer, get};

use crate::fairlead;

const MAPS: &str = "charset_map koi8-r windows-1251 { C0 FE; C1 E0; D2 F0; } charset_map koi8-r utf-8 { C0 D18E; C1 D0B0; 80 E282AC; }";

#[test]
fn a_charset_is_told_and_a_text_recoded() {
    let http = format!(
        "{MAPS} server {{ listen 127.0.0.1:{{port}}; root {{dir}}/site; types {{ text/html html; image/png png; }}
            location / {{ charset utf-8; }}
            location /off/ {{ charset off; alias {{dir}}/site/; }}
            location /win/ {{ charset windows-1251; source_charset koi8-r; alias {{dir}}/site/; }}
            location /utf/ {{ charset utf-8; source_charset koi8-r; alias {{dir}}/site/; }}
            location /koi/ {{ charset koi8-r; source_charset utf-8; charset_types image/png; alias {{dir}}/site/; }}
            location /if/ {{ if ($arg_koi) {{ charset koi8-r; override_charset on; source_charset koi8-r; }} return 200 text; }} }}"
    );
    let proxy = fairlead().file("site/a.html", b"\xc0\xc1 \x80 a").file("site/b.png", "ю€ж".as_bytes()).http(&http);
    let ask = |path: &str| {
        let answer = get(proxy.address(), path);
        (answer.header("content-type").unwrap().to_owned(), answer.body)
    };
    assert_eq!(ask("/a.html"), ("text/html; charset=utf-8".into(), b"\xc0\xc1 \x80 a".to_vec()));
    assert_eq!(ask("/off/a.html").0, "text/html");
    assert_eq!(ask("/win/a.html"), ("text/html; charset=windows-1251".into(), b"\xfe\xe0 ? a".to_vec()));
    assert_eq!(ask("/utf/a.html"), ("text/html; charset=utf-8".into(), "юа € a".as_bytes().to_vec()));
    assert_eq!(ask("/koi/b.png"), ("image/png; charset=koi8-r".into(), b"\xc0\x80&#1078;".to_vec()));
    assert_eq!(ask("/b.png").0, "image/png");
    assert_eq!((ask("/if/").0, ask("/if/?koi=1").0), ("text/plain".into(), "text/plain; charset=koi8-r".into()));
    let missing = get(proxy.address(), "/none.html");
    assert_eq!(missing.header("content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn a_peer_may_say_what_its_text_is_in_and_what_it_should_be_in() {
    let peer = HttpPeer::start(|request| {
        let fields = request.header("x-fields").unwrap_or_default().replace('|', "\r\n");
        Answer::Raw(
            [format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 2\r\n\r\n").as_bytes(), b"\xc0\xc1"].concat(),
        )
    });
    let http = format!(
        "{MAPS} server {{ listen 127.0.0.1:{{port}};
            location / {{ charset utf-8; proxy_pass http://{{peer}}; }}
            location /over/ {{ charset utf-8; override_charset on; proxy_pass http://{{peer}}; }}
            location /silent/ {{ source_charset koi8-r; proxy_pass http://{{peer}}; }}
            location /deaf/ {{ source_charset koi8-r; proxy_ignore_headers X-Accel-Charset; proxy_pass http://{{peer}}; }} }}"
    );
    let proxy = fairlead().set("peer", peer.address()).http(&http);
    let ask = |path: &str, fields: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nX-Fields: {fields}\r\n\r\n");
        let answer = fairlead_harness::Client::connect(proxy.address()).request(request);
        (answer.header("content-type").unwrap().to_owned(), answer.body)
    };
    let koi = "Content-Type: text/html; charset=koi8-r";
    assert_eq!(ask("/", koi), ("text/html; charset=koi8-r".into(), b"\xc0\xc1".to_vec()));
    assert_eq!(ask("/over/", koi), ("text/html; charset=utf-8".into(), "юа".as_bytes().to_vec()));
    let accel = "Content-Type: text/css|X-Accel-Charset: utf-8";
    assert_eq!(ask("/silent/", accel), ("text/css; charset=utf-8".into(), "юа".as_bytes().to_vec()));
    assert_eq!(ask("/deaf/", accel), ("text/css".into(), b"\xc0\xc1".to_vec()));
    ask("/over/", "Content-Type: text/html; charset=latin1");
    proxy.wait_for_error("no \"charset_map\" between the charsets \"latin1\" and \"utf-8\"");
    ask("/", "Content-Type: text/html|X-Accel-Charset: odd");
    proxy.wait_for_error("unknown charset \"odd\" to override");
}

#[test]
fn maps_that_are_none_are_refused() {
    for (text, words) in [
        ("charset_map a A {}", "between the same charsets"),
        ("charset_map a b {} charset_map B a {}", "duplicate \"charset_map\""),
        ("charset_map a b { C0; }", "invalid parameters number"),
        ("charset_map a b { XX 80; }", "invalid value \"XX\""),
        ("charset_map a b { C0 1FF; }", "invalid value \"1FF\""),
        ("charset_map a utf-8 { C0 41; }", "invalid value \"41\""),
        ("charset_map a utf-8 { C0 F09F9880; }", "invalid value \"F09F9880\""),
        ("charset_map utf-8 a { C0 80; }", "second charset"),
        (
            "charset b; source_charset a; server { listen 127.0.0.1:1; }",
            "no \"charset_map\" between the charsets \"a\" and \"b\"",
        ),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {text} }}"));
        assert!(!fine && said.contains(words), "{text}: {said}");
    }
}
