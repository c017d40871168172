//! One GET over plain HTTP/1.1, of a file whose digest is known beforehand. Follows no redirect.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const LARGEST: u64 = 4 << 20;
const LARGEST_HEAD: usize = 64 << 10;

/// The body of `url`'s answer.
///
/// # Errors
/// When the server is not reached or does not answer with 200.
pub fn get(url: &str) -> io::Result<Vec<u8>> {
    let (authority, path) = split(url).ok_or_else(|| io::Error::other("it is no http:// address"))?;
    let with_port = if authority.rsplit(']').next().unwrap_or_default().contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut last = io::Error::other("the name has no address");
    for address in with_port.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return exchange(stream, authority, path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    (!authority.is_empty() && !authority.contains('@') && plain(rest)).then_some((authority, path))
}

fn exchange(mut stream: TcpStream, host: &str, path: &str) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let path = if path.is_empty() { "/" } else { path };
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: fairlead\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LARGEST + LARGEST_HEAD as u64).read_to_end(&mut answer)?;
    body(answer)
}

/// HTTP/1.0 was asked for: the body is what is left, and no longer than it says.
fn body(mut answer: Vec<u8>) -> io::Result<Vec<u8>> {
    let end = answer.windows(4).take(LARGEST_HEAD).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("the answer has no end of its head"))?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer);
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        return Err(io::Error::other(format!("the server answers {:?}", head.lines().next().unwrap_or_default())));
    }
    let said = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match said {
        Some(said) if said != body.len() => Err(io::Error::other("the answer is cut short")),
        _ => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_file_is_fetched() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a/b.conf", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
            String::from_utf8_lossy(request.get(..read).unwrap()).into_owned()
        });
        assert_eq!(get(&url).unwrap(), b"hello");
        assert!(server.join().unwrap().starts_with("GET /a/b.conf HTTP/1.0\r\n"));
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        assert!(body(b"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n".to_vec()).is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_vec()).is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\n".to_vec()).is_err() && body(Vec::new()).is_err());
        assert!(get("http://user@host/").is_err() && get("ftp://a/").is_err() && get("http:///x").is_err());
    }
}
