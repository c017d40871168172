//! Rules on their way to an answer: every set of rules below meets every target, and what the client
//! gets, what the peer gets, the access log and what `rewrite_log` writes must agree.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

/// What a request has become, as the body of a page.
const TELL: &str = "return 200 \"$uri|$args|$is_args|$1|$2|$3|$x|$y|$request_uri|$document_uri\\n\";";

/// The insides of a server. `TELL` shows what is left of the request, `PASS` is a peer without a path.
const RULES: &[&str] = &[
    "rewrite ^/a/(.*)$ /b/$1 last; location / { TELL }",
    "rewrite ^/a/(.*)$ /b/$1; rewrite ^/b/(.*)$ /c/$1; rewrite ^/c/b$ /end; location / { TELL }",
    "rewrite ^/a/(.*)$ /b/$1 break; rewrite ^/b/ /never; location / { TELL }",
    "rewrite ^/a/(.*)$ /b/$1; break; rewrite ^/b/ /never; location / { TELL }",
    "location /a/ { rewrite ^/a/(.*)$ /b/$1 last; TELL } location / { TELL }",
    "location /a/ { rewrite ^/a/(.*)$ /b/$1; TELL } location / { TELL }",
    "location /a/ { rewrite ^/a/(.*)$ /b/$1; set $x after; } location / { TELL }",
    "location /a/ { rewrite ^/a/(.*)$ /b/$1; break; TELL } location / { TELL } root {files};",
    "location /a/ { rewrite ^/a/(.*)$ /b/$1 break; TELL } location / { TELL } root {files};",
    // The peer's request line.
    "location / { PASS } location /a/ { rewrite ^/a/(.*)$ /b/$1 last; } location /b/ { proxy_pass http://{peer}/c/; }",
    "location / { PASS } location /a/ { rewrite ^/a/(.*)$ /b/$1 break; proxy_pass http://{peer}/ignored/; }",
    "location / { PASS } location /a/ { rewrite ^/a/(.*)$ /b/$1?k=$1 break; PASS }",
    "location / { PASS } location /a/ { rewrite ^/a/(.*)$ /b/$1?k=$1? break; PASS }",
    "location / { PASS } location /a/ { rewrite ^/a/(.*)$ /b? break; PASS }",
    "rewrite ^/a/(.*)$ /b/$1 break; location /b/ { proxy_pass http://{peer}/c/; } location / { PASS }",
    "rewrite ^/a/(.*)$ /b/$1; location /b/ { proxy_pass http://{peer}/c/; } location / { PASS }",
    "location / { rewrite ^/a/(?<rest>.*)$ /v/$rest break; proxy_pass http://{peer}$uri?$args; }",
    "location / { set $x /set; if ($uri ~ ^/a/(.*)) { set $x /if/$1; } proxy_pass http://{peer}$x; }",
    "location / { set $args fixed=1; PASS }",
    "location / { set $args \"$args&more\"; proxy_pass http://{peer}/to/; }",
    "location / { set $args \"\"; PASS }",
    "location / { proxy_pass http://{peer}/outer/; if ($arg_a) { set $x 1; } }",
    "location / { proxy_pass http://{peer}/outer/; if ($arg_a = 1) { proxy_pass http://{peer}; } if ($arg_b) { set $y b; } }",
    "location / { set $proxy_host other; proxy_set_header X-Host $proxy_host; proxy_set_header Connection close; PASS }",
    // Redirects.
    "rewrite ^/a/(.*)$ /new/$1 redirect; location / { TELL }",
    "rewrite ^/a/(.*)$ /new/$1 permanent; location / { TELL }",
    "rewrite ^/a/(.*)$ /new/$1? redirect; location / { TELL }",
    "rewrite ^/a/(.*)$ /new?p=$1 redirect; location / { TELL }",
    "rewrite ^/a/(.*)$ /new?p=$1&q=$2? permanent; location / { TELL }",
    "rewrite ^/a/(.*)$ new/$1 redirect; location / { TELL }",
    "rewrite ^/a/(.*)$ http://other.test/$1; location / { TELL }",
    "rewrite ^/a/(.*)$ https://other.test/$1?fixed last; location / { TELL }",
    "rewrite ^/a/(.*)$ $scheme://$host/$1 break; location / { TELL }",
    "rewrite ^/a/(.*)$ http://other.test/$1 permanent; location / { TELL }",
    "rewrite ^ https://$server_name$request_uri? permanent;",
    "rewrite ^/(?<first>[^/]*)/(?<rest>.*)$ /$rest/$first redirect; location / { TELL }",
    "absolute_redirect off; rewrite ^/a/(.*)$ /new/$1 redirect; location / { TELL }",
    "rewrite ^/a/(.*)$ /with%20escape/%41/$1 redirect; location / { TELL }",
    "rewrite ^/a/(.*)$ /$arg_x$arg_a redirect; location / { TELL }",
    "location /a/ { rewrite ^/a/(.*)$ $1 redirect; } location / { TELL }",
    "rewrite ^/a/b$ /one; rewrite ^/one$ /two redirect; location / { TELL }",
    // Too often, and too little.
    "location / { rewrite ^(.*)$ /x$1 last; }",
    "location / { rewrite ^/(.*)$ /z/$1; } location /z/ { rewrite ^/z/(.*)$ /$1; }",
    "location / { if ($uri !~ \"^/n{10}\") { rewrite ^/(.*)$ /n$1 last; } TELL }",
    "location / { if ($uri !~ \"^/n{11}\") { rewrite ^/(.*)$ /n$1 last; } TELL }",
    "rewrite ^/a ?gone last; location / { TELL }",
    "rewrite ^/a/b$ \"$x\" last; location / { set $x \"\"; TELL }",
    "rewrite ^/a/b$ \"?\" last; location / { TELL }",
    "rewrite ^/a/(.*)$ noslash$1 last; location / { TELL } location noslash { return 200 here; }",
    "root {files}; location / { rewrite ^/a/(.*)$ /letters.txt break; }",
    "root {files}; location / { rewrite ^/a/(.*)$ /$1 break; }",
    "root {files}; rewrite ^/folder/index.html$ /letters.txt last; index index.html;",
    "root {files}; location / { rewrite ^/a/ /folder/ break; } location = /folder/index.html { TELL }",
    "location /a/ { alias {files}/; rewrite ^/a/(.*)$ /$1 break; } location / { TELL }",
    "location /a/ { alias {files}/; rewrite ^/a/(.*)$ /l/$1 last; } location /l/ { alias {files}/folder/; } location / { TELL }",
    // Conditions.
    "location / { set $x \"\"; if ($arg_a) { set $x yes; } TELL }",
    "location / { if ($arg_a = 1) { set $x one; } if ($arg_a != 1) { set $y other; } TELL }",
    "location / { if ($arg_a = \"\") { set $x none; } if ($request_method = GET) { set $y get; } TELL }",
    "location / { if ($arg_a = $arg_b) { set $x same; } if ( $uri = /a/b ) { set $y path; } TELL }",
    "location / { if ($uri ~ ^/a/(.)(.*)$) { set $x $1; } if ($uri ~* \"^/A/(.)\") { set $y $1; } TELL }",
    "location / { if ($uri !~ ^/a/(.)) { set $x no; } if ($uri !~* ^/A) { set $y no; } TELL }",
    "location / { if ($uri ~ ^/(a)) { set $x in$1; } if ($uri ~ (nothing)) { } TELL }",
    "location / { if ($uri ~ ^/(a)) { rewrite ^ /from_if_$1 last; } TELL } location /from { TELL }",
    "if ($uri ~ ^/a/(.*)$) { return 200 \"server $1\\n\"; } location / { TELL }",
    "if ($arg_a) { rewrite ^ /args; } if ($uri = /args) { set $x seen; } location / { TELL }",
    "if ($http_x_test = yes) { set $x yes; } if ($cookie_c) { set $y $cookie_c; } location / { TELL }",
    "if ($request_method = POST) { return 405; } if ($request_method = HEAD) { return 403; } location / { TELL }",
    "if ($arg_a ~ ^(?<x>.)$) { set $y got; } location / { TELL }",
    "root {files}; location / { if (-f $request_filename) { set $x file; } if (!-f $request_filename) { set $y none; } TELL }",
    "root {files}; location / { if (-d $request_filename) { set $x folder; } if (!-d $request_filename) { set $y none; } TELL }",
    "root {files}; if (-e $document_root$uri) { set $x there; } if (!-e $request_filename) { set $y none; } location / { TELL }",
    "root {files}; if (-x $request_filename) { set $x may; } if (!-x $request_filename) { set $y not; } location / { TELL }",
    "root {files}; if (!-e $request_filename) { rewrite ^/(.*)$ /letters.txt?missing=$1 last; }",
    "location / { if (-e /dev/null) { set $x device; } if (-d /) { set $y root; } TELL }",
    "location / { root {files}; if ($arg_a) { root {files}/folder; } } ",
    "location / { root {files}; if ($uri ~ letters) { root {files}/folder; } if ($arg_a) { set $x 1; } }",
    "location / { if ($arg_a) { return 404; } if ($arg_b) { return 200 b; } if ($arg_x) { break; } TELL }",
    "location / { if ($arg_a) { break; set $x never; } set $y end; TELL }",
    "location / { if ($arg_a) { rewrite ^ /inside break; } TELL } root {files};",
    "location / { if ($arg_a) { PASS } PASS }",
    "location /a/ { location /a/b { rewrite ^ /nested last; } rewrite ^ /outer last; } location / { TELL }",
    // Variables and groups.
    "set $x 1; set $x $x$x; set $x $x$x; set $y \"$x-$uri\"; location / { set $x \"$x!\"; TELL }",
    "location / { TELL } location /a/ { set $x here; TELL }",
    "location ~ ^/(a)/(.*)$ { set $x $2; if ($uri ~ b) { set $y $2; } TELL } location / { TELL }",
    "location ~ ^/(a)/(.*)$ { rewrite ^/nothing$ /x; TELL } location / { TELL }",
    "location ~ ^/(a)/(.*)$ { set $x $2; rewrite ^/a/(.)(.*)$ /q/$2/$1; set $y $2; TELL } location / { TELL }",
    "set $http_x_test \"set\"; set $arg_a fixed; set $cookie_c \"$http_x_test $arg_a\"; location / { return 200 \"$http_x_test|$arg_a|$cookie_c|$args\\n\"; }",
    "location /a/ { set $http_x_test set; return 200 $http_x_test; } location / { return 200 \"$http_x_test|$arg_a\\n\"; }",
    "rewrite ^/(?<x>[^/]*)/(?<y>.*)$ /named last; location / { TELL }",
    "location / { set $x $m; return 200 \"$m|$1|$mx|$x\\n\"; }",
    "location ~ ^/(a)/ { set $x $1; set $x \"$x $m\"; set $x \"$x $1\"; if ($m = b) { set $y $mx; } rewrite ^ /to/$mx break; TELL }",
    "rewrite ^/a/((b)|(c)|x)?(.*)$ /t?1=$1&2=$2&3=$3&4=$4 last; location / { TELL }",
    "rewrite ^/(.)/(.)/(.)/(.)/(.)/(.)/(.)/(.)/(.*)$ /$9$8$7$6$5$4$3$2$1 last; location / { TELL }",
    "rewrite ^/(?!a/)(.*)$ /not-a/$1 last; location / { TELL }",
    "rewrite \"^/(.)\\\\1{3}$\" /same/$1 last; location / { TELL }",
    "rewrite (?i)^/A/(B) /any-case/$1 last; location / { TELL }",
    "rewrite ^/a/(.*)$ /b/$10 last; location / { TELL }",
    // Spellings that PCRE reads in its own way.
    "rewrite \"^/a/[[\\]{}&&~~b]+(c)?$\" /class/$1 last; location / { TELL }",
    "rewrite \"^/a/{?(b)}?$\" /brace/$1 last; location / { TELL }",
    "rewrite \"^/(?#a comment)a/\\Qb\\E(?'x'.*)$\" /quoted/$x last; location / { TELL }",
    "rewrite \"^/\\x{61}/\\<?\\h?(.)$\" /hex/$1 last; location / { TELL }",
    "rewrite ^/[]a]/([^]x]*)$ /bracket/$1 last; location / { TELL }",
    "return 301 http://other.test$request_uri; location / { TELL }",
    "location / { set $x $uri; return 302 /to$x?$args; }",
    "location = /a/b { return 204; } location = /a { return 444; } location = /letters.txt { return 410 gone; } location / { return 418; }",
];

