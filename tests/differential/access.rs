//! Who comes in and as whom: fields that name clients, rules, passwords, questions to another
//! location, links and referers, each in many shapes.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

/// A GET with one more field, whose bytes name the case.
fn with_field(host: &str, target: &str, field: &str) -> Case {
    let text = format!("{host}{target} {field:?}");
    let field = if field.is_empty() { String::new() } else { format!("{field}\r\n") };
    // The name of a case lives as long as the test.
    case(text.leak(), format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{field}\r\n"))
}

const FORWARDED: &[&str] = &[
    "192.0.2.1",
    "192.0.2.1:80",
    "192.0.2.1:0",
    "192.0.2.1:99999",
    "192.0.2.1:",
    "192.0.2.1:x",
    "2001:db8::1",
    "[2001:db8::1]",
    "[2001:db8::1]:443",
    "[2001:db8::1]:",
    "::ffff:192.0.2.1",
    "192.0.2.1, 192.0.2.2",
    "192.0.2.1,192.0.2.2",
    "192.0.2.1 192.0.2.2",
    "192.0.2.1 , 192.0.2.2",
    "192.0.2.1, 192.0.2.2,",
    "192.0.2.1, 192.0.2.2, ,",
    ", 192.0.2.1",
    ",192.0.2.1",
    ",,,",
    ",",
    "192.0.2.1, 10.0.0.1",
    "192.0.2.1, 10.0.0.1, 10.0.0.2",
    "10.0.0.1, 192.0.2.1, 10.0.0.2",
    "10.0.0.1, 10.0.0.2",
    "10.0.0.1",
    "unknown, 10.0.0.1",
    "192.0.2.1, unknown",
    "192.0.2.1, unknown, 10.0.0.1",
    "unknown",
    "192.0.2",
    "192.0.2.1.2",
    "192.0.2.256",
    "1",
    "x",
    "192.0.2.01",
    "127.0.0.1",
    "127.0.0.9, 127.0.0.1",
    "fd00::1, 192.0.2.1",
    "192.0.2.1, fd00::1",
    "\"192.0.2.1\"",
    "for=192.0.2.1",
    "192.0.2.1;q=1",
    "0.0.0.0",
    "255.255.255.255",
];

#[test]
fn clients_are_who_trusted_proxies_say() {
    let tell = "location / { return 200 \"$remote_addr|$port|$proxy_add_x_forwarded_for|$near|$deep\\n\"; }";
    let server = |name: &str, realip: &str| {
        format!("server {{ listen 127.0.0.1:{{port}}; server_name {name}; {realip} {tell} }}")
    };
    let trusted = "set_real_ip_from 127.0.0.1; set_real_ip_from 10.0.0.0/8; set_real_ip_from fd00::/8;";
    let http = [
        "map $remote_port $port { default its; '' none; 80 80; 443 443; }
         geo $near { default far; proxy 127.0.0.1; proxy 10.0.0.0/8; 192.0.2.0/24 doc; 10.0.0.0/8 ten; 2001:db8::/32 six; }
         geo $deep { default far; proxy 127.0.0.1; proxy 10.0.0.0/8; proxy_recursive; 192.0.2.0/24 doc; 10.0.0.0/8 ten; 2001:db8::/32 six; }"
            .to_owned(),
        server("plain.test", ""),
        server("last.test", &format!("{trusted} real_ip_header X-Forwarded-For;")),
        server("deep.test", &format!("{trusted} real_ip_header X-Forwarded-For; real_ip_recursive on;")),
        server("other.test", "set_real_ip_from 127.0.0.2; real_ip_header X-Forwarded-For;"),
        server("real.test", trusted),
        server("field.test", &format!("{trusted} real_ip_header X-Client; real_ip_recursive on;")),
    ];
    let mut cases = Vec::new();
    for value in FORWARDED {
        for host in ["plain.test", "last.test", "deep.test", "other.test"] {
            cases.push(with_field(host, "/", &format!("X-Forwarded-For: {value}")));
        }
        cases.push(with_field("real.test", "/", &format!("X-Real-IP: {value}")));
        cases.push(with_field("field.test", "/", &format!("X-Client: {value}")));
    }
    for (one, two) in [
        ("192.0.2.1", "10.0.0.1"),
        ("192.0.2.1", "192.0.2.2"),
        ("10.0.0.1", "bad"),
        ("192.0.2.1, 10.0.0.2", "10.0.0.1"),
    ] {
        for host in ["last.test", "deep.test"] {
            let fields = format!("X-Forwarded-For: {one}\r\nX-Forwarded-For: {two}");
            cases.push(with_field(host, "/", &fields));
        }
    }
    Pair::start("who clients are", &http.concat(), Answers::new()).compare(&cases);
}

const CREDENTIALS: &[&str] = &[
    "",
    "Authorization: Basic am9lOnNlY3JldA==",
    "Authorization: basic am9lOnNlY3JldA==",
    "Authorization: Basic  am9lOnNlY3JldA==",
    "Authorization: Basic am9lOnNlY3JldA",
    "Authorization: Basic am9lOnNlY3JldA=",
    "Authorization: Basic am9lOnNlY3JldA== x",
    "Authorization: Basic am9lOndyb25n",
    "Authorization: Basic am9l",
    "Authorization: Basic am9lOg==",
    "Authorization: Basic OnNlY3JldA==",
    "Authorization: Basic Og==",
    "Authorization: Basic",
    "Authorization: Basic ",
    "Authorization: Basic !!!!",
    "Authorization: Basic a",
    "Authorization: Bearer am9lOnNlY3JldA==",
    "Authorization: am9lOnNlY3JldA==",
    "Authorization:",
    "Authorization: BasicXam9lOnNlY3JldA==",
    "Authorization: Basic YW5uOmE6Yg==",
    "Authorization: Basic bm9ib2R5OnNlY3JldA==",
    "Authorization: Basic I2pvZTpzZWNyZXQ=",
    "Authorization: Basic ZW1wdHk6",
    "Proxy-Authorization: Basic am9lOnNlY3JldA==",
];

#[test]
fn passwords_and_rules_decide_alike() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}}; root {{files}};
            auth_basic \"the \\\"realm\\\"\"; auth_basic_user_file {{files}}/private/users;
            location / {{ proxy_pass http://{{peer}}; proxy_set_header X-User $remote_user; proxy_set_header Connection close; }}
            location /any-denied {{ satisfy any; deny all; proxy_pass http://{{peer}}; }}
            location /any-allowed {{ satisfy any; allow 127.0.0.1; deny all; proxy_pass http://{{peer}}; }}
            location /any-unsaid {{ satisfy any; deny 10.0.0.1; proxy_pass http://{{peer}}; }}
            location /all-denied {{ deny 127.0.0.0/8; proxy_pass http://{{peer}}; }}
            location /all-allowed {{ allow 127.0.0.1; deny all; proxy_pass http://{{peer}}; }}
            location /off {{ auth_basic off; proxy_pass http://{{peer}}; }}
            location /realm {{ auth_basic $arg_r; proxy_pass http://{{peer}}; }}
            location /lost {{ auth_basic_user_file {{files}}/private/none; proxy_pass http://{{peer}}; }}
            location /folder {{ }} location /said {{ return 200 said; }}
        }}"
    );
    let targets = [
        "/",
        "/any-denied",
        "/any-allowed",
        "/any-unsaid",
        "/all-denied",
        "/all-allowed",
        "/off",
        "/realm?r=off",
        "/realm?r=x",
        "/lost",
        "/folder",
        "/folder/",
        "/said",
    ];
    let cases: Vec<Case> = targets
        .iter()
        .flat_map(|target| CREDENTIALS.iter().map(move |field| with_field("a.test", target, field)))
        .collect();
    Pair::start("passwords and rules", &http, Answers::new()).compare(&cases);
}

#[test]
fn methods_are_excepted_alike() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}}; root {{files}};
            location / {{ limit_except GET {{ deny all; }} }}
            location /post {{ proxy_pass http://{{peer}}; limit_except POST put {{ deny all; }} }}
            location /head {{ proxy_pass http://{{peer}}; limit_except HEAD {{ allow 127.0.0.1; deny all; }} }}
            location /asked {{ proxy_pass http://{{peer}}/x/; limit_except GET OPTIONS {{ auth_basic r; auth_basic_user_file {{files}}/private/users; }} }}
            location /said {{ return 200 said; limit_except GET {{ deny all; }} }}
            location /inherits {{ deny all; proxy_pass http://{{peer}}; limit_except GET {{ auth_basic off; }} }}
        }}"
    );
    let methods = [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "ODD",
    ];
    let targets = ["/letters.txt", "/post", "/head", "/asked/y", "/said", "/inherits"];
    let mut cases = Vec::new();
    for (method, target) in methods.iter().flat_map(|method| targets.iter().map(move |target| (method, target))) {
        let name: &'static str = format!("{method} {target}").leak();
        cases.push(case(name, format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")));
    }
    Pair::start("excepted methods", &http, Answers::new()).compare(&cases);
}

#[test]
fn another_location_is_asked_alike() {
    let raw = |head: &str, body: &str| {
        (format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes(), false)
    };
    let answers = Answers::from([
        ("ok", raw("200 OK\r\nX-User: joe", "yes")),
        ("empty", raw("204 No Content\r\nX-User: ann", "")),
        ("moved", raw("302 Found\r\nLocation: /login", "")),
        ("challenge", raw("401 Unauthorized\r\nWWW-Authenticate: Bearer x=\"y\"", "no")),
        ("bare", raw("401 Unauthorized", "no")),
        ("forbidden", raw("403 Forbidden\r\nWWW-Authenticate: Basic z", "no")),
        ("missing", raw("404 Not Found", "no")),
        ("broken", raw("500 Oh", "no")),
        ("long", raw("200 OK", &"x".repeat(100_000))),
        ("rubbish", (b"rubbish\r\n\r\n".to_vec(), true)),
        ("nothing", (Vec::new(), true)),
    ]);
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}}; root {{files}}; proxy_set_header X-Answer $http_x_answer;
            location / {{ auth_request /auth; auth_request_set $user $upstream_http_x_user; auth_request_set $said $upstream_status;
              proxy_pass http://{{peer}}; proxy_set_header X-User \"$user $said\"; proxy_set_header X-Answer \"\"; proxy_set_header Connection close; }}
            location /files/ {{ auth_request /auth; alias {{files}}/; }}
            location = /auth {{ proxy_pass http://{{peer}}; proxy_pass_request_body off; proxy_set_header Content-Length \"\";
              proxy_set_header X-Answer $http_x_answer; proxy_set_header X-Seen \"$request_method $request_uri $uri $args $request\"; proxy_set_header Connection close; }}
            location /any {{ satisfy any; deny all; auth_request /auth; proxy_pass http://{{peer}}; proxy_set_header X-Answer \"\"; proxy_set_header Connection close; }}
            location /said/ {{ auth_request /said/no; alias {{files}}/; }} location = /said/no {{ return 403; }}
            location /made/ {{ auth_request /made/yes; alias {{files}}/; }} location = /made/yes {{ return 200 ok; }}
            location /file/ {{ auth_request /letters.txt; alias {{files}}/; }}
            location /none/ {{ auth_request /not/there; alias {{files}}/; }}
            location = /letters.txt {{ }} location /not/ {{ }}
        }}"
    );
    let mut cases = Vec::new();
    for answer in
        ["ok", "empty", "moved", "challenge", "bare", "forbidden", "missing", "broken", "long", "rubbish", "nothing"]
    {
        for target in ["/x?y=z", "/files/letters.txt", "/any/x"] {
            cases.push(with_field("a.test", target, &format!("X-Answer: {answer}")));
        }
    }
    for target in ["/said/letters.txt", "/made/letters.txt", "/file/letters.txt", "/file/none", "/none/letters.txt"] {
        cases.push(with_field("a.test", target, ""));
        let name: &'static str = format!("POST {target}").leak();
        cases.push(case(name, format!("POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody")));
        let name: &'static str = format!("HEAD {target}").leak();
        cases.push(case(name, format!("HEAD {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")));
    }
    let post = "POST /p HTTP/1.1\r\nHost: a.test\r\nX-Answer: ok\r\nContent-Length: 4\r\n\r\nbody";
    cases.push(case("a body behind a question", post));
    Pair::start("questions", &http, answers).compare(&cases);
}

#[test]
fn referers_are_judged_alike() {
    let tell = "return 200 \"[$invalid_referer]\\n\";";
    let http = format!(
        "server {{ listen 127.0.0.1:{{port}}; server_name own.test *.wild.test ~^re[0-9]+\\.test$;
            location / {{ {tell} }}
            location /none {{ valid_referers none other.test; {tell} }}
            location /blocked {{ valid_referers blocked other.test; {tell} }}
            location /names {{ valid_referers server_names; {tell} }}
            location /hosts {{ valid_referers example.com *.example.org www.example.* .dot.test; {tell} }}
            location /paths {{ valid_referers example.com/shop/ *.example.org/a; {tell} }}
            location /regex {{ valid_referers ~google\\. ~^exact\\.test/x; {tell} }}
            location /all {{ valid_referers none blocked server_names example.com; {tell} }}
        }}"
    );
    let referers = [
        "",
        "Referer:",
        "Referer: x",
        "Referer: https://",
        "Referer: http://i.ru",
        "Referer: http://i.r",
        "Referer: ftp://example.com/",
        "Referer: http://example.com",
        "Referer: HTTPS://EXAMPLE.com/",
        "Referer: http://example.com:80/x",
        "Referer: http://example.com/shop/1",
        "Referer: http://example.com/shop",
        "Referer: http://example.com/Shop/",
        "Referer: http://a.example.com/",
        "Referer: http://a.example.org/ab",
        "Referer: http://a.b.example.org/a",
        "Referer: http://example.org/a",
        "Referer: http://www.example.net/",
        "Referer: http://www.example.",
        "Referer: http://dot.test/",
        "Referer: http://x.dot.test/",
        "Referer: http://own.test/",
        "Referer: http://x.wild.test/y",
        "Referer: http://wild.test/",
        "Referer: http://re42.test/",
        "Referer: http://rex.test/",
        "Referer: https://www.Google.de/search",
        "Referer: https://exact.test/x",
        "Referer: https://exact.test/y",
        "Referer: http://example.com.evil.test/",
        "Referer: http://evil.test/example.com",
        "Referer: http://user@example.com/",
        "Referer: http://example.com?x",
        "Referer: //example.com/",
        "Referer: http://",
    ];
    let targets = ["/", "/none", "/blocked", "/names", "/hosts", "/paths", "/regex", "/all"];
    let cases: Vec<Case> = targets
        .iter()
        .flat_map(|target| referers.iter().map(move |field| with_field("own.test", target, field)))
        .collect();
    Pair::start("referers", &http, Answers::new()).compare(&cases);
}

#[test]
fn links_are_checked_alike() {
    let tell = "return 200 \"[$secure_link|$secure_link_expires]\\n\";";
    let http = format!(
        "server {{ listen 127.0.0.1:{{port}};
            location / {{ secure_link $arg_md5,$arg_expires; secure_link_md5 \"$secure_link_expires$uri secret\"; {tell} }}
            location /plain {{ secure_link $arg_md5; secure_link_md5 \"$uri secret\"; {tell} }}
            location /half {{ secure_link $arg_md5; {tell} }}
            location /p/ {{ secure_link_secret word; {tell} }}
        }}"
    );
    // md5 of "2147483647/s secret", of "1/s secret", of "/plain secret", and of "link?q" with "word".
    let good = [
        "nIWGb87gmYA8KsOIx-y4nQ",
        "CS6dyOrqnWOjbgS4BUAcig",
        "CkFq1yI7RT2XZSMGO6Y_KQ",
        "d334c440f6bf62d358715fe2307a0e18",
    ];
    let [future, past, plain, word] = good;
    let mut targets: Vec<String> = vec![
        format!("/s?md5={future}&expires=2147483647"),
        format!("/s?md5={future}==&expires=2147483647"),
        format!("/s?md5={future}&expires=2147483646"),
        format!("/s?md5={past}&expires=1"),
        format!("/s?md5={past}&expires=01"),
        format!("/s?md5={past}&expires=-1"),
        format!("/s?md5={past}&expires=x"),
        format!("/s?md5={past}"),
        format!("/x?md5={future}&expires=2147483647"),
        format!("/plain?md5={plain}"),
        format!("/plain?md5={plain}x"),
        format!("/plain?md5={plain}xxx"),
        format!("/plain?md5={}", plain.to_lowercase()),
        format!("/half?md5={plain}"),
        format!("/p/{word}/link?q"),
        format!("/p/{word}/link"),
        format!("/p/{}/link?q", word.to_uppercase()),
        format!("/p/{word}"),
        format!("/p/{word}/"),
    ];
    targets.extend(
        ["/s", "/s?md5=", "/s?md5=&expires=", "/plain", "/plain?md5=", "/plain?md5=!!", "/p/", "/p/x/y", "/p//"]
            .map(str::to_owned),
    );
    let cases: Vec<Case> = targets.iter().map(|target| with_field("a.test", target, "")).collect();
    Pair::start("links", &http, Answers::new()).compare(&cases);
}

#[test]
fn maps_find_alike() {
    let http = "
        map $arg_a $exact { default none; '' empty; a one; B two; \\~x tilde; ~^(\\d+)$ \"n$1\"; ~*^CASE:(?<rest>.*)$ \"<$rest>\"; ~x$ ends; }
        map $host $site { hostnames; default none; *.example.com star; .dot.org dot; www.example.* tail; exact.test exact; ~^re(.)\\. \"re$1\"; }
        map $arg_a$arg_b $both { volatile; default \"$exact/$site\"; ab AB; }
        split_clients \"$arg_a\" $part { 10% ten; 20.5% twenty; 0.01% rare; * rest; }
        geo $arg_ip $where { default none; 10.0.0.0/8 ten; 10.1.0.0/16 sixteen; 10.1.2.3 host; 2001:db8::/32 six; 255.255.255.255 nowhere; }
        geo $arg_ip $range { ranges; default none; 10.0.0.0-10.0.255.255 wide; 10.0.0.5-10.0.0.9 inner; }
        server { listen 127.0.0.1:{port}; location / { return 200 \"$exact|$rest|$site|$both|$part|$where|$range|$1\\n\"; } }";
    let mut cases = Vec::new();
    for text in [
        "",
        "a",
        "A",
        "b",
        "~x",
        "12",
        "12a",
        "case:Some",
        "CASE:",
        "x",
        "xx",
        "yx",
        "%20",
        "ab",
        "default",
        "hostnames",
    ] {
        for host in [
            "none.test",
            "a.example.com",
            "example.com",
            "dot.org",
            "b.dot.org",
            "www.example.net",
            "EXACT.test",
            "rex.y",
        ] {
            cases.push(with_field(host, &format!("/?a={text}&b=b"), ""));
        }
    }
    for ip in [
        "10.0.0.1",
        "10.0.0.5",
        "10.0.0.10",
        "10.1.2.3",
        "10.1.2.4",
        "11.0.0.1",
        "2001:db8::1",
        "::1",
        "::ffff:10.1.2.3",
        "x",
        "",
        "10.0.0",
        "255.255.255.255",
    ] {
        cases.push(with_field("a.test", &format!("/?ip={ip}"), ""));
    }
    for id in 0..120 {
        cases.push(with_field("a.test", &format!("/?a=client-{id}"), ""));
    }
    Pair::start("maps", http, Answers::new()).compare(&cases);
}
