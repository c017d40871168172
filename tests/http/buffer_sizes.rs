//! Sizes of the buffers for responses that do not go together: told before anything serves.

use crate::fairlead;

const MOST: &str = "must be equal to or greater than the maximum of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"";
const ALL: &str = "must be less than the size of all \"proxy_buffers\" minus one buffer";

/// What is said of `rows`, which the block around them has `outer` for.
fn said(outer: &str, rows: &str) -> (bool, String) {
    fairlead().check(&format!("http {{ {outer} server {{ listen 127.0.0.1:{{port}};\n location / {{ {rows} }} }} }}"))
}

#[test]
fn sizes_that_do_not_go_together_are_refused() {
    for (rows, words) in [
        ("proxy_buffers 1 4k;", "there must be at least 2 \"proxy_buffers\"".to_owned()),
        ("proxy_busy_buffers_size 2k;", format!("\"proxy_busy_buffers_size\" {MOST}")),
        ("proxy_busy_buffers_size 40k;", format!("\"proxy_busy_buffers_size\" {ALL}")),
        ("proxy_buffer_size 32k;", format!("\"proxy_busy_buffers_size\" {ALL}")),
        ("proxy_buffers 2 4k;", format!("\"proxy_busy_buffers_size\" {ALL}")),
        ("proxy_temp_file_write_size 2k;", format!("\"proxy_temp_file_write_size\" {MOST}")),
        (
            "proxy_max_temp_file_size 2k;",
            format!("\"proxy_max_temp_file_size\" must be equal to zero to disable temporary files usage or {MOST}"),
        ),
    ] {
        for (outer, inner) in [("", rows), (rows, "")] {
            let (good, said) = said(outer, inner);
            assert!(!good && said.contains(&words), "{rows}: {said}");
            assert_eq!(said.matches(&words).count(), 1, "{rows}: {said}");
        }
    }
}

#[test]
fn what_nginx_takes_is_taken() {
    for (outer, rows) in [
        ("", "proxy_busy_buffers_size 4k;"),
        ("", "proxy_busy_buffers_size 28k;"),
        ("", "proxy_buffers 3 4k;"),
        ("", "proxy_buffer_size 1k; proxy_buffers 4 4k;"),
        ("", "proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_busy_buffers_size 32k;"),
        ("", "proxy_max_temp_file_size 0;"),
        ("", "proxy_max_temp_file_size 4k; proxy_temp_file_write_size 4k;"),
        ("proxy_busy_buffers_size 64k;", "proxy_buffers 8 16k;"),
    ] {
        // What the outer block alone would be refused for may be mended inside, in every block that serves.
        let (good, said) = match outer {
            "" => said("", rows),
            _ => fairlead().check(&format!(
                "http {{ {outer} server {{ listen 127.0.0.1:{{port}}; {rows} location / {{ return 200; }} }} }}"
            )),
        };
        assert!(good, "{outer} {rows}: {said}");
    }
}
