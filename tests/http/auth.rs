//! `auth_basic`, `auth_delay` and `auth_request`: who has to say who he is.

use std::time::{Duration, Instant};

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, Response};

use crate::fairlead;

/// As `htpasswd`, `openssl passwd` and crypt(3) hash "secret".
const USERS: &str = "# comment:line
plain:{PLAIN}secret
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
ssha:{SSHA}1G904nLkTkGWjKNnQuB/hpWXC/hzYWx0c2FsdA==
apr1:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/:with a comment
md5:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1
sha256:$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.
sha512:$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.
bcrypt:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
des:Xy66mTkgaWMYA
";

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = text.as_bytes().chunks(3).map(|group| {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        let digits = (0..4).map(|at| match at <= group.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]),
            false => '=',
        });
        digits.collect::<String>()
    });
    groups.collect()
}

fn ask(proxy: &Proxy, path: &str, fields: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    Client::connect(proxy.address()).request(request)
}

fn log_in(proxy: &Proxy, user: &str, password: &str) -> Response {
    ask(proxy, "/", &format!("Authorization: Basic {}\r\n", base64(&format!("{user}:{password}"))))
}

fn start(peer: &HttpPeer) -> Proxy {
    fairlead().set("peer", peer.address()).file("users", USERS).http(
        "map $arg_r $realm { default \"the $arg_r\"; '' off; }
         server { listen 127.0.0.1:{port}; auth_basic \"closed site\"; auth_basic_user_file users;
           location / { proxy_pass http://{peer}; proxy_set_header X-User $remote_user; }
           location /open { auth_basic off; proxy_pass http://{peer}; }
           location /realm { auth_basic $realm; proxy_pass http://{peer}; }
           location /lost { auth_basic_user_file none; proxy_pass http://{peer}; }
           location /late { auth_delay 300ms; proxy_pass http://{peer}; } }",
    )
}

#[test]
fn every_kind_of_hash_lets_its_password_in() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer);
    for user in ["plain", "sha", "ssha", "apr1", "md5", "sha256", "sha512", "bcrypt", "des"] {
        assert_eq!(log_in(&proxy, user, "secret").status(), 200, "{user}");
        assert_eq!(peer.last().header("x-user"), Some(user));
        assert_eq!(log_in(&proxy, user, "guess").status(), 401, "{user}");
        proxy.wait_for_error(&format!("user \"{user}\": password mismatch, client: 127.0.0.1, server: "));
    }
    assert_eq!(peer.requests().len(), 9);
}

#[test]
fn who_says_nothing_is_asked() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer);
    let answer = ask(&proxy, "/", "");
    assert_eq!(answer.status_line(), "HTTP/1.1 401 Unauthorized");
    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"closed site\""));
    assert!(answer.text().contains("<h1>401 Authorization Required</h1>"));
    proxy.wait_for_error("no user/password was provided for basic authentication, client: 127.0.0.1");
    for fields in ["Basic", "Basic !!", "Bearer YTpi", "Basic Og==", "Basic YWFh"] {
        assert_eq!(ask(&proxy, "/", &format!("Authorization: {fields}\r\n")).status(), 401, "{fields}");
    }
    assert_eq!(log_in(&proxy, "nobody", "secret").status(), 401);
    proxy.wait_for_error("user \"nobody\" was not found in \"");
    assert_eq!(ask(&proxy, "/open", "").status(), 200);
}

#[test]
fn a_realm_may_depend_on_the_request_and_a_lost_file_lets_nobody_in() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer);
    assert_eq!(ask(&proxy, "/realm?r=Inner", "").header("www-authenticate"), Some("Basic realm=\"the Inner\""));
    assert_eq!(ask(&proxy, "/realm", "").status(), 200);
    let answer = ask(&proxy, "/lost", "Authorization: Basic YTpi\r\n");
    assert_eq!((answer.status(), answer.header("www-authenticate")), (403, None));
    proxy.wait_for_error("none\" failed (2: No such file or directory)");
}

#[test]
fn who_is_refused_learns_it_late() {
    let peer = HttpPeer::named("a");
    let proxy = start(&peer);
    let started = Instant::now();
    assert_eq!(ask(&proxy, "/late", "").status(), 401);
    assert!(started.elapsed() >= Duration::from_millis(290));
    proxy.wait_for_error("delaying unauthorized request");
}

