//! `return`: texts, redirects, and the connection it ends without a word.

use fairlead_harness::{Client, get};

use crate::fairlead;

const SERVER: &str = r#"server {
    listen 127.0.0.1:{port};
    location /text { return 200 "hello $arg_name\n"; }
    location /typed { default_type application/json; return 201 '{"a": 1}'; }
    location /empty { return 204; }
    location /moved { return 301 https://other.test$request_uri; }
    location /found { return https://found.test/; }
    location /relative { return 302 /elsewhere; }
    location /refused { return 403; }
    location /odd { return 599 odd; }
    location /teapot { return 418; }
    location /close { return 444; }
}"#;

#[test]
fn texts_have_their_type_length_and_variables() {
    let proxy = fairlead().http(SERVER);
    let answer = get(proxy.address(), "/text?name=joe");
    assert_eq!((answer.status_line(), answer.text().as_str()), ("HTTP/1.1 200 OK", "hello joe\n"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(answer.header("content-length"), Some("10"));
    let answer = get(proxy.address(), "/typed");
    assert_eq!((answer.status_line(), answer.text().as_str()), ("HTTP/1.1 201 Created", "{\"a\": 1}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn redirects_name_their_place() {
    let proxy = fairlead().http(SERVER);
    let answer = get(proxy.address(), "/moved?a=b");
    assert_eq!(answer.status_line(), "HTTP/1.1 301 Moved Permanently");
    assert_eq!(answer.header("location"), Some("https://other.test/moved?a=b"));
    assert!(answer.text().contains("<h1>301 Moved Permanently</h1>"), "{}", answer.text());
    let answer = get(proxy.address(), "/found");
    assert_eq!(answer.status_line(), "HTTP/1.1 302 Moved Temporarily");
    assert_eq!(answer.header("location"), Some("https://found.test/"));
    let answer = get(proxy.address(), "/relative");
    let expected = format!("http://localhost:{}/elsewhere", proxy.address().port());
    assert_eq!(answer.header("location"), Some(expected.as_str()));
}

#[test]
fn codes_without_a_text_have_a_page() {
    let proxy = fairlead().http(SERVER);
    let answer = get(proxy.address(), "/refused");
    assert_eq!(answer.status_line(), "HTTP/1.1 403 Forbidden");
    assert!(answer.text().contains("<h1>403 Forbidden</h1>"));
    assert_eq!(get(proxy.address(), "/empty").status_line(), "HTTP/1.1 204 No Content");
    assert_eq!(get(proxy.address(), "/odd").status(), 599);
    assert_eq!(get(proxy.address(), "/odd").text(), "odd");
    assert_eq!(get(proxy.address(), "/teapot").status(), 418);
}

#[test]
fn code_444_closes_without_an_answer() {
    let proxy = fairlead().http(SERVER);
    let mut client = Client::connect(proxy.address());
    client.send("GET /close HTTP/1.1\r\nHost: h\r\n\r\n");
    client.assert_closed();
}

#[test]
fn head_gets_the_header_alone() {
    let proxy = fairlead().http(SERVER);
    let mut client = Client::connect(proxy.address());
    let answer = client.request("HEAD /text?name=joe HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answer.header("content-length"), Some("10"));
    assert_eq!(client.get("/text?name=x").text(), "hello x\n", "no body was left in between");
}

#[test]
fn a_body_that_is_not_wanted_does_not_disturb_the_next_request() {
    let proxy = fairlead().http(SERVER);
    let mut client = Client::connect(proxy.address());
    let answer = client
        .request("POST /text?name=a HTTP/1.1\r\nHost: h\r\nContent-Length: 25\r\n\r\nGET /close HTTP/1.1\r\n\r\n\r\n");
    assert_eq!(answer.text(), "hello a\n");
    assert_eq!(client.get("/text?name=b").text(), "hello b\n");
}
