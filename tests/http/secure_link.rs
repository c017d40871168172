//! `secure_link`: links that only who knows a secret can make.

use fairlead_harness::get;

use crate::fairlead;

#[test]
fn a_link_is_real_and_has_its_time() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; secure_link $arg_md5,$arg_expires;
           location / { secure_link_md5 \"$secure_link_expires$uri secret\";
             if ($secure_link = \"\") { return 403; } if ($secure_link = \"0\") { return 410; }
             return 200 \"good until $secure_link_expires\"; } }",
    );
    // MD5 of "2147483647/s secret" and of "1/s secret".
    let (future, past) = ("nIWGb87gmYA8KsOIx-y4nQ", "CS6dyOrqnWOjbgS4BUAcig");
    let answer = get(proxy.address(), &format!("/s?md5={future}&expires=2147483647"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "good until 2147483647"));
    for (query, status) in [
        (format!("md5={past}&expires=1"), 410),
        (format!("md5={future}&expires=2147483646"), 403),
        (format!("md5={future}"), 403),
        (format!("md5={}&expires=2147483647", future.to_lowercase()), 403),
        ("expires=2147483647".to_owned(), 403),
    ] {
        assert_eq!(get(proxy.address(), &format!("/s?{query}")).status(), status, "{query}");
    }
}

#[test]
fn a_secret_word_hides_links_behind_hashes() {
    let proxy = fairlead().file("www/link.txt", "found").http(
        "server { listen 127.0.0.1:{port}; root {dir}/www;
           location /p/ { secure_link_secret word; if ($secure_link = \"\") { return 403; } rewrite ^ /in/$secure_link; }
           location /in/ { alias {dir}/www/; } }",
    );
    // MD5 of "link.txtword".
    let hash = "662ecf39b0dfd2bc0df3f3b9797ee74f";
    assert_eq!(get(proxy.address(), &format!("/p/{hash}/link.txt")).text(), "found");
    assert_eq!(get(proxy.address(), &format!("/p/{hash}/other.txt")).status(), 403);
    assert_eq!(get(proxy.address(), "/p/link.txt").status(), 403);
}

#[test]
fn the_two_forms_do_not_mix() {
    let (accepted, printed) = fairlead().check(
        "http { server { listen 127.0.0.1:{port}; secure_link $arg_a; location / { secure_link_secret word; } } }",
    );
    let message = "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"";
    assert!(!accepted && printed.contains(message), "{printed}");
}
