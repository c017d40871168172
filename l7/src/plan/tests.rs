use super::*;
use crate::rewrite::Rule;
use fairlead_conf::{Cx, Severity, Tree};
use fairlead_core::log::Registry;
use std::path::Path;

/// Reads the inside of an `http` block; gives the plan, or every message.
pub(crate) fn read(http: &str) -> Result<Arc<Plan>, Vec<String>> {
    read_after(http, None).map(|(plan, _)| plan)
}

fn read_after(http: &str, previous: Option<&Plan>) -> Result<(Arc<Plan>, Vec<String>), Vec<String>> {
    let text = format!("http {{ access_log off; {http}\n }}");
    let tree = Tree::parse(Path::new("test.conf"), &text);
    assert!(tree.diagnostics.is_empty(), "{:?}", tree.diagnostics);
    let cx = Cx::new(Path::new("/prefix"), Path::new("/prefix/conf"));
    let resolve = |name: &str| match name {
        "localhost" => Ok(vec!["127.0.0.1".parse().unwrap()]),
        _ => Err(std::io::Error::other("no such host")),
    };
    let build = Build { cx: &cx, resolve: &resolve, logs: &Registry::default() };
    let block = tree.root.statements[0].block.as_ref().unwrap();
    let plan = Plan::build(block, &ErrorLogs::default(), previous, &build);
    let diagnostics = cx.diagnostics.borrow();
    let messages = diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect();
    assert_eq!(
        plan.is_none(),
        diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error),
        "{messages:?}"
    );
    match plan {
        Some(plan) => Ok((plan, messages)),
        None => Err(messages),
    }
}

fn wrong(http: &str) -> Vec<String> {
    read(http).err().unwrap_or_default()
}

fn warnings(http: &str) -> Vec<String> {
    read_after(http, None).unwrap().1
}

fn key(address: &str) -> ListenerKey {
    ListenerKey { protocol: fairlead_core::net::Protocol::Tcp, address: Address::Ip(address.parse().unwrap()) }
}

/// The `return` a location begins with.
pub(crate) fn answer(location: &Location) -> Option<&Return> {
    match location.rules.first() {
        Some(Step::Rule(Rule::Return(answer))) => Some(answer),
        _ => None,
    }
}

/// Status of the `return` that answers a host and a path.
fn status(plan: &Plan, address: &str, host: &str, path: &str) -> u16 {
    let mut captures = Captures::default();
    let server = plan.listener(&key(address)).unwrap().find(host.as_bytes(), &mut captures);
    if let Some(answer) = answer(&server.root) {
        return answer.status;
    }
    match server.locate(path.as_bytes(), &mut captures) {
        Located::Location(location) => answer(location).map_or(0, |answer| answer.status),
        Located::AddSlash | Located::TooComplex => 1,
    }
}