/// Paths and arguments in all shapes that rules treat differently.
const TARGETS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b?",
    "/a/b?x=1",
    "/a/b?a=1&b=2",
    "/a/b?a=0",
    "/a/b?a=%20+&b=%20+",
    "/a/b?x=1?y=2",
    "/a/b/c",
    "/a/c",
    "/a/%20b",
    "/a/b+c",
    "/a/b%2Fc%3Fd%23e%25f%26g",
    "/a/%C3%A9?%C3%A9",
    "/a/%22%3c%3e%5c%5e%60%7b%7c%7d%7f",
    "/a/!$&'()*,;=:@-._~",
    "/a/%21%24%26%27%28%29%2a%2c%3b%3d%3a%40",
    "/a/|\"<>",
    "/a//b/../b",
    "/a/b#f",
    "/A/B",
    "/aaaa",
    "/1/2/3/4/5/6/7/8/9/10",
    "/letters.txt",
    "/letters.txt?a=1",
    "/folder/",
    "/folder",
    "/a/folder/second.htm",
];

/// The log of what became of each request.
const FORMAT: &str = "log_format own '$status $request_method $request_uri|$uri|$args|$x|$y|$request_completion';";

fn http() -> String {
    let mut http = format!(
        "{PROXY} {FORMAT} map $uri $m {{ ~^/a/(?<mx>[^/]*)(.*)$ $1$2; /aaaa four; default none; }}
         server_names_hash_max_size 4096; server_names_hash_bucket_size 128; rewrite_log on;
         server {{ listen 127.0.0.1:{{port}} default_server; access_log off; set $x \"\"; set $y \"\"; return 200 last; }}\n"
    );
    for (number, rules) in RULES.iter().enumerate() {
        let rules = rules.replace("TELL", TELL).replace("PASS", "proxy_pass http://{peer};");
        http.push_str(&format!(
            "server {{ listen 127.0.0.1:{{port}}; server_name r{number}.test; access_log {{dir}}/own.log own;
             error_log {{dir}}/notes.log notice; {rules} }}\n"
        ));
    }
    http
}

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn cases(rules: usize) -> Vec<Case> {
    let request = |method: &str, target: &str, more: &str| {
        let name = leaked(format!("{method} {target} with {}", RULES[rules]));
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: r{rules}.test\r\nX-Test: yes\r\nCookie: c=1\r\n{more}\r\n");
        case(name, head)
    };
    let mut cases: Vec<Case> = TARGETS.iter().map(|target| request("GET", target, "")).collect();
    cases.push(request("HEAD", "/a/b?x=1", ""));
    cases.push(request("POST", "/a/b?x=1", "Content-Length: 0\r\n"));
    cases.push(request("GET", "http://else.test/a/b%20?x", "").renamed(rules));
    cases
}

