//! `disable_symlinks`: which links on the way to a file are followed.

use fairlead_harness::{Proxy, Setup, get};
use std::os::unix::fs::{lchown, symlink};

use crate::fairlead;

/// `real/file.txt`, a link to it, a link to its folder, and a link of nobody's to it.
fn start(setup: Setup, inside: &str) -> Proxy {
    let proxy = setup
        .file("site/real/file.txt", "text\n")
        .file("site/real/index.html", "index\n")
        .http(&format!("server {{ listen 127.0.0.1:{{port}}; {inside} }}"));
    let site = proxy.directory().join("site");
    symlink("real/file.txt", site.join("link.txt")).unwrap();
    symlink("real", site.join("folder")).unwrap();
    symlink("real/file.txt", site.join("foreign.txt")).unwrap();
    lchown(site.join("foreign.txt"), Some(12345), None).expect("tests run as root");
    symlink(&site, proxy.directory().join("way")).unwrap();
    proxy
}

fn statuses(proxy: &Proxy, paths: &[&str]) -> Vec<u16> {
    paths.iter().map(|path| get(proxy.address(), path).status()).collect()
}

const PATHS: [&str; 6] = ["/real/file.txt", "/link.txt", "/folder/file.txt", "/foreign.txt", "/folder/", "/real/"];

#[test]
fn links_are_followed_unless_told_otherwise() {
    let proxy = start(fairlead(), "root {dir}/site;");
    assert_eq!(statuses(&proxy, &PATHS), [200, 200, 200, 200, 200, 200]);
}

#[test]
fn on_follows_none() {
    let proxy = start(fairlead(), "root {dir}/site; disable_symlinks on;");
    // As nginx: a link in a folder's place is no folder.
    assert_eq!(statuses(&proxy, &PATHS), [200, 403, 404, 403, 404, 200]);
    proxy.wait_for_error("openat() \"");
}

#[test]
fn if_not_owner_follows_those_of_the_owner() {
    let proxy = start(fairlead(), "root {dir}/site; disable_symlinks if_not_owner;");
    assert_eq!(statuses(&proxy, &PATHS), [200, 200, 200, 403, 200, 200]);
}

#[test]
fn from_says_what_is_trusted() {
    let proxy = start(
        fairlead(),
        "location / { root {dir}/way; disable_symlinks on from=$document_root; }
        location /all/ { alias {dir}/way/; disable_symlinks on; }
        location /part/ { alias {dir}/way/; disable_symlinks on from={dir}/way/fold; }
        location /deep/ { alias {dir}/way/; disable_symlinks on from={dir}/way/folder/; }",
    );
    assert_eq!(statuses(&proxy, &PATHS), [200, 403, 404, 403, 404, 200]);
    assert_eq!(
        statuses(&proxy, &["/all/real/file.txt", "/part/folder/file.txt", "/deep/folder/file.txt"]),
        [404, 404, 200]
    );
}

#[test]
fn what_is_no_rule_is_refused() {
    for (line, told) in [
        ("disable_symlinks;", "invalid number of arguments"),
        ("disable_symlinks maybe;", "invalid parameter \"maybe\""),
        ("disable_symlinks from=/a;", "must have \"off\", \"on\" or \"if_not_owner\" parameter"),
        ("disable_symlinks off from=/a;", "duplicate parameters \"off\" and \"from=\""),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {line} }}"));
        assert!(!fine && said.contains(told), "{line}: {said}");
    }
}
