use crate::plan::tests::{answer, read};
use crate::plan::{Captures, Located};
use proptest::prelude::*;

/// The `return` text of each location names it; `+` is a redirect that adds a slash.
fn answers(locations: &str, paths: &[&str]) -> Vec<String> {
    let plan = read(&format!("server {{ listen 8080; {locations} }}")).unwrap();
    let servers = crate::variables::testing::servers(&plan);
    let found = paths.iter().map(|path| match servers.default.locate(path.as_bytes(), &mut Captures::default()) {
        Located::Location(location) => match answer(location) {
            Some(answer) => answer.text.as_ref().unwrap().literal().unwrap().to_owned(),
            None => location.name.to_string(),
        },
        Located::AddSlash => "+".to_owned(),
        Located::TooComplex => "?".to_owned(),
    });
    found.collect()
}

#[test]
fn the_order_is_exact_final_prefix_regex_prefix() {
    let locations = "location = / { return 200 A; } location / { return 200 B; }
        location /documents/ { return 200 C; } location ^~ /images/ { return 200 D; }
        location ~* \\.(gif|jpg|jpeg)$ { return 200 E; }";
    let paths = ["/", "/index.html", "/documents/document.html", "/images/1.gif", "/documents/1.JPG"];
    assert_eq!(answers(locations, &paths), ["A", "B", "C", "D", "E"]);
}

#[test]
fn the_longest_prefix_wins_wherever_it_stands() {
    let locations = "location /a { return 200 a; } location /a/b/c { return 200 abc; } location /a/b { return 200 ab; }
        location /b { return 200 b; } location /a/z { return 200 az; }";
    let paths = ["/a/b/cd", "/a/b/", "/a/c", "/a/y", "/a/zz", "/c", "/a/b/b", "/"];
    assert_eq!(answers(locations, &paths), ["abc", "ab", "a", "a", "az", "", "ab", ""]);
}

#[test]
fn regexes_go_in_file_order_and_nested_ones_first() {
    let locations = "location ~ x { return 200 outer; } location ~ xy { return 200 late; }
        location /a/ { return 200 a; location ~ xyz { return 200 inner; } location /a/b { return 200 ab; } }
        location ^~ /f/ { return 200 f; location ~ x { return 200 fx; } }";
    let paths = ["/xy", "/a/xyz", "/a/xy", "/a/b", "/a/bx", "/f/x", "/f/y"];
    assert_eq!(answers(locations, &paths), ["outer", "inner", "outer", "ab", "outer", "fx", "f"]);
}

/// nginx's own surprise: `^~` of a nested prefix does not keep the regexes outside out.
#[test]
fn a_nested_final_prefix_leaves_the_outer_regexes() {
    let locations = "location ~ x$ { return 200 regex; } location /a/ { location ^~ /a/b/ { return 200 ab; } }";
    assert_eq!(answers(locations, &["/a/b/x", "/a/b/y"]), ["regex", "ab"]);
}

#[test]
fn a_proxied_folder_is_found_without_its_slash() {
    let proxied = "proxy_pass http://127.0.0.1:9";
    let locations = format!(
        "location /app/ {{ {proxied}; }} location = /exact/ {{ {proxied}; }} location /both/ {{ {proxied}; }}
         location = /both {{ return 200 both; }} location /plain/ {{ return 200 plain; }} location ~ app {{ return 200 regex; }}
         location / {{ return 200 root; }}"
    );
    let paths = ["/app", "/exact", "/both", "/plain", "/app/x", "/appx", "/ap"];
    assert_eq!(answers(&locations, &paths), ["+", "+", "both", "root", "regex", "regex", "root"]);
}

proptest! {
    /// The binary search finds what looking at every prefix finds.
    #[test]
    fn agrees_with_looking_at_every_prefix(
        names in prop::collection::btree_set("/[ab/]{0,6}", 1..12),
        paths in prop::collection::vec("/[abc/]{0,8}", 1..20),
    ) {
        let locations: String = names.iter().map(|name| format!("location {name} {{ return 200 {name}; }} ")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let longest = |path: &str| names.iter().filter(|name| path.starts_with(*name)).max_by_key(|name| name.len());
        let expected: Vec<String> = paths.iter().map(|path| longest(path).cloned().unwrap_or_default()).collect();
        prop_assert_eq!(answers(&locations, &paths), expected);
    }
}
