//! `ntlm`: who authenticates a connection has it for himself. (NGINX Plus has it and Debian's nginx
//! does not.)

use fairlead_harness::{Answer, Client, HttpPeer, Proxy};

use crate::fairlead;

fn peers() -> [HttpPeer; 2] {
    ["a", "b"].map(|name| HttpPeer::start(move |request| Answer::ok(format!("{name}{}", request.connection))))
}

fn start(peers: &[HttpPeer; 2], group: &str) -> Proxy {
    fairlead().workers(1).set("a", peers[0].address()).set("b", peers[1].address()).http(&format!(
        "upstream group {{ server {{a}}; server {{b}}; {group} }}
        server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://group; }} }}"
    ))
}

fn ask(client: &mut Client, authorization: &str) -> String {
    let field = if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") };
    client.request(format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n")).text()
}

#[test]
fn a_client_that_authenticates_keeps_its_connection_to_one_peer_for_itself() {
    let peers = peers();
    let proxy = start(&peers, "ntlm;");
    let (mut one, mut other) = (Client::connect(proxy.address()), Client::connect(proxy.address()));
    let own = ask(&mut one, "NTLM TlRMTVNTUAAB");
    let others = ask(&mut other, "Negotiate YIIJvwYG");
    assert_ne!(own, others);
    for _ in 0..4 {
        assert_eq!((ask(&mut one, ""), ask(&mut other, "")), (own.clone(), others.clone()));
        let anybody = proxy.get("/").text();
        assert!(anybody != own && anybody != others, "{anybody}");
    }
    // With the client's connection its own one ends: nobody gets it.
    drop((one, other));
    let seen: Vec<String> = (0..8).map(|_| proxy.get("/").text()).collect();
    assert!(!seen.contains(&own) && !seen.contains(&others), "{seen:?}");
}

#[test]
fn other_schemes_and_groups_share_their_connections() {
    let peers = peers();
    let proxy = start(&peers, "ntlm;");
    let mut client = Client::connect(proxy.address());
    let seen: Vec<String> = (0..4).map(|_| ask(&mut client, "Basic am9lOmpvZQ==")).collect();
    assert_eq!(seen, ["a0", "b0", "a0", "b0"]);
    let plain = start(&peers, "");
    let mut client = Client::connect(plain.address());
    let seen: Vec<String> = (0..4).map(|_| ask(&mut client, "NTLM TlRMTVNTUAAB")).collect();
    assert_eq!(seen, ["a1", "b1", "a1", "b1"]);
}

#[test]
fn when_its_peer_is_gone_the_client_gets_another() {
    let [a, b] = peers();
    let (places, mut group) = ([a.address(), b.address()], vec![a, b]);
    let proxy = fairlead().workers(1).set("a", places[0]).set("b", places[1]).http(
        "upstream group { server {a}; server {b}; ntlm; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; } }",
    );
    let mut client = Client::connect(proxy.address());
    assert_eq!(ask(&mut client, "NTLM TlRMTVNTUAAB"), "a0");
    let port = group.remove(0).stop();
    assert_eq!(ask(&mut client, ""), "b0");
    drop(port);
}
