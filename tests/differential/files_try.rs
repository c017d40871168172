//! `try_files` in every form and place, over every kind of path.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

/// Every request line over every path, as cases of their own.
pub fn requests(lines: &[&str], paths: &[&str]) -> Vec<Case> {
    let of = |line: &str, path: &str| {
        let line = line.replace("PATH", path);
        let title: &'static str = line.replace("\r\n", " ").leak();
        case(title, format!("{line}\r\nHost: a.test\r\n\r\n"))
    };
    lines.iter().flat_map(|line| paths.iter().map(move |path| of(line, path))).collect()
}

const PATHS: &[&str] = &[
    "/",
    "/index.html",
    "/letters.txt",
    "/letters.txt?x=1",
    "/none",
    "/none?x=1&y=2",
    "/folder",
    "/folder?x=1",
    "/folder/",
    "/folder/none",
    "/bare",
    "/bare/",
    "/a%20b.txt",
    "/100%25.txt",
    "/empty.txt",
    "/letters.txt/",
    "/..%2fletters.txt",
];

const GET: &[&str] = &["GET PATH HTTP/1.1"];

fn server(inside: &str) -> String {
    format!(
        "server {{ listen 127.0.0.1:{{port}}; root {{files}}; index index.html second.htm;
        types {{ text/html html htm; text/plain txt; }} {inside} }}"
    )
}

#[test]
fn in_the_root() {
    let http = server(
        "location / { try_files $uri $uri/ /letters.txt; }
        location /folder/in/ { try_files none =404; }",
    );
    Pair::start("try_files in the root", &http, Answers::new()).compare(&requests(
        &["GET PATH HTTP/1.1", "HEAD PATH HTTP/1.1", "POST PATH HTTP/1.1\r\nContent-Length: 0"],
        PATHS,
    ));
}