#[test]
fn requests_find_their_server_and_location() {
    let plan = read(
        "server { listen 8080; server_name a.com *.a.com; location / { return 201; } location = /x { return 202; } }
         server { listen 8080 default_server; server_name b.com; return 203; }
         server { listen 127.0.0.1:8081; location /app/ { proxy_pass http://127.0.0.1:9; } }",
    )
    .unwrap();
    let at = "0.0.0.0:8080";
    assert_eq!(status(&plan, at, "a.com", "/"), 201);
    assert_eq!(status(&plan, at, "w.a.com", "/x"), 202);
    assert_eq!(status(&plan, at, "b.com", "/x"), 203);
    assert_eq!(status(&plan, at, "nobody", "/"), 203);
    assert_eq!(status(&plan, "127.0.0.1:8081", "any", "/app"), 1);
    assert_eq!(plan.listeners().len(), 2);
}

#[test]
fn addresses_behind_a_wildcard_are_not_bound() {
    let plan = read(
        "server { listen 8080; return 201; } server { listen 127.0.0.1:8080; return 202; }
         server { listen [::1]:8080; return 203; } server { listen 127.0.0.1:8081; return 204; }",
    )
    .unwrap();
    let bound: Vec<String> = plan.listeners().iter().map(|listener| listener.key.address.to_string()).collect();
    assert_eq!(bound, ["0.0.0.0:8080", "[::1]:8080", "127.0.0.1:8081"]);
    let of = |local: &str| {
        let servers = plan.servers(&key("0.0.0.0:8080"), &Address::Ip(local.parse().unwrap())).unwrap();
        answer(&servers.default.root).unwrap().status
    };
    assert_eq!((of("127.0.0.1:8080"), of("10.0.0.1:8080")), (202, 201));
}

#[test]
fn settings_are_inherited_and_lists_replaced() {
    let plan = read(
        "keepalive_timeout 5s 7s; client_max_body_size 2m; proxy_set_header X-A 1; proxy_connect_timeout 3s; index a b;
         server { listen 8080; client_max_body_size 3m; server_name x;
           location /one { proxy_pass http://127.0.0.1:9; }
           location /two { proxy_pass http://127.0.0.1:9/u; proxy_set_header Host h; proxy_http_version 1.0; index c; } }",
    )
    .unwrap();
    let server = &plan.listener(&key("0.0.0.0:8080")).unwrap().default;
    let location = |path: &str| match server.locate(path.as_bytes(), &mut Captures::default()) {
        Located::Location(location) => location.clone(),
        Located::AddSlash | Located::TooComplex => panic!("{path} needs a slash"),
    };
    let names = |location: &Location| match &location.content {
        Content::Proxy(proxy) => proxy.set_headers.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(),
        Content::Static | Content::Made(_) => Vec::new(),
    };
    let (one, two) = (location("/one"), location("/two"));
    assert_eq!((one.keepalive_timeout.as_secs(), one.keepalive_header), (5, Some(7)));
    assert_eq!(one.client_max_body_size, 3 << 20);
    assert_eq!(names(&one), ["X-A", "Host"]);
    assert_eq!(names(&two), ["Host", "Connection"]);
    assert_eq!((one.files.index.len(), two.files.index.len()), (2, 1));
    assert_eq!(plan.groups.len(), 1, "one address is one group");
}

#[test]
fn mistakes_are_told_in_nginx_s_words() {
    for (http, message) in [
        ("server { location /x { } location /x { } }", "duplicate location \"/x\""),
        ("server { location /a { location /b { } } }", "location \"/b\" is outside location \"/a\""),
        (
            "server { location = /a { location /a/b { } } }",
            "location \"/a/b\" cannot be inside the exact location \"/a\"",
        ),
        ("server { location ^ /x { } }", "invalid location modifier \"^\""),
        ("server { location / { proxy_pass backend; } }", "invalid URL prefix"),
        (
            "server { location ~ x { proxy_pass http://127.0.0.1/x; } }",
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, \
          or inside \"if\" statement, or inside \"limit_except\" block",
        ),
        ("server { location / { proxy_pass http://nowhere; } }", "host not found in upstream \"nowhere\""),
        (
            "upstream u { server 127.0.0.1:9; } server { location / { proxy_pass http://u:81; } }",
            "upstream \"u\" may not have port 81",
        ),
        ("upstream u { server 127.0.0.1; } upstream U { server 127.0.0.1; }", "duplicate upstream \"U\""),
        ("server { access_log logs/x nope; }", "unknown log format \"nope\""),
        (
            "server { listen 80 default_server; } server { listen 80 default_server; }",
            "a duplicate default server for 0.0.0.0:80",
        ),
        ("server { listen 80 backlog=5; } server { listen 80 backlog=6; }", "duplicate listen options for 0.0.0.0:80"),
        ("server { listen 80; listen *:80; }", "a duplicate listen 0.0.0.0:80"),
        (
            "server { listen 80 ssl; }",
            "the \"ssl\" parameter of \"listen\" is known to nginx, not built in fairlead yet",
        ),
        ("server { return 200 $nope; }", "unknown \"nope\" variable"),
        ("server { return 200 $ssl_cipher; }", "variable \"ssl_cipher\" is known to nginx, not built in fairlead yet"),
        ("server { return abc; }", "invalid return code \"abc\""),
        (
            "server { location / { root /a; alias /b; } }",
            "\"alias\" directive is duplicate, \"root\" directive was specified earlier",
        ),
        ("server { location /a { location @x { } } }", "named location \"@x\" can be on the server level only"),
        (
            "server { location / { proxy_pass https://127.0.0.1; } }",
            "https to peers is known to nginx, not built in fairlead yet",
        ),
        (
            "server { location / { proxy_pass http://$host; proxy_redirect default; } }",
            "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables",
        ),
        ("server { server_name a.*.b; }", "invalid server name or wildcard \"a.*.b\""),
    ] {
        let messages = wrong(http);
        assert!(messages.iter().any(|said| said.starts_with(message)), "{http}: {messages:?}");
    }
}

#[test]
fn one_reading_tells_every_mistake() {
    let messages = wrong("server { return x; location /a { } location /a { } } server { listen 0; }");
    assert_eq!(messages.len(), 3, "{messages:?}");
}

#[test]
fn health_checks_are_asked_for_with_their_match() {
    let group = "match ok { status 200; } upstream u { zone u 64k; server 127.0.0.1:9; }";
    let checked = |check: &str| format!("{group} server {{ location / {{ proxy_pass http://u; {check}; }} }}");
    let plan = read(&checked("health_check interval=2s uri=/up match=ok")).unwrap();
    let checks = plan.checks();
    assert_eq!((checks.len(), &*checks[0].group.name, &*checks[0].settings.uri), (1, "u", "/up"));
    assert!(checks[0].matching.as_ref().is_some_and(|matching| &*matching.name == "ok"));
    assert_eq!(wrong(&checked("health_check match=nope")), ["match \"nope\" is not found"]);
}

#[test]
fn conflicting_names_are_a_warning() {
    assert_eq!(
        warnings("server { listen 80; server_name a; } server { listen 80; server_name b a; }"),
        ["conflicting server name \"a\" on 0.0.0.0:80, ignored"]
    );
    assert_eq!(warnings("server { listen 80; server_name a a; }"), [""; 0], "nobody looks it up");
}

#[test]
fn groups_of_regexes_are_variables_everywhere() {
    read(
        "server { location / { return 200 $shop; } location ~ ^/(?<item>x)$ { return 200 $item; } }
          server { server_name ~^(?<shop>.+)\\.example$; listen 8081; }",
    )
    .unwrap();
}

#[test]
fn every_row_says_what_it_is_for() {
    for page in crate::directives::pages() {
        assert!(page.doc.len() > 25 && page.doc.ends_with(['.', ')']), "{}: {}", page.name, page.doc);
    }
}
