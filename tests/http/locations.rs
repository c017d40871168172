//! Which `location` answers: exact, then the longest prefix, `^~`, regular expressions in order.

use fairlead_harness::get;

use crate::fairlead;

#[test]
fn kinds_take_precedence_as_nginx_documents_them() {
    let proxy = fairlead().http(
        r#"server {
            listen 127.0.0.1:{port};
            location / { return 200 root; }
            location = / { return 200 "exact root"; }
            location /documents/ { return 200 documents; }
            location /documents/long/ { return 200 "long documents"; }
            location ^~ /images/ { return 200 images; }
            location ~* \.(gif|jpg)$ { return 200 picture; }
            location ~ \.GIF$ { return 200 "never reached"; }
            location ~ ^/case/[a-z]+$ { return 200 "lower case"; }
            location = /exact.gif { return 200 "exact gif"; }
        }"#,
    );
    for (path, answer) in [
        ("/", "exact root"),
        ("/index.html", "root"),
        ("/documents/a.html", "documents"),
        ("/documents/long/a.html", "long documents"),
        ("/documents", "root"),
        ("/images/1.gif", "images"),
        ("/documents/1.jpg", "picture"),
        ("/a.GIF", "picture"),
        ("/exact.gif", "exact gif"),
        ("/case/abc", "lower case"),
        ("/case/ABC", "root"),
        ("/?a=/documents/", "exact root"),
    ] {
        assert_eq!(get(proxy.address(), path).text(), answer, "{path}");
    }
}

#[test]
fn the_normalised_path_is_what_matches() {
    let proxy = fairlead().http(
        "server {
            listen 127.0.0.1:{port};
            location /a/ { return 200 a:$uri; }
            location / { return 200 other:$uri; }
        }",
    );
    for (path, answer) in [
        ("/a/b", "a:/a/b"),
        ("//a///b", "a:/a/b"),
        ("/x/../a/b", "a:/a/b"),
        ("/./a/./b", "a:/a/b"),
        ("/%61/b", "a:/a/b"),
        ("/a/b%20c", "a:/a/b c"),
        ("/a/..", "other:/"),
        ("/a/b?x=../..", "a:/a/b"),
    ] {
        assert_eq!(get(proxy.address(), path).text(), answer, "{path}");
    }
}

#[test]
fn a_path_that_leaves_the_root_is_refused() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; return 200 x; }");
    for path in ["/..", "/../etc/passwd", "/a/../../b", "/%2e%2e/b", "/%00", "/%zz"] {
        assert_eq!(get(proxy.address(), path).status(), 400, "{path}");
    }
}

#[test]
fn captures_are_variables() {
    let proxy = fairlead().http(
        r#"server {
            listen 127.0.0.1:{port};
            location ~ ^/user/(?<name>\w+)/(\d+)$ { return 200 "$name $1 $2"; }
        }"#,
    );
    assert_eq!(get(proxy.address(), "/user/joe/42").text(), "joe joe 42");
    assert_eq!(get(proxy.address(), "/user/joe/x").status(), 404);
}

#[test]
fn locations_nest_and_inherit() {
    let proxy = fairlead().http(
        r#"server {
            listen 127.0.0.1:{port};
            default_type text/x-server;
            location /outer/ {
                default_type text/x-outer;
                location /outer/inner/ { return 200 inner; }
                location ~ \.own$ { default_type text/x-own; return 200 own; }
                return 200 outer;
            }
            location / { return 200 plain; }
        }"#,
    );
    for (path, kind) in [("/", "text/x-server"), ("/outer/inner/", "text/x-outer"), ("/outer/a.own", "text/x-own")] {
        let answer = get(proxy.address(), path);
        if path == "/outer/inner/" || path == "/outer/a.own" {
            // `return` in the outer location does not reach into the inner ones.
            assert_ne!(answer.text(), "outer", "{path}");
        }
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
    }
}
