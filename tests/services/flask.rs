//! A Flask application under gunicorn, used by curl, wget and a crowd of plain clients.

use std::collections::HashMap;
use std::process::Command;

use fairlead_harness::setup::installed;
use fairlead_harness::{Client, Directory, Load, Port, Proxy, eventually};

use crate::fairlead;
use crate::service::{Service, run};
use crate::web::{Repeated, curl, name, shop};

struct Site {
    peers: [Service; 2],
    ports: [Port; 2],
    proxy: Proxy,
    directory: Directory,
}

fn site() -> Site {
    let directory = Directory::new();
    let ports = [Port::reserve(), Port::reserve()];
    let peers = std::array::from_fn(|at| shop(&ports[at], &directory));
    let proxy = fairlead().set("a", ports[0].address()).set("b", ports[1].address()).http(
        "log_format own '$upstream_addr|$upstream_status|$status|$request_method';
         upstream shop { server {a} fail_timeout=1s; server {b} fail_timeout=1s; keepalive 8; }
         server { listen 127.0.0.1:{port}; access_log {dir}/access.log own;
            location / { proxy_pass http://shop; proxy_http_version 1.1;
                proxy_set_header Host $http_host; proxy_set_header Connection \"\";
                proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; } }",
    );
    Site { peers, ports, proxy, directory }
}

#[test]
fn a_killed_server_costs_no_request_that_may_be_repeated() {
    let mut site = site();
    let address = site.proxy.address();
    let (kept, new) = (Load::keepalive(address, "/", 4), Load::new_connections(address, "/page", 2));
    let items = Repeated::start(move |turn| {
        let text =
            format!("PUT /items/{turn} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody");
        Client::connect(address).request(text).status()
    });
    let orders = Repeated::start(move |turn| {
        let body = format!("{{\"id\": \"order-{turn}\"}}");
        let head = "POST /orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Type: application/json\r\n";
        let answer = Client::connect(address).request(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        (format!("order-{turn}"), answer.status())
    });
    new.advance(50);
    site.peers[0].kill();
    new.advance(50);
    kept.advance(50);
    let before = site.proxy.access_log().len();
    site.peers[0] = shop(&site.ports[0], &site.directory);
    let back = format!("{}|200|200", site.ports[0].address());
    eventually("the killed one serves again", || {
        site.proxy.access_log().iter().skip(before).any(|line| line.starts_with(&back))
    });
    new.advance(50);

    for load in [kept, new] {
        let report = load.stop();
        assert!(report.errors.is_empty(), "{} requests, {:?}", report.requests, report.errors);
    }
    let items = items.finish();
    assert!(items.iter().all(|status| *status == 200), "{items:?}");
    assert_orders(&orders.finish(), &site.directory.read("orders"));
}

/// An order that was answered is there once, one that failed is there at most once: nobody repeated it.
fn assert_orders(orders: &[(String, u16)], written: &str) {
    let mut count: HashMap<&str, usize> = HashMap::new();
    for line in written.lines() {
        *count.entry(line).or_default() += 1;
    }
    for (id, status) in orders {
        let times = count.get(id.as_str()).copied().unwrap_or(0);
        assert!(times <= 1, "{id} came {times} times");
        assert!(*status == 502 || (*status == 201 && times == 1), "{id}: {status}, and it came {times} times");
    }
    // One client, so at most one was on its way when the peer died.
    assert!(orders.iter().filter(|(_, status)| *status == 502).count() <= 1, "{orders:?}");
    assert!(orders.len() > 20, "{orders:?}");
}

#[test]
fn sessions_uploads_and_redirects_are_as_without_a_proxy() {
    let site = site();
    let url = format!("http://{}", site.proxy.address());
    let jar = site.directory.join("jar").display().to_string();
    // The session is a cookie: any of the two knows the user afterwards.
    let said = curl(&["-L", "-c", &jar, "-b", &jar, "-d", "user=Ann", &format!("{url}/login")]);
    assert!(said.contains("Welcome, Ann!"), "{said}");
    let place = curl(&["-o", "/dev/null", "-w", "%{redirect_url}", "-d", "user=x", &format!("{url}/login")]);
    assert_eq!(place, format!("{url}/"));
    let peers: Vec<String> = (0..4).map(|_| curl(&["-D", "-", "-b", &jar, &format!("{url}/")])).collect();
    assert!(peers.iter().all(|said| said.contains("Welcome, Ann!")), "{peers:?}");
    for port in &site.ports {
        assert!(peers.iter().any(|said| said.contains(&format!("X-Peer: {}", name(port)))), "{peers:?}");
    }

    // A form with a file, larger than what is kept in memory.
    let photo: Vec<u8> = (0..300_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    let path = site.directory.write("photo.jpg", photo).display().to_string();
    let sum = run(Command::new("sha256sum").arg(&path)).unwrap();
    let said = curl(&["-F", &format!("photo=@{path}"), &format!("{url}/photos")]);
    assert!(said.contains(sum.split(' ').next().unwrap()) && said.contains("photo.jpg"), "{said}");

    let rows = curl(&[&format!("{url}/report")]);
    assert_eq!((rows.lines().count(), rows.lines().last()), (2000, Some("1999,item 1999")));
    let tag = curl(&["-D", "-", "-o", "/dev/null", &format!("{url}/page")]);
    let tag = tag.lines().find_map(|line| line.to_lowercase().strip_prefix("etag: ").map(str::to_owned)).unwrap();
    let again = ["-o", "/dev/null", "-w", "%{http_code}", "-H"];
    assert_eq!(
        curl(&[&again[..], &[&format!("If-None-Match: {}", tag.trim()), &format!("{url}/page")]].concat()),
        "304"
    );
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}", &format!("{url}/missing")]), "404");
    assert_eq!(curl(&["-I", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", &format!("{url}/")]), "200 0");

    // The application knows who came and where to.
    let mut wget = Command::new(installed("wget", "apt-get install wget"));
    wget.args(["-q", "-O", "-", "--bind-address=127.0.0.9", &format!("{url}/client?a=1")]);
    let said = run(&mut wget).unwrap();
    assert!(said.contains("\"127.0.0.9\"") && said.contains(&format!("\"{url}/client?a=1\"")), "{said}");
}