#[test]
fn ends() {
    let http = server(
        "location / { try_files $uri @other; }
        location @other { return 200 \"other $uri $args $request_uri $request_method\"; }
        location /code/ { try_files $uri =410; }
        location /teapot/ { try_files $uri =418; }
        location /moved/ { try_files $uri =302; }
        location /empty/ { try_files $uri =204; }
        location /closed/ { try_files $uri =444; }
        location /args/ { try_files $uri /shown?q=$uri&$args; }
        location /bare-args/ { try_files $uri /shown?; }
        location /noargs/ { try_files $uri /shown; }
        location /shown { return 200 \"shown $uri $args $is_args $request_method\"; }
        location /named/none { try_files $uri @nowhere; }
        location /loop/ { try_files /x $uri /loop/again; }
        location /page/ { error_page 404 /letters.txt; try_files $uri =404; }
        location /pages/ { error_page 404 = @other; try_files $uri =404; }
        location /hidden/ { internal; try_files $uri =404; }
        location /to-hidden/ { try_files $uri /hidden/letters.txt; }
        location /posted/ { try_files $uri /shown$is_args$args; }
        location /static { try_files /letters.txt =404; }
        location /static-folder { try_files /folder/ =404; }
        location /static-bare { try_files /bare/ =404; }
        location /file-as-folder { try_files /letters.txt/ /empty.txt; }
        location /folder-as-file { try_files /folder /empty.txt; }
        location /several { try_files /no1 /no2 /no3 /folder/second.htm /letters.txt =404; }
        location /last-is-folder { try_files /no /folder/; }
        location /dollar { try_files $arg_f =404; }
        location /no-slash { try_files letters.txt =404; }
        location /empty-name { try_files \"\" =404; }
        location = /exact { try_files /folder/index.html =404; }",
    );
    let mut paths: Vec<&str> = PATHS.to_vec();
    paths.extend([
        "/code/x",
        "/code/",
        "/teapot/x",
        "/moved/x",
        "/empty/x",
        "/closed/x",
        "/args/x?a=1",
        "/args/x",
        "/bare-args/x?a=1",
        "/noargs/x?a=1",
        "/named/none",
        "/loop/x",
        "/page/x",
        "/pages/x?b=1",
        "/hidden/x",
        "/to-hidden/x",
        "/posted/x?a",
        "/posted/x",
        "/static",
        "/static/more?x=1",
        "/static-folder",
        "/static-bare",
        "/file-as-folder",
        "/folder-as-file",
        "/several",
        "/last-is-folder",
        "/dollar?f=/letters.txt",
        "/dollar?f=/folder",
        "/dollar",
        "/dollar?f=/none",
        "/no-slash",
        "/empty-name",
        "/exact",
    ]);
    let lines = ["GET PATH HTTP/1.1", "POST PATH HTTP/1.1\r\nContent-Length: 2"];
    let mut cases = requests(&lines[..1], &paths);
    cases.extend(requests(&["HEAD PATH HTTP/1.1"], &["/args/x", "/code/x", "/pages/x", "/named/none", "/empty/x"]));
    cases.extend(requests(&["DELETE PATH HTTP/1.1"], &["/args/x", "/code/x", "/static", "/none"]));
    Pair::start("try_files ends", &http, Answers::new()).compare(&cases);
}

#[test]
fn below_an_alias() {
    let http = server(
        "location /i/ { alias {files}/; try_files $uri $uri/ /i/letters.txt; }
        location /j { alias {files}/; try_files $uri $uri/ =404; }
        location /k/ { alias {files}/folder/; try_files $uri /k/index.html?$args =404; }
        location /l/ { alias {files}/folder/; try_files index.html =404; }
        location /m/ { alias {files}/folder/; try_files none.html second.htm =404; }
        location /n/ { alias {files}/folder/; try_files /index.html =404; }
        location /o/ { alias {files}/folder/; try_files $uri /shown$is_args$args; }
        location /p/ { alias {files}/folder/; try_files $uri /p/index.html$is_args$args; }
        location ~ ^/r/(.*)$ { alias {files}/$1; try_files \"\" =404; }
        location ~ ^/s/(.*)$ { alias {files}/folder/; try_files $1 =404; }
        location ~ ^/t/(.*)$ { alias {files}/; try_files $1 $1/ /shown; }
        location ~ ^/u/(.*)$ { alias {files}/$1; try_files / /index.html =404; }
        location = /v { alias {files}/letters.txt; try_files \"\" =404; }
        location = /w { alias {files}/; try_files letters.txt =404; }
        location /shown { return 200 \"shown $uri $args\"; }",
    );
    let mut paths = Vec::new();
    for prefix in ["/i", "/j", "/k", "/l", "/m", "/n", "/o", "/p", "/r", "/s", "/t", "/u"] {
        for path in [
            "/",
            "/letters.txt",
            "/index.html",
            "/second.htm",
            "/folder",
            "/folder/",
            "/none",
            "/none?x=1",
            "/i/letters.txt",
        ] {
            let path: &'static str = format!("{prefix}{path}").leak();
            paths.push(path);
        }
    }
    paths.extend(["/i", "/j", "/jx", "/jletters.txt", "/v", "/w", "/w/x"]);
    Pair::start("try_files below an alias", &http, Answers::new()).compare(&requests(GET, &paths));
}

#[test]
fn in_a_server_and_around_other_content() {
    let http = server(
        "try_files $uri /letters.txt;
        location /own/ { }
        location /peer/ { try_files $uri /letters.txt =404; proxy_pass http://{peer}; }
        location /index.html { try_files $uri @peer; proxy_pass http://{peer}; }
        location /folder/ { try_files $uri @peer; proxy_pass http://{peer}/base/; }
        location /always { try_files /letters.txt =404; proxy_pass http://{peer}; }
        location /based { try_files /letters.txt =404; proxy_pass http://{peer}/base; }
        location @peer { proxy_pass http://{peer}; }
        location /if/ { if ($arg_x) { set $y 1; } try_files $uri /letters.txt; }
        location /if-root/ { try_files $uri /letters.txt; if ($arg_x) { root {files}/folder; } }
        location /rules/ { rewrite ^/rules(.*)$ $1 break; try_files $uri /letters.txt; }
        location /again/ { rewrite ^/again(.*)$ $1 last; try_files $uri /letters.txt; }
        location /returns/ { try_files $uri /letters.txt; return 200 returned; }
        location /denied/ { deny all; try_files $uri /letters.txt; }
        location /outer/ { try_files $uri /letters.txt; location /outer/in/ { } }
        location /methods/ { limit_except GET { deny all; } try_files $uri /letters.txt; }
        location ~ \\.php$ { return 200 \"php $uri $args\"; }
        location /front/ { try_files $uri $uri/ /index.php?$args; }",
    );
    let http = format!("{PROXY} {http}");
    let mut paths = PATHS.to_vec();
    paths.extend([
        "/own/x",
        "/peer/x",
        "/folder/index.html?x=1",
        "/always/x?y=1",
        "/based/x?y=1",
        "/if/x",
        "/if/x?x=1",
        "/if-root/x",
        "/if-root/x?x=1",
        "/rules/letters.txt",
        "/rules/x",
        "/again/folder/",
        "/again/x",
        "/returns/x",
        "/denied/x",
        "/outer/x",
        "/outer/in/x",
        "/methods/x",
        "/front/x?a=1&b=2",
        "/front/",
        "/front",
    ]);
    let mut cases = requests(GET, &paths);
    cases.extend(requests(
        &["POST PATH HTTP/1.1\r\nContent-Length: 0"],
        &["/methods/x", "/front/x", "/always", "/index.html"],
    ));
    Pair::start("try_files around other content", &http, Answers::new()).compare(&cases);
}
