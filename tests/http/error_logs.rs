//! Which lines go to which error log.

use fairlead_harness::eventually;

use crate::fairlead;

#[test]
fn a_level_lets_through_what_is_as_grave() {
    let proxy = fairlead().http(
        "error_log {dir}/http.log; 
         server { listen 127.0.0.1:{port}; root {dir};
            location /plain { }
            location /two { error_log {dir}/info.log info; error_log {dir}/crit.log crit; }
            location /quiet { log_not_found off; }
            location /debug { error_log {dir}/debug.log debug; } }",
    );
    for path in ["/plain/none", "/two/none", "/quiet/none", "/debug/none"] {
        assert_eq!(proxy.get(path).status(), 404, "{path}");
    }
    let read = |name: &str| proxy.directory().read(name);
    let line = |path: &str| format!("{path}\" failed (2: No such file or directory), client: 127.0.0.1, server: ");
    eventually("each log has its line", || {
        read("http.log").contains(&line("/plain/none"))
            && read("info.log").contains(&line("/two/none"))
            && read("debug.log").contains(&line("/debug/none"))
    });
    assert!(read("info.log").contains(" [error] "), "{}", read("info.log"));
    assert_eq!(read("crit.log"), "", "an error is not critical");
    assert!(!read("http.log").contains("/two/") && !read("http.log").contains("/quiet/"), "{}", read("http.log"));
}

#[test]
fn requests_say_what_they_were_about() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; server_name named.test other.test; error_log {dir}/own.log;
            location / { root {dir}/none; } }",
    );
    proxy.get("/a?b=c");
    eventually("the line ends with the request", || {
        let log = proxy.directory().read("own.log");
        log.trim_end()
            .ends_with("client: 127.0.0.1, server: named.test, request: \"GET /a?b=c HTTP/1.1\", host: \"localhost\"")
    });
}