impl Case {
    /// An absolute target names the server: the one of these rules.
    fn renamed(mut self, rules: usize) -> Case {
        let text = String::from_utf8(self.parts[0].clone()).expect("it was text");
        self.parts[0] = text.replace("else.test", &format!("r{rules}.test")).into_bytes();
        self
    }
}

/// Every rule with every target: what the client gets, what the peer gets, both logs.
#[test]
fn rules_make_of_requests_what_nginx_makes() {
    let pair = Pair::start("rules", &http(), Answers::new());
    let all: Vec<Case> = (0..RULES.len()).flat_map(cases).collect();
    assert!(all.len() > 3000, "{}", all.len());
    pair.compare(&all);
    pair.compare_lines("own.log", all.len(), |line| Some(line.to_owned()));
    // What is told of a request, without time, process and the scene around it.
    pair.compare_lines("notes.log", all.len() * 3 / 2, |line| {
        let (_, message) = line.split_once('*')?.1.split_once(' ')?;
        let (message, _) = message.split_once(", client: ")?;
        let level = line.split('[').nth(1)?.split(']').next()?;
        // Not told by this module. Control characters are escaped in our logs.
        let others = ["directory index of", "open() \"", "client ", "kevent", "upstream"];
        (!others.iter().any(|start| message.starts_with(start)))
            .then(|| format!("{level} {message}").replace('\x7f', "\\x7F"))
    });
}

/// What nginx passes on raw would begin a field, or a request, that the client's own head does not hold.
#[test]
fn line_ends_stay_escaped() {
    let http = format!(
        "{PROXY} server {{ listen 127.0.0.1:{{port}};
            rewrite ^/named/(?<rest>[^/]*)$ /to?$rest redirect;
            rewrite ^/group/([^/]*)$ /to?$1 redirect;
            location /args/ {{ rewrite ^/args/(?<p>[^/]*)$ /x?a=$p break; proxy_pass http://{{peer}}; }}
            location /path/ {{ rewrite ^/path/(?<p>[^/]*)$ /x/$p break; proxy_pass http://{{peer}}; }}
            location /variable/ {{ proxy_pass http://{{peer}}$uri; }}
            location /return/ {{ return 302 http://other.test$uri; }}
        }}"
    );
    let cases = ["/named/", "/group/", "/args/", "/path/", "/variable/", "/return/"].map(|folder| {
        let target = format!("{folder}%0d%0aX-Injected:%20yes");
        let name = leaked(target.clone());
        case(name, format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
    });
    Pair::start("line ends", &http, Answers::new()).compare(&cases);
}
