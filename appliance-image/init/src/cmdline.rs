//! The kernel's command line: what of it is ours. Pure: text in, settings out. An argument that
//! makes no sense is reported and left out; a machine that does not boot helps nobody.

use std::net::IpAddr;
use std::time::Duration;

/// How long a slot on trial must serve before it is kept.
const TRIAL: Duration = Duration::from_secs(30);
/// What is taken for one argument's value; the kernel's whole line is 4 KiB at most.
const LONGEST_VALUE: usize = 2048;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmdline {
    /// `fairlead.address=IP/LEN[,GATEWAY]` of the first link.
    pub address: Option<Static>,
    /// `fairlead.config=http://…` and `fairlead.sha256=`; neither is worth anything alone.
    pub fetch: Option<Fetch>,
    /// `fairlead.slot=VERSION`: what the boot loader says it has started.
    pub slot: Option<String>,
    /// `fairlead.trial=SECONDS`.
    pub trial: Duration,
    /// `fairlead.console=lines`: no page is drawn; what happens is written line by line.
    pub draw: bool,
    /// What could not be understood, in words.
    pub complaints: Vec<String>,
}

/// An address that was given, with the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Static {
    pub address: IpAddr,
    pub prefix: u8,
    pub gateway: Option<IpAddr>,
}

/// A configuration to be fetched, and the digest it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub url: String,
    pub sha256: [u8; 32],
}

impl Default for Cmdline {
    fn default() -> Cmdline {
        Cmdline { address: None, fetch: None, slot: None, trial: TRIAL, draw: true, complaints: Vec::new() }
    }
}

/// Reads the whole line; the last of several equal arguments counts, as in the kernel.
pub fn parse(line: &str) -> Cmdline {
    let mut found = Cmdline::default();
    let (mut url, mut digest) = (None, None);
    for word in words(line) {
        let Some((name, value)) = word.strip_prefix("fairlead.").and_then(|word| word.split_once('=')) else {
            continue;
        };
        match name {
            "address" => match Static::parse(value) {
                Some(address) => found.address = Some(address),
                None => found.complain(name, value, "IP/LENGTH or IP/LENGTH,GATEWAY"),
            },
            "config" => url = Some(value.to_owned()),
            "sha256" => match digest_of(value) {
                Some(bytes) => digest = Some(bytes),
                None => found.complain(name, value, "64 hexadecimal digits"),
            },
            "slot" => found.slot = Some(value.to_owned()),
            "trial" => match value.parse() {
                Ok(seconds) => found.trial = Duration::from_secs(seconds),
                Err(_) => found.complain(name, value, "a number of seconds"),
            },
            "console" => match value {
                "lines" => found.draw = false,
                "page" => found.draw = true,
                _ => found.complain(name, value, "page or lines"),
            },
            _ => found.complaints.push(format!("fairlead.{name}= on the kernel command line is not known")),
        }
    }
    found.pair_up(url, digest);
    found
}

impl Cmdline {
    fn complain(&mut self, name: &str, value: &str, wanted: &str) {
        self.complaints.push(format!("fairlead.{name}={value} on the kernel command line is not {wanted}"));
    }

    fn pair_up(&mut self, url: Option<String>, digest: Option<[u8; 32]>) {
        match (url, digest) {
            (Some(url), Some(sha256)) if url.starts_with("http://") => self.fetch = Some(Fetch { url, sha256 }),
            (Some(url), Some(_)) => self.complaints.push(format!("fairlead.config={url} does not start with http://")),
            (Some(_), None) => self.complaints.push(
                "fairlead.config= needs fairlead.sha256=, the digest of the file: plain http proves nothing".into(),
            ),
            (None, Some(_)) => self.complaints.push("fairlead.sha256= is given without fairlead.config=".into()),
            (None, None) => {}
        }
    }
}

impl Static {
    /// `IP/LENGTH[,GATEWAY]`.
    pub fn parse(text: &str) -> Option<Static> {
        let (address, gateway) = match text.split_once(',') {
            Some((address, gateway)) => (address, Some(gateway.parse().ok()?)),
            None => (text, None),
        };
        let (ip, length) = address.split_once('/')?;
        let address: IpAddr = ip.parse().ok()?;
        let prefix: u8 = length.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let same_family = gateway.is_none_or(|gateway: IpAddr| gateway.is_ipv4() == address.is_ipv4());
        (prefix <= longest && same_family).then_some(Static { address, prefix, gateway })
    }
}

/// Words between spaces; double quotes keep spaces in, as in the kernel.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            letter if word.len() < LONGEST_VALUE => word.push(letter),
            _ => {}
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// 64 hexadecimal digits.
pub fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits: Vec<u8> =
        hex.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |sum, digit| sum * 16 + digit);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_read_and_the_rest_left_alone() {
        let hex = "00ff".repeat(16);
        let line = format!(
            "BOOT_IMAGE=(uki) console=ttyS0 quiet fairlead.address=192.0.2.7/24,192.0.2.1 \
             fairlead.config=http://192.0.2.9/a.conf fairlead.sha256={hex} fairlead.slot=0.1.0-7 fairlead.trial=5\n"
        );
        let read = parse(&line);
        assert_eq!(read.complaints, Vec::<String>::new());
        let address = read.address.unwrap();
        assert_eq!((address.prefix, address.gateway), (24, Some("192.0.2.1".parse().unwrap())));
        assert_eq!(read.fetch.unwrap().sha256.first(), Some(&0));
        assert_eq!((read.slot.as_deref(), read.trial), (Some("0.1.0-7"), Duration::from_secs(5)));
    }

    #[test]
    fn what_makes_no_sense_is_named_and_left_out() {
        let read = parse(
            "fairlead.address=192.0.2.7 fairlead.address=192.0.2.7/33 fairlead.address=192.0.2.7/24,::1 \
             fairlead.sha256=xy fairlead.trial=soon fairlead.nonsense=1 fairlead.console=blue",
        );
        assert_eq!((read.address, read.fetch.clone(), read.complaints.len()), (None, None, 7), "{read:?}");
    }

    #[test]
    fn a_url_without_its_digest_is_no_configuration() {
        assert!(parse("fairlead.config=http://a/b").fetch.is_none());
        assert!(parse(&format!("fairlead.config=https://a/b fairlead.sha256={}", "a".repeat(64))).fetch.is_none());
        assert_eq!(parse(&format!("fairlead.sha256={}", "a".repeat(64))).complaints.len(), 1);
    }

    #[test]
    fn quotes_keep_spaces_and_the_last_one_counts() {
        let read = parse("fairlead.slot=\"a b\" x=\"fairlead.slot=no\" fairlead.slot=c");
        assert_eq!(read.slot.as_deref(), Some("c"));
        assert_eq!(parse("\"fairlead.slot=a b\"").slot.as_deref(), Some("a b"));
    }
}
