//! `sticky cookie … signed`: a client brings back what it was given, or it is worth nothing.

use fairlead_harness::{Client, HttpPeer, Proxy, Response, Signal, eventually};

use crate::fairlead;

const OLD: &str = "the old key of sixteen bytes or more";
const NEW: &str = "the new key of sixteen bytes or more";
const BLOCKS: &str = "upstream group { server {a} route=a; server {b} route=b; sticky cookie id path=/ signed keys; }
    upstream other { server {a} route=a; server {b} route=b; sticky cookie id path=/ signed keys; }
    log_format sticky '$upstream_sticky_status $upstream_addr';
    server { listen 127.0.0.1:{port}; access_log {dir}/access.log sticky;
        location / { proxy_pass http://group; }
        location /other { proxy_pass http://other; } }";

fn start(keys: &str, peers: &[HttpPeer; 2]) -> Proxy {
    fairlead().set("a", peers[0].address()).set("b", peers[1].address()).file("keys", keys).http(BLOCKS)
}

fn peers() -> [HttpPeer; 2] {
    [HttpPeer::named("a"), HttpPeer::named("b")]
}

fn ask(proxy: &Proxy, path: &str, cookie: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nCookie: id={cookie}\r\nConnection: close\r\n\r\n");
    Client::connect(proxy.address()).request(request)
}

fn cookie(answer: &Response) -> String {
    let field = answer.header("set-cookie").unwrap_or_else(|| panic!("{}", answer.head));
    field.strip_prefix("id=").unwrap().split(';').next().unwrap().to_owned()
}

/// A cookie for the peer of this name.
fn given(proxy: &Proxy, name: &str) -> String {
    let answers = (0..8).map(|_| proxy.get("/"));
    cookie(&answers.into_iter().find(|answer| answer.text() == name).unwrap())
}

#[test]
fn a_cookie_leads_back_and_is_given_again_as_it_was() {
    let peers = peers();
    let proxy = start(OLD, &peers);
    for name in ["a", "b", "a"] {
        let id = given(&proxy, name);
        assert!(id.starts_with(&format!("{name}.")) && id.len() == 45, "{id}");
        for _ in 0..6 {
            let answer = ask(&proxy, "/", &id);
            assert_eq!((answer.text(), cookie(&answer)), (name.to_owned(), id.clone()));
        }
    }
}

#[test]
fn a_client_cannot_choose_its_peer() {
    let peers = peers();
    let proxy = start(OLD, &peers);
    let (a, b) = (given(&proxy, "a"), given(&proxy, "b"));
    let swapped = format!("b.{}", a.split_once('.').unwrap().1);
    let mut changed = b.clone().into_bytes();
    let last = changed.len() - 2;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let forged = [swapped.as_str(), std::str::from_utf8(&changed).unwrap(), "b", "b.", &b[..b.len() - 1]];
    for forged in forged {
        let seen: Vec<String> = (0..8).map(|_| ask(&proxy, "/", forged).text()).collect();
        assert!(seen.contains(&"a".to_owned()) && seen.contains(&"b".to_owned()), "{forged}: {seen:?}");
    }
    // One of another upstream is no better, though it has the same keys and routes.
    let seen: Vec<String> = (0..8).map(|_| ask(&proxy, "/other", &b).text()).collect();
    assert!(seen.contains(&"a".to_owned()), "{seen:?}");
    proxy.wait_for_error("the signature of the sticky cookie is wrong");
    let forgeries = || proxy.access_log().iter().filter(|line| line.starts_with("FORGED ")).count();
    eventually("every forgery is logged as one", || forgeries() == 48);
}

#[test]
fn keys_change_without_anybody_losing_his_peer() {
    let peers = peers();
    let proxy = start(OLD, &peers);
    let old = given(&proxy, "b");
    let reload = |keys: String| {
        proxy.directory().write("keys", keys);
        proxy.signal(Signal::SIGHUP);
    };
    reload(format!("# newest first\n{NEW}\n\n{OLD}\n"));
    let mut renewed = old.clone();
    eventually("the new key signs", || {
        let answer = ask(&proxy, "/", &old);
        renewed = cookie(&answer);
        assert_eq!(answer.text(), "b");
        renewed != old
    });
    reload(NEW.to_owned());
    eventually("the old key is forgotten", || ask(&proxy, "/", &old).text() == "a");
    for _ in 0..4 {
        assert_eq!(ask(&proxy, "/", &renewed).text(), "b");
    }
}

#[test]
fn keys_show_in_no_dump_and_bad_files_are_told() {
    let configuration = |keys: &str| {
        format!("events {{}} http {{ upstream u {{ server 10.0.0.1; sticky cookie id signed {keys}; }} }}")
    };
    let (output, _) = fairlead().file("keys", OLD).run(&["-T"], &configuration("keys"));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && shown.contains("signed keys") && !shown.contains(OLD), "{shown}");
    for (file, said) in [
        ("keys", "there is no key in the file"),
        ("short", "the key in line 2 has less than 16 bytes"),
        ("missing", "missing\" failed (2: No such file or directory)"),
    ] {
        let setup = fairlead().file("keys", "# none\n").file("short", format!("{OLD}\nshort\n"));
        let (output, _) = setup.run(&["-t"], &configuration(file));
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && shown.contains(said), "{file}: {shown}");
    }
}
