//! The address of a `server` line: what nginx takes, in nginx's words where it does not.

use std::net::Ipv6Addr;
use std::path::PathBuf;

/// Where a server is, its name not yet resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Unix(PathBuf),
    /// `host` without the brackets of an IPv6 address.
    Host {
        host: &'a str,
        port: Option<u16>,
    },
}

/// As much as a `sockaddr_un` holds with its final zero.
const MAX_UNIX_PATH: usize = 107;

pub(super) fn parse(text: &str) -> Result<Place<'_>, &'static str> {
    if let Some((prefix, path)) = text.split_at_checked(5)
        && prefix.eq_ignore_ascii_case("unix:")
    {
        return match path.len() {
            0 => Err("no path in the unix domain socket"),
            1..=MAX_UNIX_PATH => Ok(Place::Unix(path.into())),
            _ => Err("too long path in the unix domain socket"),
        };
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("invalid host")?;
        host.parse::<Ipv6Addr>().map_err(|_| "invalid IPv6 address")?;
        return match rest.strip_prefix(':') {
            Some(digits) => Ok(Place::Host { host, port: Some(port(digits)?) }),
            None if rest.is_empty() => Ok(Place::Host { host, port: None }),
            None => Err("invalid host"),
        };
    }
    if text.contains(['/', '?']) {
        return Err("invalid host");
    }
    match text.split_once(':') {
        Some(("", _)) => Err("no host"),
        None if text.is_empty() => Err("no host"),
        Some((host, digits)) => Ok(Place::Host { host, port: Some(port(digits)?) }),
        None => Ok(Place::Host { host: text, port: None }),
    }
}

fn port(digits: &str) -> Result<u16, &'static str> {
    let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| sound && *port > 0).ok_or("invalid port")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, port: Option<u16>) -> Result<Place<'_>, &'static str> {
        Ok(Place::Host { host, port })
    }

    #[test]
    fn addresses_are_what_nginx_takes() {
        assert_eq!(parse("10.0.0.1:8080"), host("10.0.0.1", Some(8080)));
        assert_eq!(parse("backend.example"), host("backend.example", None));
        assert_eq!(parse("[::1]"), host("::1", None));
        assert_eq!(parse("[::1]:81"), host("::1", Some(81)));
        assert_eq!(parse("unix:/run/app.sock"), Ok(Place::Unix("/run/app.sock".into())));
    }

    #[test]
    fn what_is_wrong_is_said_in_nginx_s_words() {
        for (text, problem) in [
            ("", "no host"),
            (":80", "no host"),
            ("a:0", "invalid port"),
            ("a:65536", "invalid port"),
            ("a:+8", "invalid port"),
            ("a:", "invalid port"),
            ("::1", "no host"),
            ("http://a", "invalid host"),
            ("a/b", "invalid host"),
            ("[::1", "invalid host"),
            ("[::g]:80", "invalid IPv6 address"),
            ("unix:", "no path in the unix domain socket"),
        ] {
            assert_eq!(parse(text), Err(problem), "{text}");
        }
    }
}