#[test]
fn a_slow_hash_holds_up_nobody_else() {
    if fairlead().is_nginx() {
        return; // It does there.
    }
    let peer = HttpPeer::named("a");
    // Cost 12: a quarter of a second or more.
    let slow = "joe:$2y$12$abcdefghijklmnopqrstuuWS9Jj65vXqlhrCcCA1A2dyt3UTx9C8i\n";
    let proxy = fairlead().workers(1).set("peer", peer.address()).file("users", slow).http(
        "server { listen 127.0.0.1:{port};
           location / { auth_basic a; auth_basic_user_file users; proxy_pass http://{peer}; }
           location /free { return 200 free; } }",
    );
    let mut waiting: Vec<Client> = (0..4).map(|_| Client::connect(proxy.address())).collect();
    let started = Instant::now();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic am9lOnNlY3JldA==\r\n\r\n");
    }
    let mut free = Client::connect(proxy.address());
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(free.get("/free").text(), "free");
        longest = longest.max(asked.elapsed());
    }
    for client in &mut waiting {
        assert_eq!(client.response().status(), 401);
    }
    let all = started.elapsed();
    assert!(longest < all / 4, "one waited {longest:?} while hashing took {all:?}");
}

/// A peer that answers `/auth` by what the request says in `X-Say`.
fn judge() -> HttpPeer {
    HttpPeer::start(|request| match (request.target(), request.header("x-say").unwrap_or_default()) {
        ("/auth", "401") => Answer::Raw(
            b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"peer\"\r\nContent-Length: 2\r\n\r\nno".to_vec(),
        ),
        ("/auth", "") => Answer::Raw(b"HTTP/1.1 200 OK\r\nX-User: joe\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
        ("/auth", "big") => Answer::ok(vec![b'x'; 1 << 20]),
        ("/auth", status) => Answer::status(status, "said"),
        _ => Answer::ok("content"),
    })
}

const ASKED: &str = "log_format s '$status $user';
    server { listen 127.0.0.1:{port}; access_log {dir}/access.log s; auth_request_set $user $upstream_http_x_user;
      location / { auth_request /auth; proxy_pass http://{peer}; proxy_set_header X-User $user; }
      location = /auth { proxy_pass http://{peer}; proxy_set_header X-Method $request_method;
        proxy_set_header X-Uri $request_uri; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }
      location /said { auth_request /no; root {dir}; } location = /no { return 403; }
      location /made { auth_request /odd; root {dir}; } location = /odd { return 405; }
      location /any { satisfy any; auth_request /no; allow all; proxy_pass http://{peer}; } }";

#[test]
fn another_location_says_who_may_go_on() {
    let peer = judge();
    let proxy = fairlead().set("peer", peer.address()).http(ASKED);
    let answer = Client::connect(proxy.address())
        .request("POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "content"));
    let [asked, got] = &peer.requests()[..] else { panic!("{:?}", peer.requests()) };
    assert_eq!(
        (asked.target(), asked.header("x-method"), asked.header("x-uri")),
        ("/auth", Some("POST"), Some("/x?y"))
    );
    assert!(asked.body.is_empty() && asked.header("content-length").is_none());
    assert_eq!((got.header("x-user"), got.body.as_slice()), (Some("joe"), &b"body"[..]));
    assert_eq!(proxy.access_lines(1), ["200 joe"], "one line, with what the answer said");
}

#[test]
fn refusals_pass_on_and_anything_else_is_an_error() {
    let peer = judge();
    let proxy = fairlead().set("peer", peer.address()).http(ASKED);
    let say = |status: &str| ask(&proxy, "/", &format!("X-Say: {status}\r\n"));
    let answer = say("401");
    assert_eq!((answer.status(), answer.header("www-authenticate")), (401, Some("Bearer realm=\"peer\"")));
    assert_eq!([say("403 Forbidden").status(), say("204 Empty").status(), say("302 Found").status()], [403, 200, 500]);
    proxy.wait_for_error("auth request unexpected status: 302 while sending to client, client: ");
    assert_eq!(say("big").status(), 200, "what it says is not kept");
    assert_eq!([ask(&proxy, "/said", "").status(), ask(&proxy, "/any", "").status()], [403, 200]);
    assert_eq!(ask(&proxy, "/made", "").status(), 500);
    proxy.wait_for_error("auth request unexpected status: 405, client: ");
    drop(peer);
    assert_eq!(ask(&proxy, "/", "").status(), 500);
    proxy.wait_for_error("auth request unexpected status: 502 while sending to client, client: ");
    proxy.wait_for_error("request: \"GET / HTTP/1.1\", subrequest: \"/auth\", upstream: \"http://");
}
